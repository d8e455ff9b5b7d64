"""What a git index lists, against git's own word."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from art_core.git.index_file import listed


def git(top: Path, *words: str) -> bytes:
    settings = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
    return subprocess.run(["git", *settings, *words], cwd=top, check=True, capture_output=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "deep/er").mkdir(parents=True)
    for name in ("a", "a name of more letters", "deep/er/file", "deep/er/file two", "later"):
        (tmp_path / name).write_text(name)
    git(tmp_path, "add", "a*", "deep")
    return tmp_path


@pytest.mark.parametrize("version", [2, 3, 4])
def test_it_lists_what_git_lists(repository: Path, version: int) -> None:
    git(repository, "update-index", f"--index-version={version}")
    if version == 3:
        git(repository, "add", "--intent-to-add", "later")
    found = listed((repository / ".git/index").read_bytes())
    assert found is not None
    said = git(repository, "ls-files", "--stage", "-z").split(b"\0")[:-1]
    assert [b"%06o %s 0\t%s" % (one.mode, one.name.hex().encode(), one.path) for one in found] == said
    assert [one.path for one in found if one.flags] == ([b"later"] if version == 3 else [])


def test_what_git_remembers_of_files_is_no_difference(repository: Path) -> None:
    index = repository / ".git/index"
    before = index.read_bytes()
    os.utime(repository / "a", (1, 1))
    git(repository, "update-index", "--refresh")
    assert index.read_bytes() != before
    assert listed(index.read_bytes()) == listed(before)
    git(repository, "update-index", "--assume-unchanged", "a")
    assert listed(index.read_bytes()) != listed(before)


def test_what_is_not_whole_lists_nothing(repository: Path) -> None:
    index = (repository / ".git/index").read_bytes()
    assert listed(b"") is None
    assert listed(index[:-1]) is None
    for at in range(4, len(index) - 20):  # With a mark that is right, whatever else is wrong.
        body = index[:at] + bytes([index[at] ^ 0xFF]) + index[at + 1 : -20]
        listed(body + hashlib.sha1(body, usedforsecurity=False).digest())
    body = index[:-20] + b"link\0\0\0\0"
    assert listed(body + hashlib.sha1(body, usedforsecurity=False).digest()) is None
