"""Transactions and rows: one that may write, all rows of a statement, and what a failure is for a program."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from art_cowfs.db.apsw_compat import BUSY, Connection


@contextmanager
def changing(connection: apsw.Connection) -> Iterator[None]:
    """One transaction that may write from its first statement on."""
    if isinstance(connection, Connection) and connection.before_first is not None:
        before, connection.before_first = connection.before_first, None
        before()
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def limited() -> str:
    """Why a file cannot be written although there is space, empty where nothing is known."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"the limit on the size of files ({limit} bytes; `ulimit -f`) does not let it grow; raise that"


def all_rows(connection: apsw.Connection, statement: str, bindings: Any = None) -> list[Any]:
    """All rows of a statement; nothing of it stays open."""
    return connection.execute(statement, bindings).fetchall()


def as_oserror(error: apsw.Error) -> OSError:
    """What a command inside is told when the database fails."""
    number = errno.EIO
    if isinstance(error, apsw.FullError):
        number = errno.ENOSPC
    elif isinstance(error, apsw.ReadOnlyError):
        number = errno.EROFS
    elif isinstance(error, BUSY):
        number = errno.EBUSY
    elif isinstance(error, apsw.IOError) and (what := limited()):
        return OSError(errno.EFBIG, what)
    return OSError(number, str(error))
