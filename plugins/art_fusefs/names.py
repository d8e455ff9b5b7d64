"""What the requests on names mean: looking up, making, linking, removing and renaming.

Sources: path_resolution(7), and the man pages of the system calls: rename(2), unlink(2), link(2).
"""

from __future__ import annotations

import errno
import stat
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Generic

from art_fusefs.backend import ROOT, Backend, N
from art_fusefs.replies import NAME_LIMIT, Refused, entry, missing

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
"""Flags of renameat2(2)."""


def _checked(name: bytes) -> bytes:
    if len(name) > NAME_LIMIT:
        raise Refused(errno.ENAMETOOLONG)
    return name


class Naming(Generic[N]):
    """The part of a file system that is about names."""

    def __init__(self, backend: Backend[N], room: Callable[[], Any] | None, fixed: Collection[bytes]) -> None:
        self._fixed = frozenset(fixed)
        self._backend = backend
        self._room = room
        self._waits: Callable[[], None] = lambda: None
        self._forget_attributes: Callable[[int], None] = lambda ino: None
        self._forget_pages: Callable[[int], Awaitable[None]] | None = None
        self._nameless: set[int] = set()
        """Files that were made without a name, and may get one."""
        self.settle = backend.settle
        self.requests = Counter[str]()  # how many were answered, by their kind

    def connect(
        self,
        waits: Callable[[], None],
        forget_attributes: Callable[[int], None],
        forget_pages: Callable[[int], Awaitable[None]],
    ) -> None:
        """Called before the first request: `waits` is called before a request waits for anything, and
        `forget_attributes` for an inode of which the kernel believes what is not so any more. `forget_pages`
        has the kernel write what is only in its cache, and waits for that."""
        self._waits = waits
        self._forget_attributes, self._forget_pages = forget_attributes, forget_pages

    # --- answers -------------------------------------------------------------------------------

    def _entry(self, node: N) -> bytes:
        return entry(node, self._backend.uid, self._backend.gid)

    def _known(self, node: N) -> bytes:
        """The attributes of a node that the kernel gets to know by this answer."""
        node.lookups += 1
        return self._entry(node)

    async def lookup(self, parent_inode: int, name: bytes) -> bytes:
        if name == b".":  # Of any file: somebody opens it by its handle (open_by_handle_at(2)).
            return self._known(self._backend.node(parent_inode))
        directory = self._directory(parent_inode)
        if name == b"..":
            return self._known(self._backend.parent(directory))
        node = self._backend.lookup(directory, _checked(name))
        return missing(directory) if node is None else self._known(node)

    async def readlink(self, inode: int) -> bytes:
        return self._backend.node(inode).target

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            node = self._backend.resident(inode)
            if node is not None:
                node.lookups -= count
                # The kernel forgets all its lookups at once, so the first word is the last one.
                self._discard_if_gone(node, forgotten=True)

    def _discard_if_gone(self, node: N, *, forgotten: bool = False) -> None:
        if node.nlink == 0 and node.opens == 0 and node.lookups <= 0 and (node.counted or forgotten):
            self._nameless.discard(node.ino)
            self._backend.discard(node)

    # --- names ---------------------------------------------------------------------------------

    def _directory(self, inode: int) -> N:
        node = self._backend.node(inode)
        if not stat.S_ISDIR(node.mode):
            raise Refused(errno.ENOTDIR)
        return node

    def _touch_directory(self, directory: N, now: int, links: int = 0) -> None:
        directory.mtime = directory.ctime = now
        # Directories that came to what lies below were not counted; 0 would say that this one is gone.
        directory.nlink = max(2, directory.nlink + links)
        self._backend.changed(directory)

    def _existing(self, directory: N, name: bytes) -> N:
        node = self._backend.lookup(directory, name)
        if node is None:
            raise Refused(errno.ENOENT)
        return node

    def _refuse_fixed(self, directory: int, name: bytes) -> None:
        if directory == ROOT and name in self._fixed:
            raise Refused(errno.EBUSY)

    def _make(self, parent_inode: int, name: bytes, mode: int, **fields: Any) -> N:
        directory = self._directory(parent_inode)
        if self._backend.lookup(directory, _checked(name)) is not None:
            raise Refused(errno.EEXIST)
        self._refuse_fixed(parent_inode, name)
        if directory.nlink == 0:
            raise Refused(errno.ENOENT)
        now = time.time_ns()
        is_directory = stat.S_ISDIR(mode)
        if is_directory and directory.mode & stat.S_ISGID:
            mode |= stat.S_ISGID
        node = self._backend.new(mode, now)
        if is_directory:
            node.nlink = 2
        for field, value in fields.items():
            setattr(node, field, value)
        self._backend.enter(directory, name, node)
        self._backend.changed(node)
        self._touch_directory(directory, now, links=int(is_directory))
        return node

    async def mkdir(self, parent_inode: int, name: bytes, mode: int) -> bytes:
        await self._make_room()
        return self._known(self._make(parent_inode, name, stat.S_IFDIR | (mode & 0o7777)))

    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int) -> bytes:
        await self._make_room()
        if stat.S_IFMT(mode) not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
            raise Refused(errno.EPERM)
        return self._known(self._make(parent_inode, name, mode))

    async def symlink(self, parent_inode: int, name: bytes, target: bytes) -> bytes:
        await self._make_room()
        fields = {"target": target, "size": len(target)}
        return self._known(self._make(parent_inode, name, stat.S_IFLNK | 0o777, **fields))

    async def link(self, inode: int, new_parent_inode: int, new_name: bytes) -> bytes:
        await self._make_room()
        node, directory = self._backend.node(inode), self._directory(new_parent_inode)
        if self._backend.lookup(directory, _checked(new_name)) is not None:
            raise Refused(errno.EEXIST)
        self._refuse_fixed(new_parent_inode, new_name)
        if node.nlink == 0 and node.ino not in self._nameless:
            raise Refused(errno.ENOENT)
        now = time.time_ns()
        self._nameless.discard(node.ino)
        self._backend.enter(directory, new_name, node)
        node.nlink += 1
        node.ctime = now
        self._backend.changed(node)
        self._touch_directory(directory, now)
        return self._known(node)

    async def unlink(self, parent_inode: int, name: bytes) -> None:
        await self._make_room()
        directory = self._directory(parent_inode)
        node = self._existing(directory, name)
        if stat.S_ISDIR(node.mode):
            raise Refused(errno.EISDIR)
        now = time.time_ns()
        self._backend.leave(directory, name, node)
        self._drop_link(node, now)
        self._touch_directory(directory, now)

    async def rmdir(self, parent_inode: int, name: bytes) -> None:
        await self._make_room()
        directory = self._directory(parent_inode)
        node = self._existing(directory, name)
        self._refuse_fixed(parent_inode, name)
        self._refuse_full(node)
        now = time.time_ns()
        self._backend.leave(directory, name, node)
        self._drop_link(node, now)
        self._touch_directory(directory, now, links=-1)

    def _refuse_full(self, node: N) -> None:
        if not stat.S_ISDIR(node.mode):
            raise Refused(errno.ENOTDIR)
        if not self._backend.is_empty(node):
            raise Refused(errno.ENOTEMPTY)

    def _drop_link(self, node: N, now: int) -> None:
        node.nlink = 0 if stat.S_ISDIR(node.mode) else node.nlink - 1
        node.ctime = now
        self._backend.changed(node)
        self._discard_if_gone(node)

    async def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int
    ) -> None:
        await self._make_room()
        if flags & ~(RENAME_EXCHANGE | RENAME_NOREPLACE):
            raise Refused(errno.EINVAL)
        source, target = self._directory(parent_inode_old), self._directory(parent_inode_new)
        moved = self._existing(source, name_old)
        replaced = self._backend.lookup(target, _checked(name_new))
        self._refuse_fixed(parent_inode_old, name_old)
        self._refuse_fixed(parent_inode_new, name_new)
        if flags & RENAME_EXCHANGE:
            if replaced is None:
                raise Refused(errno.ENOENT)
            self._exchange(source, name_old, moved, target, name_new, replaced)
            return
        if replaced is not None:
            if flags & RENAME_NOREPLACE:
                raise Refused(errno.EEXIST)
            if replaced is moved:
                return
            if stat.S_ISDIR(replaced.mode) and not stat.S_ISDIR(moved.mode):
                raise Refused(errno.EISDIR)
            if stat.S_ISDIR(moved.mode):
                self._refuse_full(replaced)
        now = time.time_ns()
        is_directory = stat.S_ISDIR(moved.mode)
        if replaced is not None:
            self._backend.leave(target, name_new, replaced)
            self._drop_link(replaced, now)
        self._backend.leave(source, name_old, moved)
        self._backend.enter(target, name_new, moved)
        moved.ctime = now
        self._backend.changed(moved)
        self._touch_directory(source, now, links=-int(is_directory))
        gained = int(is_directory) - int(replaced is not None and is_directory)
        self._touch_directory(target, now, links=gained)

    def _exchange(self, source: N, name_old: bytes, moved: N, target: N, name_new: bytes, other: N) -> None:
        now = time.time_ns()
        self._backend.leave(source, name_old, moved)
        self._backend.leave(target, name_new, other)
        self._backend.enter(target, name_new, moved)
        self._backend.enter(source, name_old, other)
        for node in (moved, other):
            node.ctime = now
            self._backend.changed(node)
        difference = int(stat.S_ISDIR(other.mode)) - int(stat.S_ISDIR(moved.mode))
        self._touch_directory(source, now, links=difference)
        self._touch_directory(target, now, links=-difference)

    async def _make_room(self) -> None:
        """Wait while the backend has more to write than it should hold."""
        if self._room is not None:
            event = self._room()
            if event is not None:
                self._waits()
                await event.wait()
