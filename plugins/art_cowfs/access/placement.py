"""Putting files into a tree that is held for writing: whole, and in transactions of a bounded size."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from art_core.store import bounds
from art_core.trees import Entry, Kind, kind_of
from art_cowfs.access.branch import OpenBranch
from art_cowfs.db.schema import DatabaseError
from art_cowfs.lower.lower import joined
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.tree import Tree

BATCH_BYTES = 2 << 20
WAITING_BYTES = 16 << 20
BLOCK = 1 << 20


class Way:
    """The directories on the way to the one that was asked for last: from one to the next it is a step,
    however deep they are."""

    def __init__(self, tree: Tree, top: Callable[[], CowNode | None]) -> None:
        self._tree = tree
        self._top = top
        self._passed: list[tuple[bytes, CowNode]] = []
        """Each by its path, the outermost first."""

    def directory(self, path: bytes) -> CowNode | None:
        """What stands at a path; None when nothing does."""
        if not path:
            return self._top()
        while self._passed and not self._is_on_the_way(path):
            self._passed.pop()
        known, node = self._passed[-1] if self._passed else (b"", self._top())
        for part in path[len(known) :].lstrip(b"/").split(b"/") if path != known else ():
            node = None if node is None else self._tree.lookup(node, part)
            if node is None:
                return None
            known = joined(known, part)
            self._passed.append((known, node))
        return node

    def _is_on_the_way(self, path: bytes) -> bool:
        """Whether the last one passed leads to a path, and is still what it was."""
        known, node = self._passed[-1]
        there = path == known or path.startswith(known + b"/")
        return there and node.nlink > 0 and self._tree.resident(node.ino) is node


class _Falling(NamedTuple):
    """A name that is being removed, and the names below it that still have to go."""

    directory: CowNode
    name: bytes
    node: CowNode
    names: Iterator[bytes]


class Placing:
    """Paths are relative to `top`. With `shows` a directory that is made goes on to show the host's of the
    same path."""

    def __init__(self, session: OpenBranch, top: Callable[[], CowNode | None], *, shows: bool) -> None:
        self._session = session
        self._tree = session.tree
        self._way = Way(self._tree, top)
        self._shows = shows

    def parent(self, path: bytes) -> tuple[CowNode, bytes]:
        above, _, name = path.rpartition(b"/")
        directory = self._way.directory(above)
        if directory is None or not stat.S_ISDIR(directory.mode):
            raise DatabaseError(f"{os.fsdecode(path)}: the directory above it is not in the database")
        return directory, name

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        self.make_room()
        directory, name = self.parent(entry.path)
        first = next(blocks, None) if entry.kind == "file" else None  # What cannot be read changes nothing.
        self._tree.pending.reserve(min(entry.size, 2 * BATCH_BYTES))
        now = time.time_ns()
        present = self._tree.held(directory, name)
        node = present
        is_file = entry.kind == "file"
        anew = entry.size > BLOCK or (node is not None and node.nlink > 1)
        if node is None or kind_of(node.mode) != entry.kind or (is_file and anew):
            # It gets its name when it is whole: a file of several transactions is there or it is not. And
            # its other names, if they are still names of it, come as such.
            node = self._tree.new(_TYPES[entry.kind] | entry.mode, now)
            node.nlink = 0
        node.mode = _TYPES[entry.kind] | entry.mode
        node.target = entry.target
        try:
            if entry.kind == "file":
                self.fill(node, entry.size, blocks if first is None else chain([first], blocks))
        except BaseException:
            if node.nlink == 0:
                self._tree.discard(node)
            raise
        if entry.kind == "link":
            node.size = len(entry.target)
        for key in self._tree.xattrs(node).keys() - entry.xattrs.keys():
            self._tree.set_xattr(node, key, None)
        for key, value in entry.xattrs.items():
            self._tree.set_xattr(node, key, value)
        node.atime = node.mtime = bounds.time_ns(entry.mtime_ns)
        node.ctime = now
        if node.nlink == 0:
            self._name_it(directory, name, node, present, entry)
        self._tree.changed(node)
        self._tree.changed(directory)
        return entry._replace(ino=node.ino, version=node.ctime)

    def _name_it(
        self, directory: CowNode, name: bytes, node: CowNode, present: CowNode | None, entry: Entry
    ) -> None:
        if present is not None:
            self._drop(directory, name, present)
        node.nlink = 1
        self._tree.enter(directory, name, node)
        if entry.kind == "dir":
            node.nlink = 2
            if self._shows:
                node.origin = entry.path  # What is not pushed still shows through.
                node.names_changing = True
            directory.nlink += 1

    def fill(self, node: CowNode, size: int, blocks: Iterator[tuple[int, bytes]]) -> None:
        """Give a node other contents."""
        self._tree.resize(node, 0)
        node.origin = None
        for offset, data in blocks:
            if offset:
                self.make_room()
            self._tree.write(node, offset, data)
        self._tree.resize(node, size)

    def link(self, path: bytes, to: Entry) -> Entry:
        self.make_room()
        directory, name = self.parent(path)
        node, present = self._tree.node(to.ino), self._tree.held(directory, name)
        if present is not node:
            if present is not None:
                self._drop(directory, name, present)
            self._tree.enter(directory, name, node)
            node.nlink += 1
            self._tree.changed(node)
        return to._replace(path=path)

    def remove(self, path: bytes) -> None:
        self.make_room()
        directory, name = self.parent(path)
        node = self._tree.lookup(directory, name)
        if node is not None:
            self._drop(directory, name, node)

    def _drop(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """Remove a name and, in any depth, what is below it: from the lowest up."""
        waiting = [_Falling(directory, name, node, self._names(node))]
        while waiting:
            falling = waiting[-1]
            below = next(falling.names, None)
            if below is None:
                waiting.pop()
                self._drop_one(falling.directory, falling.name, falling.node)
                continue
            child = self._tree.lookup(falling.node, below)
            if child is not None:
                waiting.append(_Falling(falling.node, below, child, self._names(child)))

    def _names(self, node: CowNode) -> Iterator[bytes]:
        return iter(list(self._tree.names(node)) if stat.S_ISDIR(node.mode) else ())

    def _drop_one(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        if stat.S_ISDIR(node.mode):
            directory.nlink = max(2, directory.nlink - 1)  # See `names`: not all were counted.
        self._tree.leave(directory, name, node)
        node.nlink = 0 if stat.S_ISDIR(node.mode) else node.nlink - 1
        self._tree.changed(node)
        self._tree.changed(directory)
        if node.nlink == 0:
            self._tree.discard(node)

    def make_room(self) -> None:
        """Between two entries: what an entry changes and what is agreed on it are one transaction."""
        self._tree.settle()
        pending = self._tree.pending
        if pending.batch.size > BATCH_BYTES:
            pending.hand_over()
        if pending.waiting > WAITING_BYTES:
            self._session.writer.wait()


_TYPES: Mapping[Kind, int] = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}
