"""Merging layers that have no name of their own, of any size, a part at a time.

A chain shows the same wherever an inode's rows lie, so they are moved from one layer to its neighbour
some hundred at a time, each time one transaction, and the emptied layer goes with the last of them.
What has a name stays, and what somebody reads, and what a server writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise

import apsw

from art_core.store.maintenance import Squashed
from art_cowfs.db.locks import BranchInUse, BranchLock, Bystander
from art_cowfs.db.lookup import chain_of
from art_cowfs.layers import layers
from art_cowfs.opening.database import connect

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
        merge(connection, by, branch, lambda: nullcontext(by), held=True)
    finally:
        by.close()


def squash_branch(path: str, branch: str) -> Squashed:
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
    """Merge along one chain; how many layers went. The top takes part while nobody has the branch."""

    @contextmanager
    def holding() -> Iterator[BranchLock]:
        lock = BranchLock(path, branch, yields=True)
        try:
            yield lock
        finally:
            lock.close(as_it_was=True)

    return merge(connection, by, branch, holding)


def merge(
    connection: apsw.Connection,
    by: Bystander,
    branch: str,
    holding: Callable[[], AbstractContextManager[BranchLock | Bystander]],
    *,
    held: bool = False,
) -> int:
    """The same, for one who has the branch (`held`) or takes it by `holding`, which raises Held, for each
    transaction that touches its top: who wants it waits for one of them at most."""
    tried: set[tuple[int, int]] = set()
    merged = 0
    while (pair := _next(connection, branch, by.is_read, tried)) is not None:
        tried.add(pair)
        if _merge_pair(connection, by, branch, pair, holding, held=held):
            merged += 1
            tried.clear()
    return merged


def _next(
    connection: apsw.Connection,
    branch: str,
    is_read: Callable[[int], bool],
    tried: set[tuple[int, int]],
) -> tuple[int, int] | None:
    """Two neighbours of a chain, the upper and the lower, that can become one."""
    chain = chain_of(connection, branch)
    for upper, lower in pairwise(chain):
        if (upper, lower) not in tried and layers.may_merge(connection, upper, lower, is_read):
            return upper, lower
    return None


def _merge_pair(
    connection: apsw.Connection,
    by: Bystander,
    branch: str,
    pair: tuple[int, int],
    holding: Callable[[], AbstractContextManager[BranchLock | Bystander]],
    *,
    held: bool,
) -> bool:
    """Make two layers one; False when somebody came to need them, or something is too large to move."""
    upper, lower = pair
    small, large = layers.by_size(connection, upper, lower)
    is_large = layers.largest_inode(connection, small) > LARGEST
    while True:
        try:
            is_top = chain_of(connection, branch)[0] == upper
            with holding() if is_top else nullcontext(by) as turns:
                own = {branch} if is_top or held else set()
                alone = not by.holders().keys() - own
                if is_large and not alone:
                    return False
                with turns.changing(connection):
                    if not layers.may_merge(connection, upper, lower, by.is_read):
                        return False
                    if not layers.move(connection, upper, lower, small, INODES_AT_ONCE, dead=alone):
                        layers.join(connection, upper, lower, large)
                        return True
        except BranchInUse:
            return False
