"""The database: its tables, its format, and opening it.

One database holds many workspaces and branches. Each branch is a chain of layers; the newest, the
top, is the one that is written. A row of a layer wins over the rows of the layers below it; what
no layer has comes from the host's directory.

* `layer`: one that no `point` names is there for those above it, or was frozen only to be read: it is
  merged with the one above when nobody reads it. Numbers grow along every chain.
* `point`: a name of a layer. A `branch` names its top, which is written; all other layers are frozen, and
  a `snapshot` names one of them. `branch` is the branch that a snapshot was taken of, `parent` the point
  that a branch was made from.
* `inode`: one row for each inode a layer changed. `holes` are bytes of its chunks that were never
  written. `clip` is the smallest size the file had in this
  layer: what lower layers hold beyond it is gone. `host_clip` is the same for the host's contents.
  `origin` is the path of the host's file or directory that shows through (`art_cowfs.origins`), NULL when
  none does; `origin_size` and `origin_mtime` say what it was when a part of it
  was copied up, or what the host had where a file without an origin was put. A row with `nlink` 0 is
  of an inode that is gone.
* `dentry`: a name; `ino` NULL is a whiteout, 0 stands for no row: what the host has shows again.
* `chunk`: 64 KiB of a file; `data` NULL is a hole. A chunk that is in no layer is the host's.
* `base`: what a push or a pull made the same on both sides: the host had what the layer shows. It is
  inherited along the chain as everything else; a row without a `kind` says that neither side has it any
  more. `place` is the path with NUL for each slash, which sorts as a walk goes.
* `origin`: host files of several links that were copied up, found again by their number.
* `session`: a command that ran, see `art_core.history`; `pid` is the server's.

Any row of a layer implies an inode row of its directory or file in that layer.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Literal, NamedTuple

import apsw

from art_core.contracts import MAIN
from art_core.errors import StoreError
from art_cowfs import belonging, unwritten
from art_cowfs.connection import BUSY, Connection
from art_cowfs.headers import APPLICATION_ID

FORMAT = 2
PAGE = 16384
CHUNK = 65536
FIRST_INO = 2
_NO_LINKS = 0x01000000
"""SQLITE_OPEN_NOFOLLOW: the path was resolved when the store was opened, and no link is in it since."""
_JOURNAL_TRIES, _JOURNAL_TRY_S = 10, 0.05

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE layer(
  id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES layer(id), created_ns INTEGER NOT NULL);
CREATE TABLE point(
  name TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK(kind IN ('branch', 'snapshot')),
  layer INTEGER NOT NULL REFERENCES layer(id), branch TEXT NOT NULL, parent TEXT NOT NULL,
  created_ns INTEGER NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX point_layer ON point(layer);
CREATE UNIQUE INDEX point_top ON point(layer) WHERE kind = 'branch';
CREATE TABLE workspace(name BLOB PRIMARY KEY, path BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE inode(
  ino INTEGER NOT NULL, layer INTEGER NOT NULL, mode INTEGER NOT NULL, nlink INTEGER NOT NULL,
  rdev INTEGER NOT NULL, size INTEGER NOT NULL, holes INTEGER NOT NULL, clip INTEGER NOT NULL,
  host_clip INTEGER NOT NULL,
  atime INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, target BLOB,
  origin BLOB, origin_size INTEGER, origin_mtime INTEGER,
  PRIMARY KEY(ino, layer)) WITHOUT ROWID;
CREATE INDEX inode_layer ON inode(layer);
CREATE INDEX inode_gone ON inode(layer) WHERE nlink = 0;
CREATE TABLE dentry(
  parent INTEGER NOT NULL, name BLOB NOT NULL, layer INTEGER NOT NULL, ino INTEGER,
  PRIMARY KEY(parent, name, layer)) WITHOUT ROWID;
CREATE TABLE chunk(
  id INTEGER PRIMARY KEY, ino INTEGER NOT NULL, idx INTEGER NOT NULL, layer INTEGER NOT NULL, data BLOB);
CREATE UNIQUE INDEX chunk_place ON chunk(ino, idx, layer);
CREATE TABLE xattr(
  ino INTEGER NOT NULL, name BLOB NOT NULL, layer INTEGER NOT NULL, value BLOB,
  PRIMARY KEY(ino, name, layer)) WITHOUT ROWID;
CREATE TABLE origin(
  dev INTEGER NOT NULL, host_ino INTEGER NOT NULL, layer INTEGER NOT NULL, ino INTEGER NOT NULL,
  PRIMARY KEY(dev, host_ino, layer)) WITHOUT ROWID;
CREATE TABLE base(
  workspace BLOB NOT NULL, place BLOB NOT NULL, layer INTEGER NOT NULL, kind TEXT, host_size INTEGER,
  host_mtime INTEGER, host_mode INTEGER, ino INTEGER, ctime INTEGER,
  PRIMARY KEY(workspace, place, layer)) WITHOUT ROWID;
CREATE INDEX base_layer ON base(layer);
CREATE TABLE session(
  id INTEGER PRIMARY KEY AUTOINCREMENT, branch TEXT NOT NULL, workspace BLOB NOT NULL, pid INTEGER NOT NULL,
  argv TEXT NOT NULL, started_ns INTEGER NOT NULL, ended_ns INTEGER, status INTEGER, files INTEGER,
  more INTEGER NOT NULL DEFAULT 0, trace TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '[]',
  before TEXT NOT NULL DEFAULT '');
"""


class DatabaseError(StoreError):
    """A database that cannot be used, and why."""


class UnwrittenError(DatabaseError):
    """Nothing can be written to it now; perhaps it can be read."""


class LogError(DatabaseError):
    """The log beside a database is not its own, or is not there."""


class CorruptError(DatabaseError):
    """SQLite cannot read it."""


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
        raise UnwrittenError(f"database {shown}: {unwritten.READ_ONLY}")
    if exists:
        _refuse_journal(path)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    if not write and exists:
        flags = apsw.SQLITE_OPEN_READWRITE if os.access(path, os.W_OK) else apsw.SQLITE_OPEN_READONLY
    if not exists:
        make_private(path)
    connection, first = None, False
    try:
        with belonging.first_of(path) as (place, first):
            if first and (said := belonging.without_index(path)):
                raise DatabaseError(f"database {shown}: {said}")
            if first and not any_log and (said := belonging.wrong(path)):
                raise LogError(
                    f"database {shown}: {said}; put the log of then beside it, or take another copy. `art db "
                    f"check --repair -d {path}` goes on without it"
                )
            if not write and unwritten.leaves_nothing(path):
                connection = unwritten.opened(path)
            else:
                connection = Connection(path, flags=flags | _NO_LINKS)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.before_close = partial(_let_go_of_log, connection)
            if place is not None:
                belonging.opened(place)
                connection.after_close = partial(belonging.closed, place)
        _prepare(connection, shown, write=write)
        connection.before_first = partial(belonging.prove, connection, path)
        return connection
    except apsw.Error as error:
        if connection is not None:
            connection.close()
        if not write and isinstance(error, unwritten.ERRORS) and first:
            with telling(path):
                connection = unwritten.opened(path)
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
        marked = belonging.is_marked(connection)
    if not (marked or connection.keeps_log):
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


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
    elif isinstance(error, unwritten.ERRORS):
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
        from art_cowfs.formats import renew

        renew(connection, shown)
    refuse_foreign(connection, shown)
    if write:
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 1)
        connection.pragma("wal_autocheckpoint", 512)
    connection.pragma("cache_size", -16384)
    connection.execute("PRAGMA foreign_keys = 0")


def _made_by(statement: str) -> str:
    """A statement of `TABLES`, however it is spaced."""
    return " ".join(statement.split())


_OURS = frozenset(_made_by(statement) for statement in TABLES.split(";"))
_SQLITES = "sqlite_"
"""What SQLite makes by itself begins so (https://sqlite.org/fileformat2.html, section 2.6)."""


def refuse_foreign(connection: apsw.Connection, shown: str, older: str = "") -> None:
    """Everything that is looked at is a table of ours, or of an `older` format, with no more to it: a view, a
    trigger or a column that is calculated would work, as long as it likes, for whoever reads or writes.
    Raises DatabaseError."""
    ours = _OURS | {_made_by(statement) for statement in older.split(";")}
    for kind, name, statement in all_rows(connection, "SELECT type, name, sql FROM sqlite_schema"):
        sqlites = kind in ("table", "index") and str(name).startswith(_SQLITES)
        if not sqlites and (not isinstance(statement, str) or _made_by(statement) not in ours):
            raise DatabaseError(
                f"database {shown} has the {kind} {name!r}, which is not as ART makes it: nothing that reads "
                "it would be safe; take the files out of a copy with sqlite3(1), or name another database"
            )


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
        belonging.identify(connection)
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
    if isinstance(error, unwritten.ERRORS) and unwritten.is_full(path):
        return unwritten.NO_ROOM
    if isinstance(error, apsw.CantOpenError):
        return "it cannot be opened; look at its permissions and those of its directory"
    if isinstance(error, apsw.ReadOnlyError):
        return unwritten.READ_ONLY
    if isinstance(error, BUSY):
        return "another program holds it"
    return _limited() or str(error)


def _limited() -> str:
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
    elif isinstance(error, apsw.IOError) and (limited := _limited()):
        return OSError(errno.EFBIG, limited)
    return OSError(number, str(error))


class Found(NamedTuple):
    """What a name leads to: a layer, which is the top of a branch or a snapshot's."""

    kind: Literal["branch", "snapshot"]
    layer: int
    branch: str


def found(connection: apsw.Connection, name: str) -> Found:
    """The point of a name. Raises DatabaseError when there is none."""
    point = _found(connection, name)
    if point is None:
        raise DatabaseError(
            f"there is no branch or snapshot {name!r} in this database; `art branch` and "
            "`art snapshot --list` list those there are"
        )
    return point


def _found(connection: apsw.Connection, name: str) -> Found | None:
    row = connection.execute("SELECT kind, layer, branch FROM point WHERE name = ?", (name,)).fetchone()
    return None if row is None else Found(*row)


def chain_of(connection: apsw.Connection, branch: str) -> list[int]:
    """The layers of a branch, the top first. Raises DatabaseError when there is none."""
    point = _found(connection, branch)
    if point is None:
        raise DatabaseError(
            f"there is no branch {branch!r} in this database; "
            f"`art branch {branch} -d {connection.filename}` makes it"
        )
    if point.kind != "branch":
        raise DatabaseError(
            f"{branch!r} is a snapshot, which stays as it is; "
            f"`art branch NAME --from {branch} -d {connection.filename}` makes a branch of it"
        )
    return layers_from(connection, point.layer)


def layers_from(connection: apsw.Connection, top: int) -> list[int]:
    """A layer and all those below it, the highest first."""
    rows = connection.execute(
        "WITH RECURSIVE up(id, parent) AS (SELECT id, parent FROM layer WHERE id = ? UNION "
        "SELECT layer.id, layer.parent FROM layer JOIN up ON layer.id = up.parent) SELECT id FROM up",
        (top,),
    )
    chain = sorted((row[0] for row in rows), reverse=True)
    if not chain:
        raise CorruptError(f"layer {top} is not in the database; `art db check` says more")
    return chain
