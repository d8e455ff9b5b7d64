"""The connection to the kernel: requests are received, answered by operations, and answers are sent.

Waking a processor costs more than most requests do, in a virtual machine above all, and requests
come in rows: a program waits for one answer and asks the next thing. So the next one is looked for
for a moment before going to sleep. See fuse(4).
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from art_fusefs.protocol import (
    ANSWER,
    INVALIDATE_INODE,
    INVALIDATED,
    NAMES,
    REQUEST,
    REQUEST_LIMIT,
    UNANSWERED,
)
from art_fusefs.requests import Requests

if TYPE_CHECKING:
    from art_fusefs.operations import Operations

SPIN_S = 60e-6
"""How long to look before sleeping."""
_TURN_S = 1e-3
"""How long requests may flow before timers and other tasks get their turn."""
_MOST_TASKS = 64
_COPIED = 16 << 10
"""Up to so many bytes copying is cheaper than a second part of a write."""
_AGAIN = (errno.EAGAIN, errno.EINTR, errno.ENOENT)
_log = logging.getLogger("art.fusefs")


class Connection:
    """A mount, by the descriptor that serves it. Requests are answered by tasks, of which one at a time
    receives: the same one for as long as no request has to wait for something."""

    def __init__(self, fd: int) -> None:
        """Takes the descriptor; `close` closes it, which ends the mount."""
        self.fd = fd
        os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._task: Any = None
        """The one that receives; None while nobody does."""
        self._others = trio.lowlevel.ParkingLot()
        self._tasks = 0
        self._turn = 0.0
        self._buffer = bytearray(REQUEST_LIMIT)
        self._nursery: trio.Nursery | None = None
        self._operations: Operations[Any] | None = None

    async def serve(self, operations: Operations[Any]) -> None:
        """Answer requests until the file system is unmounted. Raises OSError."""
        self._operations = operations
        operations.connect(self._pass_on, self._forget_attributes, self._forget_pages)
        async with trio.open_nursery() as self._nursery:
            self._begin()

    def close(self) -> None:
        os.close(self.fd)

    def _pass_on(self) -> None:
        """The request of the calling task is going to wait: another task receives the next one."""
        if self._task is trio.lowlevel.current_task():
            self._task = None
            if self._others:
                self._others.unpark()
            elif self._tasks < _MOST_TASKS:
                self._begin()

    def _forget_attributes(self, ino: int) -> None:
        self._notify(INVALIDATE_INODE, INVALIDATED.pack(ino, -1, 0))

    async def _forget_pages(self, ino: int) -> None:
        """In a thread of its own: the kernel writes pages first, which are requests."""
        self._pass_on()
        ended, token = trio.Event(), trio.lowlevel.current_trio_token()

        def forget() -> None:
            self._notify(INVALIDATE_INODE, INVALIDATED.pack(ino, 0, 0))
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)

        threading.Thread(target=forget, name="forgetting", daemon=True).start()
        await ended.wait()

    def _notify(self, kind: int, body: bytes) -> None:
        with suppress(OSError):  # ENOENT: the kernel knows nothing of it.
            os.write(self.fd, ANSWER.pack(ANSWER.size + len(body), kind, 0) + body)

    def _begin(self) -> None:
        assert self._nursery is not None
        self._tasks += 1
        self._nursery.start_soon(self._run)

    def _is_readable(self) -> bool:
        """Look for a request for a moment."""
        poll, clock = self._poll.poll, time.perf_counter
        until = clock() + SPIN_S
        while clock() < until:
            if poll(0):
                return True
        return False

    async def _wait(self, task: trio.lowlevel.Task) -> None:
        """Return when a request can be received, by the calling task."""
        while self._task not in (None, task):
            await self._others.park()
        self._task = task
        if time.perf_counter() - self._turn > _TURN_S:
            await trio.lowlevel.checkpoint()
            self._turn = time.perf_counter()
        if not self._is_readable():
            await trio.lowlevel.wait_readable(self.fd)
            self._turn = time.perf_counter()

    async def _run(self) -> None:
        assert self._nursery is not None and self._operations is not None
        operations, handlers = self._operations, Requests(self._operations).handlers
        task = trio.lowlevel.current_task()
        counts, settle = operations.requests, operations.settle
        buffer, view = self._buffer, memoryview(self._buffer)
        while True:
            await self._wait(task)
            try:
                length = os.readv(self.fd, (buffer,))
            except OSError as error:
                if error.errno in _AGAIN:
                    continue
                if error.errno != errno.ENODEV:
                    raise
                self._nursery.cancel_scope.cancel()  # It was unmounted.
                return
            _, opcode, unique, ino = REQUEST.unpack_from(buffer)
            handler = handlers.get(opcode)
            if handler is None:
                self._send(ANSWER.pack(ANSWER.size, -errno.ENOSYS, unique), b"")
                continue
            body = bytes(view[REQUEST.size : length])
            counts[NAMES[opcode]] += 1
            answer, failure = b"", 0
            try:
                answer = await handler(ino, body) or b""
            except OSError as error:
                failure = error.errno or errno.EIO
            except Exception:
                _log.exception("%s failed", NAMES[opcode])
                failure = errno.EIO
            finally:
                settle()
            if opcode not in UNANSWERED:
                self._send(ANSWER.pack(ANSWER.size + len(answer), -failure, unique), answer)

    def _send(self, head: bytes, answer: bytes) -> None:
        try:
            if len(answer) < _COPIED:
                os.write(self.fd, head + answer)
            else:
                os.writev(self.fd, (head, answer))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # Else nobody waits for it any more.
                raise
