"""The host's directory under a workspace: read, never written.

Every path is resolved beneath the workspace by openat2(2), through no link, so nothing that the
host renames meanwhile leads elsewhere. The database's own files are never opened: closing any
descriptor on them would drop SQLite's locks (fcntl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import time
from collections.abc import Iterable

_SYS_OPENAT2 = 437
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_LOOK_S = 1.0
"""How often the database's files are looked for; they are there before anything else is opened."""
_libc = ctypes.CDLL(None, use_errno=True)


class Lower:
    """A directory of the host, by descriptor. Paths are relative, b"" the directory itself."""

    def __init__(self, fd: int, hidden: Iterable[str] = ()) -> None:
        self._fd = fd
        self._hidden = list(hidden)
        self._hidden_ids: set[tuple[int, int]] = set()
        self._looked = 0.0

    def _open(self, path: bytes, flags: int) -> int:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
        fd: int = _libc.syscall(_SYS_OPENAT2, self._fd, ctypes.c_char_p(path or b"."), how, len(how))
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return fd

    def stat(self, path: bytes) -> os.stat_result | None:
        """What stands at a path; None when nothing does, or something of the database's."""
        try:
            fd = self._open(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                return None
            raise
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return None if self._is_hidden(found) else found

    def _is_hidden(self, found: os.stat_result) -> bool:
        if not self._hidden or not stat.S_ISREG(found.st_mode):
            return False
        now = time.monotonic()
        if now - self._looked > _LOOK_S:
            self._looked = now
            for path in self._hidden:
                with contextlib.suppress(OSError):
                    own = os.lstat(path)
                    self._hidden_ids.add((own.st_dev, own.st_ino))
        return (found.st_dev, found.st_ino) in self._hidden_ids

    def pinned_directory(self, path: bytes) -> int:
        """A descriptor that says which directory stands at a path, and is good for nothing else. Raises
        OSError."""
        return self._open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory; none when it is gone or cannot be read."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            return [os.fsencode(name) for name in os.listdir(fd)]
        except OSError:
            return []
        finally:
            os.close(fd)

    def entries(self, path: bytes) -> dict[bytes, os.stat_result]:
        """What a directory holds, by name; empty when it is gone or cannot be read."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return {}
        try:
            found = {}
            for name in os.listdir(fd):
                try:
                    status = os.lstat(name, dir_fd=fd)
                except OSError:
                    continue
                if not self._is_hidden(status):
                    found[os.fsencode(name)] = status
            return found
        finally:
            os.close(fd)

    def open(self, path: bytes) -> int:
        """A descriptor for reading a regular file. Raises OSError."""
        pinned = self._open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            found = os.fstat(pinned)
            if not stat.S_ISREG(found.st_mode) or self._is_hidden(found):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
            return os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(pinned)

    def readlink(self, path: bytes) -> bytes:
        fd = self._open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            return os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)

    def xattrs(self, path: bytes) -> dict[bytes, bytes]:
        """The user's extended attributes of a file or directory; empty where there are none."""
        try:
            fd = self._open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return {}
        try:
            names = [name for name in os.listxattr(fd) if name.startswith("user.")]
            return {os.fsencode(name): os.getxattr(fd, name) for name in names}
        except OSError:
            return {}
        finally:
            os.close(fd)

    def close(self) -> None:
        os.close(self._fd)


def joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
