"""Databases that somebody damaged, or made to do harm: every look at them ends with a sentence, and soon,
and nothing is written but where it was asked for."""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from art_core.errors import ArtError
from art_core.transfer import archive
from art_core.transfer.file_copies import copy_out
from art_core.transfer.pull import pull
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.care.maintenance import check
from art_cowfs.db.schema import PAGE
from art_cowfs.store import Database
from tests.support.bench import Bench

SOON_S = 30.0
"""Far more than any of these takes on a busy machine, and less than for ever."""
FLIPS = (1000, 1, 1, 1, 1, 2, 2, 8, 8, 60, 60, 300)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a database with three layers and many small files."""
    bench = Bench(tmp_path_factory.mktemp("sound"), layers=3)
    mount = bench.mount()
    for number in range(40):
        (mount.workspace / f"file{number}").write_bytes(bytes([number]) * number * 3000)
        (mount.path / f"directory{number}").mkdir()
        (mount.path / f"directory{number}/link").symlink_to("..")
    mount = bench.again(mount)
    for number in range(0, 40, 2):
        (mount.workspace / f"file{number}").unlink()
        os.setxattr(mount.workspace / f"file{number + 1}", "user.mark", b"x")
    bench.again(mount)
    bench.close()
    return bench.database.read_bytes()


class Place:
    """A directory with a damaged database, and what may be done with it."""

    def __init__(self, top: Path, data: bytes) -> None:
        self.top = top
        shutil.rmtree(top, ignore_errors=True)
        (top / "into/ws").mkdir(parents=True)
        self.path = top / "t.db"
        self.path.write_bytes(data)
        self.store = Database(str(self.path), str(top / "state"))

    def look(self) -> list[str]:
        """What each command says, when it fails."""
        said = []
        looks = (self._info, self._check, self._walk, self._pull, self._copy, self._export, self._care)
        for command in looks:
            started = time.monotonic()
            try:
                command()
            except (ArtError, OSError) as error:
                said.append(str(error))
                assert str(error) and "\n" not in str(error)
            assert time.monotonic() - started < SOON_S, command
        return said

    def _info(self) -> None:
        self.store.info()

    def _check(self) -> None:
        list(self.store.check())

    def _walk(self) -> None:
        with self.store.home("main", None) as home:
            for _ in home.walk(b""):
                pass

    def _export(self) -> None:
        with self.store.home("main", None) as home:
            archive.write(home, b"", io.BytesIO(), lambda path, why: None)

    def _care(self) -> None:
        self.store.collect()
        self.store.squash("main")

    def _pull(self) -> None:
        workspace = open_workspace(str(self.top / "into/ws"), moved=True)
        try:
            pull(self.store, "main", workspace, Wishes(anew=True))
        finally:
            os.close(workspace.fd)

    def _copy(self) -> None:
        with self.store.home("main", None) as home:
            copy_out(self.store, home, b"", str(self.top / "into/copy"), lambda *_: None, recursive=True)

    def strays(self) -> set[str]:
        """What lies there beside the target and the database's own files."""
        return {path.name for path in self.top.iterdir()} - {"t.db", "into", "state"}


@pytest.fixture
def place(tmp_path: Path, sound: bytes) -> Iterator[Callable[..., Place]]:
    def make(*statements: str) -> Place:
        made = Place(tmp_path / "place", sound)
        with closing(sqlite3.connect(made.path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        return made

    yield make


WORKSPACE = "(SELECT ino FROM dentry WHERE parent = 1 AND name = x'7773')"
SOME = "(SELECT min(ino) FROM inode WHERE (mode & 61440) = 16384 AND ino > 1 AND origin IS NULL)"


@pytest.mark.parametrize("name", ["../../escaped", "..", "a/b", "/etc/x", ""])
def test_no_name_leads_out_of_the_target(name: str, place: Callable[..., Place]) -> None:
    hexed = name.encode().hex()
    made = place(f"UPDATE dentry SET name = x'{hexed}' WHERE parent = {WORKSPACE} AND name = x'66696c6533'")
    said = made.look()
    assert name == "a/b" or any("which no file can have" in line for line in said)
    assert made.strays() == set() and not (made.top.parent / "escaped").exists()
    assert "name" in {finding.kind for finding in check(str(made.path))}


@pytest.mark.parametrize(
    ("kind", "statements"),
    [
        ("tree-cycle", [f"UPDATE dentry SET parent = {SOME} WHERE ino = {SOME}"]),
        ("several", [f"INSERT INTO dentry VALUES({SOME}, x'6d65', 1, {SOME})"]),
        ("several", [f"INSERT INTO dentry VALUES({SOME}, x'6d65', 1, 1)"]),
        ("layer-cycle", ["UPDATE layer SET parent = (SELECT max(id) FROM layer) WHERE id = 1"]),
        ("layer-cycle", ["UPDATE layer SET parent = id"]),
        ("layer-parent", ["UPDATE layer SET parent = 99 WHERE parent = 1"]),
        ("chunk-missing", ["DELETE FROM chunk"]),
        ("root", ["DELETE FROM inode WHERE ino = 1"]),
        (
            "type",
            ["UPDATE inode SET mode = 'x'", "UPDATE OR IGNORE dentry SET name = 'text' WHERE parent > 1"],
        ),
        ("point-none", ["DELETE FROM point"]),
    ],
)
def test_what_contradicts_itself_ends_every_look(
    kind: str, statements: list[str], place: Callable[..., Place]
) -> None:
    made = place(*statements)
    made.look()
    assert made.strays() == set()
    assert kind in {finding.kind for finding in check(str(made.path))}


def test_a_size_that_is_made_up_costs_nothing(place: Callable[..., Place]) -> None:
    made = place("UPDATE inode SET size = 1 << 40 WHERE (mode & 61440) = 32768")
    started = time.monotonic()
    made._pull()
    assert time.monotonic() - started < SOON_S and made.strays() == set()
    assert "chunk-missing" in {finding.kind for finding in check(str(made.path))}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_end_with_a_sentence(seed: int, sound: bytes, tmp_path: Path) -> None:
    rng = random.Random(seed)
    noticed = 0
    for flips in FLIPS:
        data = bytearray(sound)
        for _ in range(flips):
            page = rng.randrange(len(data) // PAGE)
            inside = rng.choice((rng.randrange(200), rng.randrange(PAGE), PAGE - 1 - rng.randrange(2000)))
            data[page * PAGE + inside] ^= 1 << rng.randrange(8)
        made = Place(tmp_path / "place", bytes(data))
        noticed += bool(made.look() or list(made.store.check()))
        assert made.strays() == set()
        try:
            list(made.store.repair(str(made.top / "backup")))
        except ArtError as error:
            assert str(error)
    assert noticed > 1, "what is damaged in a thousand places is noticed"
