"""What the kernel would answer to a call, by running the filter's program."""

from __future__ import annotations

import struct

from art_core.host import bpf

TRACE = "trace"
ALLOW = "allow"


def decide(program: bytes, arch: int, number: int, *arguments: int) -> str | int:
    """`allow`, `trace` or an errno."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *([0] * (6 - len(arguments))))
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("=HBBI", program))
    assert len(instructions) <= 4096
    place = accumulator = 0
    while True:
        code, true, false, value = instructions[place]
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x05:
            place += value
        elif code == 0x06:
            return ALLOW if value == bpf.ALLOW else TRACE if value == bpf.TRACE else value & 0xFFFF
        else:
            taken = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
            place += true if taken[code] else false


X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
