"""What stands after the equals sign."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from art_ptrace.structures import poll_sets
from art_ptrace.syscalls import prctl
from art_ptrace.values import constants, scalars
from art_ptrace.values.arguments import Read, Values

_MASK = (1 << 64) - 1
RESULT = -1
"""Where what belongs to a result stands in `found`."""


@cache
def failure(result: int) -> str:
    """A result between -4095 and -1: an errno."""
    name = constants.ERRNO.get(-result)
    if -result in constants.RESTARTS:
        return f"? {name} ({constants.RESTARTS[-result]})"
    return f"-1 {name or f'E{-result}'} ({os.strerror(-result)})"


def _plain(values: Values, result: int, found: object) -> str:
    return failure(result) if -4096 < result < 0 else str(result)


class Result(NamedTuple):
    """How a result is written, and what has to be fetched for that when the call ended."""

    show: Callable[[Values, int, Any], str]
    fetch: Callable[[Read, int, Values, int], Any] | None = None
    narrow: bool = True
    """It is the same in a program with 32-bit words."""


def _succeeded(show: Callable[[Values, int, Any], str]) -> Callable[[Values, int, Any], str]:
    """`show`, for calls that did not fail."""
    return lambda values, result, found: (
        failure(result) if -4096 < result < 0 else show(values, result, found)
    )


def _fcntl(values: Values, result: int, found: object) -> str:
    command = values[1] & 0xFFFFFFFF
    if command == 1 and result == 1:
        return "0x1 (flags FD_CLOEXEC)"
    return f"{result:#x} (flags {scalars.open_flags(result)})" if command == 3 else str(result)


def _polled(values: Values, result: int, found: Mapping[int, bytes]) -> str:
    if not result:
        return "0 (Timeout)"
    answers = found.get(RESULT)
    return f"{result} ({poll_sets.polled(answers)})" if answers else str(result)


def _fetch_polled(read: Read, value: int, values: Values, result: int) -> bytes:
    return read(values[0], 8 * min(values[1], 32)) if result > 0 else b""


PLAIN = Result(_plain)
_ADDRESS = Result(_succeeded(lambda values, result, found: scalars.hexadecimal(result & _MASK)))
_NEW_ADDRESS = Result(_succeeded(lambda values, result, found: scalars.pointer(result & _MASK)))
_POLLED = Result(_succeeded(_polled), _fetch_polled, narrow=False)
RESULTS: Mapping[str, Result] = {
    "brk": _ADDRESS,
    "mmap": _ADDRESS,
    "shmat": _ADDRESS,
    "mremap": _NEW_ADDRESS,
    "umask": Result(_succeeded(lambda values, result, found: scalars.octal(result))),
    "fcntl": Result(_succeeded(_fcntl)),
    "prctl": Result(_succeeded(prctl.result)),
    "poll": _POLLED,
    "ppoll": _POLLED,
}
"""By the name of the call, where it is no number."""
