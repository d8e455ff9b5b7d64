"""Making directories of what only the database has: as the kernel wants to have a layer of an overlay.

What shows through from the host stays out. A name that the host's file must not be seen under is a character
device 0/0 there, and a directory that shows nothing of the host's has an attribute that says so. Nothing is
ever followed: each directory is made by this process, and what is made in it is made by its descriptor.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from art_core.errors import StoreError
from art_cowfs.library import OF_WORKSPACE, SEEDS, CowNode, Tree, contents_of, joined
from art_fusefs.backend import ROOT
from art_overlayfs import deep
from art_overlayfs.attributes import Attributes
from art_overlayfs.uppers import HOME, WORKSPACE

_WRITABLE = 0o700


class _Directory(NamedTuple):
    """One that is to be filled. `path` is relative to the layer; `merged`: the host's shows through in it."""

    node: CowNode
    path: bytes
    merged: bool


class Filling:
    """Makes the two directories of a state: of the home, and of the workspace `name` in it."""

    def __init__(self, tree: Tree, name: bytes, owner: tuple[int, int], *, private: bool) -> None:
        self._tree = tree
        self._name = name
        self._owner = owner if os.geteuid() == 0 else None
        self._attributes = Attributes(private=private)
        self._made: dict[int, bytes] = {}
        self.left_out: dict[bytes, str] = {}
        """Paths that do not show, and why: in a merged directory neither does the host's file."""

    def into(self, path: str) -> None:
        """Raises StoreError, and OSError for a full disk."""
        root = self._tree.node(ROOT)
        workspace = self._tree.lookup(root, self._name)
        for part, top in ((HOME, root), (WORKSPACE, workspace)):
            os.mkdir(f"{path}/{part}", _WRITABLE)
            if top is not None:
                fd = os.open(f"{path}/{part}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    self._fill(fd, top, of_workspace=part == WORKSPACE)
                finally:
                    os.close(fd)

    def _fill(self, top: int, node: CowNode, *, of_workspace: bool) -> None:
        self._made.clear()
        waiting = [_Directory(node, b"", of_workspace and node.origin == b"")]
        done: list[_Directory] = []
        while waiting:
            directory = waiting.pop()
            fd = deep.directory(top, directory.path)
            try:
                waiting += self._children(top, fd, directory, of_home=not of_workspace)
            finally:
                os.close(fd)
            done.append(directory)
            self._tree.settle()
        for directory in reversed(done):  # Making what is in a directory changes its time.
            fd = deep.directory(top, directory.path)
            try:
                if directory.path and not directory.merged and of_workspace:
                    self._attributes.make_opaque(f"/proc/self/fd/{fd}")
                self._dress(fd, directory.node)
            finally:
                os.close(fd)

    def _children(self, top: int, fd: int, directory: _Directory, *, of_home: bool) -> list[_Directory]:
        node, below = directory.node, []
        if directory.merged:
            for name, ino, _ in self._tree.whiteouts(node.ino):
                if ino is None:
                    os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        for name, _ in self._tree.in_order(node):
            if of_home and not directory.path and name == self._name:
                continue
            child = self._tree.lookup(node, name)
            path = joined(directory.path, name)
            if child is None or (directory.merged and not child.held and child.origin == path):
                continue
            if stat.S_ISDIR(child.mode):
                os.mkdir(name, _WRITABLE, dir_fd=fd)
                below.append(_Directory(child, path, directory.merged and child.origin == path))
            else:
                self._file(top, fd, name, path, child)
                if directory.merged and path in self.left_out:
                    os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        return below

    def _file(self, top: int, fd: int, name: bytes, path: bytes, node: CowNode) -> None:
        if node.nlink > 1 and node.held:
            if node.ino in self._made:
                where, _, first = self._made[node.ino].rpartition(b"/")
                above = deep.directory(top, where)
                try:
                    os.link(first, name, src_dir_fd=above, dst_dir_fd=fd, follow_symlinks=False)
                finally:
                    os.close(above)
                return
            self._made[node.ino] = path
        if stat.S_ISREG(node.mode):
            if self._is_elsewhere(node):
                self._leave_out(path, node, "its contents are in another workspace or seed")
                return
            made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
            try:
                self._write(made, node, path)
                self._dress(made, node)
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                os.unlink(name, dir_fd=fd)
                self._leave_out(path, node, f"no file of {node.size} bytes fits into the file system here")
            finally:
                os.close(made)
            return
        if stat.S_ISLNK(node.mode):
            os.symlink(node.target, name, dir_fd=fd)
        else:
            os.mknod(name, stat.S_IFMT(node.mode) | 0o600, 0, dir_fd=fd)
            os.chmod(name, stat.S_IMODE(node.mode), dir_fd=fd)
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=fd, follow_symlinks=False)
        os.utime(name, ns=(node.atime, node.mtime), dir_fd=fd, follow_symlinks=False)

    def _leave_out(self, path: bytes, node: CowNode, why: str) -> None:
        self._made.pop(node.ino, None)
        self.left_out[path] = why

    def _is_elsewhere(self, node: CowNode) -> bool:
        """Whether its contents come from a workspace or a seed that this session does not have."""
        origin = node.origin or b""
        return origin.startswith((OF_WORKSPACE, SEEDS)) and node.host_clip > 0

    def _write(self, fd: int, node: CowNode, path: bytes) -> None:
        try:
            for offset, data in contents_of(self._tree, node, node.size):
                view = memoryview(data)
                while view:
                    count = os.pwrite(fd, view, offset)
                    view, offset = view[count:], offset + count
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            raise StoreError(
                f"{os.fsdecode(path)}: the host changed this file after a part of it was changed inside; "
                "`art pull --accept-host` takes what the host has now"
            ) from None
        os.ftruncate(fd, node.size)

    def _dress(self, fd: int, node: CowNode) -> None:
        """Give what was made the attributes that it has in the database."""
        if self._owner is not None:
            os.chown(fd, *self._owner)
        for name, value in self._tree.xattrs(node).items():
            os.setxattr(fd, self._attributes.kept(name), value)
        os.chmod(fd, stat.S_IMODE(node.mode))
        os.utime(fd, ns=(node.atime, node.mtime))
