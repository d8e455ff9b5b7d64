"""Layers: freezing the top of a branch, which is what a snapshot is, and merging what nobody needs.

A reader that takes long freezes the top without a name and reads that. When it is done, the layer is
merged with its neighbour, so that readers do not make a chain longer for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import apsw

from art_core.store.history import NameTaken, checked_name
from art_cowfs.db.lookup import chain_of
from art_cowfs.db.schema import CHUNK, CorruptError
from art_cowfs.db.transactions import changing


class Most(NamedTuple):
    """How much is merged in one transaction: rows of `inode` and of `chunk`."""

    inodes: int
    chunks: int


WHILE_RUNNING = Most(4096, 256)
AT_THE_END = Most(65536, 1024)
"""Where both layers are larger they stay: a chain grows by no more than what was written."""

_OWNED = {"dentry": ("parent", "name"), "chunk": ("ino", "idx"), "xattr": ("ino", "name")}


class Named(NamedTuple):
    """The name that a frozen layer gets, and the note that stands by it."""

    name: str
    note: str = ""


def freeze(connection: apsw.Connection, branch: str, named: Named | None = None) -> int:
    """Freeze what a branch has now, under a name or none, and begin a new layer; return the frozen one.

    Nobody may hold the branch for writing meanwhile. Costs nothing but three rows; where nothing changed
    since the last time only that of the name. Raises StoreError for a name that is taken.
    """
    with changing(connection):
        return frozen(connection, branch, named)


def frozen(connection: apsw.Connection, branch: str, named: Named | None = None) -> int:
    """The same, within a transaction of the caller's."""
    top, *below = chain_of(connection, branch)
    now = time.time_ns()
    if below and is_empty(connection, top):
        layer = below[0]
    else:
        layer = top
        new = add_layer(connection, top, now)
        connection.execute("UPDATE point SET layer = ? WHERE name = ?", (new, branch))
    if named is not None:
        add_point(connection, "snapshot", named.name, layer, branch, "", now, named.note)
    return layer


def add_layer(connection: apsw.Connection, parent: int, now: int) -> int:
    """A new layer over another one."""
    connection.execute("INSERT INTO layer(parent, created_ns) VALUES(?, ?)", (parent, now))
    return connection.last_insert_rowid()


def add_point(
    connection: apsw.Connection,
    kind: str,
    name: str,
    layer: int,
    branch: str,
    parent: str,
    now: int,
    note: str = "",
) -> None:
    """A new name. Raises StoreError for one that may not be, or is taken."""
    taken = connection.execute("SELECT kind FROM point WHERE name = ?", (checked_name(name),)).get
    if taken is not None:
        raise NameTaken(f"there is a {taken} {name!r} already; `art {taken} --delete {name}` removes it")
    connection.execute(
        "INSERT INTO point VALUES(?, ?, ?, ?, ?, ?, ?)", (name, kind, layer, branch, parent, now, note)
    )


def is_empty(connection: apsw.Connection, layer: int) -> bool:
    """Whether a layer has nothing of its own."""
    found = connection.execute(
        "SELECT EXISTS(SELECT 1 FROM inode WHERE layer = :layer) OR "
        "EXISTS(SELECT 1 FROM base WHERE layer = :layer)",
        {"layer": layer},
    ).get
    return not found


def merge(connection: apsw.Connection, branch: str, is_read: Callable[[int], bool], most: Most) -> bool:
    """Merge nameless layers of a branch that nobody reads with the layer above; whether there were any.

    The top itself is merged only by `AT_THE_END`, when nobody has it open. A merge changes
    nothing of what the branch shows. Within a transaction of the caller's.
    """
    chain = chain_of(connection, branch)
    first = 0 if most is AT_THE_END else 1
    merged = False
    for upper, lower in reversed(list(zip(chain[first:], chain[first + 1 :], strict=False))):
        # A layer is gone once it was merged: then its neighbours have their turn the next time.
        if not merged and may_merge(connection, upper, lower, is_read):
            merged = _merged(connection, upper, lower, most)
    return merged


def may_merge(connection: apsw.Connection, upper: int, lower: int, is_read: Callable[[int], bool]) -> bool:
    """Whether nobody needs the lower one of two neighbours for itself."""
    neighbours = connection.execute("SELECT 1 FROM layer WHERE id = ? AND parent = ?", (upper, lower)).get
    if neighbours is None or not is_nameless(connection, lower) or _children(connection, lower) > 1:
        return False
    return not (is_read(lower) or is_read(upper))


def is_nameless(connection: apsw.Connection, layer: int) -> bool:
    """Whether no point names it: it is no branch's top and no snapshot."""
    found = connection.execute("SELECT 1 FROM point WHERE layer = ?", (layer,)).get
    return found is None


def _children(connection: apsw.Connection, layer: int) -> int:
    number: int = connection.execute("SELECT count(*) FROM layer WHERE parent = ?", (layer,)).get
    return number


def _size(connection: apsw.Connection, layer: int, inodes: int, chunks: int = 0) -> Most:
    """How large a layer is; counted no further than asked."""
    rows = "SELECT ino FROM inode WHERE layer = :layer LIMIT :inodes"
    bound = {"layer": layer, "inodes": inodes, "chunks": chunks}
    query = (
        f"SELECT (SELECT count(*) FROM ({rows})), (SELECT count(*) FROM (SELECT 1 FROM chunk "
        f"WHERE ino IN ({rows}) AND layer = :layer LIMIT :chunks))"
    )
    found: tuple[int, int] = connection.execute(query, bound).get
    return Most(*found)


def _is_within(connection: apsw.Connection, layer: int, most: Most) -> bool:
    size = _size(connection, layer, most.inodes + 1, most.chunks + 1)
    return size.inodes <= most.inodes and size.chunks <= most.chunks


def _merged(connection: apsw.Connection, upper: int, lower: int, most: Most) -> bool:
    """Merge the smaller of two layers into the other one; False when both are too large."""
    small, large = upper, lower
    if not _is_within(connection, small, most):
        small, large = lower, upper
        if not _is_within(connection, small, most):
            return False
    move(connection, upper, lower, small)
    join(connection, upper, lower, large)
    return True


def by_size(connection: apsw.Connection, upper: int, lower: int) -> tuple[int, int]:
    """The smaller and the larger of two layers."""
    count = "SELECT count(*) FROM inode WHERE layer = ?"
    small = min((upper, lower), key=lambda layer: connection.execute(count, (layer,)).get)
    return small, upper + lower - small


def largest_inode(connection: apsw.Connection, layer: int) -> int:
    """The most chunks that a layer has of one inode."""
    query = (
        "SELECT max((SELECT count(*) FROM chunk c WHERE c.ino = i.ino AND c.layer = i.layer)) FROM inode i"
    )
    return connection.execute(f"{query} WHERE layer = ?", (layer,)).get or 0


def move(
    connection: apsw.Connection, upper: int, lower: int, small: int, most: int = -1, *, dead: bool = False
) -> bool:
    """Move rows of the smaller of two layers, of at most so many inodes, into the larger one; False when
    there are none any more. What the upper one shows stays the same all along.

    `dead` lets go of inodes that are gone, which only one may do who knows that nobody has them open.

    Everything begins at the inodes of `merging`, which is what the pluses and the order of the joins are for:
    by its index of layers SQLite would go through all of a layer for each part of it.
    """
    large = upper + lower - small
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS merging(ino INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.merging")
    connection.execute(
        "INSERT INTO temp.merging SELECT ino FROM inode WHERE layer = ? LIMIT ?", (small, most)
    )
    if not connection.changes():
        return False
    before = changed(connection)
    _bury(connection, upper, lower, tuple(_OWNED) if dead else ("dentry",))
    _cover(connection, upper, lower)
    for table, (owner, _) in (*_OWNED.items(), ("inode", ("ino", ""))):
        connection.execute(
            f"UPDATE {table} SET layer = ? WHERE +layer = ? AND {owner} IN temp.merging", (large, small)
        )
    if dead:
        connection.execute(
            "DELETE FROM inode WHERE +layer = ? AND +nlink = 0 AND ino IN temp.merging AND NOT EXISTS "
            "(SELECT 1 FROM inode l WHERE l.ino = inode.ino AND l.layer < ?)",
            (large, lower),
        )
    if changed(connection) == before:
        raise CorruptError("rows that an index has are not in their table; `art db check` says more")
    return True


def changed(connection: apsw.Connection) -> int:
    """How many rows the connection has changed until now."""
    number: int = connection.execute("SELECT total_changes()").get
    return number


def _bury(connection: apsw.Connection, upper: int, lower: int, tables: Sequence[str]) -> None:
    """Delete what the two layers have of inodes that are gone in the upper one. Names go at once: nothing is
    in a directory that is gone, also where somebody has it open."""
    gone = "SELECT ino FROM temp.merging CROSS JOIN inode USING(ino) WHERE +layer = ? AND +nlink = 0"
    for table in tables:
        connection.execute(
            f"DELETE FROM {table} WHERE +layer IN (?, ?) AND {_OWNED[table][0]} IN ({gone})",
            (upper, lower, upper),
        )


def _cover(connection: apsw.Connection, upper: int, lower: int) -> None:
    """Take out of the lower layer what the upper one covers."""
    both = (
        "SELECT u.ino, u.clip, l.clip FROM temp.merging CROSS JOIN inode u USING(ino) "
        "CROSS JOIN inode l USING(ino) WHERE +u.layer = ? AND +l.layer = ?"
    )
    shared: list[Any] = connection.execute(both, (upper, lower)).fetchall()
    connection.executemany(
        "DELETE FROM chunk WHERE ino = ? AND idx >= ? AND layer = ?",
        [(ino, -(-clip // CHUNK), lower) for ino, clip, _ in shared],
    )
    connection.executemany(
        "UPDATE chunk SET data = substr(data, 1, ?) WHERE ino = ? AND idx = ? AND layer = ?",
        [(clip % CHUNK, ino, clip // CHUNK, lower) for ino, clip, _ in shared if clip % CHUNK],
    )
    for table, (owner, key) in _OWNED.items():
        connection.execute(
            f"DELETE FROM {table} WHERE +layer = ? AND {owner} IN temp.merging AND EXISTS "
            f"(SELECT 1 FROM {table} u WHERE u.{owner} = {table}.{owner} AND u.{key} = {table}.{key} "
            "AND u.layer = ?)",
            (lower, upper),
        )
    connection.executemany(
        "UPDATE inode SET clip = ? WHERE ino = ? AND layer = ?",
        [(min(mine, below), ino, upper) for ino, mine, below in shared],
    )
    connection.executemany(
        "DELETE FROM inode WHERE ino = ? AND layer = ?", [(ino, lower) for ino, _, _ in shared]
    )


def join(connection: apsw.Connection, upper: int, lower: int, kept: int) -> None:
    """One layer in the place of two, when all inodes are in one of them: it has the upper one's names and
    stands where the lower one stood."""
    which = "REPLACE" if kept == lower else "IGNORE"
    small = upper + lower - kept
    for table in ("origin", "base"):
        connection.execute(f"UPDATE OR {which} {table} SET layer = ? WHERE layer = ?", (kept, small))
        connection.execute(f"DELETE FROM {table} WHERE layer = ?", (small,))
    parent = connection.execute("SELECT parent FROM layer WHERE id = ?", (lower,)).get
    gone = upper + lower - kept
    connection.execute("UPDATE layer SET parent = ? WHERE parent = ?", (kept, upper))
    connection.execute("UPDATE point SET layer = ? WHERE layer = ?", (kept, upper))
    connection.execute("DELETE FROM layer WHERE id = ?", (gone,))
    connection.execute("UPDATE layer SET parent = ? WHERE id = ?", (parent, kept))
