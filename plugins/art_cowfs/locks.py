"""Who writes: one holder for each branch, and one committing at a time for each database.

Both are open file description locks (fcntl(2)) on single bytes of a file beside the database. SQLite's
own file is never opened for it: closing a second descriptor there would drop SQLite's locks.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from art_cowfs.schema import DatabaseError

_RECORDS, _QUEUE, _BRANCHES = 0, 1, 1 << 20
"""Bytes that are locked: for the records in the file, to commit, and from there on one a branch."""
_RECORDS_LIMIT = 1 << 20


class BranchLock:
    """A branch that is held for writing. The file says who holds what, and goes with the last
    holder that ended as it should."""

    def __init__(self, path: str, branch: str) -> None:
        """Raises DatabaseError when somebody holds the branch."""
        self._path = f"{path}-lock"
        self._branch = branch
        self._turn = threading.Lock()
        self._fd = self._opened()
        try:
            records = self._records()
            if not self._take(_place(branch), wait=False):
                holder = records.get(branch, "another run")
                raise DatabaseError(f"branch {branch!r} of {path!r} is held by {holder}")
            self.left_by = records.get(branch, "")
            """Who held it last and could not let go of it; empty after a clean end."""
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            self._record({**records, branch: f"process {os.getpid()}, since {since}"})
        except BaseException:
            os.close(self._fd)
            raise
        self._let_go(_RECORDS)

    def _opened(self) -> int:
        """The file, its records locked; another than one that its last holder just removed."""
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _byte(_RECORDS, fcntl.F_WRLCK))
            try:
                if os.stat(self._path).st_ino == os.fstat(fd).st_ino:
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)

    def _take(self, place: int, *, wait: bool = True) -> bool:
        try:
            fcntl.fcntl(
                self._fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _byte(place, fcntl.F_WRLCK)
            )
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _let_go(self, place: int) -> None:
        fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _byte(place, fcntl.F_UNLCK))

    def _records(self) -> dict[str, str]:
        try:
            found = json.loads(os.pread(self._fd, _RECORDS_LIMIT, 0) or b"{}")
        except ValueError:
            return {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def _record(self, records: dict[str, str]) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(records).encode(), 0)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Wait for the others that commit to this database, in the order of their coming; SQLite's
        busy handler lets one of them wait for seconds."""
        with self._turn:  # The descriptor's locks are those of all threads.
            self._take(_QUEUE)
            try:
                yield
            finally:
                self._let_go(_QUEUE)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else holds a branch of the database; nobody takes one meanwhile."""
        self._take(_RECORDS)
        try:
            yield all(branch == self._branch for branch in self._records())
        finally:
            self._let_go(_RECORDS)

    def close(self) -> None:
        """Let go of the branch. Idempotent."""
        if self._fd < 0:
            return
        self._take(_RECORDS)
        records = self._records()
        records.pop(self._branch, None)
        if records:
            self._record(records)
        else:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self._fd)
        self._fd = -1


def _byte(place: int, kind: int) -> bytes:
    """A struct flock for one byte, on Linux with 64-bit offsets."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, place, 1, 0)


def _place(branch: str) -> int:
    digest = hashlib.blake2b(branch.encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return _BRANCHES + int.from_bytes(digest, "big")
