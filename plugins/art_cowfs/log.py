"""The write-ahead log: it grows for as long as somebody reads an old state of the database.

Readers of ours never do that for long. Another program can, with a transaction that it leaves open.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import apsw

CHECKPOINT_AT = 64 << 20
SLOW_AT = 256 << 20
"""From so many bytes on what fills the log has to wait."""
WAIT_S = 0.25
_EVERY_S = 0.5
_BUSY_MS = 5000
_READ_LOCKS = range(123, 128)
"""Bytes of the shared memory that a reader locks (SQLite's walformat.html)."""


class Log:
    """The log of one database, seen by one who writes to it."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._next = 0.0
        self.largest = 0
        """Bytes, where it got too large."""
        self.readers: set[str] = set()
        """Who kept it from getting smaller then."""

    def is_too_large(self) -> bool:
        """Empty the log where it is large; whether it could not be done. For the one who may commit."""
        size = self._size()
        if size <= CHECKPOINT_AT:
            return False
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            self._checkpoint()
            size = self._size()
            if size > SLOW_AT:
                self.readers.update(_readers(f"{self._path}-shm"))
        if size <= SLOW_AT:
            return False
        self.largest = max(self.largest, size)
        return True

    def _size(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            return 0

    def _checkpoint(self) -> None:
        self._connection.set_busy_timeout(0)
        try:
            with suppress(apsw.BusyError):
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            self._connection.set_busy_timeout(_BUSY_MS)

    def note(self) -> str:
        """What the user should know; empty where all was well."""
        if not self.largest:
            return ""
        by = ", ".join(sorted(self.readers)) or "another program"
        return (
            f"the database's log grew to {self.largest >> 20} MiB and writing was slowed: {by} kept "
            "reading an old state of the database"
        )


def _readers(path: str) -> set[str]:
    """Processes that read the database, by their locks (proc_locks(5)). The file is not opened: closing
    it would drop SQLite's locks."""
    found = set()
    with suppress(OSError):
        inode = str(os.stat(path).st_ino)
        with open("/proc/locks", encoding="ascii") as file:
            for line in file:
                words = line.split()
                kind, pid, place, first = words[1], words[-4], words[-3], words[-2]
                ours = pid == str(os.getpid()) or kind != "POSIX"
                if not ours and place.rpartition(":")[2] == inode and int(first) in _READ_LOCKS:
                    found.add(f"process {pid} ({_name(pid)})")
    return found


def _name(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            return file.read().strip()
    except OSError:
        return "ended"
