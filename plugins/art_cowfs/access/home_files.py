"""The whole home of a branch or a snapshot. See `art_core.store.files`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw

from art_core.contracts import Workspace
from art_core.store.files import File
from art_core.trees import Entry
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.frozen_read import standing
from art_cowfs.access.place import Place, know
from art_cowfs.access.placement import Placing
from art_cowfs.access.workspace_tree import contents_of, once
from art_cowfs.db.paths import companions
from art_cowfs.db.schema import HOST_NUMBERS, DatabaseError
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower, joined
from art_cowfs.opening.database import connect, telling
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import ROOT

_AT_ONCE = 100


def workspace_at(path: str, name: str) -> str | None:
    if not os.path.exists(path):
        return None
    with telling(path):
        connection = connect(path, write=False)
        try:
            query = "SELECT path FROM workspace WHERE name = ?"
            found: bytes | None = connection.execute(query, (os.fsencode(name),)).get
            return None if found is None else os.fsdecode(found)
        finally:
            connection.close()


@contextmanager
def reading(path: str, at: str, workspace: Workspace | None) -> Iterator[Home]:
    """As of now, also while a run has it mounted. Raises DatabaseError."""
    connect(path, write=False).close()  # What is wrong with it is told before anything beside it is made.
    with telling(path), standing(path, at) as still:
        opened: list[apsw.Connection] = []
        lower = None
        try:
            trees = []
            for below in (None, workspace):
                opened.append(still.connect())
                name = b"" if below is None else os.fsencode(below.name)
                chain = Chain(opened[-1], at, still.layer, workspace=name)
                if below is not None:
                    know(opened[-1], _placed(below))
                    lower = Lower(os.dup(below.fd), companions(path))
                trees.append(_tree(chain, lower))
            yield Home(trees[0], name or None, trees[1])
        finally:
            if lower is not None:
                lower.close()
            for connection in opened:
                connection.close()


def _tree(chain: Chain, lower: Lower | None) -> Tree:
    tree = Tree(chain, None, lower, uid=0, gid=0, numbers=lambda: (HOST_NUMBERS >> 1, HOST_NUMBERS))
    tree.keep_little()
    return tree


@contextmanager
def writing(path: str, branch: str, workspace: Workspace | None) -> Iterator[HomeWriter]:
    """Held for writing. Raises DatabaseError, also when a run has it."""
    place = None if workspace is None else _placed(workspace)._replace(fd=os.dup(workspace.fd))
    with telling(path), OpenBranch(path, branch, workspace=place, uid=0, gid=0) as session:
        yield HomeWriter(session, None if place is None else place.name)


def _placed(workspace: Workspace) -> Place:
    return Place(os.fsencode(workspace.name), os.fsencode(workspace.real), workspace.fd, workspace.moved)


class Home:
    """See `files.HomeReader`. Paths of a host's files are relative to one workspace, so there is a tree for
    that one, and another one, which shows nothing of the host's, for all else."""

    def __init__(self, tree: Tree, name: bytes | None, of_workspace: Tree) -> None:
        self._tree = tree
        self._name = name
        self._of_workspace = of_workspace

    def _at(self, path: bytes) -> Tree:
        return self._of_workspace if path.split(b"/")[0] == self._name else self._tree

    def _node(self, path: bytes) -> tuple[CowNode | None, bool]:
        """What stands at a path, and whether only the host has it."""
        tree = self._at(path)
        node: CowNode | None = tree.node(ROOT)
        for part in path.split(b"/") if path else []:
            if node is None or not stat.S_ISDIR(node.mode):
                return None, False
            node = tree.lookup(node, part)
        return node, node is not None and not node.held

    def find(self, path: bytes) -> File | None:
        node, hosts = self._node(path)
        return None if node is None else self._file(path, node, hosts)

    def _file(self, path: bytes, node: CowNode, hosts: bool) -> File:
        return File(
            path=path,
            mode=node.mode,
            size=node.size,
            mtime_ns=node.mtime,
            ino=node.ino,
            nlink=node.nlink,
            target=node.target,
            xattrs=self._at(path).xattrs(node),
            hosts=hosts,
        )

    def names(self, path: bytes) -> Sequence[bytes]:
        node, _ = self._node(path)
        return [] if node is None else sorted(self._at(path).names(node))

    def walk(self, path: bytes) -> Iterator[File]:
        top, _ = self._node(path)
        if top is None or not stat.S_ISDIR(top.mode):
            return
        open_directories = [self._listed(top, path)]
        seen = {top.ino}
        while open_directories:
            for file, node in open_directories[-1]:
                yield file
                if stat.S_ISDIR(file.mode):
                    once(seen, file.ino, file.path)
                    open_directories.append(self._listed(node, file.path))
                    break
            else:
                open_directories.pop()

    def _listed(self, directory: CowNode, path: bytes) -> Iterator[tuple[File, CowNode]]:
        tree = self._at(path)
        for number, (name, _) in enumerate(tree.in_order(directory)):
            where = joined(path, name)
            inside = self._at(where)
            node = inside.lookup(directory if inside is tree else inside.node(ROOT), name)
            if node is not None:
                yield self._file(where, node, not node.held), node
            if number % _AT_ONCE == 0:
                tree.settle()

    def blocks(self, file: File) -> Iterator[tuple[int, bytes]]:
        node, _ = self._node(file.path)
        if node is None or node.ino != file.ino:
            raise FileNotFoundError(2, os.strerror(2), file.path)
        return contents_of(self._at(file.path), node, file.size)


class HomeWriter(Home):
    """See `files.HomeWriter`."""

    def __init__(self, session: OpenBranch, name: bytes | None) -> None:
        super().__init__(session.tree, name, session.tree)
        self._placing = Placing(session, lambda: session.tree.node(ROOT), shows=False)
        self._workspaces = session.workspaces
        self._others = self._workspaces - {name}

    def _checked(self, path: bytes, *, directory: bool = False) -> bytes:
        if path in self._workspaces and not directory:
            raise DatabaseError(f"{os.fsdecode(path)!r} is the place of a workspace, and stays its directory")
        top, _, rest = path.partition(b"/")
        if rest and top in self._others:
            raise DatabaseError(
                f"{os.fsdecode(path)}: {os.fsdecode(top)!r} is a workspace that shows its host directory; "
                "name that with -m DIR"
            )
        return path

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        self._checked(entry.path, directory=entry.kind == "dir")
        return self._placing.put(entry, blocks)

    def link(self, path: bytes, to: Entry) -> Entry:
        return self._placing.link(self._checked(path), to)

    def remove(self, path: bytes) -> None:
        self._placing.remove(self._checked(path))

    def commit(self) -> None:
        self._tree.pending.wait()
