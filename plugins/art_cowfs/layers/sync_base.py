"""What a push or a pull made the same on both sides, kept with the layer that the host was the same as.

A branch inherits it with the layers below it, so what one branch agrees on with the host does not count
for another one that parted from it before: there the host has changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import apsw

from art_core.trees import Agreed
from art_cowfs.layers.chain import Chain


class Absence(NamedTuple):
    """Neither side has anything at a place any more. `directory` is the number of the one that hides what the
    host makes there, 0 when none does: what a directory hides that was made anew nobody agreed on."""

    directory: int = 0


Row = Agreed | Absence
Rows = Mapping[tuple[bytes, bytes], Row]
"""By workspace and place."""
_ABSENT = "absent"
"""In the place of a kind. Where there is none, nothing is agreed on."""
_PAGE = 1000


def agreed(chain: Chain, workspace: bytes) -> Iterator[tuple[bytes, Agreed]]:
    """By place, in order; a page at a time, so that no statement stays open."""
    last = b""
    while rows := _page(chain, workspace, last):
        for place, kind, size, mtime_ns, mode, ino, version, changed_ns, digest, _ in rows:
            if kind not in (None, _ABSENT):
                yield place, Agreed(kind, size, mtime_ns, mode, ino, version, changed_ns or 0, digest or "")
        last = rows[-1][0]


def absent(chain: Chain, workspace: bytes) -> Iterator[tuple[bytes, int]]:
    """Where neither side has anything, by place and in order, and the directory that hides it."""
    last = b""
    while rows := _page(chain, workspace, last):
        yield from ((row[0], row[5]) for row in rows if row[1] == _ABSENT)
        last = rows[-1][0]


def places(chain: Chain, workspace: bytes, layer: int = 0) -> list[bytes]:
    """Where both sides had something, in order; of one layer, or of all."""
    only = f"AND layer = {layer}" if layer else ""
    rows = chain.connection.execute(
        f"SELECT place FROM (SELECT place, kind, max(layer) FROM base WHERE workspace = ? AND {chain.chosen} "
        f"{only} GROUP BY place) WHERE kind != ? ORDER BY place",
        (workspace, _ABSENT),
    )
    return [place for (place,) in rows]


def _page(chain: Chain, workspace: bytes, after: bytes) -> list[Any]:
    rows: list[Any] = chain.connection.execute(
        "SELECT place, kind, host_size, host_mtime, host_mode, ino, ctime, host_ctime, digest, max(layer) "
        f"FROM base WHERE workspace = ? AND place > ? AND {chain.chosen} GROUP BY place ORDER BY place "
        "LIMIT ?",
        (workspace, after, _PAGE),
    ).fetchall()
    return rows


def keep(connection: apsw.Connection, layer: int, rows: Rows) -> None:
    """Remember that the host has what a layer shows. Within a transaction of the caller's."""
    gone = [(*place, layer) for place, what in rows.items() if what == Absence()]
    connection.executemany("DELETE FROM base WHERE workspace = ? AND place = ? AND layer = ?", gone)
    # Where a layer below has one it must not be seen.
    connection.executemany(
        "INSERT INTO base(workspace, place, layer) SELECT ?1, ?2, ?3 "
        "WHERE EXISTS (SELECT 1 FROM base WHERE workspace = ?1 AND place = ?2)",
        gone,
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, 0), nullif(?, ''))",
        [(*place, layer, *what) for place, what in rows.items() if isinstance(what, Agreed)],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO base(workspace, place, layer, kind, ino) VALUES(?, ?, ?, ?, ?)",
        [
            (*place, layer, _ABSENT, *what)
            for place, what in rows.items()
            if isinstance(what, Absence) and any(what)
        ],
    )


def inherit(connection: apsw.Connection, layers: list[int], to: int, *, hides: bool) -> None:
    """Give a layer what a branch agreed on in layers that it does not have below it any more; whether it
    `hides` what they do."""
    kind = "kind" if hides else f"nullif(kind, '{_ABSENT}')"
    for layer in sorted(layers):
        connection.execute(
            f"INSERT OR REPLACE INTO base SELECT workspace, place, ?, {kind}, host_size, host_mtime, "
            "host_mode, ino, ctime, host_ctime, digest FROM base WHERE layer = ?",
            (to, layer),
        )
