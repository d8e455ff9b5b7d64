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

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext, SetattrFields

from art_core import bounds
from art_fusefs.answers import BLOCK, NAME_LIMIT, answering
from art_fusefs.backend import Backend, N
from art_fusefs.listing import DOTS, Listings
from art_fusefs.naming import Naming

_USER = b"user."
_EMPTY = (b"security.", b"trusted.")
"""Spaces of names in which no file has an attribute, and none is kept."""
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


def _harmless(mode: int) -> int:
    """A file's mode after somebody without CAP_FSETID changed its contents or owner (inode(7))."""
    if not stat.S_ISREG(mode):
        return mode
    return mode & ~(_PRIVILEGES if mode & stat.S_IXGRP else stat.S_ISUID)


@answering
class Operations(Naming[N]):
    """Answers the kernel's requests from a backend."""

    def __init__(
        self,
        backend: Backend[N],
        room: Callable[[], Any] | None = None,
        waits: Callable[[], None] = lambda: None,
        fixed: Collection[bytes] = (),
    ) -> None:
        """`room` gives what a change has to wait for, or None; `waits` is called before a request
        waits for anything. `fixed` are names in the top directory that stay what they are, as mount points
        do, and that nobody makes (EBUSY, rename(2))."""
        super().__init__(backend, room, waits, fixed)
        self._listings = Listings()

    # --- attributes ----------------------------------------------------------------------------

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        node = self._backend.node(inode)
        self._backend.refresh(node)
        return self._attributes(node)

    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        await self._make_room()
        node = self._backend.node(inode)
        self._backend.refresh(node)
        now = time.time_ns()
        if fields.update_size:
            self._backend.resize(node, attr.st_size)
            node.mtime = now
        if (fields.update_uid and attr.st_uid != self._backend.uid) or (
            fields.update_gid and attr.st_gid != self._backend.gid
        ):
            raise FUSEError(errno.EPERM)
        if fields.update_size or fields.update_uid or fields.update_gid:
            node.mode = _harmless(node.mode)
        if fields.update_mode:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(attr.st_mode)
        if fields.update_atime:
            node.atime = bounds.time_ns(attr.st_atime_ns)
        if fields.update_mtime:
            node.mtime = bounds.time_ns(attr.st_mtime_ns)
        node.ctime = now
        self._backend.changed(node)
        return self._attributes(node)

    # --- directories ---------------------------------------------------------------------------

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        directory = self._directory(inode)
        directory.opens += 1
        return self._listings.open(inode)

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
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
            if not pyfuse3.readdir_reply(token, name, self._attributes(node), place):
                return
            if name not in DOTS:
                node.lookups += 1

    async def releasedir(self, fh: int) -> None:
        node = self._backend.node(self._listings.close(fh))
        node.opens -= 1
        self._discard_if_gone(node)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self.fsync(fh, datasync)

    # --- contents ------------------------------------------------------------------------------

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        await self._make_room()
        node = self._make(parent_inode, name, stat.S_IFREG | (mode & 0o7777 & ~ctx.umask))
        return self._open(node), self._known(node)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        cuts = flags & os.O_TRUNC  # Whoever opened it so may write, says the kernel.
        if cuts:
            await self._make_room()
        node = self._backend.node(inode)
        if cuts:
            self._backend.resize(node, 0)
            self._contents_changed(node)
        return self._open(node)

    def _open(self, node: N) -> FileInfo:
        keep = self._backend.opened(node)
        node.opens += 1
        return FileInfo(fh=node.ino, keep_cache=keep, direct_io=node.direct)

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
            pyfuse3.invalidate_inode(node.ino, attr_only=True)
        self._backend.changed(node)

    async def release(self, fh: int) -> None:
        node = self._backend.node(fh)
        node.opens -= 1
        if node.opens == 0:
            self._backend.closed(node)
            self._discard_if_gone(node)

    async def flush(self, fh: int) -> None:
        """The kernel stops asking: nothing is done at close(2)."""
        raise FUSEError(errno.ENOSYS)

    async def fsync(self, fh: int, datasync: bool) -> None:
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

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        space = self._backend.space()
        found = pyfuse3.StatvfsData()
        found.f_bsize = found.f_frsize = BLOCK
        found.f_blocks = space.total // BLOCK
        found.f_bfree = found.f_bavail = space.free // BLOCK
        found.f_files = space.inodes
        found.f_ffree = found.f_favail = space.free_inodes
        found.f_namemax = NAME_LIMIT
        return found

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return self._xattr(inode, name)

    def _xattr(self, inode: int, name: bytes) -> bytes:
        """An attribute that is there; what else is asked for fails as xattr(7) tells."""
        if name == _USER or name in _EMPTY:
            raise FUSEError(errno.EINVAL)
        if not name.startswith((_USER, *_EMPTY)):
            raise FUSEError(errno.EOPNOTSUPP)
        value = self._backend.xattrs(self._backend.node(inode)).get(name)
        if value is None:
            raise FUSEError(errno.ENODATA)
        return value

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return sorted(self._backend.xattrs(self._backend.node(inode)))

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        await self._make_room()
        self._set_xattr(inode, name, value)

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._make_room()
        self._xattr(inode, name)
        self._set_xattr(inode, name, None)

    def _set_xattr(self, inode: int, name: bytes, value: bytes | None) -> None:
        if name == _USER:
            raise FUSEError(errno.EINVAL)
        if not name.startswith(_USER):
            raise FUSEError(errno.EOPNOTSUPP)
        node = self._backend.node(inode)
        self._backend.set_xattr(node, name, value)
        node.ctime = time.time_ns()
        self._backend.changed(node)
