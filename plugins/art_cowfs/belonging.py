"""Whether the log beside a database is its own.

While a run has the database, what was written last is in SQLite's log alone. Without its log it would be an
older database in which nothing is wrong, and the log of another one would be written into it. So a row of
`meta` says by whom the file is in use and which log it has. It is carried into the file itself before the
run changes anything, and goes when the last run ends as it should.

A log is known by the first number in its head, which grows by one each time SQLite begins it anew
(https://sqlite.org/walformat.html, section 2.1). Rarely it is drawn anew: then what the log makes of the
database is looked at, and has to be sound.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote

import apsw

from art_cowfs.connection import Connection

KEY = "in-use"
_IDENTITY = "identity"
EMPTY = -1
"""The number of a log that has nothing in it."""
_CONNECTED = 128
_HEAD = 32
_MAGIC = (0x377F0682, 0x377F0683)
_ANEW = 1 << 16
"""So many times at most a log begins anew while it is in use."""
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
        with open(f"{path}-wal", "rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return None
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
    connection.execute("INSERT OR IGNORE INTO meta VALUES(?, ?)", (_IDENTITY, os.urandom(16).hex()))


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
    except (ValueError, TypeError):
        return None


def wrong(path: str) -> str:
    """What is wrong with the log of a database, in one sentence; empty where nothing is. For a process that
    has no connection to it."""
    number = _number(path)
    found = _marked(path)
    if found is None or (number is not None and found.is_of(number)):
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


def _fits(path: str) -> bool:
    """Whether the log makes a sound database of the file. Nothing of it is written into the file."""
    from art_cowfs.check import examine

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
