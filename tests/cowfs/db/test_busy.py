"""What others hold for a while makes a run wait, and does not end it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from art_core.errors import StoreError
from art_cowfs.db import apsw_compat
from art_cowfs.db.apsw_compat import Connection
from art_cowfs.db.locks import BranchInUse, BranchLock
from art_cowfs.db.transactions import changing
from art_cowfs.opening.database import connect
from art_cowfs.tree import writer
from tests.support.bench import Bench, branches

HOLDS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


@contextmanager
def held(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that has SQLite's write lock."""
    argv = [sys.executable, "-c", HOLDS, str(database)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.communicate(b"\n", timeout=30)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Nobody waits for long."""
    monkeypatch.setattr(apsw_compat, "BUSY_MS", 50)
    monkeypatch.setattr(apsw_compat, "PATIENCE_S", 0.2)
    monkeypatch.setattr(writer, "ENDING_S", 0.5)
    made = Bench(tmp_path)
    yield made
    made.close()


def test_a_run_outlasts_another_program_that_holds_the_database(bench: Bench) -> None:
    mount = bench.mount()
    with held(bench.database):
        (mount.path / "kept").write_text("kept")
        with open(mount.path / "kept") as file, pytest.raises(OSError, match="busy"):
            os.fsync(file.fileno())
        assert (mount.path / "kept").read_text() == "kept"
    mount.server.ask({"ask": "commit"}, 30.0)
    (mount.path / "more").write_text("more")
    bench.unmount(mount)
    mount = bench.mount()
    assert (mount.path / "kept").read_text() == "kept" and (mount.path / "more").read_text() == "more"
    bench.unmount(mount)


def test_the_end_of_a_run_waits_for_a_while_and_says_who_kept_it(bench: Bench) -> None:
    mount = bench.mount()
    with held(bench.database):
        (mount.path / "lost").write_text("lost")
        with pytest.raises(StoreError, match="not everything that was answered"):
            bench.unmount(mount)


def test_a_reader_does_not_hold_up_the_end_of_a_run(bench: Bench) -> None:
    """A checkpoint at the end waited for readers, with the write lock, and others ended for it."""
    bench.unmount(bench.mount())
    branches(bench.database, ["one"])
    one, main = bench.mount("one"), bench.mount()
    reading = sqlite3.connect(bench.database)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM inode").fetchall()
    (one.path / "file").write_text("one")
    (main.path / "file").write_text("main")
    bench.unmount(one)
    with open(main.path / "file", "a") as file:
        os.fsync(file.fileno())
    reading.close()
    bench.unmount(main)


@pytest.mark.parametrize("error", [apsw.BusyError, apsw.ProtocolError, apsw.LockedError])
def test_a_statement_that_cannot_begin_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error]
) -> None:
    """SQLITE_PROTOCOL: SQLite gives up waiting where the log is being recovered, which ends."""
    connect(str(tmp_path / "t.db"), create=True).close()
    monkeypatch.setattr(apsw_compat, "PATIENCE_S", 0.3)
    left = 3

    class Trial(Connection):
        def _later(self, call: Callable[[], Any]) -> Any:
            def some() -> Any:
                nonlocal left
                left -= 1
                if left > 0:
                    raise error("not now")
                return call()

            return super()._later(some)

    made = Trial(str(tmp_path / "t.db"))
    others = connect(str(tmp_path / "t.db"))
    made.set_busy_timeout(0)
    with changing(others), pytest.raises(apsw.BusyError):
        made.execute("BEGIN IMMEDIATE")
    assert left < 0, "it was tried more than once"
    left = 3
    monkeypatch.setattr(apsw_compat, "PATIENCE_S", 30)
    with changing(made):
        made._later(lambda: None)
    assert left == 0
    made.close()
    others.close()


def test_a_run_keeps_its_branch_when_somebody_removes_the_file_of_locks(bench: Bench) -> None:
    mount = bench.mount()
    os.unlink(f"{bench.database}-lock")
    until = time.monotonic() + 30
    while not os.path.exists(f"{bench.database}-lock") and time.monotonic() < until:
        time.sleep(0.1)
    with pytest.raises(BranchInUse, match="is held by process"):
        BranchLock(str(bench.database), "main")
    (mount.path / "file").write_text("kept")
    bench.unmount(mount)


def test_a_run_that_lost_its_branch_that_way_writes_nothing_more(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "before").write_text("kept")
    mount.server.ask({"ask": "commit"}, 30.0)
    os.unlink(f"{bench.database}-lock")
    other = BranchLock(str(bench.database), "main")
    with suppress(OSError):  # Whichever comes first.
        (mount.path / "after").write_text("lost")
    with pytest.raises(StoreError, match="cannot be committed"):
        mount.server.ask({"ask": "commit"}, 30.0)
    with pytest.raises(StoreError, match="not everything that was answered"):
        bench.unmount(mount)
    with pytest.raises(BranchInUse):
        BranchLock(str(bench.database), "main")
    other.close()
    mount = bench.mount()
    assert sorted(os.listdir(mount.path)) == ["before", "ws"]
    bench.unmount(mount)
