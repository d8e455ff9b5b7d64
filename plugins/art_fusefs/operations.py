"""The file system: what each FUSE request means, on top of a `Backend`.

One thread, cooperative: a handler that does not await is atomic. Sources: the man pages of the
system calls, and the kernel's fuse documentation.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import trio

from art_core.store import bounds
from art_fusefs.backend import Backend, N
from art_fusefs.listings import DOTS, Listings, Page
from art_fusefs.names import Naming
from art_fusefs.protocol import STATFS, Settings
from art_fusefs.replies import BLOCK, NAME_LIMIT, Refused, attributes, opened

_USER = b"user."
_EMPTY = (b"security.", b"trusted.")
"""Spaces of names in which no file has an attribute, and none is kept."""
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x01, 0x02, 0x10
"""Of fallocate(2)."""
_COPIED_AT_ONCE = 1 << 20
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


def _harmless(mode: int) -> int:
    """A file's mode after somebody without CAP_FSETID changed its contents or owner (inode(7))."""
    if not stat.S_ISREG(mode):
        return mode
    return mode & ~(_PRIVILEGES if mode & stat.S_IXGRP else stat.S_ISUID)


class Operations(Naming[N]):
    """Answers the kernel's requests from a backend."""

    def __init__(
        self,
        backend: Backend[N],
        room: Callable[[], Any] | None = None,
        fixed: Collection[bytes] = (),
    ) -> None:
        """`room` gives what a change has to wait for, or None. `fixed` are names in the top directory that
        stay what they are, as mount points do, and that nobody makes (EBUSY, rename(2))."""
        super().__init__(backend, room, fixed)
        self._listings = Listings()

    # --- attributes ----------------------------------------------------------------------------

    async def getattr(self, inode: int) -> bytes:
        node = self._backend.node(inode)
        self._backend.refresh(node)
        return attributes(node, self._backend.uid, self._backend.gid)

    async def setattr(self, inode: int, settings: Settings) -> bytes:
        await self._make_room()
        node = self._backend.node(inode)
        self._backend.refresh(node)
        now = time.time_ns()
        mode, uid, gid, size, atime, mtime = settings
        if size is not None:
            self._backend.resize(node, size)
            node.mtime = now
        if uid not in (None, self._backend.uid) or gid not in (None, self._backend.gid):
            raise Refused(errno.EPERM)
        if size is not None or uid is not None or gid is not None:
            node.mode = _harmless(node.mode)
        if mode is not None:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if atime is not None:
            node.atime = bounds.time_ns(atime)
        if mtime is not None:
            node.mtime = bounds.time_ns(mtime)
        node.ctime = now
        self._backend.changed(node)
        return attributes(node, self._backend.uid, self._backend.gid)

    # --- directories ---------------------------------------------------------------------------

    async def opendir(self, inode: int) -> int:
        directory = self._directory(inode)
        directory.opens += 1
        return self._listings.open(inode)

    async def readdir(self, fh: int, start_id: int, page: Page) -> None:
        directory = self._backend.node(self._listings.inode(fh))
        if start_id == 0:
            self._listings.read(fh, self._backend.names(directory))
        for place, name in self._listings.rest(fh, start_id):
            if name in DOTS:
                node = directory if name == b"." else self._backend.parent(directory)
            else:
                found = self._backend.lookup(directory, name)
                if found is None:
                    continue
                node = found
            if not page.add(name, place, self._entry(node), node.ino, node.mode):
                return
            if name not in DOTS:
                node.lookups += 1

    async def releasedir(self, fh: int) -> None:
        node = self._backend.node(self._listings.close(fh))
        node.opens -= 1
        self._discard_if_gone(node)

    async def fsyncdir(self) -> None:
        await self.durable()

    # --- contents ------------------------------------------------------------------------------

    async def create(self, parent_inode: int, name: bytes, mode: int) -> bytes:
        await self._make_room()
        node = self._make(parent_inode, name, stat.S_IFREG | (mode & 0o7777))
        return self._known(node) + self._open(node)

    async def tmpfile(self, parent_inode: int, mode: int) -> bytes:
        await self._make_room()
        if self._directory(parent_inode).nlink == 0:
            raise Refused(errno.ENOENT)
        node = self._backend.new(stat.S_IFREG | (mode & 0o7777), time.time_ns())
        node.nlink = 0
        self._nameless.add(node.ino)
        return self._known(node) + self._open(node)

    async def open(self, inode: int, flags: int) -> bytes:
        cuts = flags & os.O_TRUNC  # Whoever opened it so may write, says the kernel.
        if cuts:
            await self._make_room()
        node = self._backend.node(inode)
        if cuts:
            self._backend.resize(node, 0)
            self._contents_changed(node)
        return self._open(node)

    def _open(self, node: N) -> bytes:
        keep = self._backend.opened(node)
        node.opens += 1
        return opened(node, keep)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return self._backend.read(self._backend.node(fh), off, size)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        await self._make_room()
        node = self._backend.node(fh)
        self._backend.write(node, off, buf)
        self._contents_changed(node)
        return len(buf)

    def _contents_changed(self, node: N) -> None:
        node.mtime = node.ctime = time.time_ns()
        if node.mode & _PRIVILEGES and node.mode != (mode := _harmless(node.mode)):
            node.mode = mode
            # The kernel leaves this to us, and believes what it knows of the mode.
            self._forget_attributes(node.ino)
        self._backend.changed(node)

    async def fallocate(self, fh: int, offset: int, length: int, mode: int) -> None:
        if mode & ~(_KEEP_SIZE | _PUNCH_HOLE | _ZERO_RANGE):
            raise Refused(errno.EOPNOTSUPP)
        await self._make_room()
        node = self._backend.node(fh)
        end = offset + length
        if mode & (_PUNCH_HOLE | _ZERO_RANGE):
            self._backend.clear(node, offset, max(0, min(end, node.size) - offset))
        if not mode & _PUNCH_HOLE:
            self._backend.reserve(length - self._filled(node, offset, end))
        if end > node.size and not mode & _KEEP_SIZE:
            self._backend.resize(node, end)
        self._contents_changed(node)

    def _filled(self, node: N, offset: int, end: int) -> int:
        """How many bytes of a part may be others than zeros."""
        filled = 0
        while offset < end and (found := self._backend.data(node, offset)) is not None:
            filled += max(0, min(end, found[1]) - found[0])
            offset = found[1]
        return filled

    async def lseek(self, fh: int, offset: int, whence: int) -> int:
        node = self._backend.node(fh)
        if node.holes and self._forget_pages is not None:
            await self._forget_pages(node.ino)  # What was written through a mapping may not be here yet.
        if not 0 <= offset < node.size:
            raise Refused(errno.ENXIO)
        found = self._backend.data(node, offset)
        if whence == os.SEEK_DATA:
            if found is None:
                raise Refused(errno.ENXIO)
            return found[0]
        if whence != os.SEEK_HOLE:
            raise Refused(errno.EINVAL)
        while found is not None and found[0] <= offset:
            offset = found[1]
            found = self._backend.data(node, offset) if offset < node.size else None
        return min(offset, node.size)

    async def copy_file_range(self, fh: int, offset: int, onto: int, at: int, length: int) -> int:
        await self._make_room()
        target = self._backend.node(onto)
        data = self._backend.read(self._backend.node(fh), offset, min(length, _COPIED_AT_ONCE))
        if data:
            self._backend.write(target, at, data)
            self._contents_changed(target)
        return len(data)

    async def release(self, fh: int) -> None:
        node = self._backend.node(fh)
        node.opens -= 1
        if node.opens == 0:
            self._backend.closed(node)
            self._discard_if_gone(node)

    async def fsync(self) -> None:
        await self.durable()

    async def durable(self) -> None:
        """Wait until everything that was answered is on the disk."""
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()
        failures = []

        def done(failure: OSError | None) -> None:
            failures.append(failure)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(ended.set)

        self._backend.flush(done)
        self._waits()
        await ended.wait()
        if failures[0] is not None:
            raise failures[0]

    # --- the rest ------------------------------------------------------------------------------

    async def statfs(self) -> bytes:
        space = self._backend.space()
        total, free = space.total // BLOCK, space.free // BLOCK
        return STATFS.pack(total, free, free, space.inodes, space.free_inodes, BLOCK, NAME_LIMIT, BLOCK)

    async def getxattr(self, inode: int, name: bytes) -> bytes:
        return self._xattr(inode, name)

    def _xattr(self, inode: int, name: bytes) -> bytes:
        """An attribute that is there; what else is asked for fails as xattr(7) tells."""
        if name == _USER or name in _EMPTY:
            raise Refused(errno.EINVAL)
        if not name.startswith((_USER, *_EMPTY)):
            raise Refused(errno.EOPNOTSUPP)
        value = self._backend.xattrs(self._backend.node(inode)).get(name)
        if value is None:
            raise Refused(errno.ENODATA)
        return value

    async def listxattr(self, inode: int) -> Sequence[bytes]:
        return sorted(self._backend.xattrs(self._backend.node(inode)))

    async def setxattr(self, inode: int, name: bytes, value: bytes, flags: int) -> None:
        await self._make_room()
        if flags:
            is_there = name in self._backend.xattrs(self._backend.node(inode))
            if is_there and flags & os.XATTR_CREATE:
                raise Refused(errno.EEXIST)
            if not is_there and flags & os.XATTR_REPLACE:
                raise Refused(errno.ENODATA)
        self._set_xattr(inode, name, value)

    async def removexattr(self, inode: int, name: bytes) -> None:
        await self._make_room()
        self._xattr(inode, name)
        self._set_xattr(inode, name, None)

    def _set_xattr(self, inode: int, name: bytes, value: bytes | None) -> None:
        if name == _USER:
            raise Refused(errno.EINVAL)
        if not name.startswith(_USER):
            raise Refused(errno.EOPNOTSUPP)
        node = self._backend.node(inode)
        self._backend.set_xattr(node, name, value)
        node.ctime = time.time_ns()
        self._backend.changed(node)
