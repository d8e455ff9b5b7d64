"""Telling the kernel that what it remembers is not right any more.

From a thread of its own: the kernel waits there for requests in flight on the same directory or
page, and these wait for the thread that answers requests.

Sources: fuse(4), include/uapi/linux/fuse.h, and `fuse_reverse_inval_entry`, `fuse_reverse_inval_inode`
and `fuse_dentry_revalidate` of the kernel for what is in order with what.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable

from art_fusefs.backend import InodeChanged, NameChanged, Notice
from art_fusefs.protocol import (
    ANSWER,
    EXPIRE_ONLY,
    INVALIDATE_INODE,
    INVALIDATE_NAME,
    INVALIDATED,
    INVALIDATED_NAME,
)

_NO_NAME = b"/"
_AGAIN_S = 0.3


class Invalidation:
    """Writes notices to the connection `fd`. One that the kernel has nothing for costs a system call."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._queue: queue.SimpleQueue[Iterable[Notice]] = queue.SimpleQueue()
        self._again: deque[tuple[float, NameChanged]] = deque()
        self._thread: threading.Thread | None = None
        self._ended = False

    def tell(self, notices: Iterable[Notice]) -> None:
        """See `backend.Tell`. The thread begins with the first notice."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="invalidation", daemon=True)
            self._thread.start()
        self._queue.put(notices)

    def close(self, timeout_s: float) -> bool:
        """End the thread; False when the kernel keeps it longer than that."""
        self._ended = True
        if self._thread is None:
            return True
        self._queue.put(())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ended:
            for notice in self._next():
                if self._ended:
                    return
                if isinstance(notice, InodeChanged):
                    self._inode(notice)
                else:
                    self._name(notice)
                    if notice.stays:
                        # A request that was answered before may set the entry's time after this.
                        self._again.append((time.monotonic() + _AGAIN_S, notice))
            while self._again and self._again[0][0] <= time.monotonic():
                self._name(self._again.popleft()[1])

    def _next(self) -> Iterable[Notice]:
        wait_s = max(0.0, self._again[0][0] - time.monotonic()) if self._again else None
        try:
            return self._queue.get(timeout=wait_s)
        except queue.Empty:
            return ()

    def _send(self, kind: int, body: bytes) -> bool:
        try:
            os.write(self._fd, ANSWER.pack(ANSWER.size + len(body), kind, 0) + body)
        except OSError:  # ENOENT: nothing is known of it. Others: the file system is going away.
            return False
        return True

    def _name(self, notice: NameChanged) -> None:
        flags = EXPIRE_ONLY if notice.stays else 0
        head = INVALIDATED_NAME.pack(notice.directory, len(notice.name), flags)
        self._send(INVALIDATE_NAME, head + notice.name + b"\0")

    def _inode(self, notice: InodeChanged) -> None:
        body = INVALIDATED.pack(notice.ino, 0, 0)
        if not self._send(INVALIDATE_INODE, body):
            # It may be becoming known by an answer that was sent before: wait for what is in flight
            # on the directory, which a notice on any name does.
            self._name(NameChanged(notice.directory, _NO_NAME))
            self._send(INVALIDATE_INODE, body)
