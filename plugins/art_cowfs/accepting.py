"""Partial files: where the rest of their contents comes from, when the host's file is another one now.

A pull gives the host a file that holds what the sandbox sees, so the rest is the same there. With
`--accept-host` a user takes what the host has now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import apsw

from art_cowfs.chain import Chain
from art_cowfs.nodes import from_row, row_of


class Accepted(NamedTuple):
    """A file's number, the path of the host's file as the database keeps it, and what that was and is: size
    and mtime."""

    ino: int
    path: bytes
    was: tuple[int, int]
    now: tuple[int, int]

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Accepted:
        """Out of a request to a server. Raises LookupError, TypeError or ValueError."""
        sizes = [tuple(map(int, request[name])) for name in ("was", "now")]
        return cls(int(request["ino"]), bytes.fromhex(request["path"]), *sizes)  # type: ignore[arg-type]


def accept(connection: apsw.Connection, branch: str, accepted: Accepted, frozen: int = 0) -> None:
    """Record it in the top layer of a branch that nobody has open, or in a `frozen` one, which shows the
    same as before. What became of the file meanwhile is left as it is. Within a transaction of the
    caller's."""
    chain = Chain(connection, branch, frozen)
    row = chain.inode(accepted.ino)
    if row is None or (row.origin_size, row.origin_mtime) != accepted.was:
        return
    node = from_row(row, chain.top)
    node.origin = accepted.path
    node.base_size, node.base_mtime = accepted.now
    columns = ("?, " * 16).rstrip(", ")
    changed = node.ino, chain.top, *row_of(node, chain.origins)
    connection.execute(f"INSERT OR REPLACE INTO inode VALUES({columns})", changed)
