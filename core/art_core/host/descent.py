"""Going down and up a tree by descriptors, however deep it is: few are open at a time, and no path is
resolved again from the top at each step.

A directory above that is not open any more is found by its `..`, and believed only where that is the
directory that was come from (device and inode): whoever moves directories meanwhile leads nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat

_OPEN = 64
"""Descriptors that are kept: of the last directories on the way."""
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Trail:
    """The directories from a top one down to where one is. Close it at the end."""

    def __init__(self, top: int) -> None:
        """`top` stays the caller's."""
        self._top = top
        self._names: list[bytes] = []
        self._known: list[tuple[int, int]] = []
        """Device and inode of each directory below the top."""
        self._path = b""
        """Where `go` went last."""
        self._fds: list[int] = []
        """Descriptors of the last of them."""

    @property
    def fd(self) -> int:
        """The directory where one is; it stays this object's."""
        return self._fds[-1] if self._fds else self._top

    @property
    def depth(self) -> int:
        return len(self._names)

    def down(self, name: bytes, flags: int = _PATH) -> None:
        """Go into a directory. Raises OSError: ELOOP for a link, ENOTDIR for anything else."""
        fd = os.open(name, flags, dir_fd=self.fd)
        found = os.fstat(fd)
        if not stat.S_ISDIR(found.st_mode):
            os.close(fd)
            number = errno.ELOOP if stat.S_ISLNK(found.st_mode) else errno.ENOTDIR
            raise OSError(number, os.strerror(number), name)
        self._fds.append(fd)
        self._names.append(name)
        self._known.append((found.st_dev, found.st_ino))
        if len(self._fds) > _OPEN:
            os.close(self._fds.pop(0))

    def up(self) -> None:
        """Go back to the directory above. Raises OSError when it is there no more."""
        below = self._fds.pop()
        self._names.pop()
        self._known.pop()
        try:
            if not self._fds and self._known:
                self._fds.append(self._above(below))
        finally:
            os.close(below)

    def _above(self, below: int) -> int:
        fd = os.open(b"..", _PATH, dir_fd=below)
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) == self._known[-1]:
            return fd
        os.close(fd)
        again = Trail(self._top)
        try:
            for name in self._names:
                again.down(name)
            return os.dup(again.fd)
        finally:
            again.close()

    def go(self, path: bytes) -> int:
        """Go to a directory by its path below the top; a descriptor of it, which stays this object's. Raises
        OSError; one is at the top then."""
        same = self._common(path)
        try:
            while len(self._names) > same:
                self.up()
            if not self._still():
                self.close()
            for name in path.split(b"/")[len(self._names) :] if path else ():
                self.down(name)
        except OSError:
            self.close()
            raise
        self._path = path
        return self.fd

    def _common(self, path: bytes) -> int:
        """How many of the directories on the way lead to a path as well."""
        here = self._path
        if not here or path == here or path.startswith(here + b"/"):
            return len(self._names)
        if not path or here.startswith(path + b"/"):
            return path.count(b"/") + 1 if path else 0
        same = 0
        for mine, theirs in zip(self._names, path.split(b"/"), strict=False):
            if mine != theirs:
                break
            same += 1
        return same

    def _still(self) -> bool:
        """Whether the directories that are open still are where they were found."""
        first = len(self._names) - len(self._fds)
        above = self._top if first == 0 else -1
        for place, fd in enumerate(self._fds, first):
            if above >= 0:
                try:
                    found = os.lstat(self._names[place], dir_fd=above)
                except OSError:
                    return False
                if (found.st_dev, found.st_ino) != self._known[place]:
                    return False
            above = fd
        return True

    def close(self) -> None:
        """Go to the top, with nothing open. Idempotent."""
        while self._fds:
            os.close(self._fds.pop())
        self._names.clear()
        self._known.clear()
        self._path = b""
