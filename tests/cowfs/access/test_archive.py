"""A home as a tar archive: what goes out comes back the same, and hostile archives bring nothing in."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from art_core.errors import ArtError, TransferError
from art_core.store.files import HomeWriter
from art_core.transfer import archive
from art_core.trees import Entry
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from art_cowfs.store import Database
from tests.support.bench import tree

SPARSE = 40 << 20


def database(path: Path) -> Database:
    return Database(str(path), f"{path.parent}/state")


def quiet(path: bytes, why: str) -> None:
    raise AssertionError(f"{path!r} was skipped: {why}")


def exported(store: Database, at: str = "main", top: bytes = b"") -> bytes:
    out = io.BytesIO()
    with store.home(at, None) as home:
        archive.write(home, top, out, quiet)
    return out.getvalue()


def imported(store: Database, data: bytes, branch: str = "main") -> archive.Carried:
    with store.new_home(branch) as home:
        return archive.read(home, io.BytesIO(data), quiet)


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return found.getnames()


def sound(path: Path) -> bool:
    connection = connect(str(path))
    found = list(problems(connection))
    connection.close()
    assert found == []
    return not found


def fill(home: HomeWriter, rng: random.Random) -> None:
    """Directories, files, links and further names, with names, times and marks as strange as they may be."""
    directories: list[bytes] = [b""]
    files: list[Entry] = []
    letters = [bytes([byte]) for byte in range(1, 256) if byte != 47]
    for number in range(60):
        above = rng.choice(directories)
        name = b"%d" % number + b"".join(rng.choices(letters, k=rng.choice([1, 3, 30, 200])))
        path = above + b"/" + name if above else name
        entry = Entry(
            path=path,
            kind="file",
            mode=rng.choice([0o644, 0o4755, 0o000]),
            size=0,
            mtime_ns=rng.choice([0, 1, 10**9 - 1, -5, 1_700_000_000_123_456_789, 4_200_000_000 * 10**9]),
            xattrs={b"user.a": rng.randbytes(9), "user.é".encode(): b"\0=\n\xff"} if number % 7 == 0 else {},
        )
        what = rng.randrange(6)
        if what == 0:
            home.put(entry._replace(kind="dir", mode=0o755), iter(()))
            directories.append(path)
        elif what == 1:
            home.put(
                entry._replace(kind="link", mode=0o777, target=rng.choice([b"/etc", b"..", name])), iter(())
            )
        elif what == 2 and files:
            home.link(path, rng.choice(files))
        else:
            data = rng.randbytes(rng.choice([0, 1, 70_000, 700_000]))
            files.append(home.put(entry._replace(size=len(data)), iter([(0, data)])))
    middle = [(20 << 20, b"middle")]
    home.put(Entry(path=b"sparse", kind="file", mode=0o600, size=SPARSE, mtime_ns=0), iter(middle))


@pytest.mark.parametrize("seed", range(4))
def test_what_goes_out_comes_back_the_same(seed: int, tmp_path: Path) -> None:
    one, other = database(tmp_path / "one.db"), database(tmp_path / "other.db")
    with one.new_home("main") as home:
        fill(home, random.Random(seed))
    data = exported(one)
    done = imported(other, data)
    assert done.entries == len(names(data))
    with one.home("main", None) as before, other.home("main", None) as after:
        assert tree(after) == tree(before)
    assert exported(other) == data
    assert sound(tmp_path / "other.db") and os.stat(tmp_path / "other.db").st_size < SPARSE
    imported(other, data, "again")
    assert exported(other, "again") == data and sound(tmp_path / "other.db")


def test_gnu_tar_reads_and_writes_it(tmp_path: Path) -> None:
    store, out = database(tmp_path / "t.db"), tmp_path / "out"
    with store.new_home("main") as home:
        home.put(Entry(path=b"ws", kind="dir", mode=0o750, size=0, mtime_ns=10**18), iter(()))
        put = home.put(
            Entry(path=b"ws/a\xff", kind="file", mode=0o640, size=5, mtime_ns=5), iter([(0, b"hello")])
        )
        home.link(b"ws/b", put)
        home.put(Entry(path=b"ws/l", kind="link", mode=0o777, size=1, mtime_ns=9, target=b"b"), iter(()))
    out.mkdir()
    subprocess.run(["tar", "-x", "-C", out], input=exported(store), check=True)
    assert (out / os.fsdecode(b"ws/a\xff")).read_bytes() == b"hello"
    assert (out / "ws/b").stat().st_nlink == 2 and os.readlink(out / "ws/l") == "b"
    assert (out / "ws/b").stat().st_mtime_ns == 5 and (out / "ws").stat().st_mtime_ns == 10**18
    packed = subprocess.run(["tar", "-cz", "-C", out, "."], stdout=subprocess.PIPE, check=True).stdout
    imported(store, packed, "back")
    with store.home("main", None) as before, store.home("back", None) as after:
        assert [file.path for file in after.walk(b"")] == [file.path for file in before.walk(b"")]
    assert names(exported(store, top=b"ws"))[1:] == ["b", "l"]


def member(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, linkname, size
    return info


def packed(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for one in members:
            made.addfile(one, io.BytesIO(bytes(one.size)))
    return out.getvalue()


HOSTILE = {
    "absolute": packed(member("fine"), member("/etc/passwd")),
    "dots": packed(member("fine"), member("a/../../b")),
    "dots of a link": packed(member("fine"), member("x", tarfile.LNKTYPE, "../fine")),
    "further name of nothing": packed(member("x", tarfile.LNKTYPE, "absent")),
    "further name of a directory": packed(member("d", tarfile.DIRTYPE), member("x", tarfile.LNKTYPE, "d")),
    "through a link": packed(member("l", tarfile.SYMTYPE, "/etc"), member("l/passwd")),
    "through a file": packed(member("f"), member("f/x")),
    "two kinds": packed(member("d", tarfile.DIRTYPE), member("d/x"), member("d")),
    "long name": packed(member("x" * 300)),
    "cut short": packed(member("x", size=100_000))[:40_000],
    "no archive": b"#!/bin/sh\n" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_brings_nothing_in(what: str, tmp_path: Path) -> None:
    store = database(tmp_path / "t.db")
    with pytest.raises(TransferError, match="nothing was imported"):
        imported(store, HOSTILE[what], "new")
    assert [point.name for point in store.points()] == ["main"]
    store.collect()
    assert store.info().layers == 1 and sound(tmp_path / "t.db")


def test_devices_are_skipped_and_links_stay_links(tmp_path: Path) -> None:
    store = database(tmp_path / "t.db")
    skipped: list[bytes] = []
    note: Callable[[bytes, str], None] = lambda path, why: skipped.append(path)  # noqa: E731
    data = packed(
        member("sda", tarfile.BLKTYPE), member("p", tarfile.FIFOTYPE), member("l", tarfile.SYMTYPE, "/etc")
    )
    with store.new_home("main") as home:
        assert archive.read(home, io.BytesIO(data), note)[::2] == (1, 2)
    assert skipped == [b"sda", b"p"]
    with store.home("main", None) as read:
        assert [(file.path, file.target) for file in read.walk(b"")] == [(b"l", b"/etc")]


def test_a_name_that_is_taken_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    store = database(tmp_path / "t.db")
    imported(store, packed(member("one")))
    for name in ("main", "no name"):
        with pytest.raises(ArtError):
            imported(store, packed(member("two")), name)
    store.snapshot("main", "kept")
    with pytest.raises(ArtError, match="snapshot 'kept'"):
        imported(store, packed(member("two")), "kept")
    with store.home("main", None) as home:
        assert [file.path for file in home.walk(b"")] == [b"one"]
