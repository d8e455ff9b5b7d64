"""Layers: freezing the top of a branch, which is what a snapshot is."""

from __future__ import annotations

import time

import apsw

from art_cowfs.locks import BranchLock
from art_cowfs.schema import chain_of, changing, connect


def snapshot(path: str, branch: str, name: str) -> None:
    """Freeze what a branch of a database has, under a name. Raises DatabaseError while it is held."""
    lock = BranchLock(path, branch)
    try:
        connection = connect(path)
        try:
            with lock.committing():
                freeze(connection, branch, name)
        finally:
            connection.close()
    finally:
        lock.close()


def freeze(connection: apsw.Connection, branch: str, name: str, note: str = "") -> int:
    """Freeze the top layer of a branch under `name` and begin a new one; return the new one.

    Nobody may hold the branch for writing meanwhile. Costs nothing but two rows.
    """
    with changing(connection):
        top = chain_of(connection, branch)[0]
        connection.execute("UPDATE layer SET frozen = 1, name = ?, note = ? WHERE id = ?", (name, note, top))
        connection.execute(
            "INSERT INTO layer(parent, name, frozen, created_ns) VALUES(?, ?, 0, ?)",
            (top, branch, time.time_ns()),
        )
    return connection.last_insert_rowid()
