"""A disk that fails, as SQLite's VFS: a file system below SQLite that the tests control.

What SQLite writes is kept in memory and reaches the file when it is synced. Of what is not synced,
some sectors reach the file at once, in any order, as a disk may do it: killing the process then is
a power cut.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

SECTOR = 512


class Disk:
    """The files of one process. `fails` is asked at each write and sync."""

    def __init__(self, seed: int, fails: Callable[[str], bool] = lambda what: False) -> None:
        self.chance = random.Random(seed)
        self.fails = fails
        self.files: dict[str, Contents] = {}
        self.lock = threading.RLock()

    def contents(self, path: str) -> Contents:
        with self.lock:
            if path not in self.files or not os.path.exists(path):
                self.files[path] = Contents(self, path)
            return self.files[path]

    def fdatasync(self, fd: int) -> None:
        """In the place of os.fdatasync: of a descriptor on one of the files."""
        path = os.readlink(f"/proc/self/fd/{fd}")
        self.contents(path).sync()


class Contents:
    """A file: what SQLite believes, and what is on the disk."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        # It is never closed: that would drop the locks that SQLite has on the file (fcntl(2)).
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.data = bytearray(os.pread(self._fd, 1 << 30, 0))
        self._waiting: list[tuple[int, int]] = []
        self._size = len(self.data)

    def write(self, data: bytes, offset: int) -> None:
        with self._disk.lock:
            if self._disk.fails("write"):
                raise apsw.IOError("the disk fails")
            end = offset + len(data)
            if end > len(self.data):
                self.data.extend(bytes(end - len(self.data)))
            self.data[offset:end] = data
            self._waiting.append((offset, end))
            if self._disk.chance.random() < 0.3:
                first = self._disk.chance.randrange(offset, end) // SECTOR * SECTOR
                self._put(max(first, offset), min(first + SECTOR, end))

    def _put(self, start: int, end: int) -> None:
        os.pwrite(self._fd, self.data[start:end], start)

    def truncate(self, size: int) -> None:
        with self._disk.lock:
            del self.data[size:]
            self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        with self._disk.lock:
            if self._disk.fails("sync"):
                raise OSError(5, "the disk fails")
            os.ftruncate(self._fd, len(self.data))
            for start, end in self._waiting:
                self._put(start, min(end, len(self.data)))
            self._waiting.clear()


class File(apsw.VFSFile):
    """A database or a log on the disk."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._contents = disk.contents(os.path.abspath(path))

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._contents.data[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._contents.write(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        self._contents.truncate(newsize)

    def xSync(self, flags: int) -> None:
        try:
            self._contents.sync()
        except OSError as error:
            raise apsw.IOError(str(error)) from None

    def xFileSize(self) -> int:
        return len(self._contents.data)

    def xDeviceCharacteristics(self) -> int:
        return 0


class Vfs(apsw.VFS):
    """SQLite's own, but for the contents of databases and logs."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__("faulty", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL):
            return File(self._disk, name, flags)
        return super().xOpen(name, flags)


@contextmanager
def faulty(disk: Disk, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is forked in here has this disk."""
    vfs = Vfs(disk)
    try:
        with patch.context() as patched:
            patched.setattr("art_cowfs.tree.writer.os.fdatasync", disk.fdatasync)
            yield
    finally:
        vfs.unregister()
