"""What is known of one system call: its name, what to fetch of it when, and how to write it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache

from art_ptrace import constants, numbers, prototypes, scalars
from art_ptrace.arguments import PATH, Argument, Read, number
from art_ptrace.scalars import pointer
from art_ptrace.structures import polling

_RAW = number(scalars.hexadecimal)
_NUMBER, _POINTER = number(scalars.signed), number(scalars.pointer)
_MASK = (1 << 64) - 1
_X86_OR_ARM = "aarch64" if os.uname().machine == "aarch64" else "x86_64"
_POLLS = frozenset({"poll", "ppoll"})


class Call:
    """One system call of one architecture."""

    __slots__ = ("_arguments", "at_entry", "at_exit", "hex_result", "name", "never_returns", "width", "wraps")

    def __init__(self, name: str, arguments: Sequence[Argument], *, narrow: bool) -> None:
        self.name = name
        self._arguments = arguments
        self.width = len(arguments)
        fetches = [(at, argument) for at, argument in enumerate(arguments) if argument.fetch is not None]
        self.at_entry = tuple((at, argument.fetch) for at, argument in fetches if argument.at == "entry")
        self.at_exit = tuple((at, argument.fetch) for at, argument in fetches if argument.at == "exit")
        if name in _POLLS and not narrow:
            self.at_exit = (*self.at_exit, (-1, _fetch_polled))
        if name == "clone" and not narrow:
            self.at_exit = ((_PARENT_TID, _fetch_tid),)
        self.hex_result = name in prototypes.HEX_RESULT
        self.never_returns = name in prototypes.NEVER_RETURN
        self.wraps = narrow

    def fetch_entry(self, read: Read, values: Sequence[int]) -> dict[int, object]:
        """What stands in memory when the call begins. Only while the program stands still."""
        return {at: fetch(read, values[at], values, 0) for at, fetch in self.at_entry if fetch is not None}

    def fetch_exit(
        self, read: Read, values: Sequence[int], result: int, found: dict[int, object] | None
    ) -> dict[int, object]:
        """What the call has filled, added to what was `found` at its beginning."""
        more = {
            at: fetch(read, values[at], values, result) for at, fetch in self.at_exit if fetch is not None
        }
        return {**found, **more} if found else more

    def arguments(
        self, values: Sequence[int], found: dict[int, object] | None, result: int | None
    ) -> list[str]:
        """The arguments as text; `result` is None for a call that did not end."""
        if self.name == "clone" and not self.wraps:
            return _clone(values, found)
        parts = []
        for at, argument in enumerate(self._arguments):
            value = values[at]
            if argument.show is not None:
                parts.append(argument.show(value))
            elif argument.render is not None:
                raw = found.get(at) if found else None
                text = argument.render(raw, value, values, result)
                if text is None:
                    break
                parts.append(text)
        if self.name == "futex":
            parts += _futex_rest(values, None)
        return parts

    def result(self, values: Sequence[int], result: int, found: dict[int, object] | None) -> str:
        """The result as it stands after the equals sign."""
        if -4096 < result < 0:
            name = constants.ERRNO.get(-result)
            if -result in constants.RESTARTS:
                return f"? {name} ({constants.RESTARTS[-result]})"
            return f"-1 {name or f'E{-result}'} ({os.strerror(-result)})"
        if self.hex_result:
            return f"{result & _MASK:#x}" if result else "NULL" if self.name == "mremap" else "0"
        if self.name == "umask":
            return scalars.octal(result)
        if self.name == "fcntl" and result:
            return _fcntl_result(values[1] & 0xFFFFFFFF, result)
        if self.name in _POLLS and found:
            if result == 0:
                return "0 (Timeout)"
            answers = found.get(-1)
            if isinstance(answers, bytes) and answers:
                return f"{result} ({polling.polled(answers)})"
        return str(result)


def _fetch_polled(read: Read, value: int, values: Sequence[int], result: int) -> bytes:
    return read(values[0], 8 * min(values[1], 32)) if result > 0 else b""


def _fcntl_result(command: int, result: int) -> str:
    if command == 1:
        return f"{result:#x} (flags FD_CLOEXEC)" if result == 1 else str(result)
    return f"{result:#x} (flags {scalars.open_flags(result)})" if command == 3 else str(result)


_PARENT_TID = 2


def _fetch_tid(read: Read, value: int, values: Sequence[int], result: int) -> bytes | None:
    """The new thread's id, as it stands in its parent's memory."""
    return read(value, 4) if values[0] & 0x00100000 and result > 0 else None


def _clone(values: Sequence[int], found: dict[int, object] | None) -> list[str]:
    parts = [f"child_stack={pointer(values[1])}", f"flags={scalars.clone_flags(values[0])}"]
    places = prototypes.CLONE_ORDER[_X86_OR_ARM]
    for place, (name, bits) in zip(places, prototypes.NEW_PROCESS_FIELDS, strict=True):
        if values[0] & bits:
            raw = found.get(place) if found else None
            shown = pointer(values[place])
            if isinstance(raw, bytes) and len(raw) == 4:
                shown = f"[{int.from_bytes(raw, 'little')}]"
            parts.append(f"{name}={shown}")
    return parts


_FUTEX_TIMED, _FUTEX_BITS, _FUTEX_TWO = (0, 6, 9, 11, 13), (9, 10), (3, 4, 5, 12)


def _futex_rest(values: Sequence[int], timeout: object) -> list[str]:
    operation = values[1] & 0x7F
    parts = []
    if operation in _FUTEX_TWO:
        parts += [scalars.unsigned(values[3]), pointer(values[4])]
        if operation != 3:
            parts.append(scalars.hexadecimal(values[5]) if operation == 5 else scalars.unsigned32(values[5]))
    elif operation in _FUTEX_TIMED:
        parts.append(pointer(values[3]))
    if operation in _FUTEX_BITS:
        parts.append("FUTEX_BITSET_MATCH_ANY" if values[5] & 0xFFFFFFFF == 0xFFFFFFFF else f"{values[5]:#x}")
    return parts


def _by_library(name: str) -> tuple[Argument, ...] | None:
    """The arguments by python-ptrace's prototype of a call."""
    from ptrace.syscall.prototypes import FILENAME_ARGUMENTS, SYSCALL_PROTOTYPES

    if name not in SYSCALL_PROTOTYPES:
        return None
    found = []
    for kind, argument in SYSCALL_PROTOTYPES[name][1]:
        if kind == "const char *" and argument in FILENAME_ARGUMENTS:
            found.append(PATH)
        else:
            found.append(_POINTER if kind.endswith("*") else _NUMBER)
    return tuple(found)


@cache
def call(architecture: int, at: int) -> Call:
    """The call of that number. Pointers to what has another layout in a program with 32-bit words, or
    x32's, are written as addresses."""
    name = numbers.name_of(architecture, at)
    narrow = architecture in numbers.NARROW or (architecture == numbers.X86_64 and at >= 1 << 30)
    arguments = prototypes.ARGUMENTS.get(name)
    if narrow and arguments is not None:
        arguments = tuple(argument if argument.narrow else _POINTER for argument in arguments)
    if arguments is None:
        arguments = _by_library(name)
    return Call(name, (_RAW,) * 6 if arguments is None else arguments, narrow=narrow)
