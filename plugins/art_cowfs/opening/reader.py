"""Reading a database to which nothing can be written: its disk is full, or its directory is read-only.

SQLite keeps an index of the log beside the database, which needs room and permission. Where there is no log,
the file alone is read. Where there is one, and nobody has the database, the index is kept in memory, as
SQLite does for one who has locked the database for himself (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from art_cowfs.db.apsw_compat import Connection
from art_cowfs.opening import log_owner


def leaves_nothing(path: str) -> bool:
    """Whether SQLite would make files beside a database that its owner could not use, and nobody needs. A
    connection that is opened then takes no locks, so it may be closed beside others."""
    beside = (f"{path}-wal", f"{path}-shm")
    return not os.access(path, os.W_OK) and not any(map(os.path.exists, beside))


def opened(path: str) -> Connection:
    """A connection that only reads and writes nothing beside the file. For a process that has no other one to
    it. Raises apsw.Error."""
    if not log_owner.has_log(path):
        return log_owner.alone(path)
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
