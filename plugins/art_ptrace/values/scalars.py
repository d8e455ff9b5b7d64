"""Arguments that are numbers: how each kind is written, as strace(1) writes it.

A kind is a function from the argument's 64-bit value to its text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from art_ptrace.values import constants, file_constants, network_constants, process_constants
from art_ptrace.values.constants import Names

Show = Callable[[int], str]
_MEMO = 4096
"""Values that a kind of flags remembers: a program decides which it uses."""


def unsigned(value: int) -> str:
    return str(value)


def unsigned32(value: int) -> str:
    return str(value & 0xFFFFFFFF)


def signed(value: int) -> str:
    return str(value if value < 1 << 63 else value - (1 << 64))


def int32(value: int) -> int:
    """The C int in the low half of an argument."""
    value &= 0xFFFFFFFF
    return value if value < 1 << 31 else value - (1 << 32)


def signed32(value: int) -> str:
    return str(int32(value))


def pointer(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def hexadecimal(value: int) -> str:
    return f"{value:#x}" if value else "0"


def octal(value: int) -> str:
    value &= 0xFFFFFFFF
    return f"0{value:o}" if value else "0"


def mode(value: int) -> str:
    """Permission bits, at least three digits."""
    return f"0{value & 0xFFFFFFFF:03o}"


def directory(value: int) -> str:
    """A descriptor that a path is relative to."""
    number = int32(value)
    return "AT_FDCWD" if number == -100 else str(number)


def owner(value: int) -> str:
    """A uid or gid, of which -1 leaves it as it is."""
    return str(int32(value)) if int32(value) == -1 else str(value & 0xFFFFFFFF)


def named_bits(value: int, names: Names) -> tuple[list[str], int]:
    """The names of the bits that are set, and what has no name."""
    found = []
    for bits, name in names.items():
        if value & bits == bits:
            found.append(name)
            value &= ~bits
    return found, value


def flags(names: Names, *, rest: str = "", zero: str = "0") -> Show:
    """Bits with names, joined by a bar; what has no name is added in hexadecimal."""

    @lru_cache(_MEMO)
    def show(value: int) -> str:
        value &= 0xFFFFFFFF
        if not value:
            return zero
        parts, left = named_bits(value, names)
        if left:
            parts.append(f"{left:#x}" if parts or not rest else f"{left:#x} /* {rest} */")
        return "|".join(parts)

    return show


def choice(names: Names, unknown: str = "") -> Show:
    """One of several named values."""
    comment = f" /* {unknown} */" if unknown else ""

    def show(value: int) -> str:
        number = int32(value)
        return names.get(number) or names.get(value & 0xFFFFFFFF) or f"{value & 0xFFFFFFFF:#x}{comment}"

    return show


@lru_cache(_MEMO)
def open_flags(value: int) -> str:
    value &= 0xFFFFFFFF
    parts = [file_constants.ACCESS_MODES[value & 3]]
    left = value & ~3
    temporary = file_constants.O_TMPFILE | file_constants.O_DIRECTORY
    if left & temporary == temporary:
        left &= ~temporary
        parts.append("O_TMPFILE")
    named, left = named_bits(left, file_constants.OPEN_FLAGS)
    parts += named
    if left:
        parts.append(f"{left:#x}")
    return "|".join(parts)


@lru_cache(_MEMO)
def clone_flags(value: int) -> str:
    named = [name for bits, name in process_constants.CLONE_FLAGS.items() if value & bits]
    number = value & 0xFF
    if number:
        named.append(constants.SIGNALS.get(number, str(number)))
    return "|".join(named) or "0"


@lru_cache(_MEMO)
def map_flags(value: int) -> str:
    value &= 0xFFFFFFFF
    kind = process_constants.MAP_KINDS.get(value & 3)
    named, left = named_bits(value & ~3 if kind else value, process_constants.MAP_FLAGS)
    parts = [kind, *named] if kind else named
    if left or not parts:
        parts.append(f"{left:#x}")
    return "|".join(parts)


@lru_cache(_MEMO)
def socket_kind(value: int) -> str:
    value &= 0xFFFFFFFF
    named, left = named_bits(value & ~0xF, network_constants.SOCKET_FLAGS)
    parts = [network_constants.SOCKET_KINDS.get(value & 0xF, f"{value & 0xF:#x}"), *named]
    if left:
        parts.append(f"{left:#x}")
    return "|".join(parts)


@lru_cache(_MEMO)
def file_mode(value: int) -> str:
    """st_mode, with the kind of the file."""
    kind = file_constants.FILE_KINDS.get(value & 0o170000)
    special = "".join(
        f"|{name}"
        for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))
        if value & bit
    )
    return f"{kind}{special}|{mode(value & 0o777)}" if kind else f"0{value & 0o177777:o}"


def node_mode(value: int) -> str:
    return file_mode(value & 0xFFFF)


def signal_number(value: int) -> str:
    number = int32(value)
    return constants.SIGNALS.get(number, str(number))


def futex_operation(value: int) -> str:
    number = value & 0xFFFFFFFF
    name = process_constants.FUTEX.get(number & 0x7F, f"{number & 0x7F:#x}")
    private = "_PRIVATE" if number & 0x80 else ""
    return f"{name}{private}{'|FUTEX_CLOCK_REALTIME' if number & 0x100 else ''}"


def access_mode(value: int) -> str:
    return _access(value) if value & 0xFFFFFFFF else "F_OK"


def device(value: int) -> str:
    """A device number, as makedev(3) takes it apart."""
    major = (value >> 8 & 0xFFF) | (value >> 32 & ~0xFFF)
    return f"makedev({major:#x}, {(value & 0xFF) | (value >> 12 & ~0xFF & 0xFFFFFFFF):#x})"


_access = flags({4: "R_OK", 2: "W_OK", 1: "X_OK"})
