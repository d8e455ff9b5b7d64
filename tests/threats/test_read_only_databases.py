"""A database that may be read and not written: reading leaves nothing beside it, and writing says why not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory

READERS = (("status",), ("log",), ("fs", "ls"), ("snapshot", "--list"), ("db", "check"))
WRITERS = (("snapshot", "one"), ("push",), ("db", "gc"))


@pytest.fixture
def database(plain: Caller) -> Iterator[Path]:
    """With a file that was made inside, in a directory of its own; the workspace is beside that."""
    with fresh_directory(plain) as workspace:
        found = workspace.parent / "kept" / "t.db"
        assert plain.run(["mkdir", found.parent]).returncode == 0
        made = plain.art(
            "-i=false", "-m", workspace, "-d", found, "--", "sh", "-c", "echo content > new", cwd=workspace
        )
        assert made.returncode == 0, made.stderr
        yield found
        found.parent.chmod(0o755)


def reads_and_does_not_write(caller: Caller, database: Path) -> None:
    workspace = database.parent.parent / "ws"
    before = sorted(os.listdir(database.parent))
    for words in READERS:
        done = caller.art(*words, "-d", database, cwd=workspace)
        assert done.returncode == 0, (words, done.stderr)
    for words in WRITERS:
        done = caller.art(*words, "-d", database, cwd=workspace)
        assert done.returncode == 125
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(b"art: error")]
        assert b"it is read-only; make it and its directory writable" in line
    assert sorted(os.listdir(database.parent)) == before


def test_a_database_in_a_read_only_directory_is_read(plain: Caller, database: Path) -> None:
    database.parent.chmod(0o555)
    reads_and_does_not_write(plain, database)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_readers_leave_nothing_beside_the_database_of_another_user(plain: Caller, database: Path) -> None:
    os.chown(database, 0, 0)
    database.chmod(0o644)
    reads_and_does_not_write(plain, database)
