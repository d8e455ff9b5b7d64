"""A problem of a database: what is wrong, and the statements that mend it."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from art_cowfs.db.transactions import all_rows

Statement = tuple[str, tuple[Any, ...]]
MOST = 100
"""Problems of one kind that are told; one more says that there are others."""
DIRECTORY = f"(mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFDIR}"


class Problem(NamedTuple):
    """`mend` are statements that make the database sound again as far as this is concerned."""

    kind: str
    what: str
    mend: Sequence[Statement] = ()


def layers_of(connection: apsw.Connection) -> dict[int, int | None]:
    """All layers, each with the one that it stands on."""
    return dict(all_rows(connection, "SELECT id, parent FROM layer"))


_SAME_BELOW = (
    "INSERT OR IGNORE INTO inode SELECT ino, ?1, mode, nlink, rdev, size, holes, size, host_clip, atime, "
    "mtime, ctime, target, origin, origin_size, origin_mtime FROM inode WHERE ino = ?2 AND layer < ?1 "
    "ORDER BY layer DESC LIMIT 1"
)
_MADE = (
    "INSERT OR IGNORE INTO inode SELECT ?2, ?1, ?3, 1, 0, coalesce(max(idx) * 65536 + length(data), 0), 0, "
    "coalesce(max(idx) * 65536 + length(data), 0), 0, 0, 0, 0, NULL, NULL, NULL, NULL "
    "FROM chunk WHERE ino = ?2 AND layer = ?1"
)
_DELETE_NAME = "DELETE FROM dentry WHERE parent = ? AND name = ? AND layer = ?"


def made_for(ino: int, layer: int, mode: int) -> list[Statement]:
    """See that a layer has a row of an inode: as the layers below have it, or a new one."""
    return [(_SAME_BELOW, (layer, ino)), (_MADE, (layer, ino, mode))]


_KINDS = {stat.S_IFLNK: "a link", stat.S_IFREG: "a file"}


def kind(mode: int) -> str:
    """What something that is no directory is, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something else than a directory")
