"""The host's side of a transfer: nothing leads out of the workspace, and files appear whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.errors import TransferError
from art_core.transfer.host_files import HostTree, Unreadable, checked
from art_core.trees import Entry


@pytest.fixture
def top(tmp_path: Path) -> Path:
    directory = tmp_path / "ws"
    directory.mkdir()
    return directory


@pytest.fixture
def tree(top: Path) -> Iterator[HostTree]:
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    with HostTree(fd) as opened:
        yield opened
    os.close(fd)


def file(path: bytes, data: bytes = b"data", **more: object) -> Entry:
    fields: dict[str, object] = {
        "path": path,
        "kind": "file",
        "mode": 0o644,
        "size": len(data),
        "mtime_ns": 5,
    }
    return Entry(**{**fields, **more})  # type: ignore[arg-type]


def blocks(*parts: tuple[int, bytes]) -> Iterator[tuple[int, bytes]]:
    return iter(parts)


@pytest.mark.parametrize(
    "path", [b"", b"..", b"a/../b", b"/etc/passwd", b"a//b", b"a/", b"./a", b"a\0b", b"."]
)
def test_a_path_that_no_file_can_have_is_refused(tree: HostTree, path: bytes) -> None:
    with pytest.raises(TransferError, match="no file can have"):
        checked(path)
    with pytest.raises(TransferError):
        tree.put(file(path), blocks((0, b"data")))
    with pytest.raises(TransferError):
        tree.remove(path)


def test_nothing_is_written_or_read_through_a_link(tree: HostTree, top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("host")
    (top / "link").symlink_to(outside)
    (top / "leaf").symlink_to(outside / "file")
    assert tree.find(b"link/file") is None
    for action in (
        lambda: tree.put(file(b"link/new"), blocks((0, b"data"))),
        lambda: tree.remove(b"link/file"),
        lambda: list(tree.blocks(file(b"leaf"))),
        lambda: tree.link(b"link/hard", b"leaf"),
    ):
        with pytest.raises(OSError):
            action()
    tree.put(file(b"leaf"), blocks((0, b"data")))
    assert (outside / "file").read_text() == "host"
    assert sorted(os.listdir(outside)) == ["file"]
    assert (top / "leaf").read_text() == "data" and not (top / "leaf").is_symlink()


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tree: HostTree, top: Path) -> None:
    (top / "file").write_text("old")

    def broken() -> Iterator[tuple[int, bytes]]:
        yield 0, b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError):
        tree.put(file(b"file"), broken())
    assert (top / "file").read_text() == "old"
    assert os.listdir(top) == ["file"]


def test_what_is_put_has_its_attributes(tree: HostTree, top: Path) -> None:
    made = tree.put(file(b"file", size=10, mode=0o4750, mtime_ns=1_500_000_000), blocks((2, b"data")))
    assert (top / "file").read_bytes() == b"\0\0data\0\0\0\0"
    assert (made.mode, made.size, made.mtime_ns) == (0o750, 10, 1_500_000_000)
    assert tree.put(file(b"file", mode=0o4750), blocks((0, b"data")), keep_setuid=True).mode == 0o4750
    tree.put(Entry(b"link", "link", 0o777, 0, 7, target=b"\xff"), blocks())
    assert os.readlink(os.fsencode(top / "link")) == b"\xff"
    tree.put(Entry(b"directory", "dir", 0o700, 0, 7), blocks())
    again = tree.put(Entry(b"directory", "dir", 0o700, 0, 7), blocks())
    assert tree.find(b"directory") == again


def test_a_walk_is_in_order_and_skips_what_cannot_be_carried(tree: HostTree, top: Path) -> None:
    for name in ("b", "a/deep", "B"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text("x")
    os.mkfifo(top / "fifo")
    found = list(tree.walk())
    assert [path for path, _ in found] == [b"B", b"a", b"a/deep", b"b", b"fifo"]
    assert [path for path, entry in found if isinstance(entry, Unreadable)] == [b"fifo"]


def test_what_a_killed_pull_has_left_is_no_part_of_the_tree_and_goes_with_the_next(
    tree: HostTree, top: Path
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (top / "a").mkdir()
    running, left = top / f"a/.art-pull-{os.getppid()}-x", top / f"a/.art-pull-{ended.pid}-x"
    for path in (running, left, top / "a/.art-of-the-user"):
        path.write_text("half")
    assert [path for path, _ in tree.walk()] == [b"a", b"a/.art-of-the-user"]
    assert left.exists()
    tree.put(file(b"a/new"), blocks((0, b"data")))
    assert sorted(os.listdir(top / "a")) == sorted([".art-of-the-user", running.name, "new"])
