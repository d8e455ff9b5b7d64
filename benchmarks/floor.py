"""The least a Python file system over FUSE can cost: everything in memory, nothing durable, no checks.

python floor.py LOWER MOUNTPOINT     serve LOWER's files, and changes to them, until it is unmounted
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from typing import Any

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError

HOUR = 3600.0


class Node:
    """A file: its attributes, and what it holds: names, bytes, or a path of the host."""

    __slots__ = ("attributes", "contents", "host", "names", "target")

    def __init__(self, number: int, mode: int, host: str | None = None) -> None:
        self.attributes = shown = EntryAttributes()
        shown.st_ino, shown.st_mode, shown.st_blksize = number, mode, 4096
        shown.entry_timeout = shown.attr_timeout = HOUR
        shown.st_uid, shown.st_gid = os.getuid(), os.getgid()
        self.host = host
        self.names: dict[bytes, Node] | None = None if host or not stat.S_ISDIR(mode) else {}
        self.contents: bytearray | None = None if host else bytearray()
        self.target = b""
        shown.st_nlink = 1
        now = time.time_ns()
        if host:
            found = os.lstat(host)
            shown.st_size, now = found.st_size, found.st_mtime_ns
        shown.st_atime_ns = shown.st_mtime_ns = shown.st_ctime_ns = now


class Floor(pyfuse3.Operations):
    enable_writeback_cache = False

    def __init__(self, lower: str) -> None:
        super().__init__()
        self.nodes = {1: Node(1, os.stat(lower).st_mode, lower)}
        self.missing = EntryAttributes()
        self.missing.st_ino, self.missing.entry_timeout = 0, HOUR

    def made(self, mode: int, host: str | None = None) -> Node:
        node = Node(len(self.nodes) + 1, mode, host)
        self.nodes[node.attributes.st_ino] = node
        return node

    def names(self, number: int) -> dict[bytes, Node]:
        node = self.nodes[number]
        if node.names is None:
            assert node.host is not None
            node.names = {}
            for entry in os.scandir(node.host):
                child = self.made(entry.stat(follow_symlinks=False).st_mode, entry.path)
                if entry.is_symlink():
                    child.target = os.fsencode(os.readlink(entry.path))
                node.names[os.fsencode(entry.name)] = child
        return node.names

    def whole(self, node: Node) -> bytearray:
        if node.contents is None:
            assert node.host is not None
            with open(node.host, "rb") as file:
                node.contents = bytearray(file.read())
        return node.contents

    def entered(self, parent: int, name: bytes, mode: int) -> Node:
        node = self.names(parent)[name] = self.made(mode)
        return node

    async def lookup(self, parent: int, name: bytes, ctx: Any) -> EntryAttributes:
        node = self.names(parent).get(name)
        return self.missing if node is None else node.attributes

    async def getattr(self, number: int, ctx: Any) -> EntryAttributes:
        return self.nodes[number].attributes

    async def setattr(self, number: int, wish: Any, fields: Any, fh: Any, ctx: Any) -> EntryAttributes:
        node = self.nodes[number]
        if fields.update_size:
            contents = self.whole(node)
            del contents[wish.st_size :]
            contents.extend(bytes(wish.st_size - len(contents)))
            node.attributes.st_size = wish.st_size
        if fields.update_mode:
            node.attributes.st_mode = wish.st_mode
        if fields.update_mtime:
            node.attributes.st_mtime_ns = wish.st_mtime_ns
        return node.attributes

    async def readlink(self, number: int, ctx: Any) -> bytes:
        return self.nodes[number].target

    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: Any) -> EntryAttributes:
        return self.entered(parent, name, mode | stat.S_IFDIR).attributes

    async def symlink(self, parent: int, name: bytes, target: bytes, ctx: Any) -> EntryAttributes:
        node = self.entered(parent, name, stat.S_IFLNK | 0o777)
        node.target, node.attributes.st_size = target, len(target)
        return node.attributes

    async def link(self, number: int, parent: int, name: bytes, ctx: Any) -> EntryAttributes:
        node = self.names(parent)[name] = self.nodes[number]
        return node.attributes

    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        del self.names(parent)[name]

    async def rmdir(self, parent: int, name: bytes, ctx: Any) -> None:
        if self.names(self.names(parent)[name].attributes.st_ino):
            raise FUSEError(errno.ENOTEMPTY)
        del self.names(parent)[name]

    async def rename(self, old: int, name: bytes, new: int, to: bytes, flags: int, ctx: Any) -> None:
        self.names(new)[to] = self.names(old).pop(name)

    async def open(self, number: int, flags: int, ctx: Any) -> FileInfo:
        if flags & os.O_TRUNC:
            self.nodes[number].contents = bytearray()
            self.nodes[number].attributes.st_size = 0
        return FileInfo(fh=number, keep_cache=True)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, ctx: Any) -> Any:
        node = self.entered(parent, name, mode)
        return FileInfo(fh=node.attributes.st_ino, keep_cache=True), node.attributes

    async def read(self, number: int, offset: int, size: int) -> bytes:
        node = self.nodes[number]
        if node.contents is not None:
            return bytes(node.contents[offset : offset + size])
        assert node.host is not None
        fd = os.open(node.host, os.O_RDONLY)
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)

    async def write(self, number: int, offset: int, data: bytes) -> int:
        node = self.nodes[number]
        contents = self.whole(node)
        if offset > len(contents):
            contents.extend(bytes(offset - len(contents)))
        contents[offset : offset + len(data)] = data
        node.attributes.st_size = len(contents)
        return len(data)

    async def flush(self, number: int) -> None:
        raise FUSEError(errno.ENOSYS)

    async def fsync(self, number: int, datasync: bool) -> None:
        pass

    async def release(self, number: int) -> None:
        pass

    async def opendir(self, number: int, ctx: Any) -> int:
        return number

    async def readdir(self, number: int, start: int, token: Any) -> None:
        entries = list(self.names(number).items())
        for place in range(start, len(entries)):
            name, node = entries[place]
            if not pyfuse3.readdir_reply(token, name, node.attributes, place + 1):
                return

    async def releasedir(self, number: int) -> None:
        pass


def main() -> None:
    pyfuse3.init(Floor(sys.argv[1]), sys.argv[2], {"fsname=floor", "default_permissions"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
