"""Copying up before a pull changes the host: contents, and names that only the host has."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.copy_up_request import CopiedUp, CopyUpRequest
from art_cowfs.access.placement import BATCH_BYTES, WAITING_BYTES
from art_cowfs.tree.nodes import CowNode
from art_fusefs.backend import ROOT


class CopyUpSteps:
    """Does it to a branch that is held; `found` has what became of each path, None for what has become
    something else."""

    def __init__(self, session: OpenBranch, wanted: Sequence[CopyUpRequest], *, contents: bool) -> None:
        self._session = session
        self._tree = session.tree
        self._wanted = wanted
        self._contents = contents
        self.found: list[CopiedUp | None] = []

    def steps(self) -> Iterator[None]:
        """One of a bounded size after the other."""
        for one in self._wanted:
            try:
                yield from self._one(one)
            except OSError:
                self.found.append(None)

    def _one(self, wanted: CopyUpRequest) -> Iterator[None]:
        where = self._place(wanted.path)
        if where is None:
            self.found.append(None)
            return
        directory, name, node = where
        if wanted.lower is not None and node.origin != wanted.lower:
            self.found.append(None)
            return
        self._tree.hold(directory, name, node)
        yield from self._room()
        place = 0
        while self._contents and stat.S_ISREG(node.mode) and node.host_clip:
            place = self._tree.contents.complete(node, place)
            yield from self._room()
        base = node.base_size, node.base_mtime
        self.found.append(CopiedUp(node.ino, node.ctime, base, not node.host_clip))

    def _place(self, path: bytes) -> tuple[CowNode, bytes, CowNode] | None:
        directory = None
        name = self._session.workspace_name
        node = self._tree.lookup(self._tree.node(ROOT), name)
        for name in path.split(b"/"):
            if node is None or not stat.S_ISDIR(node.mode):
                return None
            directory, node = node, self._tree.lookup(node, name)
        return None if directory is None or node is None else (directory, name, node)

    def _room(self) -> Iterator[None]:
        pending = self._tree.pending
        self._tree.settle()
        if pending.batch.size > BATCH_BYTES:
            pending.hand_over()
            yield
        if pending.waiting > WAITING_BYTES:
            pending.wait()


def secure(session: OpenBranch, wanted: Sequence[CopyUpRequest], *, contents: bool) -> list[CopiedUp | None]:
    """At once, and on the disk. Raises OSError."""
    securing = CopyUpSteps(session, wanted, contents=contents)
    for _ in securing.steps():
        pass
    session.tree.pending.wait()
    return securing.found
