"""A file system of the host whose numbers are as large as they can be: `python strange_host.py DIRECTORY
[LEFT OUT...]` mounts it there, prints a line and serves until its standard input ends."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Sequence

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

LATE_NS, EARLY_NS = (1 << 62) * 10**9, -(1 << 62) * 10**9
LARGEST = (1 << 63) - 1
ENTRIES = {
    b"late": ((1 << 64) - 2, stat.S_IFREG | 0o644, 1, 5, LATE_NS),
    b"early": ((1 << 63) + 7, stat.S_IFREG | 0o644, 2, 5, EARLY_NS),
    b"large": ((1 << 64) - 9, stat.S_IFREG | 0o644, 1, LARGEST, LATE_NS),
    b"sub": ((1 << 63) + 1, stat.S_IFDIR | 0o755, 2, 0, LATE_NS),
}
"""Name -> inode number, mode, links, size and time of all that there is."""
_BY_NUMBER = {found[0]: found for found in ENTRIES.values()} | {1: (1, stat.S_IFDIR | 0o755, 2, 0, EARLY_NS)}


class Strange(pyfuse3.Operations):
    """Each file holds `12345`, and zeros after that."""

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        _, mode, links, size, time = _BY_NUMBER[inode % (1 << 64)]
        found = EntryAttributes()
        found.st_ino, found.st_mode, found.st_nlink, found.st_size = inode, mode, links, size
        found.st_uid, found.st_gid = os.getuid(), os.getgid()
        found.st_atime_ns = found.st_mtime_ns = found.st_ctime_ns = time
        return found

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if parent_inode != 1 or name not in ENTRIES:
            raise FUSEError(errno.ENOENT)
        return await self.getattr(ENTRIES[name][0], ctx)

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        for place, (name, entry) in list(enumerate(ENTRIES.items(), 1))[start_id if fh == 1 else 99 :]:
            attributes = await self.getattr(entry[0], None)  # type: ignore[arg-type]
            if not pyfuse3.readdir_reply(token, name, attributes, place):
                return

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        return FileInfo(fh=inode)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return b"12345"[off : off + size] if off < 5 else bytes(size)

    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return []


async def _serve() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ending, nursery.cancel_scope)
        await pyfuse3.main()


async def _ending(scope: trio.CancelScope) -> None:
    print("mounted", flush=True)
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    scope.cancel()


if __name__ == "__main__":
    for left_out in sys.argv[2:]:
        del ENTRIES[os.fsencode(left_out)]
    pyfuse3.init(Strange(), sys.argv[1], {*pyfuse3.default_options, "fsname=strange"})
    try:
        trio.run(_serve)
    finally:
        pyfuse3.close(unmount=True)
