"""Times, as strace(1) writes them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from art_ptrace.values.arguments import Argument, Read, Values, record
from art_ptrace.values.scalars import pointer


def timespec(raw: bytes) -> str:
    seconds, nanoseconds = struct.unpack("qq", raw[:16])
    return f"{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"


def timeval(raw: bytes) -> str:
    seconds, microseconds = struct.unpack("qq", raw[:16])
    return f"{{tv_sec={seconds}, tv_usec={microseconds}}}"


def _file_time(raw: bytes) -> str:
    nanoseconds = struct.unpack("qq", raw)[1]
    return {0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}.get(nanoseconds) or timespec(raw)


def _timer(write: Callable[[bytes], str]) -> Callable[[bytes], str]:
    return lambda raw: f"{{it_interval={write(raw[:16])}, it_value={write(raw[16:32])}}}"


TIMESPEC = record(16, timespec)
TIMESPEC_OUT = record(16, timespec, at="exit")
TIMEVAL = record(16, timeval)
TIMEVAL_OUT = record(16, timeval, at="exit")
FILE_TIMES = record(32, lambda raw: f"[{_file_time(raw[:16])}, {_file_time(raw[16:])}]")
TIMEVALS = record(32, lambda raw: f"[{timeval(raw[:16])}, {timeval(raw[16:])}]")
ITIMERSPEC = record(32, _timer(timespec))
ITIMERSPEC_OUT = record(32, _timer(timespec), at="exit")
ITIMERVAL = record(32, _timer(timeval))
ITIMERVAL_OUT = record(32, _timer(timeval), at="exit")


def _unslept(read: Read, value: int, values: Values, result: int) -> bytes | None:
    """What is left to sleep, which is only written when a signal came."""
    return read(value, 16) if value and result in (-4, -516) else None


UNSLEPT = Argument(
    at="exit",
    fetch=_unslept,
    render=lambda raw, value, values, result: timespec(raw) if raw and len(raw) == 16 else pointer(value),
)
