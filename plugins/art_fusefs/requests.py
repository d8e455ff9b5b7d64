"""Requests and answers as bytes: what the kernel asks is read, handed to `Operations`, and answered."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from art_fusefs import protocol
from art_fusefs.listings import Page
from art_fusefs.protocol import Opcode, Settings

if TYPE_CHECKING:
    from art_fusefs.operations import Operations

_S = 10**9
_Answer = Awaitable[bytes | None]
_EMPTY = bytes(8)


def _sized(value: bytes, size: int) -> bytes:
    """The value of an attribute, or its length for who asks with no room."""
    if size == 0:
        return protocol.PAIR.pack(len(value), 0)
    if len(value) > size:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value


class Requests:
    """Has requests answered by operations. `handlers` has one for each opcode: it is given the inode's
    number and what follows the header, and gives what follows the header of the answer, None for nothing."""

    def __init__(self, operations: Operations[Any]) -> None:
        self._operations = operations
        self.handlers: dict[int, Callable[[int, bytes], _Answer]] = {
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._lookup,
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._forget_all,
            Opcode.GETATTR: self._getattr,
            Opcode.SETATTR: self._setattr,
            Opcode.READLINK: self._readlink,
            Opcode.SYMLINK: self._symlink,
            Opcode.MKNOD: self._mknod,
            Opcode.MKDIR: self._mkdir,
            Opcode.UNLINK: self._unlink,
            Opcode.RMDIR: self._rmdir,
            Opcode.RENAME: self._rename,
            Opcode.RENAME2: self._rename_so,
            Opcode.LINK: self._link,
            Opcode.OPEN: self._open,
            Opcode.CREATE: self._create,
            Opcode.TMPFILE: self._tmpfile,
            Opcode.READ: self._read,
            Opcode.WRITE: self._write,
            Opcode.RELEASE: self._release,
            Opcode.FSYNC: self._fsync,
            Opcode.FALLOCATE: self._fallocate,
            Opcode.LSEEK: self._lseek,
            Opcode.COPY_FILE_RANGE: self._copy,
            Opcode.STATFS: self._statfs,
            Opcode.SETXATTR: self._setxattr,
            Opcode.GETXATTR: self._getxattr,
            Opcode.LISTXATTR: self._listxattr,
            Opcode.REMOVEXATTR: self._removexattr,
            Opcode.OPENDIR: self._opendir,
            Opcode.READDIRPLUS: self._readdir,
            Opcode.RELEASEDIR: self._releasedir,
            Opcode.FSYNCDIR: self._fsyncdir,
        }

    async def _init(self, ino: int, body: bytes) -> bytes:
        major, _, ahead, offered = protocol.INIT.unpack_from(body)
        if major != protocol.MAJOR:
            # One that speaks a later version asks again; there is none.
            return protocol.INIT_ANSWER.pack(protocol.MAJOR, protocol.MINOR, *[0] * 7)
        wanted = offered & protocol.WANTED
        return protocol.INIT_ANSWER.pack(
            major, protocol.MINOR, ahead, wanted, 0, 0, protocol.WRITE_LIMIT, 1, protocol.MOST_PAGES
        )

    # --- names ---------------------------------------------------------------------------------

    def _lookup(self, ino: int, body: bytes) -> _Answer:
        return self._operations.lookup(ino, body[:-1])

    def _forget(self, ino: int, body: bytes) -> _Answer:
        return self._operations.forget([(ino, protocol.NUMBER.unpack_from(body)[0])])

    def _forget_all(self, ino: int, body: bytes) -> _Answer:
        count, _ = protocol.PAIR.unpack_from(body)
        size = protocol.FORGET.size
        numbers = [protocol.FORGET.unpack_from(body, 8 + place * size) for place in range(count)]
        return self._operations.forget(numbers)

    def _readlink(self, ino: int, body: bytes) -> _Answer:
        return self._operations.readlink(ino)

    def _symlink(self, ino: int, body: bytes) -> _Answer:
        name, target, _ = body.split(b"\0")
        return self._operations.symlink(ino, name, target)

    def _mknod(self, ino: int, body: bytes) -> _Answer:
        mode, rdev, _, _ = protocol.MADE.unpack_from(body)
        return self._operations.mknod(ino, body[protocol.MADE.size : -1], mode, rdev)

    def _mkdir(self, ino: int, body: bytes) -> _Answer:
        mode, _ = protocol.PAIR.unpack_from(body)
        return self._operations.mkdir(ino, body[protocol.PAIR.size : -1], mode)

    def _unlink(self, ino: int, body: bytes) -> _Answer:
        return self._operations.unlink(ino, body[:-1])

    def _rmdir(self, ino: int, body: bytes) -> _Answer:
        return self._operations.rmdir(ino, body[:-1])

    def _rename(self, ino: int, body: bytes) -> _Answer:
        (target,) = protocol.NUMBER.unpack_from(body)
        name, onto, _ = body[protocol.NUMBER.size :].split(b"\0")
        return self._operations.rename(ino, name, target, onto, 0)

    def _rename_so(self, ino: int, body: bytes) -> _Answer:
        target, flags, _ = protocol.RENAME.unpack_from(body)
        name, onto, _ = body[protocol.RENAME.size :].split(b"\0")
        return self._operations.rename(ino, name, target, onto, flags)

    def _link(self, ino: int, body: bytes) -> _Answer:
        (linked,) = protocol.NUMBER.unpack_from(body)
        return self._operations.link(linked, ino, body[protocol.NUMBER.size : -1])

    # --- attributes ----------------------------------------------------------------------------

    def _getattr(self, ino: int, body: bytes) -> _Answer:
        return self._operations.getattr(ino)

    def _setattr(self, ino: int, body: bytes) -> _Answer:
        valid, _, size, atime, mtime, atime_ns, mtime_ns, mode, uid, gid = protocol.SETATTR.unpack_from(body)
        now = time.time_ns()
        settings = Settings(
            mode=mode if valid & protocol.MODE else None,
            uid=uid if valid & protocol.UID else None,
            gid=gid if valid & protocol.GID else None,
            size=size if valid & protocol.SIZE else None,
            atime=_time(valid, protocol.ATIME, protocol.ATIME_NOW, atime * _S + atime_ns, now),
            mtime=_time(valid, protocol.MTIME, protocol.MTIME_NOW, mtime * _S + mtime_ns, now),
        )
        return self._operations.setattr(ino, settings)

    def _statfs(self, ino: int, body: bytes) -> _Answer:
        return self._operations.statfs()

    def _setxattr(self, ino: int, body: bytes) -> _Answer:
        _, flags = protocol.PAIR.unpack_from(body)
        name, _, value = body[protocol.PAIR.size :].partition(b"\0")
        return self._operations.setxattr(ino, name, value, flags)

    async def _getxattr(self, ino: int, body: bytes) -> bytes:
        size, _ = protocol.PAIR.unpack_from(body)
        return _sized(await self._operations.getxattr(ino, body[protocol.PAIR.size : -1]), size)

    async def _listxattr(self, ino: int, body: bytes) -> bytes:
        size, _ = protocol.PAIR.unpack_from(body)
        names = await self._operations.listxattr(ino)
        return _sized(b"".join(b"%b\0" % name for name in names), size)

    def _removexattr(self, ino: int, body: bytes) -> _Answer:
        return self._operations.removexattr(ino, body[:-1])

    # --- contents ------------------------------------------------------------------------------

    def _open(self, ino: int, body: bytes) -> _Answer:
        flags, _ = protocol.PAIR.unpack_from(body)
        return self._operations.open(ino, flags)

    def _create(self, ino: int, body: bytes) -> _Answer:
        _, mode, _, _ = protocol.MADE.unpack_from(body)
        return self._operations.create(ino, body[protocol.MADE.size : -1], mode)

    def _tmpfile(self, ino: int, body: bytes) -> _Answer:
        _, mode, _, _ = protocol.MADE.unpack_from(body)
        return self._operations.tmpfile(ino, mode)

    def _read(self, ino: int, body: bytes) -> _Answer:
        fh, offset, size = protocol.PART.unpack_from(body)
        return self._operations.read(fh, offset, size)

    async def _write(self, ino: int, body: bytes) -> bytes:
        fh, offset, size = protocol.PART.unpack_from(body)
        start = protocol.PART.size
        return protocol.PAIR.pack(await self._operations.write(fh, offset, body[start : start + size]), 0)

    def _release(self, ino: int, body: bytes) -> _Answer:
        return self._operations.release(protocol.NUMBER.unpack_from(body)[0])

    def _fsync(self, ino: int, body: bytes) -> _Answer:
        return self._operations.fsync()

    def _fallocate(self, ino: int, body: bytes) -> _Answer:
        fh, offset, length, mode = protocol.FALLOCATE.unpack_from(body)
        return self._operations.fallocate(fh, offset, length, mode)

    async def _lseek(self, ino: int, body: bytes) -> bytes:
        fh, offset, whence = protocol.LSEEK.unpack_from(body)
        return protocol.NUMBER.pack(await self._operations.lseek(fh, offset, whence))

    async def _copy(self, ino: int, body: bytes) -> bytes:
        fh, offset, _, onto, at, length, _ = protocol.COPY.unpack_from(body)
        return protocol.PAIR.pack(await self._operations.copy_file_range(fh, offset, onto, at, length), 0)

    # --- directories ---------------------------------------------------------------------------

    async def _opendir(self, ino: int, body: bytes) -> bytes:
        return protocol.OPENED.pack(await self._operations.opendir(ino), 0, 0)

    async def _readdir(self, ino: int, body: bytes) -> bytes:
        fh, start, size = protocol.PART.unpack_from(body)
        page = Page(size)
        await self._operations.readdir(fh, start, page)
        return page.packed()

    def _releasedir(self, ino: int, body: bytes) -> _Answer:
        return self._operations.releasedir(protocol.NUMBER.unpack_from(body)[0])

    def _fsyncdir(self, ino: int, body: bytes) -> _Answer:
        return self._operations.fsyncdir()


def _time(valid: int, given: int, present: int, at: int, now: int) -> int | None:
    return now if valid & present else at if valid & given else None
