"""Work on what a sandbox, an archive or a database made has an end: holes are skipped, depth costs no more
than it is, and nothing is calculated for whoever looks."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from art_cli.diff.patches import Half, Pair, text_of
from art_core.errors import StoreError, TransferError
from art_core.host.descent import Trail
from art_core.store import bounds
from art_core.store.blocks import of_file, segments
from art_core.transfer import archive
from art_core.transfer.changes import against_host
from art_core.transfer.export import export
from art_core.transfer.host_files import HostTree
from art_core.transfer.pull import pull
from art_core.transfer.push import push
from art_core.transfer.transfer import Wishes
from art_core.trees import Entry
from art_core.view.workspace import open_workspace
from art_cowfs.history import points
from art_cowfs.opening.database import connect
from tests.support.bench import Bench, clean, store

HUGE = 15 << 40
DEPTH = 1100
"""More than Python calls itself, and, with names of ten letters, than a path may be long."""


@pytest.fixture
def bench(roomy: Bench) -> Bench:
    return roomy


def sparse(path: Path, size: int = HUGE) -> None:
    """A few bytes in a file of nearly nothing but holes."""
    with open(path, "wb") as file:
        file.truncate(size)
        for place in (0, size // 2, size - 3):
            os.pwrite(file.fileno(), b"end", place)


def deep(top: Path, depth: int = DEPTH) -> None:
    fd = os.open(top, os.O_RDONLY)
    for number in range(depth):
        os.mkdir("directory_", dir_fd=fd)
        below = os.open("directory_", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if number % 400 == 0:
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


def test_holes_of_the_host_are_not_read(bench: Bench) -> None:
    sparse(bench.host / "huge")
    opened = open_workspace(str(bench.host))
    try:
        assert push(store(bench), "main", opened, Wishes()).carried == 1
        with HostTree(opened.fd) as host:
            entry = host.find(b"huge")
            assert entry is not None and entry.size == HUGE
            assert sum(len(data) for _, data in host.blocks(entry)) < 4 << 20
    finally:
        os.close(opened.fd)
    mount = bench.mount()
    fd = os.open(mount.workspace / "huge", os.O_RDONLY)
    assert [os.pread(fd, 3, place) for place in (0, HUGE // 2, HUGE - 3)] == [b"end"] * 3
    os.close(fd)


def test_a_young_file_of_the_host_is_completed_without_its_holes(bench: Bench) -> None:
    mount = bench.mount()
    sparse(bench.host / "huge")
    with open(mount.workspace / "huge", "r+b") as file:
        file.write(b"X")
    mount = bench.again(mount)
    bench.unmount(mount)
    assert bench.database.stat().st_size < 8 << 20
    opened = open_workspace(str(bench.host))
    with against_host(store(bench), "main", opened, Wishes()) as found:
        (change,) = found.changes
        assert change.after is not None
        assert sum(len(data) for _, data in found.sides.after.blocks(change.after)) < 8 << 20
        half = Half(change.after, found.sides.after)
        assert text_of(Pair(None, half, True)).too_large
    os.close(opened.fd)
    assert clean(bench.database)


def test_an_archive_holds_no_holes_of_a_large_file(bench: Bench) -> None:
    kept = {0: b"begin", 1 << 40: b"middle" * 1000}
    with store(bench).new_home("main") as home:
        entry = Entry(path=b"sub", kind="dir", mode=0o755, size=0, mtime_ns=1)
        home.put(entry, iter(()))
        entry = entry._replace(
            path=b"sub/h\xffge", kind="file", size=bounds.LARGEST, xattrs={b"user.a": b"\xff"}
        )
        home.put(entry, iter(kept.items()))
        home.put(entry._replace(path=b"empty", xattrs={}), iter(()))
        home.put(entry._replace(path=b"last", size=4, xattrs={}), iter([(0, b"last")]))
    out = io.BytesIO()
    with store(bench).home("main", None) as home:
        archive.write(home, b"", out, lambda *_: None)
    assert len(out.getvalue()) < 4 << 20
    with store(bench).new_home("again") as home:
        archive.read(home, io.BytesIO(out.getvalue()), lambda *_: None)
    with store(bench).home("again", None) as home:
        found = {file.path: file for file in home.walk(b"")}
        assert found[b"sub/h\xffge"].size == found[b"empty"].size == bounds.LARGEST
        assert found[b"sub/h\xffge"].xattrs == {b"user.a": b"\xff"}
        for offset, data in home.blocks(found[b"sub/h\xffge"]):
            for place, expected in kept.items():
                if offset <= place < offset + len(data):
                    assert data[place - offset :][: len(expected)] == expected
        assert b"".join(data for _, data in home.blocks(found[b"last"])) == b"last"


@pytest.mark.parametrize(
    "listed",
    [b"2\n0\n5\n3\n5\n", b"1\n-5\n5\n", b"1\n0\n99\n", b"99999999999999999999\n", b"x\n", b"1\n0\n5"],
)
def test_a_list_of_parts_that_makes_no_file_is_refused(bench: Bench, listed: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("GNUSparseFile.0/file")
        more = {"major": "1", "minor": "0", "name": "file", "realsize": "8"}
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in more.items()}
        data = listed.ljust(512, b"\0") + b"12345678"
        info.size = len(data)
        made.addfile(info, io.BytesIO(data))
    with pytest.raises(TransferError), store(bench).new_home("main") as home:
        archive.read(home, io.BytesIO(out.getvalue()), lambda *_: None)


@pytest.mark.slow
def test_a_deep_tree_is_carried_both_ways(bench: Bench) -> None:
    deep(bench.host)
    into = bench.top / "into"
    into.mkdir()
    opened, target = open_workspace(str(bench.host)), os.open(into, os.O_RDONLY)
    few = len(os.listdir("/proc/self/fd"))
    try:
        entries = DEPTH + -(-DEPTH // 400)
        assert push(store(bench), "main", opened, Wishes()).carried == entries
        assert pull(store(bench), "main", opened, Wishes()).same == entries
        assert export(store(bench), "main", opened, target, Wishes()).carried == entries
        with HostTree(target) as host:
            assert sum(1 for _ in host.walk()) == entries
            assert len(os.listdir("/proc/self/fd")) < few + 100
    finally:
        os.close(opened.fd)
        os.close(target)


def test_a_trail_leads_to_what_stands_there_now(tmp_path: Path) -> None:
    for name in ("a/b/c", "other/b/c", "x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other/b/c/mark").touch()
    (tmp_path / "x/link").symlink_to("../a")
    top = os.open(tmp_path, os.O_PATH)
    trail = Trail(top)
    assert os.listdir(f"/proc/self/fd/{trail.go(b'a/b')}") == ["c"]
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "other").rename(tmp_path / "a")
    assert os.listdir(f"/proc/self/fd/{trail.go(b'a/b/c')}") == ["mark"]
    with pytest.raises(OSError):
        trail.go(b"x/link")
    with pytest.raises(OSError):
        trail.go(b"a/b/c/mark")
    trail.close()
    os.close(top)


def test_the_parts_of_a_file_are_all_of_it(tmp_path: Path) -> None:
    sparse(tmp_path / "file", 50 << 20)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    found = bytearray(50 << 20)
    for offset, data in of_file(fd):
        found[offset : offset + len(data)] = data
    assert found == (tmp_path / "file").read_bytes()
    assert list(segments(fd, 50 << 20)) == []
    os.close(fd)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW more AS SELECT 1",
        "CREATE TRIGGER more AFTER INSERT ON inode BEGIN SELECT 1; END",
        "CREATE TABLE more(a, b AS (a))",
        "CREATE VIRTUAL TABLE more USING fts5(a)",
        "CREATE INDEX more ON inode(abs(mtime))",
        "ALTER TABLE inode RENAME TO other; CREATE VIEW inode AS WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL "
        "SELECT a + 1 FROM n) SELECT other.* FROM other, n",
        "ALTER TABLE inode ADD COLUMN more AS (hex(zeroblob(400000000)))",
        "DROP TABLE xattr; CREATE TABLE xattr(ino INTEGER, name BLOB, layer INTEGER, value BLOB, "
        "CHECK(length(randomblob(1000000000)) > 0), PRIMARY KEY(ino, name, layer)) WITHOUT ROWID",
    ],
)
def test_a_database_that_works_for_whoever_reads_it_is_refused(bench: Bench, made: str) -> None:
    bench.unmount(bench.mount())
    with closing(sqlite3.connect(bench.database)) as connection:
        connection.executescript(made)
    with pytest.raises(StoreError, match="not as ART makes it"):
        connect(str(bench.database))
    with pytest.raises(StoreError, match="not as ART makes it"):
        bench.mount()
    opened = open_workspace(str(bench.host))
    with pytest.raises(StoreError, match="not as ART makes it"):
        pull(store(bench), "main", opened, Wishes())
    os.close(opened.fd)


def names(top: Path) -> int:
    """How deep it goes down to a file, by descriptors: a path of that length is none."""
    fd, depth = os.open(top, os.O_RDONLY), 0
    try:
        while "d" in os.listdir(fd):
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd, depth = below, depth + 1
        return depth if os.listdir(fd) == ["f"] else -depth
    finally:
        os.close(fd)


LEVELS = 1200
"""More than Python calls itself; a path of the host may have 2,047."""


@pytest.mark.parametrize("step", ["changed", "removed", "moved"])
@pytest.mark.slow
def test_a_restore_of_many_levels_costs_what_they_are(bench: Bench, step: str) -> None:
    """Whether a directory of the host shows anywhere was looked for from each level up and down again."""
    fd = os.open(bench.host, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    mount = bench.mount()
    bench.unmount(mount)
    points.snapshot(str(bench.database), "main", "before")
    mount = bench.mount()
    if step == "moved":
        (mount.workspace / "d").rename(mount.workspace / "e")
    else:
        fd = os.open(mount.workspace, os.O_RDONLY)
        trail = [fd]
        for _ in range(LEVELS):
            trail.append(os.open("d", os.O_RDONLY, dir_fd=trail[-1]))
        if step == "changed":
            os.chmod("f", 0o600, dir_fd=trail[-1])
        else:
            os.unlink("f", dir_fd=trail[-1])
            for above in reversed(trail[:-1]):
                os.rmdir("d", dir_fd=above)
        for fd in trail:
            os.close(fd)
    bench.unmount(mount)
    workspace = open_workspace(str(bench.host))
    try:
        points.restore(str(bench.database), "main", "before", [b"ws/d"], workspace)
    finally:
        os.close(workspace.fd)
    mount = bench.mount()
    assert names(mount.workspace) == LEVELS
    bench.unmount(mount)
    assert clean(bench.database)


@pytest.mark.slow
def test_a_push_removes_any_depth(bench: Bench) -> None:
    deep(bench.host)
    opened = open_workspace(str(bench.host))
    try:
        push(store(bench), "main", opened, Wishes())
        subprocess.run(["rm", "-r", bench.host / "directory_"], check=True)
        assert push(store(bench), "main", opened, Wishes()).removed > 0
    finally:
        os.close(opened.fd)
