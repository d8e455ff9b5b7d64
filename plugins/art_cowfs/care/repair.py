"""Mending a database: a backup first, then what SQLite can rebuild, then each problem by its statements.

Nothing readable is thrown away: files without a name get one (`lost+found-...`), layers without a name
become snapshots (`found-...`). What cannot be read out of a broken file is left behind in the backup.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import apsw

from art_cowfs.care.rescue import Table
from art_cowfs.db.apsw_compat import Connection
from art_cowfs.db.file_header import APPLICATION_ID, is_ours
from art_cowfs.db.locks import Bystander
from art_cowfs.db.schema import FORMAT, PAGE, TABLES, DatabaseError
from art_cowfs.db.transactions import all_rows, changing
from art_cowfs.integrity.check import examine, is_of_the_file
from art_cowfs.integrity.problems import MOST, Problem
from art_cowfs.opening import log_owner
from art_cowfs.opening.database import connect, make_private

_ROUNDS = 8
_AT_ONCE = 100_000
"""Problems of one kind that are mended in a round."""


def repair(path: str, backup: str) -> Iterator[Problem]:
    """Copy the database, mend it, and give what was wrong. Raises DatabaseError while it is in use."""
    if os.path.lexists(backup):
        raise DatabaseError(f"the backup {backup!r} is there already; name another file")
    by = Bystander(path)
    try:
        with by.alone() as held:
            if held or not by.nobody_reads():
                who = f"branch {min(held)!r} is held by {min(held.values())}" if held else "somebody reads it"
                raise DatabaseError(f"database {path!r} cannot be repaired now: {who}; end that first")
            yield from _mend_log(path, backup)
            yield from _lengthen(path)
            connection = connect(path, any_log=True)
            try:
                _copy(connection, backup)
                yield from _mend_file(connection, path)
                yield from _mend_rows(connection)
                with changing(connection):
                    log_owner.clear(connection)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                connection.close()
    finally:
        by.close()


def _mend_log(path: str, backup: str) -> Iterator[Problem]:
    """A log that is not its own is laid beside the backup."""
    with log_owner.first_of(path) as (_, first):
        said = log_owner.wrong(path) if first else ""
    if not said:
        return
    log = f"{path}-wal"
    if os.path.lexists(log):
        os.rename(log, f"{backup}-wal-of-another")
        said = f"{said}; that is now {backup}-wal-of-another"
    with suppress(FileNotFoundError):
        os.unlink(f"{path}-shm")
    yield Problem("log", said, [("", ())])


def _lengthen(path: str) -> Iterator[Problem]:
    """SQLite reads nothing of a file that is shorter than its head says: what is missing reads as zeros."""
    with open(path, "rb") as file:
        head = file.read(32)
    pages = int.from_bytes(head[28:32], "big")
    missing = pages - os.stat(path).st_size // PAGE
    if is_ours(head.ljust(72)[:68] + APPLICATION_ID.to_bytes(4, "big")) and 0 < missing < pages:
        os.truncate(path, pages * PAGE)
        yield Problem(
            "short", f"the file was {missing} pages shorter than it says; they are not there", [("", ())]
        )


def _copy(connection: apsw.Connection, backup: str) -> None:
    """All pages as they are, with what is in the log."""
    os.close(os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    target = Connection(backup, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with target.backup("main", connection, "main") as copying:
            while not copying.done:
                copying.step(-1)
    finally:
        target.close()


def _is_whole(connection: apsw.Connection) -> bool:
    try:
        said = all_rows(connection, "PRAGMA integrity_check")
        return not any(is_of_the_file(line) for (lines,) in said for line in str(lines).splitlines())
    except apsw.Error:
        return False


def _mend_file(connection: apsw.Connection, path: str) -> Iterator[Problem]:
    """What SQLite itself finds wrong: indexes are made anew, and where that is not enough every row that
    can be read goes into a new file, which then takes the place of this one."""
    if _is_whole(connection):
        return
    yield from (problem for problem in examine(connection) if problem.kind == "sqlite")
    with suppress(apsw.Error):
        connection.execute("REINDEX")
    if _is_whole(connection):
        return
    place = ":memory:"
    if os.stat(path).st_size >= _SMALL:
        make_private(place := f"{path}-rescued")
    rescued = Connection(place)
    try:
        lost = _rescue(connection, rescued)
        with connection.backup("main", rescued, "main") as copying:
            while not copying.done:
                copying.step(-1)
    finally:
        rescued.close()
        with suppress(FileNotFoundError):
            os.unlink(f"{path}-rescued")
    if lost:
        yield Problem(
            "unreadable", f"rows of {', '.join(lost)} could not be read; the backup has what is left"
        )


_SMALL = 256 << 20


def _rescue(source: apsw.Connection, target: apsw.Connection) -> list[str]:
    """Copy every row that can be read; the tables of which some could not."""
    target.pragma("ignore_check_constraints", True)
    target.pragma("page_size", PAGE)
    target.pragma("auto_vacuum", 2)
    target.execute(TABLES)
    target.pragma("application_id", APPLICATION_ID)
    target.pragma("user_version", FORMAT)
    lost = []
    names = [row[0] for row in all_rows(target, "SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in names:
        if table.startswith("sqlite_"):
            continue
        if not Table(source, target, table).rescue():
            lost.append(table)
    return lost


def _mend_rows(connection: apsw.Connection) -> Iterator[Problem]:
    """Mending one thing brings others to light: a name that goes leaves a file without one."""
    told: set[tuple[str, str]] = set()
    kinds: Counter[str] = Counter()
    for _ in range(_ROUNDS):
        found = list(examine(connection, _AT_ONCE))
        for problem in found:
            if (problem.kind, problem.what) not in told:
                told.add((problem.kind, problem.what))
                kinds[problem.kind] += 1
                if kinds[problem.kind] <= MOST:
                    yield problem
                elif kinds[problem.kind] == MOST + 1:
                    yield problem._replace(what=f"{problem.what}; and there are more of this kind")
        if not any(problem.mend for problem in found):
            return
        for problem in found:
            with suppress(apsw.Error), changing(connection):  # The next round finds it again.
                for statement, bindings in problem.mend:
                    connection.execute(statement, bindings)
