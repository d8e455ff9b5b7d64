"""Where the record goes: whole lines, in few writes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat

_BATCH = 64 * 1024
"""Characters that are written at once."""
_DELAY_S = 0.05


class RecordFailed(OSError):
    """The record cannot be written; it holds whole lines up to there."""


class Output:
    """Lines on their way to a descriptor, in the order of `write`. They wait for more to come, but no
    longer than `_DELAY_S`: a timer (SIGALRM, setitimer(2)) interrupts the tracer's wait."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[str] = []
        self._size = 0
        self._flushing = False
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)
        signal.signal(signal.SIGALRM, lambda number, frame: self.flush())

    def write(self, line: str) -> None:
        """Add a line, given with its end."""
        if not self._lines:
            signal.setitimer(signal.ITIMER_REAL, _DELAY_S)
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BATCH:
            self.flush()

    def flush(self) -> None:
        """Raises RecordFailed."""
        if self._flushing:  # By the timer, in the middle of this function.
            return
        self._flushing = True
        lines, self._lines, self._size = self._lines, [], 0
        data = "".join(lines).encode("utf-8", "surrogateescape")
        view = memoryview(data)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, view[written:])
        except OSError as error:
            self._cut(data[:written])
            why = "nobody reads it any more" if error.errno == errno.EPIPE else error.strerror
            raise RecordFailed(error.errno, f"the trace log cannot be written: {why}") from None
        finally:
            self._flushing = False

    def _cut(self, written: bytes) -> None:
        """Take away the part of a line that was written, where that can be done."""
        part = len(written) - (written.rfind(b"\n") + 1)
        if part and self._regular:
            with contextlib.suppress(OSError):
                end = os.fstat(self._fd).st_size
                os.ftruncate(self._fd, end - part)
