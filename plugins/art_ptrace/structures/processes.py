"""What calls on processes fill and take, as strace(1) writes them."""

from __future__ import annotations

import os
import struct

from art_ptrace.structures import times
from art_ptrace.values import process_constants, scalars
from art_ptrace.values.arguments import Argument, Read, Values, record, shown_name
from art_ptrace.values.scalars import pointer
from art_ptrace.values.text_escapes import STRING_LIMIT, quoted


def wait_status(status: int) -> str:
    if os.WIFEXITED(status):
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(status)}}}"
    if os.WIFSIGNALED(status):
        core = " && WCOREDUMP(s)" if os.WCOREDUMP(status) else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {scalars.signal_number(os.WTERMSIG(status))}{core}}}"
    if os.WIFSTOPPED(status):
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {scalars.signal_number(os.WSTOPSIG(status))}}}"
    return "{WIFCONTINUED(s)}" if os.WIFCONTINUED(status) else f"[{status:#x}]"


def _fetch_status(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 4) if value and result > 0 else None


WAIT_STATUS = Argument(
    at="exit",
    fetch=_fetch_status,
    render=lambda raw, value, values, result: (
        f"[{wait_status(struct.unpack('i', raw)[0])}]" if raw and len(raw) == 4 else pointer(value)
    ),
    narrow=True,
)


def _usage(raw: bytes) -> str:
    return f"{{ru_utime={times.timeval(raw[:16])}, ru_stime={times.timeval(raw[16:32])}, ...}}"


RUSAGE = record(144, _usage, at="exit")
WAIT_USAGE = RUSAGE._replace(
    fetch=lambda read, value, values, result: (read(value, 144) or None) if value and result > 0 else None
)


def _limit(number: int) -> str:
    if number >= (1 << 64) - 1:
        return "RLIM64_INFINITY"
    return f"{number // 1024}*1024" if number and number % 1024 == 0 else str(number)


RLIMIT = record(16, lambda raw: "{{rlim_cur={}, rlim_max={}}}".format(*map(_limit, struct.unpack("QQ", raw))))
RLIMIT_OUT = RLIMIT._replace(
    at="exit",
    fetch=lambda read, value, values, result: (read(value, 16) or None) if value and result >= 0 else None,
)


def seccomp_program(raw: bytes) -> str:
    return "{{len={}, filter={:#x}}}".format(*struct.unpack("H6xQ", raw))


_CLONE = scalars.flags(process_constants.CLONE_FLAGS)


def _clone_arguments(raw: bytes) -> str:
    flags, pidfd, child, parent, ends, stack, size, tls = struct.unpack("8Q", raw)
    parts = [f"flags={_CLONE(flags)}"]
    parts += [f"pidfd={pointer(pidfd)}"] if flags & 0x1000 else []
    parts += [f"child_tid={pointer(child)}"] if flags & 0x01200000 else []
    parts += [f"parent_tid={pointer(parent)}"] if flags & 0x00100000 else []
    parts += [f"exit_signal={scalars.signal_number(ends)}", f"stack={pointer(stack)}"]
    parts.append(f"stack_size={scalars.hexadecimal(size)}")
    parts += [f"tls={pointer(tls)}"] if flags & 0x00080000 else []
    return f"{{{', '.join(parts)}}}"


CLONE_ARGUMENTS = record(64, _clone_arguments, narrow=True)


def _uname(raw: bytes) -> str:
    return f"{{sysname={shown_name(raw[:65])}, nodename={shown_name(raw[65:130])}, ...}}"


UNAME = record(390, _uname, at="exit", narrow=True)


def _fetch_words(read: Read, value: int, values: Values, result: int) -> list[bytes | int] | None:
    """The strings that an array of pointers leads to; the number at the end is a pointer that leads
    nowhere, or how many more there are at least (0)."""
    if not value:
        return None
    table = read(value, 8 * (STRING_LIMIT + 1))
    if len(table) < 8:
        return None
    words: list[bytes | int] = []
    for start in range(0, len(table) - 7, 8):
        (address,) = struct.unpack_from("Q", table, start)
        if not address:
            return words
        if len(words) == STRING_LIMIT:
            break
        data = read(address, STRING_LIMIT + 1)
        if not data:
            words.append(address)
            return words
        words.append(data.partition(bytes(1))[0])
    words.append(0)
    return words


def _render_words(raw: list[bytes | int] | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    parts = [quoted(word) if isinstance(word, bytes) else f"{word:#x}" if word else "..." for word in raw]
    return f"[{', '.join(parts)}]"


WORDS = Argument(fetch=_fetch_words, render=_render_words)
"""argv of execve(2)."""
_MOST_VARIABLES = 1 << 16


def _fetch_count(read: Read, value: int, values: Values, result: int) -> int | None:
    """How many pointers there are before the NULL."""
    if not value:
        return None
    count = 0
    while count < _MOST_VARIABLES:
        table = read(value + 8 * count, 4096 - (value + 8 * count) % 4096)
        if len(table) < 8:
            return None
        for start in range(0, len(table) - 7, 8):
            if table[start : start + 8] == bytes(8):
                return count + start // 8
        count += len(table) // 8
    return count


VARIABLES = Argument(
    fetch=_fetch_count,
    render=lambda raw, value, values, result: (
        pointer(value) if raw is None else f"{value:#x} /* {raw} var{'' if raw == 1 else 's'} */"
    ),
)
"""envp: its values are nobody's business."""


_MEMORY = ("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap")


def _system(raw: bytes) -> str:
    uptime, *loads = struct.unpack_from("q3Q", raw)
    memory = ", ".join(
        f"{name}={value}" for name, value in zip(_MEMORY, struct.unpack_from("6Q", raw, 32), strict=True)
    )
    processes, high, free_high, unit = struct.unpack_from("H6xQQI", raw, 80)
    return (
        f"{{uptime={uptime}, loads={loads}, {memory}, procs={processes}, totalhigh={high}, "
        f"freehigh={free_high}, mem_unit={unit}}}"
    )


SYSTEM = record(112, _system, at="exit")


def _processors(raw: bytes) -> str:
    bits = int.from_bytes(raw, "little")
    return f"[{' '.join(str(at) for at in range(bits.bit_length()) if bits >> at & 1)}]"


AFFINITY_OUT = Argument(
    at="exit",
    fetch=lambda read, value, values, result: read(value, min(result, 1024)) if result > 0 else None,
    render=lambda raw, value, values, result: _processors(raw) if raw else pointer(value),
    narrow=True,
)
AFFINITY = Argument(
    fetch=lambda read, value, values, result: read(value, min(values[1], 1024)),
    render=lambda raw, value, values, result: _processors(raw) if raw else pointer(value),
    narrow=True,
)
"""Sets of processors."""
