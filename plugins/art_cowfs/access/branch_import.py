"""A branch that begins with nothing, and is there when it is whole."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from art_core.contracts import MAIN
from art_core.store.history import NameTaken, checked_name
from art_cowfs.access.home_files import HomeWriter, writing
from art_cowfs.db.locks import Bystander
from art_cowfs.db.schema import DatabaseError
from art_cowfs.db.transactions import all_rows
from art_cowfs.layers.layers import add_point
from art_cowfs.opening.database import connect, telling

_UNDERWAY = "importing-"
_ROOT = "INSERT INTO inode VALUES(1, ?, ?, 2, 0, 0, 0, 0, 0, ?, ?, ?, NULL, NULL, NULL, NULL)"


@contextmanager
def beginning(path: str, branch: str) -> Iterator[HomeWriter]:
    """Until it is whole the branch has another name; one that was left by a killed process goes."""
    checked_name(branch)
    with telling(path):
        connection = connect(path, create=True)
        try:
            by = Bystander(path)
            try:
                underway = _begin(connection, by, branch)
                try:
                    with writing(path, underway, None) as home:
                        yield home
                        home.commit()
                    with by.changing(connection):
                        _take_name(connection, underway, branch)
                except BaseException:
                    with suppress(apsw.Error), by.changing(connection):
                        connection.execute("DELETE FROM point WHERE name = ?", (underway,))
                    raise
            finally:
                by.close()
        finally:
            connection.close()


def _begin(connection: apsw.Connection, by: Bystander, branch: str) -> str:
    held = by.holders()
    with by.changing(connection):
        _refuse_taken(connection, branch)
        for (name,) in all_rows(connection, "SELECT name FROM point WHERE kind = 'branch'"):
            if name.startswith(_UNDERWAY) and name not in held:
                connection.execute("DELETE FROM point WHERE name = ?", (name,))
        now = time.time_ns()
        name = f"{_UNDERWAY}{os.getpid()}-{now}"
        connection.execute("INSERT INTO layer(parent, created_ns) VALUES(NULL, ?)", (now,))
        layer = connection.last_insert_rowid()
        connection.execute(_ROOT, (layer, stat.S_IFDIR | 0o755, now, now, now))
        add_point(connection, "branch", name, layer, name, "", now)
    return name


def _refuse_taken(connection: apsw.Connection, branch: str) -> None:
    kind = connection.execute("SELECT kind FROM point WHERE name = ?", (branch,)).get
    if kind is not None and not (branch == MAIN and _is_unused(connection)):
        raise NameTaken(f"there is a {kind} {branch!r} already; name a new branch with -b NAME")


def _is_unused(connection: apsw.Connection) -> bool:
    """Whether nothing was ever kept in the branch `main`."""
    files = connection.execute("SELECT count(*) FROM inode WHERE layer = 1").get
    layers = connection.execute("SELECT count(*) FROM layer WHERE parent IS NOT NULL").get
    return (
        connection.execute("SELECT layer FROM point WHERE name = ?", (MAIN,)).get == 1
        and files == 1
        and not layers
    )


def _take_name(connection: apsw.Connection, underway: str, branch: str) -> None:
    _refuse_taken(connection, branch)
    connection.execute("DELETE FROM point WHERE name = ?", (branch,))
    rename = "UPDATE point SET name = ?1, branch = ?1 WHERE name = ?2"
    connection.execute(rename, (branch, underway))
    if not connection.changes():
        raise DatabaseError(f"the branch {underway!r} was removed meanwhile")
