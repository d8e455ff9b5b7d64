"""Mending a database: a backup first, then what SQLite can rebuild, then each problem by its statements.

Nothing readable is thrown away: files without a name get one (`lost+found-...`), layers without a name
become snapshots (`found-...`). What cannot be read out of a broken file is left behind in the backup.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import apsw

from art_cowfs.check import Problem, examine, is_of_the_file
from art_cowfs.connection import Connection
from art_cowfs.headers import APPLICATION_ID
from art_cowfs.locks import Bystander
from art_cowfs.schema import FORMAT, PAGE, TABLES, DatabaseError, all_rows, changing, connect, make_private

_ROUNDS = 8
_AT_ONCE = 1000


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
            connection = connect(path)
            try:
                _copy(connection, backup)
                yield from _mend_file(connection, path)
                yield from _mend_rows(connection)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            finally:
                connection.close()
    finally:
        by.close()


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
        columns = [row[1] for row in all_rows(target, f"PRAGMA table_info({table})")]
        keys = [row[1] for row in all_rows(target, f"PRAGMA table_info({table})") if row[5]]
        with changing(target):
            whole = _rescue_table(source, target, table, columns, keys)
        if not whole:
            lost.append(table)
    return lost


def _rescue_table(
    source: apsw.Connection, target: apsw.Connection, table: str, columns: list[str], keys: list[str]
) -> bool:
    """Forwards from the first row to one that cannot be read, then backwards from the last."""
    whole = True
    put = f"INSERT OR IGNORE INTO {table} VALUES({', '.join('?' * len(columns))})"
    for order in ("ASC", "DESC"):
        sorting = ", ".join(f"{key} {order}" for key in keys)
        query = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY {sorting}"
        rows: Any = source.execute(query)
        ended = False
        while not ended:
            batch = []
            try:
                for row in rows:
                    batch.append(row)
                    if len(batch) == _AT_ONCE:
                        break
                else:
                    ended = True
            except (apsw.Error, UnicodeDecodeError):
                whole, ended = False, True
            for row in batch:
                with suppress(apsw.Error):  # What contradicts a row that is there already.
                    target.execute(put, row)
        if whole:
            break
    return whole


def _mend_rows(connection: apsw.Connection) -> Iterator[Problem]:
    """Mending one thing brings others to light: a name that goes leaves a file without one."""
    told: set[tuple[str, str]] = set()
    for _ in range(_ROUNDS):
        found = list(examine(connection))
        for problem in found:
            if (problem.kind, problem.what) not in told:
                told.add((problem.kind, problem.what))
                yield problem
        if not any(problem.mend for problem in found):
            return
        for problem in found:
            with suppress(apsw.Error), changing(connection):  # The next round finds it again.
                for statement, bindings in problem.mend:
                    connection.execute(statement, bindings)
