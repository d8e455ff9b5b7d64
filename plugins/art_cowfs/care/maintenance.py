"""Looking after a database, as core asks for it. See `art_core.store.maintenance.Maintenance`."""

from __future__ import annotations

from collections.abc import Iterator

from art_core.store.maintenance import Collected, Finding, Info, Squashed
from art_cowfs.care import repair
from art_cowfs.care.host_check import changed_files
from art_cowfs.care.info import figures
from art_cowfs.db.schema import CorruptError, DatabaseError, LogError
from art_cowfs.integrity.check import examine
from art_cowfs.integrity.problems import Problem
from art_cowfs.layers import garbage
from art_cowfs.layers.squash import squash_branch
from art_cowfs.opening import log_owner
from art_cowfs.opening.database import connect, telling


def info(path: str) -> Info:
    with telling(path):
        return figures(path)


def check(path: str) -> Iterator[Finding]:
    try:
        connection = connect(path, write=False)
    except LogError as error:
        yield Finding("log", str(error), True)
        connection = log_owner.alone(path)
    except CorruptError as error:
        yield Finding("sqlite", str(error))
        return
    try:
        for problem in examine(connection):
            yield _finding(problem)
        for problem in changed_files(connection):
            yield _finding(problem)
    finally:
        connection.close()


def _finding(problem: Problem) -> Finding:
    return Finding(problem.kind, problem.what, bool(problem.mend))


def mend(path: str, backup: str) -> Iterator[Finding]:
    with telling(path):
        try:
            for problem in repair.repair(path, backup):
                yield _finding(problem)
        except CorruptError as error:
            raise DatabaseError(
                f"{str(error).partition(';')[0]}, and too much so to be mended: look for an older copy, or "
                "for an export of it"
            ) from None


def collect(path: str) -> Collected:
    with telling(path):
        return garbage.collect(path)


def squash(path: str, branch: str) -> Squashed:
    with telling(path):
        return squash_branch(path, branch)
