"""Where the record goes: whole lines, in few writes."""

from __future__ import annotations

import contextlib
import os
import stat

_BATCH = 64 * 1024
"""Bytes that are written at once."""


class RecordFailed(OSError):
    """The record cannot be written; it holds whole lines up to there."""


class Output:
    """Lines on their way to a descriptor. They are kept only while more come at once: the tracer calls
    `flush` before it waits."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[str] = []
        self._size = 0
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def write(self, line: str) -> None:
        """Add a line, given with its end."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BATCH:
            self.flush()

    def flush(self) -> None:
        """Raises RecordFailed. Who reads a pipe may go away: then nobody wants the record any more."""
        if not self._lines:
            return
        data = "".join(self._lines).encode("utf-8", "surrogateescape")
        self._lines.clear()
        self._size = 0
        view = memoryview(data)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, view[written:])
        except BrokenPipeError:
            return
        except OSError as error:
            self._cut(data[:written])
            raise RecordFailed(error.errno, f"the trace log cannot be written: {error.strerror}") from None

    def _cut(self, written: bytes) -> None:
        """Take away the part of a line that was written, where that can be done."""
        part = len(written) - (written.rfind(b"\n") + 1)
        if part and self._regular:
            with contextlib.suppress(OSError):
                end = os.fstat(self._fd).st_size
                os.ftruncate(self._fd, end - part)
