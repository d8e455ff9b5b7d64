"""Databases of older formats: what changed since, brought to them when they are opened."""

from __future__ import annotations

import apsw

from art_cowfs.db.schema import FORMAT, TABLES, DatabaseError, refuse_foreign
from art_cowfs.db.transactions import changing

TABLES_1 = """
CREATE TABLE layer(
  id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER REFERENCES layer(id), name TEXT NOT NULL,
  frozen INTEGER NOT NULL, created_ns INTEGER NOT NULL, note TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX branch ON layer(name) WHERE frozen = 0;
CREATE TABLE base(
  workspace BLOB NOT NULL, place BLOB NOT NULL, kind TEXT NOT NULL, host_size INTEGER, host_mtime INTEGER,
  host_mode INTEGER, ino INTEGER NOT NULL, ctime INTEGER NOT NULL,
  PRIMARY KEY(workspace, place)) WITHOUT ROWID;
CREATE TABLE session(
  id INTEGER PRIMARY KEY, layer INTEGER NOT NULL, pid INTEGER NOT NULL, argv TEXT NOT NULL,
  started_ns INTEGER NOT NULL, ended_ns INTEGER);
"""
"""What format 1 had that is another one now."""

_SINCE_1 = """
ALTER TABLE layer RENAME TO layer_1;
DROP INDEX branch;
ALTER TABLE base RENAME TO base_1;
DROP TABLE session;
"""
"""Format 1 had names in its layers, one state that both sides agreed on for all of them, and no sessions."""
_FROM_1 = """
INSERT INTO layer SELECT id, parent, created_ns FROM layer_1;
INSERT INTO point SELECT name, 'branch', id, name, '', created_ns, note FROM layer_1 WHERE frozen = 0;
INSERT OR IGNORE INTO point SELECT name, 'snapshot', id, 'main', '', created_ns, note FROM layer_1
  WHERE frozen = 1 AND name != '' ORDER BY id DESC;
INSERT OR IGNORE INTO point SELECT name || '-' || id, 'snapshot', id, 'main', '', created_ns, note
  FROM layer_1 WHERE frozen = 1 AND name != '' AND id NOT IN (SELECT layer FROM point);
INSERT INTO base SELECT workspace, place, (SELECT layer FROM point WHERE name = 'main'), kind, host_size,
  host_mtime, host_mode, ino, ctime, NULL, NULL FROM base_1;
DROP TABLE layer_1;
DROP TABLE base_1;
"""

TABLES_2 = """
CREATE TABLE base(
  workspace BLOB NOT NULL, place BLOB NOT NULL, layer INTEGER NOT NULL, kind TEXT, host_size INTEGER,
  host_mtime INTEGER, host_mode INTEGER, ino INTEGER, ctime INTEGER,
  PRIMARY KEY(workspace, place, layer)) WITHOUT ROWID;
"""
"""What format 2 had that is another one now."""
_SINCE_2 = """
DROP INDEX base_layer;
ALTER TABLE base RENAME TO base_2;
"""
_FROM_2 = """
INSERT INTO base SELECT *, NULL, NULL FROM base_2;
DROP TABLE base_2;
"""
"""Format 2 knew neither the ctime of what was agreed on nor its contents."""


def renew(connection: apsw.Connection, shown: str) -> None:
    """Bring a database to the present format, in one transaction. Raises DatabaseError."""
    refuse_foreign(connection, shown, TABLES_1 + TABLES_2)
    try:
        with changing(connection):
            steps = {1: (_SINCE_1, _FROM_1), 2: (_SINCE_2, _FROM_2)}.get(connection.pragma("user_version"))
            if steps is not None:
                connection.execute("PRAGMA legacy_alter_table = 1")
                connection.execute(steps[0])
                connection.execute(_missing(connection))
                connection.execute(steps[1])
            connection.pragma("user_version", FORMAT)
    except apsw.ReadOnlyError:
        raise DatabaseError(
            f"database {shown} is of an older format and may not be written; open it once where it may"
        ) from None


def _missing(connection: apsw.Connection) -> str:
    """The statements of `TABLES` that make what the database does not have."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    statements = [statement.strip() for statement in TABLES.split(";") if statement.strip()]
    return ";".join(one for one in statements if _made_by(one) not in there) + ";"


def _made_by(statement: str) -> str:
    words = statement.replace("(", " ").split()
    return words[3] if words[1] == "UNIQUE" else words[2]
