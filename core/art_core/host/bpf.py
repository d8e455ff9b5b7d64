"""Classic BPF programs for seccomp(2), assembled from a few named instructions.

A program sees `struct seccomp_data`: the system call's number at offset 0, the architecture at 4
and the low half of argument N at `argument(N)`. Jumps count the instructions to skip.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

NUMBER = 0
ARCHITECTURE = 4

ALLOW = 0x7FFF0000
TRACE = 0x7FF00000
_ERRNO = 0x00050000

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* by machine, as uname(2) names it."""
X32_BIT = 0x40000000


class Instruction(NamedTuple):
    """One `struct sock_filter`."""

    code: int
    jump_true: int
    jump_false: int
    value: int


def argument(number: int) -> int:
    """The offset of the low 32 bits of an argument, on a little-endian machine."""
    return 16 + 8 * number


def load(offset: int) -> Instruction:
    """Load the 32-bit word at `offset` into the accumulator."""
    return Instruction(0x20, 0, 0, offset)


def jump_if_equal(value: int, true: int = 0, false: int = 0) -> Instruction:
    return Instruction(0x15, true, false, value)


def jump_if_at_least(value: int, true: int = 0, false: int = 0) -> Instruction:
    return Instruction(0x35, true, false, value)


def jump_if_any_bit(value: int, true: int = 0, false: int = 0) -> Instruction:
    return Instruction(0x45, true, false, value)


def jump(count: int) -> Instruction:
    """Skip `count` instructions, which may be more than the 255 of a condition."""
    return Instruction(0x05, 0, 0, count)


def answer(value: int) -> Instruction:
    """End with an action: `ALLOW`, `TRACE` or `errno(N)`."""
    return Instruction(0x06, 0, 0, value)


def errno(number: int) -> int:
    """The action that fails the call with an errno."""
    return _ERRNO | number


def assemble(program: Iterable[Instruction]) -> bytes:
    """The bytes that seccomp(2) and bwrap's --seccomp take, in native byte order."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
