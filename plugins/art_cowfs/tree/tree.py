"""The tree: what is known of a branch, what is dirty, and where everything comes from.

Names and nodes are kept in memory once they were looked at; what the database holds wins, what it
does not hold comes from the host. Every change goes into the present `Batch`.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter

from art_cowfs.db.schema import HOST_NUMBERS
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower, joined
from art_cowfs.tree.batches import Pending
from art_cowfs.tree.contents import Contents
from art_cowfs.tree.copy_up import CopyUp
from art_cowfs.tree.covers import Covers
from art_cowfs.tree.lower_view import LowerView
from art_cowfs.tree.nodes import CowNode, derived, from_row
from art_cowfs.tree.other_host import Accepted
from art_cowfs.tree.racy_files import RacyFiles
from art_cowfs.tree.resident import Resident
from art_cowfs.tree.writer import BatchWriter
from art_fusefs.backend import ROOT, Space, Tell

_LIST_AT_ONCE = 10_000


class Tree:
    """The backend of one mounted branch. See `art_fusefs.backend.Backend`."""

    def __init__(
        self,
        chain: Chain,
        writer: BatchWriter | None,
        lower: Lower | None,
        *,
        uid: int,
        gid: int,
        numbers: Callable[[], tuple[int, int]],
        wake: Callable[[], None] = lambda: None,
        free: Callable[[], int] = lambda: sys.maxsize,
        path: str = "/",
        tell: Tell | None = None,
        watching: Callable[[], None] = lambda: None,
    ) -> None:
        """Host directories are watched where the kernel can be told by `tell` of what changes there;
        `watching` is called when there is something to wait for: see `LowerView`."""
        self.uid, self.gid = uid, gid
        self._chain = chain
        self._lower = lower
        self._reserve = numbers
        self._next, self._end = numbers()
        self._path = path
        self._resident = Resident(chain.connection)
        self._replaced: dict[bytes | tuple[int, int], int] = {}
        """Numbers of what only the host has where the one that is derived from it is taken: by path, of files
        of several links by device and number."""
        self.pending = Pending(writer, wake, free, chain.origins)
        self._racy = RacyFiles()
        self._copy_up = CopyUp(chain, self.pending, lower, self._resident, self._racy)
        self.contents = Contents(chain, self.pending, lower, self._copy_up)
        self.below = LowerView(lower, self._resident, self._shown_number, tell, watching)
        self.covers = Covers(self._mark)
        root = self._load(ROOT)
        assert root is not None
        root.parent = root
        root.lookups = 1

    # --- nodes ---------------------------------------------------------------------------------

    def node(self, ino: int) -> CowNode:
        node = self._resident.get(ino)
        if node is None:
            shown = ino >= HOST_NUMBERS and not self._copy_up.has(ino)
            node = self._shown(ino) if shown else self._load(ino)
        if node is None or node.ino != ino:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return node

    def resident(self, ino: int) -> CowNode | None:
        return self._resident.get(ino)

    def _load(self, ino: int) -> CowNode | None:
        node = self._resident.get(ino)
        if node is not None:
            return node
        row = self._chain.inode(ino)
        if row is None or row.nlink == 0:
            return None
        return self._keep(from_row(row, self._chain.top))

    def _keep(self, node: CowNode) -> CowNode:
        node.counted = self._resident.complete
        self._resident.keep(node)
        return node

    def _shown(self, ino: int) -> CowNode | None:
        """A node that only the host has, once more."""
        aside = self._resident.put_aside(ino)
        directory = None if aside is None else self._load(aside[0])
        return None if directory is None or aside is None else self.lookup(directory, aside[1])

    def refresh(self, node: CowNode) -> None:
        if not node.held and (node.stale or node.changing):
            self.below.refresh(node)

    def settle(self) -> None:
        if self._resident.crowded:
            self._resident.settle(self.pending.numbers())

    def _number(self) -> int:
        if self._next >= self._end:
            self._next, self._end = self._reserve()
        self._next += 1
        return self._next - 1

    def new(self, mode: int, now: int) -> CowNode:
        self.pending.reserve(256)
        node = CowNode(self._number(), mode, now)
        self._resident.keep(node)
        return node

    def numbers_left(self) -> tuple[int, int]:
        """The next number, and the end of the block that is reserved."""
        return self._next, self._end

    def place(self, name: bytes, found: os.stat_result) -> None:
        """See that the top directory has the workspace, over the host's directory `found`."""
        root = self.node(ROOT)
        node = self.lookup(root, name)
        if node is None:
            ino = derived(found)
            node = CowNode(self._number() if self._copy_up.has(ino) else ino, found.st_mode, 0)
            node.origin = b""
            node.show(found)
            node.nlink = 2
            self._resident.keep(node)
            self.enter(root, name, node)
            root.nlink += 1
            self._copy_up.take(node)
        node.names_changing = True

    def parent(self, directory: CowNode) -> CowNode:
        return directory.parent or directory

    # --- the host below ------------------------------------------------------------------------

    def _shown_number(self, path: bytes, found: os.stat_result) -> int:
        return self._replaced.get(_several(found) or path) or derived(found)

    def _from_host(self, directory: CowNode, name: bytes, found: os.stat_result) -> CowNode:
        """The node of something that only the host has."""
        assert directory.origin is not None
        path = joined(directory.origin, name)
        several = _several(found)
        ino = self._shown_number(path, found)
        node = self._resident.get(ino)
        if node is None and self._copy_up.has(ino):
            # Another origin holds the number, or a file of several links was copied up elsewhere.
            linked = self._chain.linked(*several) if several else None
            if linked is not None and (node := self._load(linked)) is not None:
                return node
            ino = self._replaced[several or path] = self._number()
            node = self._resident.get(ino)
        if node is not None and not node.held and node.origin != path and self._moved(node, found):
            node.origin = path
            if stat.S_ISDIR(found.st_mode):
                self.below.moved(node, directory, name)
        if node is not None and (node.held or node.origin != path) and not (several and node.origin):
            ino = self._replaced[path] = self._number()
            node = None
        if node is not None and node.held:
            return node
        if node is None or stat.S_IFMT(node.mode) != stat.S_IFMT(found.st_mode):
            node = CowNode(ino, found.st_mode, 0)
            node.complete = True
            node.show(found)
            self._keep(node)
            node.held = False
        if node.origin is None:
            node.origin = path
        if stat.S_ISDIR(node.mode):
            # What was found of it is not told to change in the directory above.
            node.changing = node.names_changing = not self.below.watch(node)
            if node.changing or node.stale:
                self.below.refresh(node)
        else:
            node.changing = several is not None or directory.names_changing
            node.stale = False
            node.show(found)
            self.below.uncache(node)
        if stat.S_ISLNK(found.st_mode) and self._lower is not None:
            node.target = self._lower.readlink(path)
        node.parent, node.name = directory, name
        return node

    def _moved(self, node: CowNode, found: os.stat_result) -> bool:
        """Whether the host renamed what the node showed."""
        assert self._lower is not None and node.origin is not None
        there = self._lower.stat(node.origin)
        return there is None or (there.st_dev, there.st_ino) != (found.st_dev, found.st_ino)

    # --- names ---------------------------------------------------------------------------------

    def _held_name(self, directory: CowNode, name: bytes) -> tuple[int | None] | None:
        """What the database says of a name: (number,), (None,) for a whiteout, None for nothing."""
        if name in directory.names:
            return (directory.names[name],)
        if directory.complete:
            return None
        if self._is_known(directory):
            return (directory.names[name],) if name in directory.names else None
        return self._chain.name(directory.ino, name)

    def _is_known(self, directory: CowNode) -> bool:
        """Whether all names of a directory are in memory by now: where they are not too many."""
        if directory.complete or directory.many:
            return directory.complete
        rows = list(self._chain.names(directory.ino, _LIST_AT_ONCE + 1))
        directory.many = len(rows) > _LIST_AT_ONCE
        if not directory.many:
            for known, ino in rows:
                directory.names.setdefault(known, ino)
            directory.complete = True
            self._resident.named(directory, len(rows))
        return directory.complete

    def held(self, directory: CowNode, name: bytes) -> CowNode | None:
        """What the database has at a name; None also for what only the host has."""
        held = self._held_name(directory, name)
        return None if held is None or held[0] is None else self.numbered(directory, name, held[0])

    def numbered(self, directory: CowNode, name: bytes, ino: int) -> CowNode | None:
        """What a name leads to of which the number in the database is known."""
        node = self._load(ino)
        if node is not None:
            node.parent, node.name = directory, name
        return node

    def lookup(self, directory: CowNode, name: bytes) -> CowNode | None:
        if self._held_name(directory, name) is not None:
            return self.held(directory, name)
        found = self.below.entry(directory, name)
        return None if found is None else self._from_host(directory, name, found)

    def names(self, directory: CowNode) -> Iterable[bytes]:
        if not directory.complete:
            for name, ino in self._chain.names(directory.ino):
                directory.names.setdefault(name, ino)
            directory.complete = True
            self._resident.named(directory, len(directory.names))
        found = {name for name, ino in directory.names.items() if ino is not None}
        found.update(name for name in self.below.entries(directory) if name not in directory.names)
        return found

    def in_order(self, directory: CowNode) -> Iterator[tuple[bytes, int | None]]:
        """Its names in byte order, for one who goes through them once: with their numbers, None for those
        that only the host has. Where they are many none is kept in memory."""
        if self.pending.writes:
            for name in sorted(self.names(directory)):
                held = self._held_name(directory, name)
                yield name, None if held is None else held[0]
            return
        known = self._is_known(directory)
        kept = sorted(directory.names.items()) if known else self._chain.names_in_order(directory.ino)
        of_host: Iterable[bytes] = ()
        if directory.origin is not None and self._lower is not None:
            of_host = self._lower.names_in_order(directory.origin)
        last = None
        for name, ino, visible in heapq.merge(
            ((name, ino, ino is not None) for name, ino in kept),
            ((name, None, True) for name in of_host),
            key=itemgetter(0),
        ):
            if name != last and visible:
                yield name, ino
            last = name

    def hides(self, directory: CowNode, name: bytes) -> bool:
        """Whether nothing is to be seen at a name, whatever the host has there."""
        return self._held_name(directory, name) == (None,)

    def hold(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """See that the database has a node that is found at a name, and that name."""
        if self._held_name(directory, name) is not None and node.held:
            return
        self.pending.reserve(256)
        further = node.held and directory.origin is not None
        self._copy_up.up(directory)
        self._copy_up.up(node)
        if directory.names.get(name) != node.ino:
            self._copy_up.enter(directory, name, node.ino)
        if further:  # The host's file of this name is the one that the node was made of.
            self.covers.keep(directory, name, (node.base_size, node.base_mtime))

    def accept(self, accepted: Accepted) -> None:
        """A pull wrote to the host, or a user takes what it has: the node shows that."""
        node = self.node(accepted.ino)
        if not node.held or not accepted.suits(node):
            return
        origin = self._chain.origins.shown(accepted.path) if accepted.path else None
        if stat.S_ISDIR(node.mode):
            self.below.show(node, origin)
        node.origin = origin
        node.base_size, node.base_mtime = accepted.now
        if not stat.S_ISDIR(node.mode):
            self.contents.reopen(node)
        self.changed(node)

    def _mark(self, node: CowNode, name: bytes, value: bytes) -> None:
        """Keep an attribute that nobody sees."""
        self.pending.batch.xattrs[node.ino, name] = value
        self.pending.grew(len(name) + len(value) + 64)

    def whiteouts(self, directory: int) -> Iterator[tuple[bytes, int | None, bytes | None]]:
        """See `Chain.gone`; as the database has it."""
        return self._chain.gone(directory)

    def reading(self) -> AbstractContextManager[object]:
        """One transaction for what is read together; for a tree that is only read."""
        return nullcontext() if self.pending.writes else self._chain.connection

    def keep_little(self) -> None:
        """For one who goes through it once: nobody asks for anything by its number later."""
        self._resident.keep_little()

    def is_empty(self, directory: CowNode) -> bool:
        return not self.names(directory)

    def enter(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        self.pending.reserve(256)
        self._copy_up.up(directory)
        self._copy_up.up(node)
        node.parent, node.name = directory, name
        self.covers.entered(directory, name, node)
        self._copy_up.enter(directory, name, node.ino)
        self.pending.named(directory, name, True)

    def leave(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        self._copy_up.up(directory)
        self.pending.named(directory, name, False)
        self.covers.left(directory, name, node)
        if not node.held and node.nlink > 1 and stat.S_ISREG(node.mode):
            self._copy_up.take(node)  # From now on it has one name less than on the host.
        if not node.held and node.parent is directory and node.name == name:
            node.parent = None
        hides = directory.origin is not None or not self._chain.single
        if hides:
            self._copy_up.enter(directory, name, None)
        else:
            if directory.complete:
                directory.names.pop(name, None)
            else:
                directory.names[name] = None  # Until the database has lost it.
            self.pending.batch.names[directory.ino, name] = False
            self.pending.dirty(directory)
            self.pending.grew(64)

    # --- changes ------------------------------------------------------------------------------------

    def changed(self, node: CowNode) -> None:
        if not node.held and node.parent is not None:
            self._copy_up.up(node)
        if node.held:
            self.pending.dirty(node)

    def discard(self, node: CowNode) -> None:
        self._resident.drop(node.ino)
        self._racy.forget(node)
        self.contents.closed(node)
        if stat.S_ISDIR(node.mode):
            self.below.forget(node)
        if not node.held:
            return
        self.pending.dead(node)
        if self._chain.below(node.ino):
            self.pending.dirty(node)  # Its rows are let go of by a merge; until then the number is taken.
        else:
            self._copy_up.forget(node.ino)

    def complete_racy_files(self) -> None:
        """Copy some more of the host's files that were very new when they were copied up."""
        self._racy.complete_some(self.node, self.contents.complete)

    def frozen(self) -> None:
        """The layer that was written is not any more, and all of its rows are in the database."""
        for node in self._resident.nodes():
            node.clip = node.size

    # --- contents and attributes ---------------------------------------------------------------

    def opened(self, node: CowNode) -> bool:
        told = None if node.held or node.changing or node.stale else (node.size, node.mtime)
        same = self.contents.opened(node)
        if told is not None:
            node.changing = node.nlink > 1
            if told != (node.size, node.mtime):
                self.below.changed(node)
        self.below.opened(node)
        return same

    def closed(self, node: CowNode) -> None:
        self.below.closed(node)
        self.contents.closed(node)

    def read(self, node: CowNode, offset: int, size: int) -> bytes:
        return self.contents.read(node, offset, size)

    def write(self, node: CowNode, offset: int, data: bytes) -> None:
        self.contents.write(node, offset, data)

    def resize(self, node: CowNode, size: int) -> None:
        self.contents.resize(node, size)

    def reserve(self, size: int) -> None:
        self.pending.reserve(size)

    def clear(self, node: CowNode, offset: int, size: int) -> None:
        self.contents.clear(node, offset, size)

    def data(self, node: CowNode, offset: int) -> tuple[int, int] | None:
        return self.contents.data(node, offset)

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        self.pending.flush(done)

    def xattrs(self, node: CowNode) -> dict[bytes, bytes]:
        if not node.held:
            return self._lower.xattrs(node.origin) if self._lower and node.origin is not None else {}
        found = {**self._chain.xattrs(node.ino), **self.pending.xattrs(node.ino)}
        return {name: value for name, value in found.items() if value is not None and name[:5] == b"user."}

    def has_xattrs(self) -> bool:
        """Whether there may be any: without a writer the database has to be asked once."""
        return self.pending.writes or self._chain.has_xattrs()

    def set_xattr(self, node: CowNode, name: bytes, value: bytes | None) -> None:
        self.pending.reserve(256)
        self._copy_up.up(node)
        self.pending.batch.xattrs[node.ino, name] = value
        self.pending.grew(len(value or b"") + 64)

    def space(self) -> Space:
        return Space.at(self._path)


def _several(found: os.stat_result) -> tuple[int, int] | None:
    """Device and number of a host file that has several links, by which its other names are known."""
    return (found.st_dev, found.st_ino) if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode) else None
