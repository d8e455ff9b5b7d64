"""Opening a database: what is wrong with it is told before anything is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import apsw

from art_core.contracts import MAIN
from art_cowfs.db import companion_files, unwritable
from art_cowfs.db.apsw_compat import BUSY, Connection
from art_cowfs.db.file_header import APPLICATION_ID
from art_cowfs.db.schema import (
    FIRST_INO,
    FORMAT,
    PAGE,
    TABLES,
    CorruptError,
    DatabaseError,
    LogError,
    UnwrittenError,
    refuse_foreign,
)
from art_cowfs.db.transactions import changing, limited
from art_cowfs.opening import log_owner, reader

_NO_LINKS = 0x01000000
"""SQLITE_OPEN_NOFOLLOW: the path was resolved when the store was opened, and no link is in it since."""
_JOURNAL_TRIES, _JOURNAL_TRY_S = 10, 0.05


def connect(path: str, *, create: bool = False, write: bool = True, any_log: bool = False) -> Connection:
    """Open a database of ART's. Raises DatabaseError that says what is wrong with it, and with the log beside
    it unless `any_log` will do."""
    shown = repr(path)
    if os.path.isdir(path):
        raise DatabaseError(f"{shown} is a directory; name a database file")
    exists = os.path.exists(path)
    if not exists and not create:
        raise DatabaseError(f"database {shown} does not exist; `art -d {path}` or `art push` makes it")
    if exists and write and not os.access(path, os.W_OK):
        raise UnwrittenError(f"database {shown}: {unwritable.READ_ONLY}")
    companion_files.refuse_strange(path)
    if exists:
        _refuse_names(path)
        _refuse_journal(path)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    if not write and exists:
        flags = apsw.SQLITE_OPEN_READWRITE if os.access(path, os.W_OK) else apsw.SQLITE_OPEN_READONLY
    if not exists:
        make_private(path)
    connection, first = None, False
    try:
        with log_owner.first_of(path) as (place, first):
            if first and (said := log_owner.without_index(path)):
                raise DatabaseError(f"database {shown}: {said}")
            if first and not any_log and (said := log_owner.wrong(path)):
                raise LogError(
                    f"database {shown}: {said}; put the log of then beside it, or take another copy. `art db "
                    f"check --repair -d {path}` goes on without it"
                )
            if not write and reader.leaves_nothing(path):
                connection = reader.opened(path)
            else:
                connection = Connection(path, flags=flags | _NO_LINKS)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.before_close = partial(_let_go_of_log, connection)
            if place is not None:
                log_owner.opened(place)
                connection.after_close = partial(log_owner.closed, place)
        _prepare(connection, shown, write=write)
        connection.before_first = partial(log_owner.prove, connection, path)
        return connection
    except apsw.Error as error:
        if connection is not None:
            connection.close()
        if not write and isinstance(error, unwritable.ERRORS) and first:
            with telling(path):
                connection = reader.opened(path)
                _prepare(connection, shown, write=False)
                return connection
        raise _told(error, path) from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise


def _let_go_of_log(connection: Connection) -> None:
    """The last connection to close carries the log into the database and removes it; while the file says that
    it has one it stays."""
    marked = False
    with suppress(apsw.Error):  # What cannot be read is told by others.
        marked = log_owner.is_marked(connection)
    if not (marked or connection.keeps_log):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def _refuse_names(path: str) -> None:
    """Beside each name of a file would be a log and locks of its own, and who uses one knows nothing of the
    other (https://sqlite.org/howtocorrupt.html, section 2.5)."""
    with suppress(OSError):
        names = os.stat(path).st_nlink
        if names > 1:
            raise DatabaseError(
                f"database {path!r} has {names} names (hard links), and what is written by one would destroy "
                "what is written by another; remove the others, or make a copy of it: cp"
            )


def _refuse_journal(path: str) -> None:
    """A rollback journal that stays beside a database is nobody's of ART's, whose databases have a log
    instead; SQLite would write what it holds into the database before anything can be looked at. A program
    that makes the database at this moment has one for a few milliseconds."""
    beside = {f"{path}-journal", f"{os.path.realpath(path)}-journal"}
    for _ in range(_JOURNAL_TRIES):
        found = [journal for journal in sorted(beside) if os.path.lexists(journal)]
        if not found or not os.stat(path).st_size:
            return
        time.sleep(_JOURNAL_TRY_S)
    raise DatabaseError(
        f"database {path!r}: {found[0]!r} lies beside it, which ART never makes, and SQLite would write what "
        "it holds into the database; remove it"
    )


def make_private(path: str) -> None:
    """Make a file of which SQLite makes a database: it keeps what is private inside. SQLite gives the log and
    its other companions the mode of the database."""
    with suppress(OSError):  # SQLite tells what is wrong there.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        os.close(fd)


def _told(error: apsw.Error, path: str) -> DatabaseError:
    kind = DatabaseError
    if isinstance(error, apsw.CorruptError):
        kind = CorruptError
    elif isinstance(error, unwritable.ERRORS):
        kind = UnwrittenError
    return kind(f"database {path!r}: {_reason(error, path)}")


def _is_ours(error: BaseException) -> bool:
    """Whether a module of the store met it, and not one who works with what the store gave."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    module = "" if at is None else str(at.tb_frame.f_globals.get("__name__", ""))
    return module.startswith(("art_cowfs.", "art_fusefs."))


@contextmanager
def telling(path: str) -> Iterator[None]:
    """What SQLite says, as a DatabaseError; and values that no database of ART's has, which a hostile or
    damaged one can have anywhere."""
    try:
        yield
    except apsw.Error as error:
        raise _told(error, path) from None
    except (TypeError, ValueError, OverflowError, LookupError, AssertionError) as error:
        if not _is_ours(error):
            raise
        what = " ".join(str(error).split()) or "something is missing"
        raise CorruptError(
            f"database {path!r} has values that make no sense ({what}); `art db check` says more"
        ) from error


def _prepare(connection: apsw.Connection, shown: str, *, write: bool) -> None:
    # In this order: somebody else may make it at this moment.
    empty = not connection.execute("SELECT count(*) FROM sqlite_schema").get
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    if application != APPLICATION_ID:
        if not empty or not write:
            raise DatabaseError(f"database {shown} is SQLite, but of another program; name another file")
        _create(connection)
        version = connection.pragma("user_version")
    if version > FORMAT:
        raise DatabaseError(
            f"database {shown} has format {version}, this version of ART knows {FORMAT}; use a newer ART"
        )
    if version < FORMAT:
        from art_cowfs.opening.migrations import renew

        renew(connection, shown)
    refuse_foreign(connection, shown)
    if write:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 1)
        connection.pragma("wal_autocheckpoint", 512)
    connection.pragma("cache_size", -16384)
    connection.execute("PRAGMA foreign_keys = 0")


def _create(connection: apsw.Connection) -> None:
    connection.pragma("page_size", PAGE)
    connection.pragma("auto_vacuum", 2)
    connection.pragma("journal_mode", "wal")
    with changing(connection):
        if connection.pragma("application_id") == APPLICATION_ID:
            return  # Somebody else was faster.
        connection.execute(TABLES)
        now = time.time_ns()
        connection.execute("INSERT INTO layer(id, parent, created_ns) VALUES(1, NULL, ?)", (now,))
        connection.execute("INSERT INTO point VALUES(?, 'branch', 1, ?, '', ?, '')", (MAIN, MAIN, now))
        connection.execute("INSERT INTO meta VALUES('next_ino', ?)", (FIRST_INO,))
        log_owner.prove_first(connection)
        connection.execute(
            "INSERT INTO inode VALUES(1, 1, ?, 2, 0, 0, 0, 0, 0, ?, ?, ?, NULL, NULL, NULL, NULL)",
            (0o40755, now, now, now),
        )
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", FORMAT)
    with suppress(*BUSY):
        connection.wal_checkpoint()  # From now on the file itself says what it is.


def _reason(error: apsw.Error, path: str) -> str:
    if isinstance(error, apsw.NotADBError):
        return "this is not an SQLite file; name another file"
    if isinstance(error, apsw.CorruptError):
        return "it is corrupt; `art db check` says more"
    if isinstance(error, unwritable.ERRORS) and unwritable.is_full(path):
        return unwritable.NO_ROOM
    if isinstance(error, apsw.CantOpenError):
        return "it cannot be opened; look at its permissions and those of its directory"
    if isinstance(error, apsw.ReadOnlyError):
        return unwritable.READ_ONLY
    if isinstance(error, BUSY):
        return "another program holds it"
    return limited() or str(error)


@contextmanager
def writing_to(path: str) -> Iterator[apsw.Connection]:
    """A connection for a moment."""
    connection = connect(path)
    try:
        yield connection
    finally:
        connection.close()
