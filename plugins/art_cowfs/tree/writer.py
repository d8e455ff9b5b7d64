"""The writer: commits what the file system changed, in order, in batches that end between operations.

The file system collects a `Batch` of the newest state of each row; the writer's thread puts it into
one transaction. A prefix of what was answered is always what the database holds.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

import apsw

from art_cowfs.db.apsw_compat import BUSY
from art_cowfs.db.locks import Occupied
from art_cowfs.db.schema import PAGE
from art_cowfs.db.transactions import as_oserror, changing
from art_cowfs.layers import sync_base
from art_cowfs.opening.wal import Log, writers

_RETRY_S = 0.5
ENDING_S = 60.0
"""How long the end of a run waits for others that keep the database from being written."""
_LOOK_S = 0.05
_AT_ONCE = 8 << 20
"""Bytes of several batches that become one transaction."""
_TOGETHER = 32
"""Rows in one statement."""
_BLOCK = 4096
_IN_PLACE = " ON CONFLICT(ino, idx, layer) DO UPDATE SET data = excluded.data"


class Batch:
    """Rows to write, each in its newest state. `size` estimates the bytes."""

    __slots__ = ("base", "chunks", "cuts", "dead", "done", "inodes", "names", "origins", "size", "xattrs")

    def __init__(self) -> None:
        self.inodes: dict[int, Any] = {}
        """Number -> the node, and when the batch is taken its row without number and layer."""
        self.names: dict[tuple[int, bytes], int | bool | None] = {}
        """Number, None for a whiteout, False for no row at all."""
        self.chunks: dict[int, dict[int, bytes | bytearray | None]] = {}
        """Number -> place -> bytes."""
        self.cuts: dict[int, int] = {}
        """Number -> the first place from which the top's chunks go, before `chunks` are written."""
        self.xattrs: dict[tuple[int, bytes], bytes | None] = {}
        self.dead: set[int] = set()
        """Numbers whose rows of the top go."""
        self.origins: dict[tuple[int, int], int] = {}
        self.base: dict[tuple[bytes, bytes], sync_base.Row] = {}
        """Workspace and place -> what both sides agree on."""
        self.size = 0
        self.done = False
        """Whether the database has it."""

    def __bool__(self) -> bool:
        return bool(
            self.inodes
            or self.names
            or self.chunks
            or self.cuts
            or self.xattrs
            or self.dead
            or self.origins
            or self.base
        )


class DatabaseFiles:
    """Sees when the database or its log is taken away under its connections: SQLite would go on
    writing to what nobody can reach any more. While a branch is held nobody makes the database
    shorter."""

    def __init__(self, path: str, size: int) -> None:
        """`size` is that of the database without what was freed at its end: until the log is carried into
        the file it is longer, and then it gets shorter rightly."""
        self._path = path
        self._known: dict[str, tuple[int, int]] = {}
        self._began_with = os.stat(path).st_size
        self._size = min(size, self._began_with)
        self._looked = 0.0

    def check(self, *, at_once: bool = True) -> None:
        """Raises OSError when they are not what they were. Unless it has to be known at once, they are
        looked at now and then."""
        now = time.monotonic()
        if not at_once and now - self._looked < _LOOK_S:
            return
        self._looked = now
        for path in (self._path, f"{self._path}-wal"):
            try:
                found = os.stat(path)
            except FileNotFoundError:
                if path in self._known:
                    raise OSError(errno.EIO, f"{path!r} was removed during the run") from None
                continue  # The log is made by the first commit.
            identity = found.st_dev, found.st_ino
            if self._known.setdefault(path, identity) != identity:
                raise OSError(errno.EIO, f"{path!r} was replaced by another file during the run")
            if path == self._path:
                if found.st_size < self._size:
                    raise OSError(errno.EIO, f"{path!r} was truncated during the run")
                if found.st_size > self._began_with:
                    self._size = found.st_size


class Turns(Protocol):
    """The turns of those that commit to a database. See `locks.BranchLock`."""

    def committing(self) -> AbstractContextManager[None]: ...

    def check(self, connection: apsw.Connection) -> None: ...


class BatchWriter:
    """Writes batches to one layer, one at a time, in a thread of its own."""

    def __init__(
        self,
        connection: apsw.Connection,
        layer: int,
        path: str,
        turns: Turns,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready` waits for what has to be on the disk before anything is said to be."""
        self._connection = connection
        self._turns = turns
        self._ready = ready
        self.layer = layer
        """Changed only while nothing waits to be written."""
        self._files = DatabaseFiles(path, connection.pragma("page_count") * PAGE)
        self._files.check()
        self.log = Log(connection, path)
        self._slow = 0.0
        self._path = path
        self._wal = path + "-wal"
        self._wal_fd = -1
        self._wake = threading.Condition()
        self._queue: deque[tuple[Batch, Callable[[], None]]] = deque()
        self._taken = self._written = 0
        """Batches."""
        self._wishes: list[Callable[[OSError | None], None]] = []
        """To be called when everything taken so far is on the disk."""
        self._due: list[Callable[[OSError | None], None]] = []
        """Those of them that the present transaction may fulfil."""
        self._stopping = self._ended = False
        self._last = 0.0
        """Until when is tried, at the end, what others keep from being written."""
        self.failure: OSError | None = None
        """Why nothing is written: no space until there is some again, anything else for good."""
        self.lost = False
        """Whether an error was met after which nothing is written any more."""
        # An interrupt before anybody can close it must not keep the process.
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    def take(self, batch: Batch, done: Callable[[], None]) -> None:
        """Write the batch; `done` is called in the writer's thread when it is in, or could not be
        written yet. Once the thread has ended it is called at once."""
        with self._wake:
            if not self._ended:
                self._queue.append((batch, done))
                self._taken += 1
                self._wake.notify()
                return
        done()

    def sync(self, done: Callable[[OSError | None], None]) -> None:
        """See that everything that was taken is in the database and on the disk; `done` is called in
        the writer's thread, with what went wrong."""
        with self._wake:
            if not self._ended:
                self._wishes.append(done)
                self._wake.notify()
                return
        done(self.failure or OSError(errno.EIO, "nothing is written any more"))

    def wait(self) -> None:
        """Wait until everything that was taken is in the database and on the disk. Raises OSError."""
        answer: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
        self.sync(answer.put)
        failure = answer.get()
        if failure is not None:
            raise OSError(failure.errno, failure.strerror)

    def close(self) -> None:
        """Write what was taken, and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        if self._wal_fd >= 0:
            os.close(self._wal_fd)
            self._wal_fd = -1

    def _work(self) -> None:
        """Whatever ends the work is a failure that those who wait are told, now and later: nothing waits for
        a thread that has ended."""
        failure = None
        try:
            self._write_all()
        except BaseException as error:
            failure = OSError(errno.EIO, f"the thread that writes has failed: {error!r}")
        with self._wake:
            self._ended = True
            if failure is not None:
                self.failure, self.lost = failure, True
            told = [done for _, done in self._queue]
            wishes, self._wishes = [*self._due, *self._wishes], []
        for done in told:
            done()
        _tell(wishes, self.failure or OSError(errno.EIO, "nothing is written any more"))

    def _write_all(self) -> None:
        wishes = self._due
        due = 0  # the batches that were taken when they were wished
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._queue or self._wishes or self._stopping)
                if not wishes and self._wishes:
                    wishes[:], self._wishes, due = self._wishes, [], self._taken
                if not self._queue and not wishes:
                    return
                taken = self._first_in_queue()
                sync = bool(wishes) and self._written + len(taken) >= due
            failure = self._attempt([batch for batch, _ in taken], sync)
            if self._passes(failure):
                # Kept and tried again: reads come from memory, changes are refused meanwhile.
                self.failure = failure
                for _, done in taken:
                    done()
                _tell(wishes, failure)
                with self._wake:
                    self._wake.wait_for(lambda: self._stopping and not self._last, timeout=_RETRY_S)
                continue
            if failure is not None or not self.lost:
                self.failure = failure
            self.lost = self.lost or failure is not None
            with self._wake:
                for batch, _ in taken:
                    batch.done = failure is None
                    self._queue.popleft()
                self._written += len(taken)
            for _, done in taken:
                done()
            if sync or failure is not None:
                _tell(wishes, failure)
            self._wait_for_readers()

    def _wait_for_readers(self) -> None:
        """Where the log is too large: as long as it takes, or until nobody keeps it so."""
        until, self._slow = time.monotonic() + self._slow, 0.0
        while (left := until - time.monotonic()) > 0:
            with self._wake:
                if self._wake.wait_for(lambda: self._stopping, timeout=min(left, _RETRY_S)):
                    return
            with suppress(Occupied, OSError, apsw.Error), self._turns.committing():
                if not self.log.wait_s():
                    return

    def _first_in_queue(self) -> list[tuple[Batch, Callable[[], None]]]:
        """What the next transaction takes: one batch, or a few where the writer is behind."""
        taken: list[tuple[Batch, Callable[[], None]]] = []
        size = 0
        for batch, done in self._queue:
            size += batch.size
            if taken and size > _AT_ONCE:
                break
            taken.append((batch, done))
        return taken

    def _attempt(self, batches: Sequence[Batch], sync: bool) -> OSError | None:
        if self.lost:
            return self.failure
        try:
            self._files.check(at_once=sync)
            if batches:
                with self._turns.committing():
                    with changing(self._connection):
                        self._turns.check(self._connection)
                        for batch in batches:
                            self._write(batch)
                    self._slow = self.log.wait_s()
            if sync:
                self._sync_log()
        except Occupied as error:
            return OSError(errno.EBUSY, str(error))
        except BUSY:
            return OSError(errno.EBUSY, f"{self._path!r} is held by {writers(self._path)}")
        except apsw.Error as error:
            return as_oserror(error)
        except OSError as error:
            return error
        except Exception as error:
            return OSError(errno.EIO, f"what changed cannot be written: {error!r}")
        return None

    def _passes(self, failure: OSError | None) -> bool:
        """Whether what failed is worth another try: there may be space again, and others let go. At
        the end of the run only for so long."""
        if failure is None or failure.errno not in (errno.ENOSPC, errno.EBUSY):
            return False
        if not self._stopping:
            return True
        self._last = self._last or time.monotonic() + ENDING_S
        return failure.errno == errno.EBUSY and time.monotonic() < self._last

    def _sync_log(self) -> None:
        """The log holds every commit (synchronous=NORMAL writes it and does not sync it)."""
        self._ready()
        if self._wal_fd < 0:
            self._wal_fd = os.open(self._wal, os.O_RDWR | os.O_CLOEXEC)
        os.fdatasync(self._wal_fd)

    def _write(self, batch: Batch) -> None:
        run, layer = self._connection.executemany, self.layer
        if batch.dead:
            numbers = [(ino, layer) for ino in batch.dead]
            run("DELETE FROM inode WHERE ino = ? AND layer = ?", numbers)
            run("DELETE FROM chunk WHERE ino = ? AND layer = ?", numbers)
            run("DELETE FROM xattr WHERE ino = ? AND layer = ?", numbers)
            run("DELETE FROM dentry WHERE parent = ? AND layer = ?", numbers)
        put = self._put
        put("inode", "", [(ino, layer, *row) for ino, row in batch.inodes.items()])
        names = batch.names.items()
        gone = [(parent, name, layer) for (parent, name), ino in names if ino is False]
        run("DELETE FROM dentry WHERE parent = ? AND name = ? AND layer = ?", gone)
        put("dentry", "", [(*place, layer, ino) for place, ino in names if ino is not False])
        cuts = [(ino, idx, layer) for ino, idx in batch.cuts.items()]
        run("DELETE FROM chunk WHERE ino = ? AND idx >= ? AND layer = ?", cuts)
        chunks = [
            (ino, idx, layer, data)
            for ino, places in batch.chunks.items()
            for idx, data in places.items()
            if not (isinstance(data, bytearray) and self._patched(ino, idx, data))
        ]
        put("chunk(ino, idx, layer, data)", _IN_PLACE, chunks)
        put("xattr", "", [(*place, layer, value) for place, value in batch.xattrs.items()])
        put("origin", "", [(*place, layer, ino) for place, ino in batch.origins.items()])
        sync_base.keep(self._connection, layer, batch.base)

    def _patched(self, ino: int, idx: int, data: bytearray) -> bool:
        """Write only what differs of a chunk that the layer has already; False when it has to be
        written whole. One that grows gets room to grow into: its rest reads as zeros."""
        place = "SELECT id, length(data) FROM chunk WHERE ino = ? AND idx = ? AND layer = ?"
        found: Any = self._connection.execute(place, (ino, idx, self.layer)).get
        if found is None or found[1] is None:
            return False
        row: int
        length: int
        row, length = found
        if len(data) > length:
            data.extend(bytes(-len(data) % PAGE))
            return False
        data.extend(bytes(length - len(data)))
        with self._connection.blob_open("main", "chunk", "data", row, True) as blob:
            present = blob.read()
            for start in range(0, length, _BLOCK):
                block = data[start : start + _BLOCK]
                if block != present[start : start + _BLOCK]:
                    blob.seek(start)
                    blob.write(block)
        return True

    def _put(self, table: str, conflict: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Write rows, many in one statement: SQLite works without the interpreter's lock, and each
        statement has to wait for it again."""
        if not rows:
            return
        one = f"({', '.join('?' * len(rows[0]))})"
        head = f"INSERT {'' if conflict else 'OR REPLACE'} INTO {table} VALUES "
        whole = len(rows) - len(rows) % _TOGETHER
        many = f"{head}{', '.join([one] * _TOGETHER)}{conflict}"
        for start in range(0, whole, _TOGETHER):
            self._connection.execute(
                many, [value for row in rows[start : start + _TOGETHER] for value in row]
            )
        self._connection.executemany(f"{head}{one}{conflict}", rows[whole:])


def _tell(wishes: list[Callable[[OSError | None], None]], failure: OSError | None) -> None:
    while wishes:
        wishes.pop()(failure)
