"""Several branches of one database at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.errors import StoreError
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from tests.support.bench import Bench, branches

NAMES = ["main", "one", "two", "three"]

WORK = """
import os, sys
top, name = sys.argv[1:]
os.chdir(top)
for number in range(150):
    with open(f"file{number}", "wb", buffering=0) as file:
        file.write(f"{name} {number}".encode() * 100)
        os.fsync(file.fileno())
    with open("ws/shared", "ab") as file:
        file.write(name.encode() + b"\\n")
    if number % 3 == 0:
        os.unlink(f"file{number}")
"""


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    (made.host / "shared").write_text("host\n")
    mount = made.mount()
    (mount.path / "common").write_text("common")
    made.unmount(mount)
    branches(made.database, NAMES[1:])
    yield made
    made.close()


def test_four_branches_work_at_once(forked: Bench) -> None:
    mounts = {name: forked.mount(name) for name in NAMES}
    argv = [sys.executable, "-I", "-S", "-c", WORK]
    workers = [subprocess.Popen([*argv, str(mounts[name].path), name]) for name in NAMES]
    assert [worker.wait(timeout=100) for worker in workers] == [0] * 4
    for name in reversed(NAMES):
        forked.unmount(mounts[name])
    connection = connect(str(forked.database))
    assert list(problems(connection)) == []
    connection.close()
    assert sorted(path.name for path in forked.top.iterdir()) == ["state", "t.db", "ws"]
    for name in NAMES:
        mount = forked.mount(name)
        assert (mount.path / "common").read_text() == "common"
        assert (mount.workspace / "shared").read_text() == "host\n" + f"{name}\n" * 150
        kept = {f"file{number}" for number in range(150) if number % 3}
        assert {path.name for path in mount.path.iterdir()} == {*kept, "common", "ws"}
        assert {(mount.path / file).read_text()[: len(name)] for file in kept} == {name}
        forked.unmount(mount)
    assert (forked.host / "shared").read_text() == "host\n"


def test_a_branch_is_held_by_itself(forked: Bench) -> None:
    main, one = forked.mount("main"), forked.mount("one")
    for name in ("main", "one"):
        with pytest.raises(StoreError, match=rf"branch '{name}' .* is held by process \d+, since"):
            forked.mount(name)
    with pytest.raises(StoreError, match="no branch 'other'"):
        forked.mount("other")
    one.kill()
    with pytest.raises(StoreError, match="was killed"):
        forked.unmount(one)
    again = forked.mount("one")
    forked.unmount(again)
    forked.unmount(main)
    assert sorted(path.name for path in forked.top.iterdir()) == ["state", "t.db", "ws"]
