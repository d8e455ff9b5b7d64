"""What of the host lies under a home: the workspace's directory, and seeds. It is read, never written.

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
from collections.abc import Container, Iterable, Iterator

from art_core.host import openat
from art_core.store import bounds
from art_core.store.walk_order import names_in_order
from art_cowfs.db.origins import OF_WORKSPACE
from art_cowfs.db.schema import SEEDS
from art_cowfs.lower.seeds import MORE, Seeds, apart

_SYS_OPENAT2 = 437
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_LOOK_S = 1.0
"""How often the database's files are looked for; they are there before anything else is opened."""
_libc = ctypes.CDLL(None, use_errno=True)


def _walked(top: int, path: bytes, flags: int) -> int:
    """The same without that call, which sandboxes may not have: directory by directory, through no link."""
    above, _, name = path.rpartition(b"/")
    directory = openat.pin_beneath(top, openat.parts_of(os.fsdecode(above)))
    try:
        if name == b"..":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
        return os.open(name or b".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)


class Lower:
    """A directory of the host, by descriptor. Paths are relative, b"" the directory itself; those that
    begin with `SEEDS` are of seeds, those of another workspace lead to nothing."""

    def __init__(self, fd: int, hidden: Iterable[str] = (), seeds: Seeds | None = None) -> None:
        self._fd = fd
        self._seeds = Seeds(()) if seeds is None else seeds
        self._hidden = list(hidden)
        self._hidden_ids: set[tuple[int, int]] = set()
        self._looked = 0.0

    def _open(self, path: bytes, flags: int) -> int:
        if path.startswith(OF_WORKSPACE):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH)
        top = self._fd
        if path.startswith(SEEDS):
            top, path = self._seeds.find(path)
            if not path:  # It may be a file, and is what it was when it was opened.
                return os.open(f"/proc/self/fd/{top}", flags & ~os.O_NOFOLLOW | os.O_CLOEXEC)
        fd: int = _libc.syscall(_SYS_OPENAT2, top, ctypes.c_char_p(path or b"."), how, len(how))
        if fd < 0:
            number = ctypes.get_errno()
            if number == errno.ENOSYS:
                return _walked(top, path, flags)
            raise OSError(number, os.strerror(number), path)
        return fd

    def stat(self, path: bytes) -> os.stat_result | None:
        """What stands at a path; None when nothing does, or something of the database's."""
        if path.startswith(SEEDS) and (shown := self._seeds.virtual(path)) is not None:
            return shown
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
        if self._is_hidden(found):
            return None
        found = within(found)
        return apart(found) if path.startswith(SEEDS) else found

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
        OSError, also for what is of a seed: it is not watched."""
        if path.startswith(SEEDS):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        return self._open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory; none when it is gone or cannot be read."""
        if path.startswith(SEEDS) and (shown := self._seeds.names(path)) is not None:
            return list(shown)
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

    def names_in_order(self, path: bytes) -> Iterator[bytes]:
        """The same in byte order; a file holds them where they are many."""
        if path.startswith(SEEDS) and (shown := self._seeds.names(path)) is not None:
            return iter(sorted(shown))
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return iter(())
        try:
            return names_in_order(fd)
        except OSError:
            return iter(())
        finally:
            os.close(fd)

    def entries(self, path: bytes, but: Container[bytes] = ()) -> dict[bytes, os.stat_result]:
        """What a directory holds, by name, but for some; empty when it is gone or cannot be read."""
        of_seed = path.startswith(SEEDS)
        if of_seed and (shown := self._seeds.names(path)) is not None:
            looked = {name: self.stat(joined(path, name)) for name in shown if name not in but}
            return {name: found for name, found in looked.items() if found is not None}
        try:
            fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return {}
        try:
            found = {}
            for name in map(os.fsencode, os.listdir(fd)):
                if name in but:
                    continue
                try:
                    status = os.lstat(name, dir_fd=fd)
                except OSError:
                    continue
                if not self._is_hidden(status):
                    status = within(status)
                    found[name] = apart(status) if of_seed else status
            return found
        finally:
            os.close(fd)

    def open(self, path: bytes) -> int:
        """A descriptor for reading a regular file. Raises OSError."""
        if path.startswith(OF_WORKSPACE):
            raise OSError(errno.ENXIO, "this is in the host's directory of another workspace", path)
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
        self._seeds.close()


def within(found: os.stat_result) -> os.stat_result:
    """What stat(2) said, in numbers that a database can keep: see `art_core.store.bounds`."""
    if (
        bounds.FIRST_NS <= found.st_mtime_ns <= bounds.LAST_NS
        and bounds.FIRST_NS <= found.st_ctime_ns <= bounds.LAST_NS
        and bounds.FIRST_NS <= found.st_atime_ns <= bounds.LAST_NS
        and found.st_size <= bounds.LARGEST
        and found.st_ino <= bounds.LAST_NS
        and found.st_dev <= bounds.LAST_NS
    ):
        return found
    more = {name: bounds.time_ns(getattr(found, name)) for name in MORE}
    numbers = bounds.identity(found.st_ino), bounds.identity(found.st_dev)
    basic = (found[0], *numbers, *found[3:6], bounds.size(found.st_size), *found[7:10])
    return os.stat_result(basic, more)


def joined(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
