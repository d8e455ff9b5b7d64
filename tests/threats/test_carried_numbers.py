"""An archive, or a database of an older format, does not make ART work without end."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from art_core.transfer.archive import _time
from art_cowfs.db.file_header import APPLICATION_ID
from art_cowfs.db.schema import DatabaseError
from art_cowfs.opening.database import connect
from art_cowfs.opening.migrations import TABLES_1
from tests.support.callers import Caller, fresh_directory

NUMBERS = ("1e999980", "-1e999980", "1e999999", "1e-999999", "9" * 5000, "inf", "nan", "x")


def archive(**headers: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers = headers
        tar.addfile(member)
    return made.getvalue()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_time_of_an_archive_is_brought_within_bounds(number: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive(mtime=number)), mode="r|*") as tar:
        assert -(1 << 63) <= _time(tar.next() or tarfile.TarInfo()) < 1 << 63


def test_numbers_of_an_archive_end_an_import_with_a_sentence_or_not_at_all(caller: Caller) -> None:
    with fresh_directory(caller) as workspace:
        for number, key in enumerate(("mtime", "size", "uid", "GNU.sparse.realsize", "GNU.sparse.size")):
            for value in ("1e999980", "9" * 5000):
                options = ["-b", f"b{number}{len(value)}", "-d", "x.db"]
                done = caller.art(
                    "db", "import", "--tar", *options, cwd=workspace, input=archive(**{key: value})
                )
                assert b"plugin" not in done.stderr and b"Traceback" not in done.stderr, (key, done.stderr)
                assert done.returncode in (0, 125), done.stderr


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
HOSTILE = {
    "trigger": f"CREATE TRIGGER t AFTER INSERT ON session BEGIN INSERT INTO meta {ENDLESS}; END",
    "view": f"CREATE VIEW point AS {ENDLESS}",
    "calculated": "CREATE TABLE layer_1(id, more AS (zeroblob(1000000000)))",
    "index": "CREATE INDEX more ON layer(hex(zeroblob(1000000)))",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_database_of_format_1_is_looked_at_before_it_is_renewed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(f"{TABLES_1}; CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;")
        connection.execute(HOSTILE[kind])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="not as ART makes it"):
        connect(str(path))
    assert path.read_bytes() == before
