"""Merging layers that have no name of their own, of any size, a part at a time.

A chain shows the same wherever an inode's rows lie, so they are moved from one layer to its neighbour
some hundred at a time, each time one transaction, and the emptied layer goes with the last of them.
What has a name stays, and what somebody reads, and what a server writes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import apsw

from art_core.maintenance import Squashed
from art_cowfs import layers
from art_cowfs.locks import BranchLock, Bystander, Held
from art_cowfs.schema import chain_of, changing, connect

INODES_AT_ONCE = 512
LARGEST = 1024
"""Chunks of one inode that are moved while a branch is in use."""


LONG = 16
"""So many layers without a name are merged at the end of a run, whatever their size."""


def when_long(path: str, connection: apsw.Connection, branch: str) -> None:
    """Merge what can be of a chain that has grown long, for the one who holds its branch."""
    named = {row[0] for row in connection.execute("SELECT layer FROM point")}
    if sum(layer not in named for layer in chain_of(connection, branch)) < LONG:
        return
    by = Bystander(path)
    try:
        merge(connection, by, branch, top=True)
    finally:
        by.close()


def squash(path: str, branch: str) -> Squashed:
    """Merge what can be of a branch's chain."""
    connection = connect(path)
    by = Bystander(path)
    try:
        before = len(chain_of(connection, branch))
        _merge(path, connection, by, branch)
        after = chain_of(connection, branch)
        named = {row[0] for row in connection.execute("SELECT layer FROM point")}
        left = [layer for layer in after if layer not in named]
        why = ""
        if left:
            why = f"{len(left)} layers without a name stay: somebody uses them, or several branches do"
        return Squashed(branch, before, len(after), why)
    finally:
        by.close()
        connection.close()


def nameless(path: str, connection: apsw.Connection, by: Bystander) -> int:
    """Merge what can be of all branches; how many layers went."""
    branches = [row[0] for row in connection.execute("SELECT name FROM point WHERE kind = 'branch'")]
    return sum(_merge(path, connection, by, branch) for branch in branches)


def _merge(path: str, connection: apsw.Connection, by: Bystander, branch: str) -> int:
    """Merge along one chain; how many layers went. The top takes part when nobody has the branch."""
    lock: BranchLock | None = None
    with suppress(Held):
        lock = BranchLock(path, branch)
    try:
        return merge(connection, by, branch, top=lock is not None)
    finally:
        if lock is not None:
            lock.close(as_it_was=True)


def merge(connection: apsw.Connection, by: Bystander, branch: str, *, top: bool) -> int:
    """The same, for one who holds the branch (`top`) or leaves its top alone."""
    tried: set[tuple[int, int]] = set()
    merged = 0
    own = {branch} if top else set()
    while (pair := _next(connection, branch, by.is_read, tried, top=top)) is not None:
        tried.add(pair)
        if _merge_pair(connection, by, *pair, alone=not by.holders().keys() - own):
            merged += 1
            tried.clear()
    return merged


def _next(
    connection: apsw.Connection,
    branch: str,
    is_read: Callable[[int], bool],
    tried: set[tuple[int, int]],
    *,
    top: bool,
) -> tuple[int, int] | None:
    """Two neighbours of a chain, the upper and the lower, that can become one."""
    chain = chain_of(connection, branch)
    for upper, lower in zip(chain[0 if top else 1 :], chain[1 if top else 2 :], strict=False):
        if (upper, lower) not in tried and layers.may_merge(connection, upper, lower, is_read):
            return upper, lower
    return None


def _merge_pair(connection: apsw.Connection, by: Bystander, upper: int, lower: int, *, alone: bool) -> bool:
    """Make two layers one; False when somebody came to need them, or something is too large to move."""
    small, large = layers.by_size(connection, upper, lower)
    if not alone and layers.largest_inode(connection, small) > LARGEST:
        return False
    while True:
        with by.committing(), changing(connection):
            if not layers.may_merge(connection, upper, lower, by.is_read):
                return False
            if not layers.move(connection, upper, lower, small, INODES_AT_ONCE, dead=alone):
                layers.join(connection, upper, lower, large)
                return True
