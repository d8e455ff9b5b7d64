"""Who writes: one holder for each branch, and one committing at a time for each database. And who
reads a layer.

All are open file description locks (fcntl(2)) on single bytes of a file beside the database. SQLite's
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from art_cowfs.schema import DatabaseError

_RECORDS, _QUEUE, _BRANCHES, _LAYERS, _END = 0, 1, 1 << 20, 1 << 60, 1 << 61
"""Bytes that are locked: for the records in the file, to commit, and from there on one a branch, and
one a layer that is read."""
_RECORDS_LIMIT = 1 << 20


class Held(DatabaseError):
    """Somebody holds the branch; `at` is the socket where that one can be asked, empty for none."""

    def __init__(self, said: str, at: str) -> None:
        super().__init__(said)
        self.at = at


class _File:
    """The file beside a database. It goes with the last that holds something and ends as it should."""

    def __init__(self, path: str, fd: int = -1) -> None:
        """Its records are locked until `let_go`, where the file is not given as `fd`."""
        self._path = f"{path}-lock"
        self.fd = fd if fd >= 0 else self._opened()

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

    def take(self, place: int, *, wait: bool = True, shared: bool = False, size: int = 1) -> bool:
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, _byte(place, kind, size))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def let_go(self, place: int, size: int = 1) -> None:
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _byte(place, fcntl.F_UNLCK, size))

    def is_free(self, place: int, size: int = 1) -> bool:
        """Whether nobody else has any lock there."""
        free = self.take(place, wait=False, size=size)
        if free:
            self.let_go(place, size)
        return free

    def records(self) -> dict[str, dict[str, str]]:
        """For each branch `by`, its holder, and `at`, the holder's socket."""
        try:
            found = json.loads(os.pread(self.fd, _RECORDS_LIMIT, 0) or b"{}")
            return {
                str(branch): {"by": str(one["by"]), "at": str(one["at"])} for branch, one in found.items()
            }
        except (ValueError, LookupError, AttributeError, TypeError):
            return {}

    def record(self, records: dict[str, dict[str, str]]) -> None:
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(records).encode(), 0)

    def close(self) -> None:
        """Remove the file where nobody needs it. Its records are locked."""
        if not self.records() and self.is_free(_LAYERS, _END - _LAYERS):
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        os.close(self.fd)


class Pin:
    """A layer that is read: it is not merged with another one meanwhile. `fd` can be handed to another
    process, which then has the lock too."""

    def __init__(self, path: str, layer: int) -> None:
        self._file = _File(path)
        self._file.take(_LAYERS + layer, shared=True)
        self._file.let_go(_RECORDS)
        self.fd = self._file.fd

    def wait_for_merges(self) -> None:
        """Those that had begun when the pin came, and did not see it, are over; later ones see it."""
        self._file.take(_QUEUE)
        self._file.let_go(_QUEUE)

    @classmethod
    def handed(cls, path: str, fd: int) -> Pin:
        """One that another process took."""
        pin = cls.__new__(cls)
        pin._file = _File(path, fd)
        pin.fd = fd
        return pin

    def close(self) -> None:
        self._file.let_go(_LAYERS, _END - _LAYERS)
        self._file.take(_RECORDS)
        self._file.close()


def holders(path: str, branches: Sequence[str]) -> dict[str, str]:
    """Who holds each of the branches, for those that are held."""
    if not os.path.exists(f"{path}-lock"):
        return {}
    file = _File(path)
    try:
        records = file.records()
        held = [branch for branch in branches if not file.is_free(_place(branch))]
        return {branch: records.get(branch, {"by": "another run"})["by"] for branch in held}
    finally:
        file.close()


class BranchLock:
    """A branch that is held for writing. The file says who holds what."""

    def __init__(self, path: str, branch: str) -> None:
        """Raises Held when somebody holds the branch."""
        self._branch = branch
        self._turn = threading.Lock()
        self._file: _File | None = None
        file = _File(path)
        try:
            records = file.records()
            if not file.take(_place(branch), wait=False):
                holder = records.get(branch, {"by": "another run", "at": ""})
                raise Held(f"branch {branch!r} of {path!r} is held by {holder['by']}", holder["at"])
            self._left = records.get(branch)
            self._by = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            file.record({**records, branch: {"by": self._by, "at": ""}})
        except BaseException:
            os.close(file.fd)
            raise
        file.let_go(_RECORDS)
        self._file = file

    @property
    def left_by(self) -> str:
        """Who held it last and could not let go of it; empty after a clean end."""
        return self._left["by"] if self._left else ""

    def reachable(self, at: str) -> None:
        """Tell others the socket on which the holder answers."""
        file = self._held()
        file.take(_RECORDS)
        file.record({**file.records(), self._branch: {"by": self._by, "at": at}})
        file.let_go(_RECORDS)

    def is_read(self, layer: int) -> bool:
        """Whether somebody reads the layer."""
        return not self._held().is_free(_LAYERS + layer)

    def _held(self) -> _File:
        assert self._file is not None
        return self._file

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Wait for the others that commit to this database, in the order of their coming; SQLite's
        busy handler lets one of them wait for seconds."""
        with self._turn:  # The descriptor's locks are those of all threads.
            self._held().take(_QUEUE)
            try:
                yield
            finally:
                self._held().let_go(_QUEUE)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether nobody else holds a branch of the database; nobody takes one meanwhile."""
        self._held().take(_RECORDS)
        try:
            yield all(branch == self._branch for branch in self._held().records())
        finally:
            self._held().let_go(_RECORDS)

    def close(self, *, as_it_was: bool = False) -> None:
        """Let go of the branch. Idempotent. `as_it_was` leaves a holder that was killed for the next
        to tell of."""
        file, self._file = self._file, None
        if file is None:
            return
        file.take(_RECORDS)
        records = file.records()
        records.pop(self._branch, None)
        if as_it_was and self._left:
            records[self._branch] = self._left
        file.record(records)
        file.let_go(_place(self._branch))
        file.close()


class Bystander:
    """One who holds no branch and commits in turn with those who do."""

    def __init__(self, path: str) -> None:
        self._file = _File(path)
        self._file.let_go(_RECORDS)

    @contextmanager
    def committing(self) -> Iterator[None]:
        """See `BranchLock.committing`."""
        self._file.take(_QUEUE)
        try:
            yield
        finally:
            self._file.let_go(_QUEUE)

    def is_read(self, layer: int) -> bool:
        """Whether somebody reads the layer."""
        return not self._file.is_free(_LAYERS + layer)

    def holders(self) -> dict[str, str]:
        """The branches that are held, and by whom."""
        self._file.take(_RECORDS)
        try:
            return self._holders()
        finally:
            self._file.let_go(_RECORDS)

    def _holders(self) -> dict[str, str]:
        records = self._file.records()
        return {name: one["by"] for name, one in records.items() if not self._file.is_free(_place(name))}

    @contextmanager
    def alone(self) -> Iterator[dict[str, str]]:
        """The branches that are held; when there are none, nobody takes one meanwhile."""
        self._file.take(_RECORDS)
        try:
            yield self._holders()
        finally:
            self._file.let_go(_RECORDS)

    def nobody_reads(self) -> bool:
        return self._file.is_free(_LAYERS, _END - _LAYERS)

    def close(self) -> None:
        self._file.take(_RECORDS)
        self._file.close()


def _byte(place: int, kind: int, size: int = 1) -> bytes:
    """A struct flock for so many bytes, on Linux with 64-bit offsets."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, place, size, 0)


def _place(branch: str) -> int:
    digest = hashlib.blake2b(branch.encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return _BRANCHES + int.from_bytes(digest, "big")
