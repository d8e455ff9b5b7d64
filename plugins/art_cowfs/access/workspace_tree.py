"""A workspace's tree for push and pull: the host's side is the core's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import apsw

from art_core.contracts import Workspace
from art_core.store.walk_order import place
from art_core.trees import Agreed, Entry, Kind, Removed, kind_of
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.copy_up import secure
from art_cowfs.access.copy_up_request import CopiedUp, CopyUpRequest, answer, portions
from art_cowfs.access.frozen_read import FrozenLayer, standing
from art_cowfs.access.place import Place, know
from art_cowfs.access.placement import BLOCK, Placing, Way
from art_cowfs.db.locks import BranchInUse
from art_cowfs.db.paths import companions
from art_cowfs.db.schema import CHUNK, HOST_NUMBERS, DatabaseError, UnwrittenError
from art_cowfs.db.transactions import changing
from art_cowfs.layers import entries, sync_base
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower, joined
from art_cowfs.opening.database import connect, telling
from art_cowfs.tree.covers import DIRECTORY, MARK, Seen, unpacked
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.other_host import Accepted
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import ROOT

_AT_ONCE = 100


@contextmanager
def reading(path: str, at: str, workspace: Workspace) -> Iterator[WorkspaceReader]:
    """The tree as of now, also while a run has it mounted. Raises DatabaseError."""
    connect(path, write=False).close()  # What is wrong with it is told before anything beside it is made.
    with telling(path), standing(path, at) as still:
        connection, remembering = still.connect(), still.connect()
        lower = Lower(os.dup(workspace.fd), companions(path))
        try:
            layers = Chain(connection, at, still.layer, workspace=os.fsencode(workspace.name))
            if workspace.moved and still.writes:
                know(remembering, _placed(workspace))
            entries.refuse_replaced(layers, [os.fsencode(workspace.name)], at)
            tree = Tree(layers, None, lower, uid=0, gid=0, numbers=lambda: (HOST_NUMBERS >> 1, HOST_NUMBERS))
            yield WorkspaceReader(tree, layers, remembering, workspace, Later(path, at, workspace, still))
        finally:
            lower.close()
            connection.close()
            remembering.close()


@contextmanager
def writing(path: str, branch: str, workspace: Workspace) -> Iterator[WorkspaceWriter]:
    """The tree, held for writing. Raises DatabaseError, also when a run has it."""
    here = _placed(workspace)._replace(fd=os.dup(workspace.fd))
    with telling(path), OpenBranch(path, branch, workspace=here, uid=0, gid=0) as session:
        remembering = connect(path)
        try:
            yield WorkspaceWriter(session, remembering, workspace)
        finally:
            remembering.close()


def _placed(workspace: Workspace) -> Place:
    return Place(os.fsencode(workspace.name), os.fsencode(workspace.real), workspace.fd, workspace.moved)


class Later(NamedTuple):
    """A branch as it is by then, for what a pull has to record in it."""

    path: str
    branch: str
    workspace: Workspace
    still: FrozenLayer

    def accept(self, accepted: Sequence[Accepted]) -> None:
        for part in portions([one.path for one in accepted]):
            self.still.accept(accepted[part])

    def secure(self, wanted: Sequence[CopyUpRequest], *, contents: bool) -> list[CopiedUp | None]:
        found: list[CopiedUp | None] = []
        for part in portions([one.path + (one.lower or b"") for one in wanted]):
            some = wanted[part]
            found += self.still.secure(some, contents, partial(self._here, some, contents=contents))
        return found

    def _here(self, wanted: Sequence[CopyUpRequest], *, contents: bool) -> Mapping[str, Any]:
        here = _placed(self.workspace)._replace(fd=os.dup(self.workspace.fd))
        try:
            session = OpenBranch(self.path, self.branch, workspace=here, uid=0, gid=0)
        except BranchInUse:
            os.close(here.fd)
            raise
        with session:
            return answer(secure(session, wanted, contents=contents))


class WorkspaceReader:
    """See `trees.TreeReader`."""

    def __init__(
        self,
        tree: Tree,
        chain: Chain,
        remembering: apsw.Connection,
        workspace: Workspace,
        later: Later | None = None,
    ) -> None:
        """Without `later` nothing is recorded of the host, but for what both sides agree on."""
        tree.keep_little()
        self._tree = tree
        self._chain = chain
        self._remembering = remembering
        self._later = later
        self._way = Way(tree, self._top)
        self._marked = tree.has_xattrs()
        self._covering = chain.has_marks(MARK)
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
        open_directories = [] if top is None else [self._listed(top, b"", shown)]
        seen = set() if top is None else {top.ino}
        while open_directories:
            for node, entry, where in open_directories[-1]:
                if entry is not None:
                    yield entry
                if stat.S_ISDIR(node.mode):
                    once(seen, node.ino, where)
                    open_directories.append(self._listed(node, where, shown))
                    break
            else:
                open_directories.pop()

    def _listed(
        self, directory: CowNode, path: bytes, shown: bool
    ) -> Iterator[tuple[CowNode, Entry | None, bytes]]:
        names = self._tree.in_order(directory)
        while some := list(islice(names, _AT_ONCE)):
            at_home = directory.origin == path
            covers = self._covers(directory.ino, some[0][0], some[-1][0]) if at_home else {}
            yield from self._looked_up(directory, path, some, covers, shown)
            self._tree.settle()

    def _covers(self, directory: int, first: bytes, last: bytes) -> Mapping[bytes, Seen]:
        """What the host had at names of a directory that shows it, from one to another."""
        if not self._covering:
            return {}
        marks = self._chain.marks(directory, MARK, first, last)
        seen = ((name, unpacked(value)) for name, value in marks.items())
        return {name: what for name, what in seen if what is not None}

    def _looked_up(
        self,
        directory: CowNode,
        path: bytes,
        names: Iterable[tuple[bytes, int | None]],
        covers: Mapping[bytes, Seen],
        shown: bool,
    ) -> list[tuple[CowNode, Entry | None, bytes]]:
        """What the store has at some names, read in one short transaction."""
        found = []
        with self._tree.reading():
            for name, ino in names:
                where = joined(path, name)
                if ino is None:
                    node = self._tree.lookup(directory, name)
                else:
                    node = self._tree.numbered(directory, name, ino)
                # What the host has at its own place, also as a further name of a file, is not the store's.
                only_shown = node is not None and not node.held and directory.origin == path
                if node is not None and (shown or not only_shown):
                    kind = kind_of(node.mode)
                    how = _How(directory.origin == path, ino is None, covers.get(name))
                    entry = None if kind is None else self._entry(node, where, kind, how)
                    found.append((node, entry, where))
        return found

    def shows(self, path: bytes) -> Entry | None:
        node = self._top()
        above, how = b"", _HELD
        for name in path.split(b"/"):
            if node is None or not stat.S_ISDIR(node.mode):
                return None
            directory, node = node, self._tree.lookup(node, name)
            held = node is not None and self._tree.held(directory, name) is not None
            how = _How(directory.origin == above, not held)
            above = joined(above, name)
        kind = None if node is None else kind_of(node.mode)
        return None if node is None or kind is None else self._entry(node, path, kind, how)

    def _entry(self, node: CowNode, path: bytes, kind: Kind, how: _How) -> Entry:
        shown = not node.held and how.at_home
        base = node.base_size, node.base_mtime
        seen = how.seen
        if node.held and node.base_mtime and (node.origin in (None, path) or (how.loose and how.at_home)):
            seen = base
        partial = kind == "file" and node.origin is not None and not shown
        if partial and node.held:
            partial = node.host_clip > 0
            if partial:
                self._partial.setdefault(node.ino, base)
        covers_directory = how.seen is not None and how.seen[0] == DIRECTORY
        return Entry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(node.mode),
            size=node.size,
            mtime_ns=node.mtime,
            ino=node.ino,
            target=node.target,
            nlink=node.nlink,
            xattrs=self._tree.xattrs(node) if not shown and (self._marked or not node.held) else {},
            version=node.ctime,
            origin=seen if seen is not None and seen[0] != DIRECTORY else None,
            partial=partial,
            lower=node.origin,
            shown=shown,
            loose=how.loose and not shown,
            opaque=kind == "dir" and node.origin != path,
            seen_ns=how.seen[1] if how.seen is not None and covers_directory else 0,
        )

    def removed(self) -> Iterator[Removed]:
        top = self._top()
        absent = _Absent(() if self._elsewhere else sync_base.absent(self._chain, self._name))
        todo = [] if top is None else [iter(self._whiteouts(top.ino, b"", top.origin == b"", absent))]
        seen = set() if top is None else {top.ino}
        while todo:
            for gone, ino, at_home in todo[-1]:
                if ino is None:
                    yield gone
                else:
                    once(seen, ino, gone.path)
                    todo.append(iter(self._whiteouts(ino, gone.path, at_home, absent)))
                    break
            else:
                todo.pop()

    def _whiteouts(
        self, directory: int, path: bytes, at_home: bool, absent: _Absent
    ) -> Iterator[tuple[Removed, int | None, bool]]:
        """What is not to be seen any more in a directory, and its directories that show the host's, with
        whether that is the one of the same path."""
        whiteouts = self._tree.whiteouts(directory)
        while some := list(islice(whiteouts, _AT_ONCE)):
            covers = self._covers(directory, some[0][0], some[-1][0]) if at_home else {}
            for name, ino, kept in some:
                where = joined(path, name)
                size, time_ns = covers.get(name, (0, 0))
                agreed = ino is None and absent.at(where) == directory
                gone = Removed(where, time_ns if size == DIRECTORY else 0, agreed)
                yield gone, ino, self._chain.origins.shown(kept) == where

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        self._tree.settle()
        node = self._node_at(entry.path) if entry.loose else self._tree.node(entry.ino)
        if entry.partial and node.held:
            node.base_size, node.base_mtime = self._partial.get(entry.ino, (node.base_size, node.base_mtime))
        return contents_of(self._tree, node, entry.size)

    def _node_at(self, path: bytes) -> CowNode:
        """What only shows through is found by its path. Raises OSError."""
        node = self._top()
        for name in path.split(b"/"):
            node = None if node is None else self._tree.lookup(node, name)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        found = () if self._elsewhere else sync_base.agreed(self._chain, self._name)
        return ((one.replace(b"\0", b"/"), what) for one, what in found)

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        if self._elsewhere:
            return
        if self._later is not None and not self._later.still.writes:
            connect(self._later.path).close()  # It says why not.
            raise UnwrittenError(f"database {self._later.path!r} could not be written when this began")
        with changing(self._remembering):
            sync_base.keep(self._remembering, self._chain.top, self._rows(agreed))
        taken = []
        for path, what in agreed.items():
            was = None if what is None else self._partial.pop(what.ino, None)
            if what is not None and was is not None:
                taken.append(Accepted(what.ino, self._kept(path), was, (what.size, what.mtime_ns)))
        self._accept(taken)

    def accept(self, entry: Entry, size: int, mtime_ns: int) -> None:
        was = self._partial.get(entry.ino)
        if was is not None and not self._elsewhere:
            self._partial[entry.ino] = size, mtime_ns
            self._accept([Accepted(entry.ino, self._kept(entry.path), was, (size, mtime_ns))])

    def secure(self, entries: Sequence[Entry], *, contents: bool) -> Mapping[bytes, Entry]:
        if self._later is None or self._elsewhere:
            return {}
        found: dict[bytes, Entry] = {}
        wanted = [CopyUpRequest(entry.path, entry.lower) for entry in entries]
        for entry, now in zip(entries, self._later.secure(wanted, contents=contents), strict=True):
            if now is not None:
                if entry.kind == "file" and not now.complete:
                    self._partial[now.ino] = now.base
                found[entry.path] = entry._replace(ino=now.ino, version=now.version)
        return found

    def join(self, directories: Sequence[Entry], *, shows: bool) -> None:
        if not self._elsewhere and self._later is not None and not self._later.still.stays:
            self._accept([Accepted(one.ino, self._kept(one.path) if shows else b"") for one in directories])

    def _rows(self, agreed: Mapping[bytes, Agreed | None]) -> sync_base.Rows:
        found = {}
        for path, what in agreed.items():
            found[self._name, place(path)] = self._absence(path) if what is None else what
        return found

    def _absence(self, path: bytes) -> sync_base.Absence:
        above, _, name = path.rpartition(b"/")
        self._tree.settle()
        directory = self._way.directory(above)
        hides = directory is not None and stat.S_ISDIR(directory.mode) and self._tree.hides(directory, name)
        return sync_base.Absence(directory.ino if directory is not None and hides else 0)

    def _kept(self, path: bytes) -> bytes:
        return self._chain.origins.kept(path) or b""

    def _accept(self, accepted: Sequence[Accepted]) -> None:
        if accepted and self._later is not None:
            self._later.accept(accepted)


class _How(NamedTuple):
    """How something is found: in a directory that shows the host's of the same path; without a name of its
    own; and what the host had there."""

    at_home: bool
    loose: bool = False
    seen: Seen | None = None


_HELD = _How(at_home=False)


class _Absent:
    """Where neither side has anything, asked for in the order of a walk."""

    def __init__(self, found: Iterable[tuple[bytes, int]]) -> None:
        self._found = iter(found)
        self._next: tuple[bytes, int] | None = next(self._found, None)

    def at(self, path: bytes) -> int:
        """The directory that hides it; 0 where nothing of that is agreed on."""
        here = place(path)
        while self._next is not None and self._next[0] < here:
            self._next = next(self._found, None)
        return self._next[1] if self._next is not None and self._next[0] == here else 0


class WorkspaceWriter(WorkspaceReader):
    """See `trees.TreeWriter`."""

    def __init__(self, session: OpenBranch, remembering: apsw.Connection, workspace: Workspace) -> None:
        super().__init__(session.tree, session.chain, remembering, workspace)
        self._placing = Placing(session, self._top, shows=True)

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        """In one transaction with what it is about."""
        if not self._elsewhere:
            rows = self._rows(agreed)
            self._tree.pending.batch.base.update(rows)
            self._tree.pending.grew(128 * len(rows))

    def find(self, path: bytes) -> Entry | None:
        try:
            directory, name = self._placing.parent(path)
        except DatabaseError:
            return None
        node = self._tree.held(directory, name)
        kind = None if node is None else kind_of(node.mode)
        return None if node is None or kind is None else self._entry(node, path, kind, _HELD)

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        return self._placing.put(entry, blocks)

    def link(self, path: bytes, to: Entry) -> Entry:
        return self._placing.link(path, to)

    def remove(self, path: bytes) -> None:
        self._placing.remove(path)

    def commit(self) -> None:
        self._tree.pending.wait()


def contents_of(tree: Tree, node: CowNode, size: int) -> Iterator[tuple[int, bytes]]:
    """What is not zeros. Places where nothing is are not looked at: a size that is made up costs nothing."""
    done = 0
    for number in tree.contents.filled(node):
        offset = number * CHUNK
        if offset >= done and offset < size:
            data = tree.read(node, offset, min(BLOCK, size - offset))
            done = offset + len(data)
            if data.count(0) != len(data):
                yield offset, data


def once(seen: set[int], ino: int, path: bytes) -> None:
    """Raises DatabaseError for a directory that was seen before: a walk would never end."""
    if ino in seen:
        raise DatabaseError(
            f"the directory {os.fsdecode(path)!r} is at two places of the database; `art db check` says more"
        )
    seen.add(ino)
