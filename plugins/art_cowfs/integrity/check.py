"""What must hold in every database, beyond SQLite's own integrity: its layers and its rows.

What must hold for the tree of each layer is in `tree_check`. Every kind of problem has a word, and most
of them statements that mend it.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence

import apsw

from art_core.contracts import MAIN
from art_cowfs.db.origins import OF_WORKSPACE
from art_cowfs.db.schema import CHUNK, HOST_NUMBERS, SEEDS
from art_cowfs.db.transactions import all_rows
from art_cowfs.integrity.problems import (
    _DELETE_NAME,
    DIRECTORY,
    MOST,
    Problem,
    Statement,
    layers_of,
    made_for,
)

_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def problems(connection: apsw.Connection) -> Iterator[str]:
    """Everything that is wrong, a sentence each; nothing for a sound database."""
    return (problem.what for problem in examine(connection))


def examine(connection: apsw.Connection, most: int = MOST) -> Iterator[Problem]:
    """Everything that is wrong, as of one moment, of each kind so many. Nobody else uses the connection
    meanwhile."""
    from art_cowfs.integrity import tree_check

    parts: Sequence[Callable[[apsw.Connection], Iterator[Problem]]] = (
        _sqlite,
        _types,
        _layers,
        _rows,
        _numbers,
        tree_check.trees,
    )
    connection.execute("BEGIN")
    try:
        for part in parts:
            told: dict[str, int] = {}
            try:
                for problem in part(connection):
                    told[problem.kind] = told.get(problem.kind, 0) + 1
                    if told[problem.kind] <= most:
                        yield problem
                    elif told[problem.kind] == most + 1:
                        yield problem._replace(what=f"{problem.what}; and there are more of this kind")
            except (apsw.Error, OverflowError, TypeError, ValueError) as error:
                yield Problem("unreadable", f"a part of the database cannot be read: {error}")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def is_of_the_file(line: str) -> bool:
    """Whether a line of SQLite's integrity check is about its pages and indexes. What it says of values is
    found below."""
    return line != "ok" and not line.startswith(("***", "CHECK constraint", "NULL value"))


def _sqlite(connection: apsw.Connection) -> Iterator[Problem]:
    for (said,) in connection.execute(f"PRAGMA integrity_check({MOST})"):
        for line in str(said).splitlines():
            if is_of_the_file(line):
                yield Problem("sqlite", f"SQLite says: {line}")


# --- values --------------------------------------------------------------------------------------


def _integers(names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), "i")


_COLUMNS = {
    "layer": {"id": "i", "parent": "in", "created_ns": "i"},
    "point": {
        **dict.fromkeys(["name", "kind", "branch", "parent", "note"], "t"),
        "layer": "i",
        "created_ns": "i",
    },
    "workspace": {"name": "b", "path": "b"},
    "inode": {
        **_integers("ino layer mode nlink rdev size holes clip host_clip atime mtime ctime"),
        "target": "bn",
        "origin": "bn",
        "origin_size": "in",
        "origin_mtime": "in",
    },
    "dentry": {"parent": "i", "name": "b", "layer": "i", "ino": "in"},
    "chunk": {"id": "i", "ino": "i", "idx": "i", "layer": "i", "data": "bn"},
    "xattr": {"ino": "i", "name": "b", "layer": "i", "value": "bn"},
    "origin": {"dev": "i", "host_ino": "i", "layer": "i", "ino": "i"},
    "base": {
        "workspace": "b",
        "place": "b",
        "layer": "i",
        "kind": "tn",
        **dict.fromkeys(["host_size", "host_mtime", "host_mode", "ino", "ctime", "host_ctime"], "in"),
        "digest": "tn",
    },
}
_KEYS = {
    "layer": ("id",),
    "point": ("name",),
    "workspace": ("name",),
    "inode": ("ino", "layer"),
    "dentry": ("parent", "name", "layer"),
    "chunk": ("id",),
    "xattr": ("ino", "name", "layer"),
    "origin": ("dev", "host_ino", "layer"),
    "base": ("workspace", "place", "layer"),
}
_TYPES = {"i": "integer", "t": "text", "b": "blob", "n": "null"}
_CAST = {"i": "INTEGER", "t": "TEXT", "b": "BLOB"}


def _types(connection: apsw.Connection) -> Iterator[Problem]:
    """A value of another type than its column's: SQLite keeps any, and a flipped bit makes one."""
    for table, columns in _COLUMNS.items():
        keys = _KEYS[table]
        for column, kinds in columns.items():
            allowed = ", ".join(f"'{_TYPES[kind]}'" for kind in kinds)
            query = f"SELECT {', '.join(keys)}, typeof({column}) FROM {table} WHERE typeof({column}) NOT IN"
            for *key, found in connection.execute(f"{query} ({allowed}) LIMIT {MOST + 1}"):
                place = ", ".join(f"{name} {value!r}" for name, value in zip(keys, key, strict=True))
                where = " AND ".join(f"{name} IS ?" for name in keys)
                # Two rows that become one: the other one stays.
                cast = f"UPDATE OR IGNORE {table} SET {column} = CAST({column} AS {_CAST[kinds[0]]})"
                yield Problem(
                    "type",
                    f"{column} of a row of {table} ({place}) is of type {found}",
                    [(f"{cast} WHERE {where}", tuple(key))],
                )


# --- layers and names ------------------------------------------------------------------------------


def _layers(connection: apsw.Connection) -> Iterator[Problem]:
    layers = layers_of(connection)
    alone = "UPDATE layer SET parent = NULL WHERE id = ?"
    for layer, below in layers.items():
        if below is None or not isinstance(below, int):
            continue
        if below not in layers:
            what = f"layer {layer} stands on layer {below}, which is not there"
            yield Problem("layer-parent", what, [(alone, (layer,))])
        elif below >= layer:
            circle = _is_in_a_circle(layers, layer)
            kind = "layer-cycle" if circle else "layer-order"
            more = ": the layers stand on each other" if circle else ""
            what = f"layer {layer} does not stand on an older one, but on {below}{more}"
            yield Problem(kind, what, [(alone, (layer,))])
    yield from _points(connection, layers)


def _is_in_a_circle(layers: dict[int, int | None], first: int) -> bool:
    seen: set[int] = set()
    at: int | None = first
    while at is not None and at in layers and at not in seen:
        seen.add(at)
        at = layers[at]
    return at == first


def _points(connection: apsw.Connection, layers: dict[int, int | None]) -> Iterator[Problem]:
    points = all_rows(connection, "SELECT name, kind, layer FROM point")
    stood_on = {below for below in layers.values() if below is not None}
    tops: dict[int, str] = {}
    for name, kind, layer in points:
        if kind not in ("branch", "snapshot"):
            what = f"the name {name!r} is neither a branch's nor a snapshot's, but {kind!r}"
            named = "UPDATE point SET kind = 'snapshot' WHERE name = ?"
            yield Problem("point-kind", what, [(named, (name,))])
        elif layer not in layers:
            what = f"the {kind} {name!r} leads to layer {layer}, which is not there"
            gone: list[Statement] = [("DELETE FROM point WHERE name = ?", (name,))]
            yield Problem("point-layer", what, _over_the_last(name) if kind == "branch" else gone)
        elif kind == "branch" and layer in tops:
            what = f"the branches {tops[layer]!r} and {name!r} both write to layer {layer}"
            yield Problem("point-top", what, _over(name, layer))
        elif kind == "branch" and layer in stood_on:
            what = f"the branch {name!r} writes to layer {layer}, and others stand on that"
            yield Problem("point-top", what, _over(name, layer))
        if kind == "branch":
            tops.setdefault(layer, name)
    if not tops:
        what = "no name is a branch's, so nothing can be written"
        main = "INSERT OR REPLACE INTO point VALUES(?, 'branch', ?, ?, '', 0, '')"
        new = max((one for one in layers if isinstance(one, int)), default=0) + 1
        mend = [("INSERT INTO layer VALUES(?, ?, 0)", (new, new - 1 or None)), (main, (MAIN, new, MAIN))]
        yield Problem("point-none", what, mend)


def _over(name: str, layer: int) -> list[Statement]:
    """A layer of its own for a branch."""
    return [
        ("INSERT INTO layer(parent, created_ns) VALUES(?, 0)", (layer,)),
        ("UPDATE point SET layer = last_insert_rowid() WHERE name = ?", (name,)),
    ]


def _over_the_last(name: str) -> list[Statement]:
    return [
        ("INSERT INTO layer(parent, created_ns) SELECT max(id), 0 FROM layer", ()),
        ("UPDATE point SET layer = last_insert_rowid() WHERE name = ?", (name,)),
    ]


# --- rows ----------------------------------------------------------------------------------------

_OF_A_LAYER = ("inode", "dentry", "chunk", "xattr", "origin", "base")
_OWNED = {"dentry": "parent", "chunk": "ino", "xattr": "ino"}
_EVERYTHING = "SELECT DISTINCT layer FROM {} WHERE layer NOT IN (SELECT id FROM layer)"


def _rows(connection: apsw.Connection) -> Iterator[Problem]:
    unknown: dict[int, list[str]] = {}
    for table in _OF_A_LAYER:
        for (layer,) in connection.execute(_EVERYTHING.format(table)):
            unknown.setdefault(layer, []).append(table)
    for layer, tables in unknown.items():
        what = f"{', '.join(tables)} have rows of layer {layer}, which is not there"
        found = "INSERT OR IGNORE INTO layer VALUES(?, NULL, 0)"
        named = "INSERT OR IGNORE INTO point VALUES(?, 'snapshot', ?, ?, '', 0, 'found by art db check')"
        is_one = isinstance(layer, int) and layer > 0
        mend: list[Statement] = (
            [(found, (layer,)), (named, (f"found-{layer}", layer, MAIN))] if is_one else []
        )
        yield Problem("layer-unknown", what, mend)
    for table, owner in _OWNED.items():
        query = f"SELECT {owner}, layer FROM {table} EXCEPT SELECT ino, layer FROM inode LIMIT {MOST + 1}"
        for ino, layer in connection.execute(query):
            what = f"a row of {table} in layer {layer} belongs to inode {ino}, which that layer has not"
            mode = stat.S_IFDIR | 0o700 if table == "dentry" else stat.S_IFREG | 0o600
            yield Problem("homeless", what, made_for(ino, layer, mode))
    yield from _names(connection)
    yield from _inodes(connection)
    yield from _chunks(connection)


_BAD_NAME = (
    "length(name) = 0 OR length(name) > 255 OR name IN (x'2e', x'2e2e') "
    "OR instr(name, x'2f') OR instr(name, x'00')"
)


def _names(connection: apsw.Connection) -> Iterator[Problem]:
    query = f"SELECT parent, name, layer FROM dentry WHERE {_BAD_NAME} LIMIT {MOST + 1}"
    for parent, name, layer in connection.execute(query):
        what = f"the name {bytes(name)[:300]!r} in directory {parent} is none that a file can have"
        better = b"renamed-" + bytes(name)[:100].hex().encode()
        rename = "UPDATE OR IGNORE dentry SET name = ? WHERE parent = ? AND name = ? AND layer = ?"
        yield Problem("name", what, [(rename, (better, parent, name, layer))])
    query = (
        "SELECT parent, name, d.layer FROM dentry d JOIN inode i ON i.ino = d.parent AND i.layer = d.layer "
        f"WHERE NOT {DIRECTORY} AND d.ino > 0 LIMIT {MOST + 1}"
    )
    for parent, name, layer in connection.execute(query):
        what = f"the name {name!r} is in inode {parent}, which is no directory"
        yield Problem("parent", what, [(_DELETE_NAME, (parent, name, layer))])


def _inodes(connection: apsw.Connection) -> Iterator[Problem]:
    kinds = ", ".join(map(str, _KINDS))
    where = "WHERE ino = ? AND layer = ?"
    link = f"(mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFLNK}"
    checks = (
        (
            "mode",
            f"(mode & {stat.S_IFMT(0o170000)}) NOT IN ({kinds}) OR mode < 0 OR mode > {0o177777}",
            "is of no type that a file has",
            f"UPDATE inode SET mode = (mode & {0o777}) | CASE WHEN EXISTS (SELECT 1 FROM dentry WHERE "
            f"parent = inode.ino) THEN {stat.S_IFDIR} WHEN target IS NULL THEN {stat.S_IFREG} "
            f"ELSE {stat.S_IFLNK} END {where}",
        ),
        (
            "size",
            "size < 0 OR clip < 0 OR host_clip < 0 OR holes < 0 OR nlink < 0 OR ino < 1",
            "has a size or a count below zero",
            "UPDATE inode SET size = max(size, 0), clip = max(clip, 0), host_clip = max(host_clip, 0), "
            f"holes = max(holes, 0), nlink = max(nlink, 0) {where}",
        ),
        (
            "target",
            f"{link} AND nlink > 0 AND (target IS NULL OR length(target) = 0 OR instr(target, x'00'))",
            "is a symbolic link that leads to nothing a link can",
            f"UPDATE inode SET target = CAST('unknown' AS BLOB), size = 7 {where}",
        ),
        (
            "origin-path",
            "origin IS NOT NULL AND (instr(origin, x'00') OR (substr(origin, 1, 1) = x'2f' AND "
            f"substr(origin, 1, {len(SEEDS)}) != x'{SEEDS.hex()}' AND "
            f"substr(origin, 1, 2) != x'{OF_WORKSPACE.hex()}') OR "
            "instr(x'2f' || origin || x'2f', x'2f2e2e2f'))",
            "shows a path of the host that a workspace cannot have",
            f"UPDATE inode SET origin = NULL, host_clip = 0 {where}",
        ),
    )
    for kind, condition, said, mend in checks:
        for ino, layer in connection.execute(
            f"SELECT ino, layer FROM inode WHERE {condition} LIMIT {MOST + 1}"
        ):
            yield Problem(kind, f"inode {ino} in layer {layer} {said}", [(mend, (ino, layer))])


def _chunks(connection: apsw.Connection) -> Iterator[Problem]:
    query = f"SELECT id, ino, idx, layer, length(data) FROM chunk WHERE length(data) > {CHUNK} OR idx < 0"
    for row, ino, idx, layer, length in connection.execute(f"{query} LIMIT {MOST + 1}"):
        if idx < 0:
            what = f"inode {ino} has a chunk at place {idx} in layer {layer}"
            yield Problem("chunk-place", what, [("DELETE FROM chunk WHERE id = ?", (row,))])
        else:
            what = f"chunk {idx} of inode {ino} in layer {layer} has {length} bytes, more than {CHUNK}"
            cut = f"UPDATE chunk SET data = substr(data, 1, {CHUNK}) WHERE id = ?"
            yield Problem("chunk-size", what, [(cut, (row,))])


def _numbers(connection: apsw.Connection) -> Iterator[Problem]:
    """The next number is above all that are in use, or a new file would be an old one."""
    highest = "SELECT max(ino) FROM inode WHERE ino < ?"
    largest = connection.execute(highest, (HOST_NUMBERS,)).get or 0
    following = connection.execute("SELECT value FROM meta WHERE key = 'next_ino'").get
    if not isinstance(following, int) or following <= largest or following >= HOST_NUMBERS:
        mend = "INSERT OR REPLACE INTO meta VALUES('next_ino', ?)"
        what = f"the next inode number is {following!r}, and {largest} is in use"
        yield Problem("numbers", what, [(mend, (largest + 1,))])
