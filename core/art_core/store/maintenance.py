"""A capability of a store, `maintenance`: looking after a database. A store that names it is one of these.

All of it works beside a sandbox that runs on the database, and keeps that one waiting for a moment at most;
only `repair` wants the database for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Finding(NamedTuple):
    """Something that is wrong. `kind` is a word for programs, `what` a sentence for people; `mends` says
    whether `repair` knows what to do about it."""

    kind: str
    what: str
    mends: bool = False


class BranchInfo(NamedTuple):
    """A branch: how many layers are read for it, and who holds it (empty: nobody)."""

    name: str
    layers: int
    held_by: str


class SnapshotInfo(NamedTuple):
    name: str
    created_ns: int


class Info(NamedTuple):
    """What a database holds. `size` and `log` are bytes on the disk, `free` bytes of the file that are not
    in use, `contents` bytes of files' contents; `files` counts inodes, once for each layer that has one.
    `unreached` are layers that no name leads to. `workspaces` are names with their host directories."""

    path: str
    format: int
    size: int
    free: int
    log: int
    contents: int
    files: int
    chunks: int
    layers: int
    unreached: int
    branches: Sequence[BranchInfo]
    snapshots: Sequence[SnapshotInfo]
    workspaces: Sequence[tuple[str, str]]


class Collected(NamedTuple):
    """What a collection came to: `freed` bytes are not in use any more, `returned` ones were given back
    to the disk; the others are `kept` in the file for what is written next, because of `why`."""

    layers: int
    merged: int
    inodes: int
    freed: int
    returned: int
    kept: int
    why: str = ""


class Squashed(NamedTuple):
    """How many layers a branch is read from, before and after; `why` there are more than its snapshots."""

    branch: str
    before: int
    after: int
    why: str = ""


class Maintenance(Protocol):
    def info(self) -> Info: ...

    def check(self) -> Iterator[Finding]:
        """Everything that is wrong with the database as of one moment. Ends for every input."""

    def repair(self, backup: str) -> Iterator[Finding]:
        """Copy the database to `backup`, which must not exist, mend what can be, and give what was wrong.
        Raises StoreError, before anything is changed, while somebody uses the database."""

    def collect(self) -> Collected:
        """Let go of what no name leads to."""

    def squash(self, branch: str) -> Squashed:
        """Merge layers of a branch that have no name of their own. What it and its snapshots show stays."""
