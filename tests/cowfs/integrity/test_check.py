"""What is wrong with a database is found, by its kind, and mended without losing what can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from art_cowfs.care.maintenance import check, mend
from tests.support.bench import Bench, branches

CHUNKS = 3
CONTENTS = bytes(range(256)) * 256 * CHUNKS


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two layers and a branch: files of all kinds, holes, and a file of the host's changed in part."""
    bench = Bench(tmp_path_factory.mktemp("sound"), layers=2)
    (bench.host / "below").mkdir()
    (bench.host / "below/kept").write_bytes(b"host")
    (bench.host / "large").write_bytes(CONTENTS * 8)
    os.utime(bench.host / "large", (1, 1))
    mount = bench.mount()
    for name in ("one", "one/two", "one/two/three"):
        (mount.path / name).mkdir()
    (mount.path / "one/file").write_bytes(CONTENTS)
    (mount.path / "one/two/small").write_bytes(b"small")
    os.setxattr(mount.path / "one/two/small", "user.mark", b"x")
    (mount.path / "link").symlink_to("one/file")
    os.link(mount.path / "one/file", mount.path / "again")
    with open(mount.path / "sparse", "wb") as file:
        file.truncate(10 << 20)
        file.seek(5 << 20)
        file.write(b"middle")
    mount = bench.again(mount)
    (mount.path / "one/new").write_bytes(b"new")
    (mount.path / "one/two/small").unlink()
    with open(mount.workspace / "large", "r+b") as file:
        file.write(b"changed")
    bench.unmount(mount)
    branches(bench.database, ["other"])
    mount = bench.mount()
    (mount.path / "last").write_bytes(b"last")
    bench.close()
    yield bench.database


@pytest.fixture
def database(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sound, tmp_path / "t.db"))


def edit(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def found(database: Path) -> set[str]:
    return {finding.kind for finding in check(str(database))}


def numbers(database: Path, path: str) -> tuple[int, int]:
    """The directory that holds a path of the home, and the number that it leads to."""
    with closing(sqlite3.connect(database)) as connection:
        ino, parent = 1, 1
        for name in path.split("/"):
            query = "SELECT ino FROM dentry WHERE parent = ? AND name = ? ORDER BY layer DESC LIMIT 1"
            parent, (ino,) = ino, connection.execute(query, (ino, name.encode())).fetchone()
    return parent, ino


def contents(database: Path) -> dict[bytes, int]:
    """What each distinct content of the database is, and how often it is there."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT data FROM chunk").fetchall()
    return {data: sum(other == data for (other,) in rows) for (data,) in rows}


def test_a_sound_database_has_nothing_wrong(sound: Path) -> None:
    assert list(check(str(sound))) == []


ONE = "(SELECT ino FROM dentry WHERE name = x'6f6e65')"
TWO = "(SELECT ino FROM dentry WHERE name = x'74776f')"
THREE = "(SELECT ino FROM dentry WHERE name = x'7468726565')"
FILE = "(SELECT ino FROM dentry WHERE name = x'66696c65')"
DAMAGES = {
    "layer-parent": "UPDATE layer SET parent = 900 WHERE parent = 1",
    "layer-cycle": "UPDATE layer SET parent = (SELECT max(id) FROM layer) WHERE id = 1",
    "layer-order": "INSERT INTO layer SELECT 1000 + id, 2000, 0 FROM layer WHERE id = 1; "
    "INSERT INTO layer VALUES(2000, NULL, 0)",
    "layer-unknown": "UPDATE dentry SET layer = 77 WHERE name = x'6c696e6b'",
    "point-layer": "UPDATE point SET layer = 900 WHERE name = 'other'",
    "point-kind": "UPDATE point SET kind = 'tag' WHERE name = 'before-the-branches'",
    "point-top": "UPDATE point SET layer = 1 WHERE name = 'other'",
    "point-none": "DELETE FROM point",
    "homeless": f"DELETE FROM inode WHERE ino = {TWO} AND layer = 1",
    "dangling": f"UPDATE dentry SET ino = 5000 WHERE ino = {THREE}",
    "orphan": f"DELETE FROM dentry WHERE ino = {THREE}",
    "links": f"UPDATE inode SET nlink = 9 WHERE ino = {FILE}",
    "several": f"INSERT INTO dentry VALUES(1, x'6d6f7265', 1, {THREE})",
    "tree-cycle": f"INSERT INTO dentry SELECT {THREE}, name, layer, ino FROM dentry WHERE ino = {TWO}; "
    f"DELETE FROM dentry WHERE ino = {TWO} AND parent = {ONE}",
    "root": "DELETE FROM inode WHERE ino = 1",
    "parent": f"INSERT INTO dentry VALUES({FILE}, x'78', 1, {THREE})",
    "name": f"INSERT INTO dentry VALUES({ONE}, x'2e2e', 1, {FILE})",
    "mode": f"UPDATE inode SET mode = 15 WHERE ino = {FILE}",
    "size": f"UPDATE inode SET size = -5 WHERE ino = {FILE}",
    "target": "UPDATE inode SET target = NULL WHERE target IS NOT NULL",
    "origin-path": "UPDATE inode SET origin = x'2e2e2f78' WHERE substr(origin, -5) = x'6c61726765'",
    "chunk-missing": f"DELETE FROM chunk WHERE ino = {FILE} AND idx = 1",
    "chunk-size": f"UPDATE chunk SET data = zeroblob(70000) WHERE ino = {FILE} AND idx = 0",
    "chunk-place": f"UPDATE chunk SET idx = -2 WHERE ino = {FILE} AND idx = 0",
    "holes": f"UPDATE inode SET holes = 65536 WHERE ino = {FILE}",
    "numbers": "UPDATE meta SET value = 3 WHERE key = 'next_ino'",
    "type": f"UPDATE inode SET size = 'much' WHERE ino = {FILE}",
    "host": "UPDATE inode SET origin_mtime = 5 WHERE substr(origin, -5) = x'6c61726765'",
    "sqlite": "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'chunk_place'",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_is_found_and_mended(kind: str, database: Path, tmp_path: Path) -> None:
    before = contents(database)
    edit(database, *DAMAGES[kind].split("; "))
    assert kind in found(database)
    mended = list(mend(str(database), str(tmp_path / "backup")))
    assert kind in {finding.kind for finding in mended} | {"host"}
    assert found(database) <= {"host"}
    if kind not in ("chunk-missing", "chunk-size", "chunk-place"):
        assert contents(database) == before, "nothing that could be read is lost"
    assert found(tmp_path / "backup"), "the backup is as the database was"
