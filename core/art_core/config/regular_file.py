"""Opening a file that somebody else may have replaced: a regular file, and nothing that never ends."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_NULL = os.makedev(1, 3)


def reading(path: str) -> BinaryIO:
    """A regular file, opened to be read. Whoever may write beside it could have put something else in its
    place: a pipe keeps its opener waiting for ever (fifo(7)), a device never ends. Only what the caller names
    below /dev or /proc may be a pipe of theirs, or the empty device. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(found.st_mode):
            own = stat.S_ISFIFO(found.st_mode) or (stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL)
            if not own or not path.startswith(("/dev/", "/proc/")):
                raise OSError(errno.EINVAL, "this is not a regular file", path)
        os.set_blocking(fd, True)
        return open(fd, "rb")
    except BaseException:
        os.close(fd)
        raise
