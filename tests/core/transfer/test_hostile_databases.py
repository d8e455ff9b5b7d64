"""A database that somebody made up: nothing is written outside of the directory that was named."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept

NAMES = [b"..", b"../../escaped", b"nul\0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_can_have_ends_it(plain: Caller, name: bytes) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        kept.push()
        change(kept.database, "UPDATE dentry SET name = ? WHERE name = ?", (name, b"deep.py"))
        before = listing(workspace.parent)
        for command, *words in (("pull",), ("pull", "--into", "out"), ("status",), ("diff",)):
            done = kept.art(*words, command=command)
            assert (done.returncode, done.stderr.count(b"\n")) == (125, 1), done.stderr
            assert b"Traceback" not in done.stderr
        after = {path for path in listing(workspace.parent) if not path.startswith("out")}
        assert after == before


def test_a_directory_within_itself_ends_it(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        kept.push()
        where = "(SELECT ino FROM dentry WHERE name = x'737263')"
        change(
            kept.database,
            f"INSERT INTO dentry SELECT {where}, x'6d65', layer, {where} FROM dentry LIMIT 1",
            (),
        )
        for command, *words in (("pull", "--into", "out"), ("status",), ("diff", "main..main")):
            done = kept.art(*words, command=command)
            assert done.returncode == 125 and b"Traceback" not in done.stderr, done.stderr


def change(database: Path, statement: str, bindings: tuple[bytes, ...]) -> None:
    connection = apsw.Connection(str(database))
    with connection:
        connection.execute(statement, bindings)
    connection.close()


def listing(top: Path) -> set[str]:
    return {os.path.relpath(path, top) for path in top.rglob("*")}
