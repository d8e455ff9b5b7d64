"""A part of the store's contract: points in time, and what was done when.

A branch is a line of work that goes on; a snapshot is a state that stays. Both have names out of one
set, and whatever reads a tree takes either name. A store that keeps them names the capability `history`,
and its `Store` is a `History` too. Nothing here costs more than what is named: a point is a name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

from art_core.contracts import Store, Workspace
from art_core.errors import StoreError

CAPABILITY = "history"
_LONGEST = 200
"""Bytes of a name."""

Kind = Literal["branch", "snapshot"]
State = Literal["running", "ended", "killed"]


class NameTaken(StoreError):
    """Another point has the name."""


class Point(NamedTuple):
    """A name of a state. `branch` is the one a snapshot was taken of; a branch's own name.

    `parent` is the name that a branch was made from or restored to, of a snapshot the one before it;
    empty where there is none. `note` says who took it and why, when that was not the user. `held` says
    who has the branch open, empty when nobody has."""

    name: str
    kind: Kind
    branch: str
    created_ns: int
    parent: str = ""
    note: str = ""
    held: str = ""


class Session(NamedTuple):
    """A command that ran on a branch. `ended_ns`, `status` and `files` are None for what is not known: it
    still runs, or it was killed with all that watched it. `status` is what a shell would see.

    `files` counts the names that it made, changed or removed, directories too, `more` says that there are
    more than were counted. `trace` is where its record of system calls went, empty for nowhere; `notes` are
    lines on what happened, such as what a filtered network refused. `before` is the snapshot that was taken
    right before it."""

    id: int
    branch: str
    argv: Sequence[str]
    started_ns: int
    workspace: str = ""
    ended_ns: int | None = None
    status: int | None = None
    state: State = "ended"
    files: int | None = None
    more: bool = False
    trace: str = ""
    notes: Sequence[str] = ()
    before: str = ""


class Opening(NamedTuple):
    """What is known of a session when its command starts; `snapshot` asks for one before it."""

    argv: Sequence[str]
    trace: str = ""
    snapshot: bool = False


class Ending(NamedTuple):
    """What is known when it ended: its status, and lines for the log."""

    status: int
    notes: Sequence[str] = ()


class History(Protocol):
    """The points of one open database. Each method raises StoreError: for a name that is not there, one
    that is taken, or a branch that is held, with who holds it.

    The worker of a mounted home (`contracts.Worker`) answers two more requests:
    `{"ask": "begin", **Opening._asdict()}` gives `id` and `before`; `{"ask": "ended", "id": N,
    **Ending._asdict()}` gives nothing; what could not be written down is `failed`. A session without an
    `ended` was killed."""

    def points(self) -> Sequence[Point]:
        """All branches and snapshots, the oldest first."""

    def snapshot(self, branch: str, name: str, note: str = "") -> Point:
        """Keep a branch as it is now. A running sandbox goes on: what it was answered until then is in
        the snapshot, and nothing that it was answered later."""

    def make_branch(self, name: str, at: str) -> Point:
        """A new branch that goes on from a point; of a branch as it is now."""

    def restore(self, branch: str, at: str, paths: Sequence[bytes], workspace: Workspace) -> Point:
        """Put a branch back to what a point has; with `paths` only what they name, relative to the home
        (`workspace/src/main.py`). What the point does not have there is removed.

        Returns the snapshot, of a name made up here, that keeps what the branch had before."""

    def remove(self, name: str) -> Point:
        """Take a name away. What it kept stays in the database until it is collected, and for as long as
        other points need it. The last branch stays."""

    def sessions(self) -> Sequence[Session]:
        """The sessions of all branches, the oldest first."""


class HistoryStore(History, Store, Protocol):
    """A store with both."""


def checked_name(name: str) -> str:
    """The name, when a point may have it. Raises StoreError that says why not."""
    parts = name.split("/")
    why = ""
    if not name:
        why = "a name is needed"
    elif name.startswith("-"):
        why = "it begins like an option"
    elif ".." in name:
        why = "two dots stand between two names (A..B)"
    elif not name.isprintable() or any(char.isspace() for char in name):
        why = "it has spaces or characters that cannot be shown"
    elif "" in parts or "." in parts:
        why = "slashes stand between two words, as in agents/one"
    elif len(name.encode()) > _LONGEST:
        why = f"it is longer than {_LONGEST} bytes"
    if why:
        raise StoreError(f"{name!r} cannot be the name of a branch or a snapshot: {why}")
    return name


def dated(prefix: str) -> Iterator[str]:
    """Names for a point that ART takes by itself: with the time, and a number where that is taken."""
    name = time.strftime(f"{prefix}-%Y-%m-%dT%H:%M:%S")
    yield name
    for number in range(2, 1000):
        yield f"{name}-{number}"
