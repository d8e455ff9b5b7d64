"""What must hold for the tree that each layer shows: names, link counts, and the chunks of files.

The layers are gone through from the lowest up. Two temporary tables hold what a layer shows, and each
layer changes them by its own rows; only what it touches is looked at.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import apsw

from art_cowfs.db.origins import OF_WORKSPACE
from art_cowfs.db.schema import CHUNK, HOST_NUMBERS
from art_cowfs.db.transactions import all_rows
from art_cowfs.integrity.problems import DIRECTORY, Problem, Statement, kind, layers_of, made_for
from art_fusefs.backend import ROOT

_TABLES = """
DROP TABLE IF EXISTS temp.shown_name; DROP TABLE IF EXISTS temp.shown_inode;
DROP TABLE IF EXISTS temp.touched; DROP TABLE IF EXISTS temp.renamed; DROP TABLE IF EXISTS temp.below;
CREATE TEMP TABLE shown_name(
  parent INTEGER, name BLOB, ino INTEGER, layer INTEGER, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE INDEX temp.shown_name_ino ON shown_name(ino);
CREATE TEMP TABLE shown_inode(
  ino INTEGER PRIMARY KEY, layer INTEGER, mode INTEGER, nlink INTEGER, size INTEGER, holes INTEGER,
  clip INTEGER, host_clip INTEGER, hosted INTEGER);
CREATE TEMP TABLE touched(ino INTEGER PRIMARY KEY);
CREATE TEMP TABLE renamed(
  parent INTEGER, name BLOB, ino INTEGER, PRIMARY KEY(parent, name)) WITHOUT ROWID;
CREATE TEMP TABLE below(layer INTEGER PRIMARY KEY);
"""
_APPLY = f"""
DELETE FROM temp.renamed;
INSERT INTO temp.below VALUES(:layer);
INSERT OR IGNORE INTO temp.renamed SELECT d.parent, d.name, d.ino FROM main.inode i
  CROSS JOIN main.dentry d ON d.parent = i.ino AND d.layer = :layer WHERE i.layer = :layer;
INSERT OR IGNORE INTO temp.touched SELECT ino FROM main.inode WHERE layer = :layer;
INSERT OR IGNORE INTO temp.touched
  SELECT n.ino FROM temp.renamed r JOIN temp.shown_name n USING(parent, name);
INSERT OR IGNORE INTO temp.touched SELECT ino FROM temp.renamed WHERE ino > 0;
INSERT OR REPLACE INTO temp.shown_inode SELECT ino, layer, mode, nlink, size, holes, clip, host_clip,
  origin IS NOT NULL OR ino >= {HOST_NUMBERS} OR ino IN (SELECT ino FROM main.origin)
  FROM main.inode WHERE layer = :layer;
DELETE FROM temp.shown_name WHERE (parent, name) IN (SELECT parent, name FROM temp.renamed);
INSERT INTO temp.shown_name SELECT parent, name, ino, :layer FROM temp.renamed WHERE ino > 0;
INSERT OR IGNORE INTO temp.touched SELECT n.ino FROM temp.touched t JOIN temp.shown_inode i USING(ino)
  JOIN temp.shown_name n ON n.parent = t.ino WHERE i.nlink = 0;
DELETE FROM temp.shown_name WHERE parent IN
  (SELECT ino FROM temp.touched JOIN temp.shown_inode USING(ino) WHERE nlink = 0);
"""
_CLEAR = "".join(f"DELETE FROM temp.{name};" for name in ("shown_name", "shown_inode", "touched", "below"))


def trees(connection: apsw.Connection) -> Iterator[Problem]:
    """The problems of all layers that can be read."""
    layers = layers_of(connection)
    above: dict[int, list[int]] = {}
    roots = []
    for layer, below in sorted(layers.items()):
        if below in layers and below is not None and below < layer:
            above.setdefault(below, []).append(layer)
        else:
            roots.append(layer)
    connection.execute(_TABLES)
    try:
        for root in roots:
            connection.execute(_CLEAR)
            yield from _from(connection, root, above)
    finally:
        connection.execute("".join(f"DROP TABLE temp.{name};" for name in _NAMES))


_NAMES = ("shown_name", "shown_inode", "touched", "renamed", "below")


def _from(connection: apsw.Connection, root: int, above: dict[int, list[int]]) -> Iterator[Problem]:
    """A layer and those that stand on it. Where they part, what was shown there is gone back to."""
    todo = [("enter", root)]
    while todo:
        step, layer = todo.pop()
        if step == "mark":
            connection.execute(f"SAVEPOINT parting{layer}")
        elif step == "back":
            connection.execute(f"ROLLBACK TO parting{layer}; RELEASE parting{layer}")
        else:
            yield from _layer(connection, layer)
            children = above.get(layer, [])
            for child in reversed(children):
                steps = ("mark", "enter", "back") if len(children) > 1 else ("enter",)
                todo += [(each, child) for each in reversed(steps)]


def _layer(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    for statement in filter(str.strip, _APPLY.split(";\n")):
        connection.execute(statement, {"layer": layer} if ":layer" in statement else None)
    if connection.execute("SELECT 1 FROM point WHERE layer = ?", (layer,)).get is None:
        return  # Nobody reads it by itself, and a squash that was interrupted has moved rows out of it.
    for part in (_root, _names, _workspaces, _links, _directories, _contents):
        yield from list(part(connection, layer))
    connection.execute("DELETE FROM temp.touched")


def _root(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    found = connection.execute(
        f"SELECT 1 FROM temp.shown_inode WHERE ino = ? AND {DIRECTORY} AND nlink > 0", (ROOT,)
    ).get
    if found is None:
        new = (
            f"INSERT OR REPLACE INTO inode VALUES({ROOT}, ?, {stat.S_IFDIR | 0o755}, 2, 0, 0, 0, 0, 0, 0, 0, "
            "0, NULL, NULL, NULL, NULL)"
        )
        yield Problem("root", f"layer {layer} shows no top directory", [(new, (layer,))])


def _names(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    dangling = all_rows(
        connection,
        "SELECT n.parent, n.name, n.ino, n.layer, EXISTS(SELECT 1 FROM main.dentry WHERE parent = n.ino), "
        "EXISTS(SELECT 1 FROM main.chunk WHERE ino = n.ino), "
        "EXISTS(SELECT 1 FROM main.inode WHERE ino = n.ino) "
        "FROM temp.touched t JOIN temp.shown_name n ON n.ino = t.ino "
        "LEFT JOIN temp.shown_inode i ON i.ino = n.ino WHERE i.ino IS NULL",
    )
    for parent, name, ino, where, has_names, has_chunks, elsewhere in dangling:
        mend: list[Statement] = [(_NO_NAME, (parent, name, where))]
        if has_names or has_chunks:
            mend = made_for(ino, layer, stat.S_IFDIR | 0o700 if has_names else stat.S_IFREG | 0o600)
        there = "which other layers have" if elsewhere else "which is not there"
        what = f"the name {name!r} in directory {parent} leads in layer {layer} to inode {ino}, {there}"
        yield Problem("dangling", what, mend)


_REPLACED = f"""
SELECT w.name, n.layer, n.ino, i.mode FROM main.workspace w
CROSS JOIN temp.shown_name n ON n.parent = {ROOT} AND n.name = w.name
JOIN temp.shown_inode i ON i.ino = n.ino
WHERE NOT {DIRECTORY} AND (n.layer = ?1 OR n.layer NOT IN (SELECT layer FROM main.point))
"""
_MOVED = """
SELECT n.parent, n.name, n.ino FROM temp.shown_inode s
JOIN main.inode i ON i.ino = s.ino AND i.layer = s.layer AND i.origin = ?
JOIN temp.shown_name n ON n.ino = s.ino LIMIT 1
"""


def _workspaces(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    """Something else than a directory in the place of a workspace gets another name; the directory that
    shows the host's gets its own back."""
    put = "INSERT OR REPLACE INTO dentry VALUES(?, ?, ?, ?)"
    for name, where, ino, mode in all_rows(connection, _REPLACED, (layer,)):
        mend: list[Statement] = [
            *made_for(ROOT, layer, stat.S_IFDIR | 0o755),
            ("UPDATE OR REPLACE dentry SET name = ? WHERE parent = ? AND name = ? AND layer = ?",
             (b"lost+found-%d" % ino, ROOT, name, where)),
        ]  # fmt: skip
        for parent, other, moved in all_rows(connection, _MOVED, (OF_WORKSPACE + name,)):
            mend += [
                *made_for(parent, layer, stat.S_IFDIR | 0o755),
                (put, (parent, other, layer, None)),
                (put, (ROOT, name, layer, moved)),
            ]
        what = f"{kind(mode)} has the place of the workspace {name!r} in layer {layer}"
        yield Problem("entry", what, mend)


_NO_NAME = "DELETE FROM dentry WHERE parent = ? AND name = ? AND layer = ?"
_LINKS = f"""
SELECT ino, mode, nlink, hosted, {DIRECTORY},
  (SELECT count(*) FROM temp.shown_name n WHERE n.ino = t.ino),
  (SELECT count(*) FROM temp.shown_name n CROSS JOIN temp.shown_inode c ON c.ino = n.ino
   WHERE n.parent = t.ino AND (c.mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFDIR})
FROM temp.touched t JOIN temp.shown_inode USING(ino)
"""


def _links(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    for ino, mode, nlink, hosted, directory, names, below in connection.execute(_LINKS):
        top = ino == ROOT
        if directory and names > 1:
            rows = all_rows(
                connection,
                "SELECT parent, name, layer FROM temp.shown_name WHERE ino = ? ORDER BY layer, parent, name",
                (ino,),
            )
            what = f"directory {ino} has {names} names in layer {layer}"
            yield Problem("several", what, [(_NO_NAME, tuple(row)) for row in rows[1:]])
        elif top and names:
            query = "SELECT parent, name, layer FROM temp.shown_name WHERE ino = ?"
            what = f"the top directory has a name in layer {layer}"
            mend = [(_NO_NAME, tuple(row)) for row in all_rows(connection, query, (ino,))]
            yield Problem("several", what, mend)
        elif not names and nlink and not hosted and not top:
            name = b"lost+found-%d" % ino
            what = f"no name leads to inode {ino} in layer {layer}"
            linked = "INSERT OR IGNORE INTO dentry VALUES(?, ?, ?, ?)"
            mend = [
                *made_for(ino, layer, mode),
                *made_for(ROOT, layer, stat.S_IFDIR | 0o755),
                (linked, (ROOT, name, layer, ino)),
            ]
            yield Problem("orphan", what, mend)
        if directory:
            wrong = (nlink > 0 or names or top) and nlink != 2 + below and not hosted
            expected = 2 + below
            wrong = wrong or (hosted and names and not nlink)
        else:
            wrong = names > nlink or (names != nlink and names and not hosted)
            expected = names
        if wrong:
            what = f"inode {ino} counts {nlink} links in layer {layer}, and has {expected}"
            count = ("UPDATE inode SET nlink = ? WHERE ino = ? AND layer = ?", (expected, ino, layer))
            yield Problem("links", what, [*made_for(ino, layer, mode), count])


_REACHED = f"""
WITH RECURSIVE reached(ino) AS (
  VALUES({ROOT}) UNION SELECT n.ino FROM reached CROSS JOIN temp.shown_name n ON n.parent = reached.ino
  JOIN temp.shown_inode i ON i.ino = n.ino WHERE (i.mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFDIR})
SELECT ino FROM temp.shown_inode WHERE {DIRECTORY} AND nlink > 0 AND ino NOT IN (SELECT ino FROM reached)
"""


def _directories(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    """Directories that are in themselves: a name leads to each, and none of them is below the top."""
    touched = f"SELECT 1 FROM temp.touched JOIN temp.shown_inode USING(ino) WHERE {DIRECTORY} LIMIT 1"
    if connection.execute(touched).get is None:
        return
    seen: set[int] = set()
    for (ino,) in all_rows(connection, _REACHED):
        path: list[tuple[int, Any]] = []
        at: int | None = ino
        while at is not None and at not in seen:
            seen.add(at)
            row: Any = connection.execute(
                "SELECT parent, name, layer FROM temp.shown_name WHERE ino = ? LIMIT 1", (at,)
            ).fetchone()
            path.append((at, row))
            at = None if row is None else row[0]
        circle = [one for one, _ in path]
        if at in circle:
            members = path[circle.index(at) :]
            _, latest = max(members, key=lambda member: member[1][2])
            numbers = ", ".join(str(one) for one, _ in members[:5])
            what = f"directory {at} lies in itself in layer {layer} (by way of {numbers})"
            yield Problem("tree-cycle", what, [(_NO_NAME, tuple(latest))])


_CHUNKS = f"""
SELECT t.ino, c.idx, max(c.layer), length(c.data) FROM temp.touched t
CROSS JOIN temp.shown_inode i ON i.ino = t.ino AND (i.mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFREG}
CROSS JOIN main.chunk c ON c.ino = t.ino WHERE i.nlink > 0 AND +c.layer IN (SELECT layer FROM temp.below)
GROUP BY c.ino, c.idx ORDER BY c.ino
"""
_FILES = f"""
SELECT ino, layer, size, holes, host_clip, hosted FROM temp.touched JOIN temp.shown_inode USING(ino)
WHERE nlink > 0 AND (mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFREG} AND (size > 0 OR holes > 0)
ORDER BY ino
"""


def _contents(connection: apsw.Connection, layer: int) -> Iterator[Problem]:
    """Each part of a file is a chunk, the host's, or counted as a hole."""
    grouped = groupby(connection.execute(_CHUNKS), key=itemgetter(0))
    at, chunks = next(grouped, _NO_MORE)
    for ino, where, size, holes, host_clip, hosted in connection.execute(_FILES):
        while at is not None and at < ino:
            at, chunks = next(grouped, _NO_MORE)
        data, over_host = _stored(connection, layer, chunks, size, host_clip) if at == ino else (0, 0)
        hosts = max(0, -(-min(host_clip, size) // CHUNK) - over_host) if hosted else 0
        counted = data + hosts + holes // CHUNK
        whole = -(-size // CHUNK)
        real = max(0, whole - data - hosts) * CHUNK
        mend = [("UPDATE inode SET holes = ? WHERE ino = ? AND layer = ?", (real, ino, where))]
        if counted < whole:
            lacks = f"inode {ino} lacks {whole - counted} of its {whole} chunks in layer {layer}"
            what = f"{lacks}: they read as zeros"
            yield Problem("chunk-missing", what, mend)
        elif counted > whole:
            what = f"inode {ino} counts {holes} bytes of holes in layer {layer}, and has {real}"
            yield Problem("holes", what, mend)


_NO_MORE: tuple[int | None, Iterator[Any]] = (None, iter(()))


def _stored(
    connection: apsw.Connection, layer: int, chunks: Iterator[Any], size: int, host_clip: int
) -> tuple[int, int]:
    """How many chunks of a file have something, and how many are in the place of the host's."""
    data = over_host = 0
    for ino, idx, where, length in chunks:
        at = idx * CHUNK
        if at >= size or idx < 0:
            continue
        over_host += at < host_clip
        if length and where < layer:
            clip = connection.execute(
                "SELECT min(clip) FROM main.inode WHERE ino = ? AND layer > ? AND layer <= ? "
                "AND +layer IN (SELECT layer FROM temp.below)",
                (ino, where, layer),
            ).get
            length = length if clip is None else min(length, clip - at)
        data += bool(length and length > 0)
    return data, over_host
