"""A part of the store's contract: a workspace's tree in a store, for push and pull.

A store never touches the host's directory: core walks it, and carries entries between the two.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

Kind = Literal["file", "dir", "link"]


def kind_of(mode: int) -> Kind | None:
    """What can be carried, by a mode (inode(7)); None for pipes, sockets and devices."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else None


class Entry(NamedTuple):
    """One file of a workspace; `path` is relative to its top, with any byte but NUL.

    `version` changes whenever the entry changes in the store. `origin` is the size and the mtime of the
    host's file that a store's file was changed from or put in the place of; None for one that the host
    never had. `partial`: some of its contents, or all, are still the host's at `lower`; they are gone
    (ESTALE) when that file changes. `lower` is the path of the host's file or directory that the store's came
    from, also where it was renamed since; None for one that the host never had. `shown`: only the host has
    it; its extended attributes are left out.

    `loose`: the store has no name of its own for it: it shows it as a part of a directory of the host's that
    it has at another place, or as a further name of a file of the host's. `opaque`: a directory that shows
    nothing of the host's directory at its path. `seen_ns`: the sandbox removed the host's directory at this
    path, or gave it another name, at this time (ns since the epoch); 0 when it did not.
    """

    path: bytes
    kind: Kind
    mode: int
    size: int
    mtime_ns: int
    ino: int = 0
    target: bytes = b""
    nlink: int = 1
    xattrs: Mapping[bytes, bytes] = {}
    version: int = 0
    origin: tuple[int, int] | None = None
    partial: bool = False
    lower: bytes | None = None
    shown: bool = False
    loose: bool = False
    opaque: bool = False
    seen_ns: int = 0


class Removed(NamedTuple):
    """A path that shows nothing of the host any more, and when the sandbox removed a directory there, or gave
    it another name (ns since the epoch); 0 where that is not known. `agreed`: neither side had one there:
    what the host has there it made since."""

    path: bytes
    seen_ns: int = 0
    agreed: bool = False


class Agreed(NamedTuple):
    """What both sides had when a push or a pull last made them the same: the host's size, mtime and
    mode, and the store's number and version. `changed_ns` is the host's ctime, which no program can set
    (inode(7)), 0 where it is not known, and `digest` that of a file's contents (`blocks.Digest`), which are
    looked at where all but the ctime is the same."""

    kind: Kind
    size: int
    mtime_ns: int
    mode: int
    ino: int
    version: int
    changed_ns: int = 0
    digest: str = ""


class TreeReader(Protocol):
    """A workspace's tree in a store, as of one moment. All of its iterators go in the order of a walk: a
    directory before what is in it, names in byte order. None holds more than a part of the tree."""

    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        """What the store holds; what only shows through from the host's own place is left out, unless
        what is `shown` is asked for, too."""

    def shows(self, path: bytes) -> Entry | None:
        """What stands at a path, the host's where it shows through; None when nothing does."""

    def removed(self) -> Iterator[Removed]:
        """Paths that show nothing of the host any more, in directories that show one of the host's; what was
        in such a path is left out."""

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """The contents of a file, as offsets and bytes in order; what is left out is zeros."""

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        """What both sides agreed on; `agree` may be called meanwhile."""

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        """Remember what both sides have now, None for what neither has: where it hides the host's it is told
        as `removed` and agreed on. A partial file's contents are
        from now on those that the host has."""

    def accept(self, entry: Entry, size: int, mtime_ns: int) -> None:
        """Take what a partial file has of the host's from there as it is now, with this size and time."""

    def secure(self, entries: Sequence[Entry], *, contents: bool) -> Mapping[bytes, Entry]:
        """See that the store has names of its own for entries that are loose, and with `contents` all that
        is in partial ones, before the host's places that they come from change. They are given as they are
        then, with their numbers and versions, by their paths; one that has become something else meanwhile,
        or cannot be changed, is left out."""

    def join(self, directories: Sequence[Entry], *, shows: bool) -> None:
        """These directories show the host's of the same path from now on, and no other, or nothing of the
        host's. Nothing that is loose is in them."""


class TreeWriter(TreeReader, Protocol):
    """The same, held for writing. A change and the `agree` that follows it reach the disk together: when
    a push is killed, the next one must not take what it put for the sandbox's."""

    def find(self, path: bytes) -> Entry | None:
        """What the store holds at a path; None also for what only shows through."""

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        """Make the path this entry, with all its contents; return it with its number and version."""

    def link(self, path: bytes, to: Entry) -> Entry:
        """Make the path a further name of an entry that was put."""

    def remove(self, path: bytes) -> None:
        """Remove a file, or a directory with all that is in it."""

    def commit(self) -> None:
        """Bring everything to the disk. What was agreed on is never there without what it is about."""
