"""Who writes: one holder for each branch, and one committing at a time for each database. And who
reads a layer.

All are open file description locks (fcntl(2)) on single bytes of a file beside the database. SQLite's
own file is never opened for it: closing a second descriptor there would drop SQLite's locks. An open file
description's locks go with its last descriptor, however that ends, and are not a process's: two of one
process keep each other out, and a descriptor that is handed over takes its locks along.

The file goes with the last who uses it, so a path leads to different files in the course of time, and a lock
on one that is gone keeps nobody out. Therefore:

* **To come in** is to open the file, or make it, to lock its *records*, and to look whether the path still
  leads to it; else all over again. Then one is *here* (a shared lock) until one closes the file.
* **To go** is to lock the records and to ask for *here* alone. Who gets that is the last, since nobody comes
  in without the records; if no record is left and the path still leads to this file, it is removed.
  So nobody whose file is in use ever loses it to another one of us, and who waits for the records of a file
  that goes meanwhile finds that the path leads elsewhere.
* **Somebody else may remove it.** Each commit looks, when it has SQLite's write lock, whether the path still
  leads to the file (`BranchLock.changing`). If not, the branch is taken again in the file that is there now,
  or in a new one. Where another holder has it already, or had it meanwhile, nothing is written any more:
  every holder's first transaction gives it a number in the database, the next of its branch. It comes before
  anything is read (`Session`), so what an older holder commits is either before that, or not at all.
* **A process that is killed** leaves the file, with its record: the next holder of that branch tells of it.

Nobody waits for ever. A wait for *records* or for the *queue* is in turn: who waits holds the *door* of it,
which everybody passes through, so that one who lets go does not get it again before others. When it takes
too long, it ends with who holds it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

import apsw

from art_cowfs.db import companion_files, lock_holders, unwritable
from art_cowfs.db.schema import DatabaseError, UnwrittenError
from art_cowfs.db.transactions import changing

_RECORDS, _QUEUE, _DOORS, _HERE = 0, 1, 2, 4
"""Bytes that are locked: for the records in the file, to commit, the doors of these two, and by everybody
who has the file open."""
_BRANCHES, _WANTED, _LAYERS, _END = 1 << 20, 1 << 58, 1 << 60, 1 << 61
"""From there on one a branch that is held, one a branch that is waited for, and one a layer that is read."""
_RECORDS_LIMIT = 1 << 20
PATIENCE_S = 15.0
"""How long somebody may have the records or the queue, who needs them for one transaction."""
BRANCH_S = 5.0
"""How long to wait for a branch that a command has for a moment."""
_FIRST_S, _LONGEST_S = 0.0005, 0.01
"""How soon one who waits looks again, at first and later."""
_AGAIN_S, _WORTH_S = 0.05, 1.0


class BranchInUse(DatabaseError):
    """Somebody holds the branch; `at` is the socket where that one can be asked, empty for none."""

    def __init__(self, said: str, at: str, by: str = "") -> None:
        super().__init__(said)
        self.at = at
        self.by = by

    @property
    def lasts(self) -> bool:
        """Whether it is a run that goes on: at its end it is not there to be asked any more."""
        return bool(self.at) and os.path.exists(self.at)


class BranchLost(OSError):
    """Somebody removed the file, and somebody else has the branch now."""


class Occupied(DatabaseError):
    """Somebody has what everybody needs for a moment, and keeps it."""


def _unwritten(database: str, error: OSError) -> UnwrittenError:
    return UnwrittenError(f"database {database!r}: {unwritable.why(database, error)}")


class _LockFile:
    """The file beside a database, while this process is here."""

    def __init__(self, path: str, fd: int = -1) -> None:
        """Its records are locked until `let_go`, where the file is not given as `fd`. Raises Occupied,
        UnwrittenError, and DatabaseError where something else is in its place."""
        self._database = path
        self._path = f"{path}-lock"
        if fd >= 0:
            self.fd = fd
            return
        try:
            self._come_in()
        except OSError as error:
            companion_files.refuse_strange(path)
            raise _unwritten(path, error) from None

    def _come_in(self) -> None:
        while True:
            self.fd = self._opened()
            try:
                self.wait_for(_RECORDS)
                if self.is_current():
                    self.take(_HERE, shared=True)
                    return
            except BaseException:
                os.close(self.fd)
                raise
            os.close(self.fd)

    def _opened(self) -> int:
        """The file that is there, or a new one that those may use who may use the database."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        tried = 0
        while True:
            try:
                fd = os.open(self._path, flags | os.O_NONBLOCK | os.O_NOCTTY)
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    os.close(fd)
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._path)
                return fd
            except FileNotFoundError:
                with suppress(FileExistsError):
                    fd = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
                    share_as(self._database, fd)
                    return fd
            except PermissionError:
                # Between its making and the end of `share_as` it is its maker's alone.
                tried += 1
                if tried > 5:
                    raise
                time.sleep(_LONGEST_S)

    def is_current(self) -> bool:
        """Whether the path leads to it."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        ours = os.fstat(self.fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def take(self, place: int, *, shared: bool = False) -> bool:
        """Whether it could be had at once."""
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _byte(place, kind))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def wait_for(self, place: int) -> None:
        """Take the records or the queue, in turn. Raises Occupied."""
        until = time.monotonic() + PATIENCE_S
        door = _DOORS + place
        self._poll(door, until)
        try:
            self._poll(place, until)
        finally:
            self.let_go(door)

    def _poll(self, place: int, until: float) -> None:
        pause = _FIRST_S
        while not self.take(place):
            if time.monotonic() > until:
                inode = os.fstat(self.fd).st_ino
                raise Occupied(
                    f"database {self._database!r} is in use: {self._path!r} has been locked for more than "
                    f"{PATIENCE_S:.0f} s by {lock_holders.said(inode, _RECORDS, _DOORS + 1)}"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_S)

    def let_go(self, place: int, size: int = 1) -> None:
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _byte(place, fcntl.F_UNLCK, size))

    def is_free(self, place: int, size: int = 1) -> bool:
        """Whether nobody else has any lock there."""
        found = fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, _byte(place, fcntl.F_WRLCK, size))
        kind: int = struct.unpack("hhqqi4x", found)[0]
        return kind == fcntl.F_UNLCK

    @contextmanager
    def holding(self, place: int) -> Iterator[None]:
        """The records or the queue. Raises Occupied."""
        self.wait_for(place)
        try:
            yield
        finally:
            self.let_go(place)

    def records(self) -> dict[str, dict[str, str]]:
        """For each branch `by`, its holder, and `at`, the holder's socket."""
        try:
            found = json.loads(os.pread(self.fd, _RECORDS_LIMIT, 0) or b"{}")
            return {
                str(branch): {"by": str(one["by"]), "at": str(one["at"])} for branch, one in found.items()
            }
        except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
            return {}

    def record(self, records: dict[str, dict[str, str]]) -> None:
        """Killed at any moment, it leaves the old ones or the new ones."""
        data = json.dumps(records).encode()
        try:
            os.pwrite(self.fd, data.ljust(os.fstat(self.fd).st_size), 0)
            os.ftruncate(self.fd, len(data))
        except OSError as error:
            raise _unwritten(self._database, error) from None

    def holders(self) -> dict[str, str]:
        """The branches that somebody else holds, and who. The records are locked."""
        if self.is_free(_BRANCHES, _WANTED - _BRANCHES):
            return {}
        known = {name: one["by"] for name, one in self.records().items() if not self.is_free(_place(name))}
        return known or {"?": "another run"}

    def close(self) -> None:
        """Go. The records are locked."""
        try:
            if self.take(_HERE) and not self.records() and self.is_current():
                with suppress(FileNotFoundError):
                    os.unlink(self._path)
        finally:
            os.close(self.fd)

    def leave(self) -> None:
        """Go, also where nobody lets go of the records: the next one removes the file."""
        try:
            self.wait_for(_RECORDS)
        except Occupied:
            os.close(self.fd)
        else:
            self.close()


def share_as(database: str, fd: int) -> None:
    """Give a new file of ours the owner, the group and the mode of the database that it belongs to, as SQLite
    does with its own; it stays the maker's alone where there is no database yet."""
    try:
        like = os.stat(database)
    except FileNotFoundError:
        return
    ours = os.fstat(fd)
    if (like.st_uid, like.st_gid) != (ours.st_uid, ours.st_gid):
        with suppress(PermissionError):
            os.fchown(fd, like.st_uid if os.geteuid() == 0 else -1, like.st_gid)
    os.fchmod(fd, like.st_mode & 0o666)


class Pin:
    """A layer that is read: it is not merged with another one meanwhile. `fd` can be handed to another
    process, which then has the lock too."""

    def __init__(self, path: str, layer: int) -> None:
        self._file = _LockFile(path)
        self._file.take(_LAYERS + layer, shared=True)
        self._file.let_go(_RECORDS)
        self.fd = self._file.fd

    def wait_for_merges(self) -> None:
        """Those that had begun when the pin came, and did not see it, are over; later ones see it."""
        with self._file.holding(_QUEUE):
            pass

    @classmethod
    def handed(cls, path: str, fd: int) -> Pin:
        """One that another process took."""
        pin = cls.__new__(cls)
        pin._file = _LockFile(path, fd)
        pin.fd = fd
        return pin

    def close(self) -> None:
        self._file.let_go(_LAYERS, _END - _LAYERS)
        self._file.leave()


def holders(path: str, branches: Sequence[str]) -> dict[str, str]:
    """Who holds each of the branches, for those that are held."""
    if not os.path.exists(f"{path}-lock"):
        return {}
    try:
        file = _LockFile(path)
    except UnwrittenError:
        return {}  # Who may not write it is not told who does.
    try:
        records = file.records()
        held = [branch for branch in branches if not file.is_free(_place(branch))]
        return {branch: records.get(branch, {"by": "another run"})["by"] for branch in held}
    finally:
        file.close()


class _CurrentLockFile:
    """The file that others use: another one where somebody removed it. One commits at a time, in turn."""

    def __init__(
        self,
        file: _LockFile,
        anew: Callable[[], _LockFile],
        transaction: Callable[[apsw.Connection], AbstractContextManager[None]] = changing,
    ) -> None:
        """`anew` comes into the file that is there now."""
        self.file = file
        self.gone: list[_LockFile] = []
        """Files that were removed meanwhile. Other threads may be using them."""
        self._anew = anew
        self._transaction = transaction
        self._turn = threading.Lock()

    def current(self) -> _LockFile:
        with self._turn:
            return self._current()

    def _current(self) -> _LockFile:
        if not self.file.is_current():
            file = self._anew()
            self.gone.append(self.file)
            self.file = file
        return self.file

    @contextmanager
    def committing(self) -> Iterator[None]:
        with self._turn, self._current().holding(_QUEUE):  # The descriptor's locks are those of all threads.
            yield

    @contextmanager
    def changing(self, connection: apsw.Connection) -> Iterator[None]:
        with ExitStack() as turn:
            while not turn.enter_context(self._begun(connection)):
                turn.close()
            yield

    @contextmanager
    def _begun(self, connection: apsw.Connection) -> Iterator[bool]:
        with self.committing(), self._transaction(connection):
            yield self.file.is_current()

    @contextmanager
    def alone(self) -> Iterator[dict[str, str]]:
        file = self.current()
        with file.holding(_RECORDS):
            yield file.holders()

    def is_read(self, layer: int) -> bool:
        return not self.file.is_free(_LAYERS + layer)

    def close_gone(self) -> None:
        for gone in self.gone:
            os.close(gone.fd)


class BranchLock:
    """A branch that is held for writing. The file says who holds what."""

    def __init__(self, path: str, branch: str, patience_s: float = 0.0, *, yields: bool = False) -> None:
        """Waits for so long for one who has the branch for a moment, which a run that can be asked has not.
        One who `yields` leaves it to those who wait. Raises Held when somebody holds it still."""
        self._path = path
        self._branch = branch
        self._at = ""
        self.by = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        self._number = 0
        """That of this holder, when it has made a transaction."""
        self.waited = ""
        """For whom it was waited; empty where that was not worth a word."""
        try:
            file, self._left = self._taken(yields=yields)
        except BranchInUse as held:
            if not patience_s or held.lasts:
                raise
            file, self._left = self._awaited(patience_s)
        self._kept: _CurrentLockFile | None = _CurrentLockFile(file, self._taken_anew, self._numbered)

    def _awaited(self, patience_s: float) -> tuple[_LockFile, dict[str, str] | None]:
        began = time.monotonic()
        wanting = _LockFile(self._path)
        wanting.take(_place(self._branch, _WANTED), shared=True)
        wanting.let_go(_RECORDS)
        try:
            while True:
                time.sleep(_AGAIN_S)
                try:
                    return self._taken()
                except BranchInUse as held:
                    waited = time.monotonic() - began
                    if waited >= patience_s or held.lasts:
                        raise
                    if waited >= _WORTH_S:
                        self.waited = f"waited for branch {self._branch!r}, which {held.by} had"
        finally:
            wanting.leave()

    def _taken(self, *, yields: bool = False) -> tuple[_LockFile, dict[str, str] | None]:
        """The file, in which the branch is ours, and who held it last and did not let go."""
        file = _LockFile(self._path)
        try:
            records = file.records()
            wanted = yields and not file.is_free(_place(self._branch, _WANTED))
            if wanted or not file.take(_place(self._branch)):
                holder = records.get(self._branch, {"by": "another run", "at": ""})
                said = f"branch {self._branch!r} of {self._path!r} is held by {holder['by']}"
                raise BranchInUse(said, holder["at"], holder["by"])
            file.record({**records, self._branch: {"by": self.by, "at": self._at}})
        except BaseException:
            file.close()
            raise
        file.let_go(_RECORDS)
        return file, records.get(self._branch)

    @property
    def left_by(self) -> str:
        """Who held it last and could not let go of it; empty after a clean end."""
        return self._left["by"] if self._left else ""

    def reachable(self, at: str) -> None:
        """Tell others the socket on which the holder answers."""
        self._at = at
        file = self._held().current()
        with file.holding(_RECORDS):
            file.record({**file.records(), self._branch: {"by": self.by, "at": at}})

    def is_read(self, layer: int) -> bool:
        """Whether somebody reads the layer."""
        return self._held().is_read(layer)

    def _held(self) -> _CurrentLockFile:
        assert self._kept is not None
        return self._kept

    @property
    def is_found(self) -> bool:
        """Whether the file is there, by which others find the branch held."""
        return self._held().file.is_current()

    def keep(self) -> None:
        """See that others find the branch held, also when somebody removed the file. Raises BranchLost when
        one of them has it meanwhile."""
        self._held().current()

    def _taken_anew(self) -> _LockFile:
        try:
            return self._taken()[0]
        except BranchInUse as held:
            raise self._lost(f"the branch is now held by {held.by}") from None

    def _lost(self, why: str) -> BranchLost:
        return BranchLost(
            errno.EIO, f"{self._path}-lock was removed while {self._branch!r} was held, and {why}"
        )

    def committing(self) -> AbstractContextManager[None]:
        """Wait for the others that commit to this database, in turn; SQLite's busy handler lets one of them
        wait for seconds. Raises Occupied and BranchLost."""
        return self._held().committing()

    def changing(self, connection: apsw.Connection) -> AbstractContextManager[None]:
        """One transaction, in turn. Raises Occupied and BranchLost."""
        return self._held().changing(connection)

    @contextmanager
    def _numbered(self, connection: apsw.Connection) -> Iterator[None]:
        with changing(connection):
            number = self._number or self._next(connection)
            self._refuse_older(connection)
            yield
        self._number = number

    def check(self, connection: apsw.Connection) -> None:
        """See within a transaction, for one who made another one before, that the branch is still ours.
        Raises BranchLost, and BusyError when it has to be tried again."""
        self._refuse_older(connection)
        if not self.is_found:
            raise apsw.BusyError("the file of locks was removed")

    def _next(self, connection: apsw.Connection) -> int:
        """The number of this holder, of all that the branch had."""
        key = f"holder-{self._branch}"
        number = int(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get or 0) + 1
        connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, number))
        return number

    def _refuse_older(self, connection: apsw.Connection) -> None:
        """Raises BranchLost when somebody held the branch since; that can be only where the file went."""
        if self._held().gone and self._number:
            query = "SELECT value FROM meta WHERE key = ?"
            if connection.execute(query, (f"holder-{self._branch}",)).get != self._number:
                raise self._lost("somebody else wrote to the branch")

    def alone(self) -> AbstractContextManager[dict[str, str]]:
        """The branches that others hold; when there are none, nobody takes one meanwhile."""
        return self._held().alone()

    def close(self, *, as_it_was: bool = False) -> None:
        """Let go of the branch. Idempotent. `as_it_was` leaves a holder that was killed for the next
        to tell of."""
        kept, self._kept = self._kept, None
        if kept is None:
            return
        kept.close_gone()
        file = kept.file
        try:
            file.wait_for(_RECORDS)
        except Occupied:
            os.close(file.fd)
            return
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
        """Raises Occupied."""
        self._path = path
        self._kept = _CurrentLockFile(self._come(), self._come)

    def _come(self) -> _LockFile:
        file = _LockFile(self._path)
        file.let_go(_RECORDS)
        return file

    def committing(self) -> AbstractContextManager[None]:
        """See `BranchLock.committing`."""
        return self._kept.committing()

    def changing(self, connection: apsw.Connection) -> AbstractContextManager[None]:
        """See `BranchLock.changing`."""
        return self._kept.changing(connection)

    def is_read(self, layer: int) -> bool:
        """Whether somebody reads the layer."""
        return self._kept.is_read(layer)

    def holders(self) -> dict[str, str]:
        """The branches that are held, and by whom."""
        with self.alone() as held:
            return held

    def alone(self) -> AbstractContextManager[dict[str, str]]:
        """The branches that are held; when there are none, nobody takes one meanwhile."""
        return self._kept.alone()

    def nobody_reads(self) -> bool:
        return self._kept.file.is_free(_LAYERS, _END - _LAYERS)

    def close(self) -> None:
        self._kept.close_gone()
        self._kept.file.leave()


def _byte(place: int, kind: int, size: int = 1) -> bytes:
    """A struct flock for so many bytes, on Linux with 64-bit offsets."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, place, size, 0)


def _place(branch: str, first: int = _BRANCHES) -> int:
    digest = hashlib.blake2b(branch.encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return first + int.from_bytes(digest, "big")


@contextmanager
def alone(path: str, branch: str, patience_s: float = 0.0) -> Iterator[BranchLock]:
    """The branch, held for a moment. Raises Held."""
    lock = BranchLock(path, branch, patience_s)
    try:
        yield lock
    finally:
        lock.close(as_it_was=True)
