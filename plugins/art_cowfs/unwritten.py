"""Reading a database to which nothing can be written: its disk is full, or its directory is read-only.

SQLite keeps an index of the log beside the database, which needs room and permission. Where there is no log,
the file alone is read. Where there is one, and nobody has the database, the index is kept in memory, as
SQLite does for one who has locked the database for himself (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from art_cowfs import belonging
from art_cowfs.connection import Connection

ROOM = 64 << 10
"""Bytes that a disk has to have for a database to be opened for writing: the index, and a page of the log."""
ERRORS = (apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.ReadOnlyError)
READ_ONLY = "it is read-only; make it and its directory writable"
NO_ROOM = (
    "there is no space left on its disk, and what writes needs some; free some. What only reads works as it "
    "is: `art status`, `art diff`, `art fs`, `art db export`"
)
_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def is_told_by(error: BaseException) -> bool:
    """Whether an error can mean that nothing can be written."""
    return isinstance(error, ERRORS) or (isinstance(error, OSError) and error.errno in _NUMBERS)


def is_full(path: str) -> bool:
    """Whether the disk of a database has no room left."""
    with suppress(OSError):
        disk = os.statvfs(os.path.dirname(path) or "/")
        return disk.f_bavail * disk.f_frsize < ROOM
    return False


def why(path: str, error: OSError) -> str:
    """What is wrong where a file beside a database could not be written."""
    if is_full(path):
        return NO_ROOM
    return READ_ONLY if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else str(error.strerror)


def leaves_nothing(path: str) -> bool:
    """Whether SQLite would make files beside a database that its owner could not use, and nobody needs. A
    connection that is opened then takes no locks, so it may be closed beside others."""
    beside = (f"{path}-wal", f"{path}-shm")
    return not os.access(path, os.W_OK) and not any(map(os.path.exists, beside))


def opened(path: str) -> Connection:
    """A connection that only reads and writes nothing beside the file. For a process that has no other one to
    it. Raises apsw.Error."""
    if not belonging.has_log(path):
        return belonging.alone(path)
    connection = Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.keeps_log = True
        connection.pragma("locking_mode", "exclusive")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def of_one_moment(connection: apsw.Connection) -> Iterator[None]:
    """What is read does not change meanwhile, whoever writes, until it is closed."""
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM meta").fetchall()
    try:
        yield
    finally:
        with suppress(apsw.ConnectionClosedError):
            connection.execute("ROLLBACK")
