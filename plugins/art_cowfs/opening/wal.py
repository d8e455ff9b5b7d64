"""The write-ahead log: it grows for as long as somebody reads an old state of the database.

Of ours only `art db check` of a large database does that for long. Another program can, with a transaction
that it leaves open. Nobody can make such a log smaller: what fills it waits, the longer the larger it is.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

import apsw

from art_cowfs.db.apsw_compat import BUSY, BUSY_MS
from art_cowfs.db.lock_holders import named, posix
from art_cowfs.db.transactions import changing
from art_cowfs.opening import log_owner

CHECKPOINT_AT = 64 << 20
SLOW_AT = 256 << 20
"""From so many bytes on what fills the log has to wait after each transaction."""
_WAIT_S, _TWICE_EACH = 0.25, 16 << 20
"""How long, and after how many bytes more twice as long."""
_LONGEST_S = 60.0
_EVERY_S = 0.5
_WRITE_LOCK, _READ_LOCKS = range(120, 121), range(123, 128)
"""Bytes of the shared memory that are locked by who writes and by who reads (SQLite's walformat.html)."""


def emptied(connection: apsw.Connection, mode: int = apsw.SQLITE_CHECKPOINT_TRUNCATE) -> bool:
    """Carry the log into the database, as far as that goes without waiting for anybody; whether all of it
    went. For one who has its turn to commit."""
    connection.set_busy_timeout(0)
    try:
        connection.wal_checkpoint(mode=mode)
    except BUSY:
        return False
    finally:
        connection.set_busy_timeout(BUSY_MS)
    return True


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

    def wait_s(self) -> float:
        """Empty the log where it is large; how long to wait where that could not be done. For the one who may
        commit."""
        size = self._size()
        if size <= CHECKPOINT_AT:
            return 0.0
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY_S
            self._empty()
            size = self._size()
            if size > SLOW_AT:
                self.readers.update(_having(self._path, _READ_LOCKS))
        if size <= SLOW_AT:
            return 0.0
        self.largest = max(self.largest, size)
        doublings = min((size - SLOW_AT) / _TWICE_EACH, 32)
        return min(_LONGEST_S, _WAIT_S * float(2**doublings))

    def _empty(self) -> None:
        """Killed at any moment, it leaves a database that says what log it has: see `log_owner`."""
        with changing(self._connection):
            log_owner.may_be_empty(self._connection, True)
        emptied(self._connection)
        with changing(self._connection):
            log_owner.may_be_empty(self._connection, False)
        emptied(self._connection, apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _size(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except FileNotFoundError:
            return 0

    def note(self) -> str:
        """What the user should know; empty where all was well."""
        if not self.largest:
            return ""
        by = ", ".join(sorted(self.readers)) or "another program"
        return (
            f"the database's log grew to {self.largest >> 20} MiB and writing was slowed: {by} kept "
            "reading an old state of the database"
        )


def writers(path: str) -> str:
    """Who keeps others from writing to a database, for a message."""
    return ", ".join(_having(path, _WRITE_LOCK)) or "another program"


def _having(path: str, places: range) -> list[str]:
    """Other processes that have one of these locks of the log. The file is not opened: closing it would drop
    SQLite's locks."""
    with suppress(OSError):
        return [named(pid) for pid in posix(os.stat(f"{path}-shm").st_ino, places)]
    return []
