"""Relaying between the caller's streams and the command's, byte for byte.

The command never gets a caller's descriptor: `/proc/self/fd/0` would reopen a file that is
read-only inside. Data moves with splice(2) where both ends allow it, by copying where not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from collections.abc import Callable
from typing import Protocol

CHUNK = 1 << 20
PIPE_SIZE = 1 << 20
_COPY = 1 << 16
_RECHECK_MS = 500


def pipe() -> tuple[int, int]:
    """A pipe, enlarged where the system lets us."""
    import fcntl

    read, write = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return read, write


class Channel:
    """One direction: from `source` to `sink` until the end of either.

    `owned` names the ends that are closed as soon as they have no more use, which tells the
    command. `watch` sees every byte, `change` gives what is written instead (both make the channel
    copy). A caller's descriptor is never switched to non-blocking mode: its open file is shared with
    other programs.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        *,
        owned: tuple[int, ...],
        watch: Callable[[bytes], None] | None = None,
        change: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.source = source
        self.sink = sink
        self.open = True
        self.paused = False
        self._owned = owned
        self._watch = watch
        self._change = change
        self._splices = watch is None and change is None
        self._pending = memoryview(b"")
        self._awaits_sink = False
        # No more than poll(2) promises a pipe, where a caller's descriptor would block on more.
        whole = sink in owned or stat.S_ISREG(os.fstat(sink).st_mode)
        self._limit = _COPY if whole else select.PIPE_BUF
        for end in owned:
            os.set_blocking(end, False)

    def wants(self) -> tuple[int, int] | None:
        """The descriptor and the poll(2) events that it waits for; None for none now."""
        if not self.open or self.paused:
            return None
        if self._pending or self._awaits_sink:
            return self.sink, select.POLLOUT
        return self.source, select.POLLIN

    def move(self) -> None:
        """Move what can be moved without waiting."""
        try:
            if self._splices:
                self._splice()
            else:
                self._copy()
        except BlockingIOError:
            # The end that was ready is; the other one is not.
            self._awaits_sink = not self._awaits_sink
        except OSError as error:
            if self._splices and error.errno in (errno.EINVAL, errno.ENOSYS):
                self._splices = False
                self._awaits_sink = False
            else:  # EPIPE: nobody reads; EIO: the other side of a PTY is closed
                self.close()

    def _splice(self) -> None:
        moved = os.splice(self.source, self.sink, CHUNK, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        self._awaits_sink = False
        if moved == 0:
            self.close()

    def _copy(self) -> None:
        if not self._pending:
            data = os.read(self.source, _COPY)
            if not data:
                self.close()
                return
            if self._watch is not None:
                self._watch(data)
            self._pending = memoryview(data if self._change is None else self._change(data))
        self._pending = self._pending[os.write(self.sink, self._pending[: self._limit]) :]
        self._awaits_sink = False

    def close(self) -> None:
        self.open = False
        for end in self._owned:
            os.close(end)
        self._owned = ()


class News(Protocol):
    """What comes in from elsewhere while the command runs."""

    def fileno(self) -> int:
        """Readable when there is something; -1 when nothing will come any more."""

    def look(self) -> None:
        """Take it, without waiting."""


class Relay:
    """Moves bytes over all channels until the outputs end and the launcher has answered."""

    def __init__(self, inputs: list[Channel], outputs: list[Channel]) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.signals_fd = -1
        """Readable when a signal came; -1 where none is waited for."""

    def run(
        self,
        finished_fd: int,
        *,
        deadline: float | None = None,
        before_wait: Callable[[], None] | None = None,
        news: News | None = None,
    ) -> bool:
        """Relay until `finished_fd` is readable and every output has ended; take `news` meanwhile.

        `deadline` is a time.monotonic() value; returns False when it passed first.
        """
        finished = False
        while not finished or any(channel.open for channel in self.outputs):
            if before_wait is not None:
                before_wait()
            channels = self.outputs if finished else [*self.inputs, *self.outputs]
            waiting: dict[int, list[Channel]] = {}
            events = {} if finished else {finished_fd: select.POLLIN}
            for channel in channels:
                wants = channel.wants()
                if wants is not None:
                    waiting.setdefault(wants[0], []).append(channel)
                    events[wants[0]] = events.get(wants[0], 0) | wants[1]
            if news is not None and (news_fd := news.fileno()) >= 0:
                events[news_fd] = select.POLLIN
            if self.signals_fd >= 0:
                events[self.signals_fd] = select.POLLIN
            poll = select.poll()
            for fd, event in events.items():
                poll.register(fd, event)
            for fd, ready in poll.poll(self._patience(deadline)):
                finished = finished or fd == finished_fd
                if fd == self.signals_fd:
                    os.read(fd, CHUNK)
                if news is not None and fd == news.fileno():
                    news.look()
                for channel in waiting.get(fd, ()):
                    if ready & select.POLLNVAL:
                        channel.close()
                    elif channel.open:
                        channel.move()
            if deadline is not None and not finished and time.monotonic() >= deadline:
                return False
        return True

    def _patience(self, deadline: float | None) -> float | None:
        """Milliseconds that poll(2) may wait."""
        waits = [_RECHECK_MS] if any(channel.paused for channel in self.inputs) else []
        if deadline is not None:
            waits.append(max(0, int((deadline - time.monotonic()) * 1000) + 1))
        return min(waits, default=None)

    def close(self) -> None:
        for channel in (*self.inputs, *self.outputs):
            if channel.open:
                channel.close()
