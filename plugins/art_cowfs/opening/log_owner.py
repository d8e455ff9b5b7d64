"""Whether the log beside a database is its own.

While a run has the database, what was written last is in SQLite's log alone. Without its log it would be an
older database in which nothing is wrong, and the log of another one would be written into it. So a row of
`meta` says by whom the file is in use and which log it has. It is carried into the file itself before the
run changes anything, and goes when the last run ends as it should.

A log is known by the first number in its head, which grows by one each time SQLite begins it anew
(https://sqlite.org/walformat.html, section 2.1). Rarely it is drawn anew: then what the log makes of the
database is looked at, and has to be sound.

A database that is not in use has no log, but for one of a command that was killed before it said so, or that
only has it for a moment. So whoever writes puts that number into the log, with a digest of it that only one
who can read the database could make: the log of somebody else is not believed. Before a new log has its first
transaction nobody knows its number, so that one has the digest of none; and a log without a whole transaction
changes nothing, whoever made it.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote

import apsw

from art_cowfs.db.apsw_compat import Connection

KEY = "in-use"
_IDENTITY = "identity"
_PROOF = "log"
EMPTY = -1
"""The number of a log that has nothing in it."""
_UNKNOWN = (0, EMPTY)
"""The number of a log that has no transaction yet, in the proof of the first one."""
_CONNECTED = 128
_SHARED, _SHARED_SIZE = 0x40000002, 510
_HEAD = 32
_MAGIC = (0x377F0682, 0x377F0683)
_ANEW = 1 << 16
"""So many times at most a log begins anew while it is in use."""
_TRIES, _TRY_S = 20, 0.05
"""Somebody may be about to say that it is in use, or to end."""
_FRAME, _LOOKED_AT = 24, 1 << 20
"""A frame's head, and so much of a log is looked at for its first transaction, in bytes."""
_open: Counter[tuple[int, int]] = Counter()
_turn = threading.Lock()


class Mark(NamedTuple):
    """By whom a database is in use, the number of its log then, and whether that may have nothing in it."""

    by: str
    log: int
    may_be_empty: bool = False

    def is_of(self, number: int) -> bool:
        """Whether a log is its own."""
        if number == EMPTY:
            return self.may_be_empty
        return (number - self.log) % (1 << 32) < _ANEW


def _number(path: str) -> int | None:
    """The number of the log beside a database; None where there is none."""
    try:
        fd = os.open(f"{path}-wal", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            head = os.read(fd, _HEAD)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return None
    except OSError:
        return EMPTY  # SQLite does not believe what it cannot read either.
    if len(head) < _HEAD or struct.unpack_from(">I", head)[0] not in _MAGIC:
        return EMPTY
    number: int = struct.unpack_from(">I", head, 16)[0]
    return number


def has_log(path: str) -> bool:
    """Whether there is a log with anything in it."""
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except FileNotFoundError:
        return False


def mark(connection: apsw.Connection, path: str, by: str) -> None:
    """Say that it is in use, within a transaction that is not the first one of this log."""
    _put(connection, Mark(by, _number(path) or 0))
    identify(connection)


def prove(connection: apsw.Connection, path: str) -> None:
    """Say in the log itself that it is this database's, unless it does. For one who may commit, and is in no
    transaction."""
    identity = _identity(connection)
    number = _number(path)
    if (
        identity is not None
        and number is not None
        and _is_proven(connection, identity, number, unknown=False)
    ):
        return
    for _ in range(2):  # The first one may begin the log anew.
        number = _number(path) or 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            identify(connection)
            _prove(connection, number)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def prove_first(connection: apsw.Connection) -> None:
    """The same in the transaction that makes the database, whose log nobody knows the number of yet."""
    identify(connection)
    _prove(connection, EMPTY)


def _prove(connection: apsw.Connection, number: int) -> None:
    proof = json.dumps((number, _digest(_identity(connection), number)))
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (_PROOF, proof))


def identify(connection: apsw.Connection) -> None:
    """Give a database something that nobody else knows, within a transaction."""
    connection.execute("INSERT OR IGNORE INTO meta VALUES(?, ?)", (_IDENTITY, os.urandom(16).hex()))


def _digest(identity: object, number: int) -> str:
    return hashlib.sha256(f"{identity} {number}".encode()).hexdigest()


def _is_proven(connection: apsw.Connection, identity: object, number: int, *, unknown: bool = True) -> bool:
    """Whether the proof is of a log with this number, or of one whose number was `unknown` yet."""
    value = connection.execute("SELECT value FROM meta WHERE key = ?", (_PROOF,)).get
    try:
        said, digest = json.loads(value or "null")
        known = hmac.compare_digest(_digest(identity, int(said)), str(digest))
        return known and ((unknown and said in _UNKNOWN) or Mark("", int(said)).is_of(number))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return False


def _identity(connection: apsw.Connection) -> object:
    return connection.execute("SELECT value FROM meta WHERE key = ?", (_IDENTITY,)).get


def _put(connection: apsw.Connection, marked: Mark) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (KEY, json.dumps(marked)))


def may_be_empty(connection: apsw.Connection, may: bool) -> None:
    """Say whether the log may have nothing in it, within a transaction."""
    found = _read(connection)
    if found is not None:
        _put(connection, found._replace(may_be_empty=may))


def clear(connection: apsw.Connection) -> None:
    """It is in use no more, within a transaction."""
    connection.execute("DELETE FROM meta WHERE key = ?", (KEY,))


def is_marked(connection: apsw.Connection) -> bool:
    """Whether the log has to stay when the last connection closes: see `mark`."""
    return bool(connection.execute("SELECT 1 FROM meta WHERE key = ?", (KEY,)).get)


def alone(path: str) -> Connection:
    """A connection to the file as it is without its log, which SQLite does not look at. While this process
    has another one it may not be closed: that would drop the locks of both (fcntl(2))."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return Connection(f"file:{quote(os.path.abspath(path))}?immutable=1", flags=flags)


def _marked(path: str) -> Mark | None:
    """What the file itself says. What cannot be read is told by others."""
    with suppress(apsw.Error), closing(alone(path)) as connection:
        return _read(connection)
    return None


def _read(connection: apsw.Connection) -> Mark | None:
    value = connection.execute("SELECT value FROM meta WHERE key = ?", (KEY,)).get
    try:
        by, log, empty = json.loads(value or "null")
        return Mark(str(by), int(log), bool(empty))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def wrong(path: str) -> str:
    """What is wrong with the log of a database, in one sentence; empty where nothing is. For a process that
    has no connection to it."""
    number = _number(path)
    found = _marked(path)
    if found is None:
        return _planted(path)
    if number is not None and found.is_of(number):
        return ""
    # Somebody may have ended just now, or begun.
    number, again = _number(path), _marked(path)
    if again is not None:
        if number is None:
            return (
                f"it was in use by {again.by}, and its log {path}-wal is not beside it: what was written "
                "last is only there. Either the log was removed, or this is a copy that was made meanwhile"
            )
        if not again.is_of(number) and not _in_use(path) and (number == EMPTY or not _fits(path)):
            return (
                f"it was in use by {again.by}, and {path}-wal is not its log of then, but an empty or older "
                "one or that of another database, which would be written into it"
            )
    return ""


def _planted(path: str) -> str:
    """What is wrong with a log beside a database that is not in use."""
    for _ in range(_TRIES):
        number = _number(path)
        if number in (None, EMPTY) or _marked(path) is not None or _says_nothing(path) or _proves(path):
            return ""
        time.sleep(_TRY_S)
    return (
        f"it is not in use, and {path}-wal lies beside it, which it did not make: it would be written into it"
    )


def _says_nothing(path: str) -> bool:
    """Whether a log has no whole transaction, which SQLite passes over (walformat.html, section 4): whoever
    made it was ended in the first one. False where that would need a look at more than its beginning."""
    try:
        with open(f"{path}-wal", "rb") as log:
            head = log.read(_HEAD)
            data = log.read(_LOOKED_AT)
    except OSError:
        return False
    magic, _, page = struct.unpack_from(">3I", head)
    order = ">" if magic & 1 else "<"
    sums = _summed(order, head[:24])
    if sums != struct.unpack_from(">2I", head, 24):
        return True
    for at in range(0, len(data), _FRAME + page):
        frame = data[at : at + _FRAME + page]
        if len(frame) < _FRAME + page:
            return len(data) < _LOOKED_AT
        sums = _summed(order, frame[:8] + frame[_FRAME:], sums)
        if frame[8:16] != head[16:24] or sums != struct.unpack_from(">2I", frame, 16):
            return True
        if frame[4:8] != bytes(4):  # It ends a transaction.
            return False
    return len(data) < _LOOKED_AT


def _summed(order: str, data: bytes, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    """The sum of a head or of a frame, from the one before (walformat.html, section 4.2)."""
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _proves(path: str) -> bool:
    """Whether the log says that it is this database's. Nothing of it is written into the file."""
    from art_cowfs.db.schema import DatabaseError, refuse_foreign

    flags = apsw.SQLITE_OPEN_READWRITE if os.access(path, os.W_OK) else apsw.SQLITE_OPEN_READONLY
    try:
        with closing(alone(path)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get is None:
                return True  # There is nothing in it yet, or it is another program's.
            refuse_foreign(connection, path)
            identity = _identity(connection)
        with closing(Connection(path, flags=flags)) as connection:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            refuse_foreign(connection, path)
            number = _number(path)
            return identity is not None and number is not None and _is_proven(connection, identity, number)
    except (apsw.Error, DatabaseError):
        return False


def _in_use(path: str) -> bool:
    """Whether another process has a connection: each locks a byte of the shared memory (walformat.html)."""
    try:
        fd = os.open(f"{path}-shm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _CONNECTED, 1, 0)
        kind: int = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0]
        return kind != fcntl.F_UNLCK
    finally:
        os.close(fd)


def without_index(path: str) -> str:
    """Why nobody may open a database now, in one sentence; empty where one may. For a process that has no
    connection to it: the index beside it (`-shm`) was removed while another one has it. With a new one both
    would write to the same places of the log; the other one goes on alone, and removes the log at its end."""
    for _ in range(_TRIES):
        if os.path.exists(f"{path}-shm") or not (holder := _holder(path)):
            return ""
        time.sleep(_TRY_S)  # Somebody may only be opening it, or closing.
    return (
        f"process {holder} has it, and {path}-shm, which others need with that, was removed meanwhile; end "
        "that run or command, which loses nothing, and go on"
    )


def _holder(path: str) -> int:
    """Another process that has a connection: it has a shared lock on the file (unix locking of SQLite,
    https://sqlite.org/lockingv3.html); 0 for none."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _SHARED, _SHARED_SIZE, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else int(pid)
    finally:
        os.close(fd)


def _fits(path: str) -> bool:
    """Whether the log makes a sound database of the file. Nothing of it is written into the file."""
    from art_cowfs.integrity.check import examine

    try:
        with closing(alone(path)) as connection:
            identity = _identity(connection)
        with closing(Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            return _identity(connection) == identity and next(examine(connection), None) is None
    except apsw.Error:
        return False


@contextmanager
def first_of(path: str) -> Iterator[tuple[tuple[int, int] | None, bool]]:
    """The identity of a file, and whether this process has no connection to it; nobody else of the process
    opens one meanwhile."""
    with _turn:
        try:
            found = os.stat(path)
        except OSError:
            yield None, False
        else:
            place = found.st_dev, found.st_ino
            yield place, not _open[place]


def opened(place: tuple[int, int]) -> None:
    _open[place] += 1


def closed(place: tuple[int, int]) -> None:
    with _turn:
        _open[place] -= 1
