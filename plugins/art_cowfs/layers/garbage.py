"""Collecting what no name leads to: layers, rows of layers that are not there, and files without a name.

Everything is done in transactions of a few hundred rows, in turn with the servers that commit. What
somebody reads is left, with all layers under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

from art_core.store.maintenance import Collected
from art_cowfs.db.locks import BranchLock, Bystander
from art_cowfs.db.schema import PAGE, CorruptError
from art_cowfs.db.transactions import all_rows
from art_cowfs.layers import squash
from art_cowfs.layers.layers import changed
from art_cowfs.opening import log_owner
from art_cowfs.opening.database import connect
from art_cowfs.opening.wal import emptied
from art_fusefs.backend import ROOT

INODES_AT_ONCE = 512
CHUNKS_AT_ONCE = 256
PAGES_AT_ONCE = 1024
_KEPT = "a run holds branch {}; it goes back to the disk at the end of the last run"


def collect(path: str) -> Collected:
    """Free what no name leads to, and give the space back where nobody holds a branch."""
    connection = connect(path)
    by = Bystander(path)
    try:
        before, size = _used(connection), _size(path)
        layers = _unreached(connection, by)
        merged = squash.nameless(path, connection, by)
        inodes = _lost(connection, by)
        kept, why = _give_back(connection, by)
        freed = max(0, before - _used(connection))
        return Collected(layers, merged, inodes, freed, max(0, size - _size(path)), kept, why)
    finally:
        by.close()
        connection.close()


def _used(connection: apsw.Connection) -> int:
    pages: int = connection.pragma("page_count") - connection.pragma("freelist_count")
    return pages * PAGE


def _size(path: str) -> int:
    """Bytes on the disk, with the log."""
    size = 0
    for name in (path, f"{path}-wal"):
        try:
            size += os.stat(name).st_size
        except FileNotFoundError:
            continue
    return size


@contextmanager
def turn(connection: apsw.Connection, by: Bystander) -> Iterator[None]:
    """One transaction, in turn with others."""
    with by.changing(connection):
        yield


def reached(connection: apsw.Connection, is_read: Callable[[int], bool]) -> set[int]:
    """The layers that a name, or a reader, needs."""
    parents: dict[int, int | None] = dict(all_rows(connection, "SELECT id, parent FROM layer"))
    tops = [row[0] for row in connection.execute("SELECT layer FROM point")]
    tops += [layer for layer in parents if layer not in tops and is_read(layer)]
    found: set[int] = set()
    for top in tops:
        at: int | None = top
        while at is not None and at not in found:
            found.add(at)
            at = parents.get(at)
    return found


def unreached(connection: apsw.Connection, is_read: Callable[[int], bool]) -> list[int]:
    """The layers that nothing needs, the highest first."""
    needed = reached(connection, is_read)
    layers = {row[0] for row in connection.execute("SELECT id FROM layer")}
    return sorted(layers - needed, reverse=True)


def _unreached(connection: apsw.Connection, by: Bystander) -> int:
    number = 0
    while True:
        with turn(connection, by):
            gone = unreached(connection, by.is_read)
            if not gone:
                return number
            before = changed(connection)
            if not _some_of(connection, gone[0]):
                connection.execute("DELETE FROM origin WHERE layer = ?", (gone[0],))
                connection.execute("DELETE FROM base WHERE layer = ?", (gone[0],))
                connection.execute("UPDATE layer SET parent = NULL WHERE parent = ?", (gone[0],))
                connection.execute("DELETE FROM layer WHERE id = ?", (gone[0],))
                number += 1
            if changed(connection) == before:
                raise CorruptError("rows that are read are not where they belong; `art db check` says more")


def _some_of(connection: apsw.Connection, layer: int) -> bool:
    """Delete some of a layer's rows; False when there are none."""
    query = "SELECT ino FROM inode WHERE layer = ? LIMIT ?"
    inos = [row[0] for row in connection.execute(query, (layer, INODES_AT_ONCE))]
    left = CHUNKS_AT_ONCE
    for ino in inos:
        left -= _delete(connection, ino, layer, left)
        if left <= 0:
            break
    return bool(inos)


def _delete(connection: apsw.Connection, ino: int, layer: int, most: int) -> int:
    """Delete what a layer has of an inode, at most so many chunks; how many there were. The inode's own
    row goes when no chunk is left."""
    connection.execute(
        "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE ino = ? AND layer = ? LIMIT ?)",
        (ino, layer, most),
    )
    deleted: int = connection.changes()
    if deleted < most:
        for table, owner in (("dentry", "parent"), ("xattr", "ino"), ("inode", "ino")):
            connection.execute(f"DELETE FROM {table} WHERE {owner} = ? AND layer = ?", (ino, layer))
    return deleted


_NAMELESS = f"""
SELECT DISTINCT ino FROM inode WHERE ino != {ROOT} AND ino NOT IN (SELECT ino FROM dentry WHERE ino > 0)
AND ino NOT IN (SELECT ino FROM origin)
"""


_GONE = "SELECT ino, layer FROM inode WHERE nlink = 0"


def _lost(connection: apsw.Connection, by: Bystander) -> int:
    """Delete inodes to which no name of any layer leads; how many. While a branch is held that may be a
    file that is open; nobody who comes later can open it."""
    with by.alone() as held:
        if held:
            return 0
        lost = all_rows(connection, _NAMELESS)
    for start in range(0, len(lost), INODES_AT_ONCE):
        with turn(connection, by):
            for (ino,) in lost[start : start + INODES_AT_ONCE]:
                for (layer,) in all_rows(connection, "SELECT layer FROM inode WHERE ino = ?", (ino,)):
                    while _delete(connection, ino, layer, CHUNKS_AT_ONCE) == CHUNKS_AT_ONCE:
                        pass
    _remains(connection, by)
    return len(lost)


def _remains(connection: apsw.Connection, by: Bystander) -> None:
    """Delete what there still is of inodes that are gone."""
    with by.alone() as held:
        if held:
            return
        with turn(connection, by):
            connection.execute("DELETE FROM origin WHERE ino NOT IN (SELECT ino FROM inode)")
        for table, owner in (("dentry", "parent"), ("chunk", "ino"), ("xattr", "ino")):
            with turn(connection, by):
                connection.execute(f"DELETE FROM {table} WHERE ({owner}, layer) IN ({_GONE})")


def give_back(connection: apsw.Connection, by: Bystander | BranchLock) -> dict[str, str]:
    """Make the file shorter by what is free in it, and empty the log; who keeps it from that. A server takes
    a file that gets shorter for one that is being destroyed, so nobody may hold a branch. Who wants one
    waits for a part of it at most."""
    while True:
        with by.alone() as held:
            free = connection.pragma("freelist_count")
            if not held and log_owner.is_marked(connection):
                with by.changing(connection):
                    log_owner.clear(connection)
            if held or not free:
                break
            with by.changing(connection):
                list(connection.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))  # a page a step
            if connection.pragma("freelist_count") >= free:
                break
    with by.committing():
        # Somebody may read; the last one to close does it.
        emptied(connection, apsw.SQLITE_CHECKPOINT_PASSIVE if held else apsw.SQLITE_CHECKPOINT_TRUNCATE)
    return held


def _give_back(connection: apsw.Connection, by: Bystander) -> tuple[int, str]:
    """What stays free in the file, and why."""
    held = give_back(connection, by)
    kept = connection.pragma("freelist_count") * PAGE
    return kept, _KEPT.format(repr(min(held))) if held and kept else ""
