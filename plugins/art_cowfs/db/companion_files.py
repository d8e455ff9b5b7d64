"""What lies beside a database: SQLite's log and its index, and the locks of ART."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from art_cowfs.db.schema import DatabaseError

_SUFFIXES = ("-lock", "-wal", "-shm")


def refuse_strange(path: str) -> None:
    """Whoever may write to the directory of a database can put a pipe, a link or something else in the place
    of what lies beside it; neither SQLite nor a lock goes on from there. Raises DatabaseError."""
    for suffix in _SUFFIXES:
        with suppress(OSError):
            found = os.lstat(f"{path}{suffix}")
            if not stat.S_ISREG(found.st_mode):
                what = f"{f'{path}{suffix}'!r} beside it is {_kind(found.st_mode)}"
                raise DatabaseError(f"database {path!r}: {what} and no file of ART's; remove it")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a link",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")
