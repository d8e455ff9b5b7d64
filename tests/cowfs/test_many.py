"""With many files what it costs grows with their number, and memory does not."""

from __future__ import annotations

import os
import stat
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import apsw
import pytest

from art_core.contracts import MAIN
from art_core.store import walk_order
from art_core.transfer.changes import against_host
from art_core.transfer.pull import pull
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.db.transactions import changing
from art_cowfs.integrity.check import problems
from art_cowfs.layers import chain, layers
from art_cowfs.layers.layers import add_layer
from art_cowfs.opening.database import connect
from art_cowfs.store import Database
from art_cowfs.tree import resident, tree
from art_fusefs.backend import ROOT

FEW, MANY = 2_000, 8_000
DIRECTORY = 2


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[tuple[apsw.Connection, apsw.Connection]]:
    """One with few files in a directory, and one with four times as many."""
    with (
        closing(connect(str(tmp_path / "few"), create=True)) as few,
        closing(connect(str(tmp_path / "many"), create=True)) as many,
    ):
        for connection, files in ((few, FEW), (many, MANY)):
            fill(connection, files)
        yield few, many


def fill(connection: apsw.Connection, files: int) -> None:
    inode = f"INSERT INTO inode VALUES(?, 1, ?, ?, 0, 7, 0, 0, 0, 0, 0, 0{', NULL' * 4})"
    numbers = range(DIRECTORY + 1, DIRECTORY + 1 + files)
    with changing(connection):
        connection.execute("UPDATE inode SET nlink = 3 WHERE ino = ?", (ROOT,))
        connection.execute(inode, (DIRECTORY, stat.S_IFDIR | 0o755, 2))
        connection.execute("INSERT INTO dentry VALUES(?, x'64', 1, ?)", (ROOT, DIRECTORY))
        connection.executemany(inode, ((ino, stat.S_IFREG | 0o644, 1) for ino in numbers))
        names = ((DIRECTORY, b"%d" % ino, 1, ino) for ino in numbers)
        connection.executemany("INSERT INTO dentry VALUES(?, ?, ?, ?)", names)
        chunks = ((ino, b"content") for ino in numbers)
        connection.executemany("INSERT INTO chunk VALUES(NULL, ?, 0, 1, ?)", chunks)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'next_ino'", (numbers.stop,))


def remove_all(connection: apsw.Connection) -> int:
    """Remove the directory in a layer of its own, which is returned."""
    upper: int
    with changing(connection):
        upper = add_layer(connection, 1, 0)
        connection.execute("UPDATE point SET layer = ? WHERE name = ?", (upper, MAIN))
        columns = "rdev, size, holes, clip, host_clip, atime, mtime, ctime, NULL, NULL, NULL, NULL"
        links = f"CASE ino WHEN {ROOT} THEN 2 ELSE 0 END"
        gone = f"INSERT INTO inode SELECT ino, ?, mode, {links}, {columns} FROM inode"
        connection.execute(gone, (upper,))
        connection.execute(
            "INSERT INTO dentry SELECT parent, name, ?, NULL FROM dentry WHERE layer = 1", (upper,)
        )
    return upper


def merged(connection: apsw.Connection) -> int:
    """How many hundreds of SQLite's steps it takes to merge the layer of a removal."""
    upper = remove_all(connection)
    steps = count()
    connection.set_progress_handler(lambda: next(steps) < 0, 100)
    with changing(connection):
        while layers.move(connection, upper, 1, upper, 64, dead=True):
            pass
    found = next(steps)
    assert connection.execute("SELECT count(*) FROM inode").get == 1
    return found


def test_a_merge_takes_steps_in_proportion(databases: tuple[apsw.Connection, apsw.Connection]) -> None:
    few, many = map(merged, databases)
    assert 0 < many < few * 1.2 * MANY / FEW


def changed(files: int, place: Path) -> int:
    """The most memory that it takes to compare and to plan a pull of so many new files, in bytes."""
    database, host = place / f"{files}.db", place / f"{files}" / "d"
    host.mkdir(parents=True)
    with closing(connect(str(database), create=True)) as connection:
        fill(connection, files)
    workspace, store = open_workspace(str(host)), Database(str(database), str(place / "state"))
    tracemalloc.start()
    with against_host(store, MAIN, workspace, Wishes()) as found:
        assert len(found.changes) == files
        for change in found.changes:
            assert change.what == ("added",) and change.after is not None
            assert list(found.sides.after.blocks(change.after)) == [(0, b"content")]
    assert pull(store, MAIN, workspace, Wishes(dry_run=True)).carried == files
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    os.close(workspace.fd)
    return peak


def test_what_changed_needs_no_memory_for_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a hundred are many."""
    few = ((walk_order, "_FEW"), (resident, "_FEW_NODES"), (tree, "_LIST_AT_ONCE"), (chain, "_PAGE"))
    for module, name in few:
        monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(walk_order, "_IN_MEMORY", 1)
    changed(299, tmp_path)  # What is loaded once does not count.
    least, most = changed(300, tmp_path), changed(1200, tmp_path)
    assert most < least + 256 * 900


def test_a_check_needs_no_memory_for_each_file(databases: tuple[apsw.Connection, apsw.Connection]) -> None:
    peaks = []
    for connection in databases:
        tracemalloc.start()
        assert list(problems(connection)) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 8 * (MANY - FEW)
