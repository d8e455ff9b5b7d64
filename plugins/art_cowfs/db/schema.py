"""The database: its tables, its format, and what is no database of ART's.

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
  `origin` is the path of the host's file or directory that shows through (`art_cowfs.db.origins`), NULL when
  none does; `origin_size` and `origin_mtime` say what it was when a part of it
  was copied up, or what the host had where a file without an origin was put. A row with `nlink` 0 is
  of an inode that is gone.
* `dentry`: a name; `ino` NULL is a whiteout, 0 stands for no row: what the host has shows again.
* `chunk`: 64 KiB of a file; `data` NULL is a hole. A chunk that is in no layer is the host's.
* `base`: what a push or a pull made the same on both sides: the host had what the layer shows. It is
  inherited along the chain as everything else; a row without a `kind` says that neither side has it any
  more. `host_ctime` and `digest` are NULL where they are not known (`art_core.trees.Agreed`). `place` is the
  path with NUL for each slash, which sorts as a walk goes.
* `origin`: host files of several links that were copied up, found again by their number.
* `session`: a command that ran, see `art_core.store.history`; `pid` is the server's.

Any row of a layer implies an inode row of its directory or file in that layer.
"""

from __future__ import annotations

import apsw

from art_core.errors import StoreError
from art_cowfs.db.transactions import all_rows

FORMAT = 3
PAGE = 16384
CHUNK = 65536
FIRST_INO = 2
HOST_NUMBERS = 1 << 62
"""Numbers from here up are derived from the host's device and inode numbers."""
SEEDS = b"/seeds"
"""The origin of the home. A path of the workspace never begins with a slash, and none that does is found
beneath it (openat2(2), RESOLVE_BENEATH)."""

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
  host_mtime INTEGER, host_mode INTEGER, ino INTEGER, ctime INTEGER, host_ctime INTEGER, digest TEXT,
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
