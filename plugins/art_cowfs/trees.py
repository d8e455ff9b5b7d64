"""A workspace's tree for push and pull: the host's side is the core's."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain as joined_together
from typing import Any

import apsw

from art_core.contracts import Workspace
from art_core.trees import Agreed, Entry, Kind
from art_cowfs import agreeing
from art_cowfs.chain import HOST_NUMBERS, Chain
from art_cowfs.lower import Lower, joined
from art_cowfs.nodes import CowNode
from art_cowfs.schema import CHUNK, DatabaseError, as_oserror, changing, connect
from art_cowfs.session import Place, Session, know
from art_cowfs.standing import standing
from art_cowfs.store import companions
from art_cowfs.tree import Tree
from art_fusefs.backend import ROOT

BATCH_BYTES = 2 << 20
WAITING_BYTES = 16 << 20
_BLOCK = 1 << 20
_AT_ONCE = 100
_ZERO = bytes(CHUNK)


@contextmanager
def reading(path: str, at: str, workspace: Workspace) -> Iterator[Reader]:
    """The tree as of now, also while a run has it mounted. Raises DatabaseError."""
    connect(path).close()  # What is wrong with it is told before anything beside it is made.
    with standing(path, at) as still:
        connection, remembering = connect(path), connect(path)
        lower = Lower(os.dup(workspace.fd), companions(path))
        try:
            layers = Chain(connection, at, still.layer)
            if workspace.moved:
                know(remembering, _placed(workspace))
            tree = Tree(layers, None, lower, uid=0, gid=0, numbers=lambda: (HOST_NUMBERS >> 1, HOST_NUMBERS))
            yield Reader(tree, layers, remembering, workspace, still.change)
        except apsw.Error as error:
            raise DatabaseError(f"database {path!r}: {as_oserror(error)}") from None
        finally:
            lower.close()
            connection.close()
            remembering.close()


@contextmanager
def writing(path: str, branch: str, workspace: Workspace) -> Iterator[Writer]:
    """The tree, held for writing. Raises DatabaseError, also when a run has it."""
    place = _placed(workspace)._replace(fd=os.dup(workspace.fd))
    with Session(path, branch, workspace=place, uid=0, gid=0) as session:
        remembering = connect(path)
        try:
            yield Writer(session, remembering, workspace)
        finally:
            remembering.close()


def _placed(workspace: Workspace) -> Place:
    return Place(os.fsencode(workspace.name), os.fsencode(workspace.real), workspace.fd, workspace.moved)


class Reader:
    """See `trees.TreeReader`."""

    def __init__(
        self,
        tree: Tree,
        chain: Chain,
        remembering: apsw.Connection,
        workspace: Workspace,
        change: Callable[[Mapping[str, Any]], None] = lambda request: None,
    ) -> None:
        """`change` does something to the branch as it is by then, see `session.Accepted`."""
        tree.keep_little()
        self._tree = tree
        self._chain = chain
        self._remembering = remembering
        self._change = change
        self._marked = tree.has_xattrs()
        self._partial: dict[int, tuple[int, int]] = {}
        """What the host's files were of which a part is in the store, by number."""
        self._name = os.fsencode(workspace.name)
        path = remembering.execute("SELECT path FROM workspace WHERE name = ?", (self._name,)).get
        self._elsewhere = path not in (None, os.fsencode(workspace.real))
        """The host's directory is another one than the workspace's own: nothing was agreed with it."""

    def _top(self) -> CowNode | None:
        return self._tree.lookup(self._tree.node(ROOT), self._name)

    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        top = self._top()
        if top is not None:
            yield from self._below(top, b"", shown)

    def _below(self, directory: CowNode, path: bytes, shown: bool) -> Iterator[Entry]:
        names = sorted(self._tree.names(directory))
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            for node, entry, where in self._looked_up(directory, path, some, shown):
                if entry is not None:
                    yield entry
                if stat.S_ISDIR(node.mode):
                    yield from self._below(node, where, shown)
            self._tree.settle()

    def _looked_up(
        self, directory: CowNode, path: bytes, names: Sequence[bytes], shown: bool
    ) -> list[tuple[CowNode, Entry | None, bytes]]:
        """What the store has at some names, read in one short transaction."""
        found = []
        with self._tree.reading():
            for name in names:
                node, where = self._tree.lookup(directory, name), joined(path, name)
                # What the host has at its own place, also as a further name of a file, is not the store's.
                only_shown = node is not None and not node.held and directory.origin == path
                if node is not None and (shown or not only_shown):
                    kind = _kind(node.mode)
                    entry = None if kind is None else self._entry(node, where, kind, only_shown)
                    found.append((node, entry, where))
        return found

    def shows(self, path: bytes) -> Entry | None:
        node = self._top()
        above, only_shown = b"", False
        for name in path.split(b"/"):
            if node is None or not stat.S_ISDIR(node.mode):
                return None
            directory, node = node, self._tree.lookup(node, name)
            only_shown = node is not None and not node.held and directory.origin == above
            above = joined(above, name)
        kind = None if node is None else _kind(node.mode)
        return None if node is None or kind is None else self._entry(node, path, kind, only_shown)

    def _entry(self, node: CowNode, path: bytes, kind: Kind, only_shown: bool = False) -> Entry:
        changed_from = node.origin == path and kind == "file" and node.held
        partial = kind == "file" and node.held and node.origin is not None and node.host_clip > 0
        if partial:
            self._partial.setdefault(node.ino, (node.base_size, node.base_mtime))
        return Entry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(node.mode),
            size=node.size,
            mtime_ns=node.mtime,
            ino=node.ino,
            target=node.target,
            nlink=node.nlink,
            xattrs=self._tree.xattrs(node) if not only_shown and (self._marked or not node.held) else {},
            version=node.ctime,
            origin=(node.base_size, node.base_mtime) if changed_from else None,
            partial=partial,
            lower=node.origin,
            shown=only_shown,
        )

    def removed(self) -> Iterator[bytes]:
        top = self._top()
        return iter(()) if top is None else self._whiteouts(top.ino, b"")

    def _whiteouts(self, directory: int, path: bytes) -> Iterator[bytes]:
        for name, ino, origin in self._tree.whiteouts(directory):
            where = joined(path, name)
            if ino is None:
                yield where
            elif origin == where:
                yield from self._whiteouts(ino, where)

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        node = self._tree.node(entry.ino)
        if entry.partial:
            node.base_size, node.base_mtime = self._partial.get(entry.ino, (node.base_size, node.base_mtime))
        for offset in range(0, entry.size, _BLOCK):
            data = self._tree.read(node, offset, min(_BLOCK, entry.size - offset))
            if data.count(0) != len(data):
                yield offset, data

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        found = () if self._elsewhere else agreeing.agreed(self._chain, self._name)
        return ((place.replace(b"\0", b"/"), what) for place, what in found)

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        if self._elsewhere:
            return
        with changing(self._remembering):
            agreeing.keep(self._remembering, self._chain.top, _rows(self._name, agreed))
        for path, what in agreed.items():
            was = None if what is None else self._partial.pop(what.ino, None)
            if what is not None and was is not None:
                self._take(what.ino, path, was, (what.size, what.mtime_ns))

    def accept(self, entry: Entry, size: int, mtime_ns: int) -> None:
        was = self._partial.get(entry.ino)
        if was is not None and not self._elsewhere:
            self._partial[entry.ino] = size, mtime_ns
            self._take(entry.ino, entry.path, was, (size, mtime_ns))

    def _take(self, ino: int, path: bytes, was: tuple[int, int], now: tuple[int, int]) -> None:
        """From now on the rest of a partial file is what the host has at a path."""
        self._change({"ask": "accept", "ino": ino, "path": path.hex(), "was": was, "now": now})


def _rows(name: bytes, agreed: Mapping[bytes, Agreed | None]) -> agreeing.Rows:
    return {(name, path.replace(b"/", b"\0")): what for path, what in agreed.items()}


class Writer(Reader):
    """See `trees.TreeWriter`."""

    def __init__(self, session: Session, remembering: apsw.Connection, workspace: Workspace) -> None:
        super().__init__(session.tree, session.chain, remembering, workspace)
        self._session = session

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        """In one transaction with what it is about."""
        if not self._elsewhere:
            rows = _rows(self._name, agreed)
            self._tree.pending.batch.base.update(rows)
            self._tree.pending.grew(128 * len(rows))

    def _parent(self, path: bytes) -> tuple[CowNode, bytes]:
        *above, name = path.split(b"/")
        directory = self._top()
        for part in above:
            directory = None if directory is None else self._tree.lookup(directory, part)
        if directory is None or not stat.S_ISDIR(directory.mode):
            raise DatabaseError(f"{os.fsdecode(path)}: the directory above it is not in the database")
        return directory, name

    def find(self, path: bytes) -> Entry | None:
        try:
            directory, name = self._parent(path)
        except DatabaseError:
            return None
        node = self._tree.held(directory, name)
        kind = None if node is None else _kind(node.mode)
        return None if node is None or kind is None else self._entry(node, path, kind)

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        self._make_room()
        directory, name = self._parent(entry.path)
        first = next(blocks, None) if entry.kind == "file" else None  # What cannot be read changes nothing.
        self._tree.pending.reserve(min(entry.size, 2 * BATCH_BYTES))
        now = time.time_ns()
        present = self._tree.held(directory, name)
        node = present
        if node is None or _kind(node.mode) != entry.kind or (entry.size > _BLOCK and node.nlink == 1):
            # It gets its name when it is whole: a file of several transactions is there or it is not.
            node = self._tree.new(_TYPES[entry.kind] | entry.mode, now)
            node.nlink = 0
        node.mode = _TYPES[entry.kind] | entry.mode
        node.target = entry.target
        try:
            if entry.kind == "file":
                self._fill(node, entry.size, blocks if first is None else joined_together([first], blocks))
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
        node.atime = node.mtime = entry.mtime_ns
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
            node.origin = entry.path  # What is not pushed still shows through.
            node.names_changing = True
            directory.nlink += 1

    def _fill(self, node: CowNode, size: int, blocks: Iterator[tuple[int, bytes]]) -> None:
        self._tree.resize(node, 0)
        node.origin = None
        for offset, data in blocks:
            if offset:
                self._make_room()
            self._tree.write(node, offset, data)
        self._tree.resize(node, size)

    def link(self, path: bytes, to: Entry) -> Entry:
        self._make_room()
        directory, name = self._parent(path)
        node, present = self._tree.node(to.ino), self._tree.held(directory, name)
        if present is not node:
            if present is not None:
                self._drop(directory, name, present)
            self._tree.enter(directory, name, node)
            node.nlink += 1
            self._tree.changed(node)
        return to._replace(path=path)

    def remove(self, path: bytes) -> None:
        self._make_room()
        directory, name = self._parent(path)
        node = self._tree.lookup(directory, name)
        if node is not None:
            self._drop(directory, name, node)

    def _drop(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        if stat.S_ISDIR(node.mode):
            for below in list(self._tree.names(node)):
                child = self._tree.lookup(node, below)
                if child is not None:
                    self._drop(node, below, child)
            directory.nlink -= 1
        self._tree.leave(directory, name, node)
        node.nlink = 0 if stat.S_ISDIR(node.mode) else node.nlink - 1
        self._tree.changed(node)
        self._tree.changed(directory)
        if node.nlink == 0:
            self._tree.discard(node)

    def _make_room(self) -> None:
        """Between two entries: what an entry changes and what is agreed on it are one transaction."""
        self._tree.settle()
        pending = self._tree.pending
        if pending.batch.size > BATCH_BYTES:
            pending.hand_over()
        if pending.waiting > WAITING_BYTES:
            self._session.writer.wait()

    def commit(self) -> None:
        self._tree.pending.wait()


_TYPES: Mapping[Kind, int] = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}


def _kind(mode: int) -> Kind | None:
    """What can be carried; None for pipes, sockets and devices."""
    for kind, bits in _TYPES.items():
        if stat.S_IFMT(mode) == bits:
            return kind
    return None
