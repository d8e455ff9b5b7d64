"""The file system of a home that shows more of the host than the workspace: what may not be renamed.

What is moved into the workspace is pulled to the host later, by a reader that has no seeds: so a directory,
and a file that still shows a seed's, does not cross (EXDEV: mv(1) and others copy then). A share is a name
of the host's: it is replaced, never moved or removed (EBUSY, as a mount point).
"""

from __future__ import annotations

import errno
import stat
import time
from collections.abc import Callable, Collection

from art_cowfs.serve.shares import SharedTree
from art_cowfs.tree.nodes import CowNode
from art_fusefs.backend import ROOT, InodeChanged, NameChanged, Tell
from art_fusefs.names import RENAME_EXCHANGE, RENAME_NOREPLACE
from art_fusefs.operations import Operations
from art_fusefs.replies import Refused


class HomeOperations(Operations[CowNode]):
    """Answers the kernel's requests on such a home."""

    def __init__(
        self,
        backend: SharedTree,
        room: Callable[[], object] | None,
        fixed: Collection[bytes],
        workspace: bytes,
        tell: Tell,
    ) -> None:
        super().__init__(backend, room, fixed)
        self._sharing = backend
        self._workspace = workspace
        self._tell = tell

    def _is_in_workspace(self, directory: CowNode) -> bool:
        while directory.ino != ROOT:
            above = self._backend.parent(directory)
            if above.ino == ROOT:
                return directory.name == self._workspace
            directory = above
        return False

    def _refuse_crossing(self, node: CowNode, source: CowNode | None, target: CowNode) -> None:
        of_another = node.origin is not None and node.origin.startswith(b"/")
        if not (of_another or stat.S_ISDIR(node.mode)) or not self._is_in_workspace(target):
            return
        if source is None or not self._is_in_workspace(source):
            raise Refused(errno.EXDEV)

    async def link(self, inode: int, new_parent_inode: int, new_name: bytes) -> bytes:
        self._refuse_fixed(new_parent_inode, new_name)
        if self._sharing.is_share(inode) or self._sharing.at(new_parent_inode, new_name):
            raise Refused(errno.EXDEV)
        self._refuse_crossing(self._backend.node(inode), None, self._directory(new_parent_inode))
        return await super().link(inode, new_parent_inode, new_name)

    async def unlink(self, parent_inode: int, name: bytes) -> None:
        if self._sharing.at(parent_inode, name):
            raise Refused(errno.EBUSY)
        await super().unlink(parent_inode, name)

    async def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int
    ) -> None:
        self._refuse_fixed(parent_inode_old, name_old)
        self._refuse_fixed(parent_inode_new, name_new)
        onto = self._sharing.at(parent_inode_new, name_new)
        if self._sharing.at(parent_inode_old, name_old) or (onto and flags & RENAME_EXCHANGE):
            raise Refused(errno.EBUSY)
        source, target = self._directory(parent_inode_old), self._directory(parent_inode_new)
        moved = self._existing(source, name_old)
        if not onto:
            self._refuse_crossing(moved, source, target)
            if flags & RENAME_EXCHANGE:
                self._refuse_crossing(self._existing(target, name_new), target, source)
            await super().rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)
            return
        await self._make_room()
        if flags & RENAME_NOREPLACE and self._backend.lookup(target, name_new) is not None:
            raise Refused(errno.EEXIST)
        self._sharing.replace(target, name_new, source, name_old)
        for directory in (source, target):
            self._touch_directory(directory, time.time_ns())
        # What the kernel knows of the file was for good, when it was the home's own.
        self._tell([InodeChanged(moved.ino, target.ino), NameChanged(target.ino, name_new, stays=True)])
