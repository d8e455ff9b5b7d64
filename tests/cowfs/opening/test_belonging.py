"""A database says that it is in use and by what: one whose log is gone, or another's, is told."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from art_core.errors import StoreError
from art_cowfs.access.branch import OpenBranch
from art_cowfs.care import maintenance
from art_cowfs.db.transactions import changing
from art_cowfs.opening import log_owner, wal
from art_cowfs.opening.database import connect
from art_cowfs.tree.nodes import CowNode

RUN = """
import sys
database = sys.argv[1]
sys.path[:] = sys.argv[2:]
from pathlib import Path
from tests.cowfs.opening.test_belonging import used
with used(Path(database)):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def used(path: Path, names: int = 20) -> Iterator[OpenBranch]:
    """A database with so many files, while a session has it."""
    with OpenBranch(str(path), "main", uid=0, gid=0) as session:
        top = session.tree.node(1)
        for number in range(names):
            _file(session, top, b"n%d" % number)
        session.tree.pending.wait()
        yield session


def _file(session: OpenBranch, top: CowNode, name: bytes, data: bytes = b"data") -> None:
    node = session.tree.new(stat.S_IFREG | 0o644, 0)
    node.nlink = 1
    session.tree.enter(top, name, node)
    session.tree.changed(node)
    session.tree.write(node, 0, data)


def names(path: Path) -> int:
    with OpenBranch(str(path), "main", uid=0, gid=0) as session:
        return len(list(session.tree.names(session.tree.node(1))))


def found(path: Path) -> list[str]:
    return [finding.kind for finding in maintenance.check(str(path))]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """What a session leaves that is killed."""
    path = tmp_path / "killed.db"
    with used(tmp_path / "t.db"):
        shutil.copy(tmp_path / "t.db", path)
        shutil.copy(tmp_path / "t.db-wal", f"{path}-wal")
    return path


def test_nobody_comes_to_a_run_whose_index_of_the_log_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", RUN, str(path), *sys.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdin is not None
        assert run.stdout.readline() == b"ready\n"
        connect(str(path)).close()
        os.unlink(f"{path}-shm")
        with pytest.raises(StoreError, match=f"process {run.pid} has it, and .*-shm, .* was removed"):
            connect(str(path))
        run.communicate(b"\n")
    assert run.returncode == 0
    assert names(path) == 20
    assert found(path) == []


def test_a_copy_without_its_log_is_told_and_gone_on_with_by_repair(killed: Path) -> None:
    os.unlink(f"{killed}-wal")
    assert found(killed) == ["log"]
    with pytest.raises(StoreError, match=r"was in use by process .* is not beside it"):
        names(killed)
    assert not os.path.exists(f"{killed}-wal")
    assert [one.kind for one in maintenance.mend(str(killed), f"{killed}-backup")] == ["log"]
    assert found(killed) == []
    assert names(killed) == 0


def test_one_with_its_log_is_recovered_and_nothing_is_said(killed: Path) -> None:
    for _ in range(2):
        connect(str(killed)).close()
        assert found(killed) == []
    assert os.path.exists(f"{killed}-wal")
    assert names(killed) == 20
    assert not os.path.exists(f"{killed}-wal")
    connection = connect(str(killed))
    assert not log_owner.is_marked(connection)
    connection.close()
    assert found(killed) == []


def test_the_log_of_another_database_is_not_written_into_it(killed: Path, tmp_path: Path) -> None:
    with used(tmp_path / "other.db", 300):
        shutil.copy(tmp_path / "other.db-wal", f"{killed}-wal")
    before, other = killed.read_bytes(), Path(f"{killed}-wal").read_bytes()
    assert found(killed) == ["log"]
    with pytest.raises(StoreError, match="is not its log of then"):
        names(killed)
    assert killed.read_bytes() == before
    list(maintenance.mend(str(killed), f"{killed}-backup"))
    assert Path(f"{killed}-backup-wal-of-another").read_bytes() == other
    assert found(killed) == []
    assert names(killed) == 0


def test_a_log_of_another_number_is_its_own_where_it_makes_a_sound_database(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_owner, "_ANEW", 0)
    assert found(killed) == []
    assert names(killed) == 20


def test_a_log_that_was_emptied_is_told(killed: Path) -> None:
    os.truncate(f"{killed}-wal", 0)
    assert found(killed) == ["log"]


def test_a_log_that_was_emptied_by_its_writer_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "copy.db"
    with used(tmp_path / "t.db") as session:
        monkeypatch.setattr(wal, "CHECKPOINT_AT", 0)
        for number in range(3):
            _file(session, session.tree.node(1), b"more%d" % number)
            session.tree.pending.wait()
            for ending in ("", "-wal"):
                shutil.copy(f"{tmp_path / 't.db'}{ending}", f"{path}{ending}")
            assert found(path) == []
    assert names(path) == 23


def test_who_ends_while_another_has_it_leaves_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    names(path)
    connection = connect(str(path))
    connection.execute("INSERT INTO layer(id, parent, created_ns) VALUES(9, 1, 0)")
    connection.execute("INSERT INTO point VALUES('other', 'branch', 9, 'other', 'main', 0, '')")
    with used(path):
        OpenBranch(str(path), "other", uid=0, gid=0).close()
        assert log_owner.is_marked(connection)
    assert not log_owner.is_marked(connection)
    connection.close()


def test_collecting_after_a_kill_leaves_no_mark_without_a_log(killed: Path) -> None:
    maintenance.collect(str(killed))
    assert found(killed) == []
    assert names(killed) == 20


def test_a_log_is_its_own_wherever_its_writer_was_killed(tmp_path: Path) -> None:
    """From its first byte on: also before it says of itself whose it is."""
    made = tmp_path / "made.db"
    connect(str(made), create=True).close()
    before = made.read_bytes()
    connection = connect(str(made))
    with changing(connection):
        connection.execute("INSERT OR REPLACE INTO meta VALUES('of the test', 1)")
    whole = Path(f"{made}-wal").read_bytes()
    connection.close()
    page = int.from_bytes(whole[8:12], "big")
    for frame in range(1 + (len(whole) - 32) // (24 + page)):
        for more in (0, 8, 24, 24 + page // 2):
            path = tmp_path / "killed.db"
            path.write_bytes(before)
            Path(f"{path}-wal").write_bytes(whole[: 32 + frame * (24 + page) + more])
            assert log_owner.wrong(str(path)) == "", (frame, more)
