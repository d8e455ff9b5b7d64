"""Where the rest of partial files, and what directories show, comes from when the host is another one now.

A pull gives the host a file that holds what the sandbox sees, so the rest is the same there. With
`--accept-host` a user takes what the host has now. A directory that was pulled shows the host's.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from art_cowfs.layers.chain import Chain
from art_cowfs.tree.nodes import CowNode, from_row, row_of


class Accepted(NamedTuple):
    """A number, the host's path as the database keeps it, b"" for none, and what a file there was and is:
    size and mtime."""

    ino: int
    path: bytes
    was: tuple[int, int] = (0, 0)
    now: tuple[int, int] = (0, 0)

    def suits(self, node: CowNode) -> bool:
        """Whether the node is still what it was."""
        if stat.S_ISDIR(node.mode):
            return True
        return bool(node.origin is not None and self.path and (node.base_size, node.base_mtime) == self.was)


def request(accepted: Sequence[Accepted]) -> dict[str, object]:
    """For a server."""
    return {"ask": "accept", "files": [[one.ino, one.path.hex(), one.was, one.now] for one in accepted]}


def accepted_of(request: Mapping[str, Any]) -> list[Accepted]:
    """Out of a request. Raises LookupError, TypeError or ValueError."""
    return [
        Accepted(int(ino), bytes.fromhex(path), _pair(was), _pair(now))
        for ino, path, was, now in request["files"]
    ]


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    size, time_ns = numbers
    return int(size), int(time_ns)


def accept(connection: apsw.Connection, branch: str, accepted: Sequence[Accepted], frozen: int = 0) -> None:
    """Record it in the top layer of a branch that nobody has open, or in a `frozen` one, which shows the
    same as before. What became of the file meanwhile is left as it is. Within a transaction of the
    caller's."""
    chain = Chain(connection, branch, frozen)
    columns = ("?, " * 16).rstrip(", ")
    for one in accepted:
        row = chain.inode(one.ino)
        if row is None:
            continue
        node = from_row(row, chain.top)
        if not one.suits(node):
            continue
        node.origin = one.path or None
        node.base_size, node.base_mtime = one.now
        changed = node.ino, chain.top, *row_of(node, chain.origins)
        connection.execute(f"INSERT OR REPLACE INTO inode VALUES({columns})", changed)
