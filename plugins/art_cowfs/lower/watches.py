"""Watching the host's directories, so that what was told of them need not be asked again.

A directory is watched only while all directories above it are: a watch follows the directory, not
its path, and the one above tells when the path leads elsewhere. Sources: inotify(7), and its
section on limits and caveats.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from art_cowfs.db.file_systems import LOCAL, kind
from art_cowfs.lower.lower import Lower

SHARE = 4
"""A session takes at most one part in so many of what the user may watch: editors need some as well."""
_LIMIT = "/proc/sys/fs/inotify/max_user_watches"

MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF = 0x400, 0x800
UNMOUNT, OVERFLOW, IGNORED, ISDIR = 0x2000, 0x4000, 0x8000, 0x4000_0000
_ONLYDIR = 0x0100_0000
NAMES = MOVED_FROM | MOVED_TO | CREATE | DELETE
"""A name came or went."""
_WANTED = MODIFY | ATTRIB | CLOSE_WRITE | NAMES | DELETE_SELF | MOVE_SELF | _ONLYDIR

_EVENT = struct.Struct("=iIII")
_READ_SIZE = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class Event(NamedTuple):
    """What happened in a directory: to the directory when there is no name. Overflow has no path."""

    path: bytes
    name: bytes
    mask: int


class _Watch:
    __slots__ = ("below", "path", "wd")

    def __init__(self, path: bytes, wd: int) -> None:
        self.path = path
        self.wd = wd
        self.below: dict[bytes, _Watch] = {}


class Watches:
    """The watched directories of a `Lower`, by path. `started` is called when there is something to
    wait for, `lost` with each directory that is not watched any more."""

    def __init__(self, lower: Lower, started: Callable[[], None], lost: Callable[[bytes], None]) -> None:
        self._lower = lower
        self._started = started
        self._lost = lost
        self._at: dict[bytes, _Watch] = {}
        self._by_wd: dict[int, _Watch] = {}
        self._local: dict[int, bool] = {}
        self._allowed = -1
        self.fd = -1
        """Readable when something happened; -1 before the first watch. `restart` changes it."""

    def add(self, path: bytes) -> os.stat_result | None:
        """Watch a directory and those above it. What it is, from after that began; None when it cannot be
        watched."""
        if path in self._at:
            return self._lower.stat(path)
        missing = []
        while path not in self._at:
            missing.append(path)
            if not path:
                break
            path = _above(path)
        found = None
        while missing:
            found = self._watch(missing.pop())
            if found is None:
                return None
        return found

    def _watch(self, path: bytes) -> os.stat_result | None:
        if self._allowed < 0:
            self._begin()
        if len(self._at) >= self._allowed:
            return None
        try:
            fd = self._lower.pinned_directory(path)
        except OSError:
            return None
        try:
            if not self._is_local(fd, os.fstat(fd).st_dev):
                return None
            wd = _libc.inotify_add_watch(self.fd, b"/proc/self/fd/%d" % fd, _WANTED)
            if wd < 0:
                if ctypes.get_errno() == errno.ENOSPC:
                    self._allowed = len(self._at)
                return None
            found = os.fstat(fd)
        finally:
            os.close(fd)
        if (elsewhere := self._by_wd.get(wd)) is not None:
            # The same directory at another path: it moved, which has not been read yet, or is bound there.
            del self._by_wd[wd]
            elsewhere.wd = -1
            self.drop(elsewhere.path)
        watch = self._by_wd[wd] = self._at[path] = _Watch(path, wd)
        if path:
            above = self._at.get(_above(path))
            if above is None:  # It was the one that is elsewhere.
                self.drop(path)
                return None
            above.below[path] = watch
        return found

    def _begin(self) -> None:
        self._allowed = 0
        try:
            with open(_LIMIT, "rb") as file:
                allowed = int(file.read()) // SHARE
        except (OSError, ValueError):
            return
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd >= 0:
            self._allowed = allowed
            self._started()

    def _is_local(self, fd: int, device: int) -> bool:
        local = self._local.get(device)
        if local is None:
            local = self._local[device] = kind(fd) in LOCAL
        return local

    def has_below(self, path: bytes) -> bool:
        """Whether a directory in this one is watched."""
        return path in self._at and bool(self._at[path].below)

    def drop(self, path: bytes) -> None:
        """Watch a directory and all below it no longer."""
        top = self._at.get(path)
        if top is None:
            return
        if path and (above := self._at.get(_above(path))) is not None:
            above.below.pop(path, None)
        left = [top]
        while left:
            watch = left.pop()
            left += watch.below.values()
            del self._at[watch.path]
            if watch.wd >= 0:
                del self._by_wd[watch.wd]
                _libc.inotify_rm_watch(self.fd, watch.wd)
            self._lost(watch.path)

    def read(self) -> Iterator[Event]:
        """What happened since the last time, by directory and name: the first of each, with all that
        happened there."""
        happened: dict[tuple[int, bytes], int] = {}
        try:
            data = os.read(self.fd, _READ_SIZE)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            wd, mask, _, length = _EVENT.unpack_from(data, place)
            place += _EVENT.size
            name = data[place : place + length].rstrip(b"\0")
            place += length
            happened[wd, name] = happened.get((wd, name), 0) | mask
        for (wd, name), mask in happened.items():
            watch = self._by_wd.get(wd)
            if mask & OVERFLOW:
                yield Event(b"", b"", OVERFLOW)
            elif watch is not None:
                if mask & IGNORED and not name:
                    del self._by_wd[wd]
                    watch.wd = -1
                yield Event(watch.path, name, mask)

    def restart(self) -> list[bytes]:
        """Begin anew, without events that are waiting; the directories that were watched, upper ones
        first. `lost` is not called."""
        paths = sorted(self._at)
        self.close()
        self._at, self._by_wd = {}, {}
        self._allowed = -1
        return paths

    def close(self) -> None:
        """Slow: the kernel waits some milliseconds for readers of its lists."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
