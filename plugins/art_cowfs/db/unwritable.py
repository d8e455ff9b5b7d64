"""Why nothing can be written to a database: no room on its disk, or no permission."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import apsw

ROOM = 64 << 10
"""Bytes that a disk has to have for a database to be opened for writing: the index, and a page of the log."""
ERRORS = (apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.ReadOnlyError)
READ_ONLY = "it is read-only; make it and its directory writable"
NO_ROOM = (
    "there is no space left on its disk, and what writes needs some; free some. What only reads works as it "
    "is: `art status`, `art diff`, `art fs`, `art db export`"
)
_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


def is_told_by(error: BaseException) -> bool:
    """Whether an error can mean that nothing can be written."""
    return isinstance(error, ERRORS) or (isinstance(error, OSError) and error.errno in _NUMBERS)


def is_full(path: str) -> bool:
    """Whether the disk of a database has no room left."""
    with suppress(OSError):
        disk = os.statvfs(os.path.dirname(path) or "/")
        return disk.f_bavail * disk.f_frsize < ROOM
    return False


def why(path: str, error: OSError) -> str:
    """What is wrong where a file beside a database could not be written."""
    if is_full(path):
        return NO_ROOM
    return READ_ONLY if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else str(error.strerror)
