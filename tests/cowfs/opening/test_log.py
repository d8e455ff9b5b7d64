"""The log stays small, and when somebody else makes it grow, that is told."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from art_cowfs.opening import wal
from art_cowfs.opening.database import connect
from art_cowfs.opening.wal import Log
from tests.support.bench import Bench

MIB = 1 << 20

PINS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM inode").fetchall()
print("reads", flush=True)
sys.stdin.readline()
"""


@contextmanager
def pinning(database: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program of somebody else's that leaves a read transaction open."""
    argv = [sys.executable, "-c", PINS, str(database)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"reads\n"
    yield process
    process.communicate(b"\n", timeout=30)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_AT", 1 * MIB)
    monkeypatch.setattr(wal, "SLOW_AT", 4 * MIB)
    monkeypatch.setattr(wal, "_EVERY_S", 0.0)


def fill(connection: apsw.Connection, size: int) -> None:
    with connection:
        for number in range(size // 65536):
            row = (None, 5, number, 1, os.urandom(65536))
            connection.execute("INSERT OR REPLACE INTO chunk VALUES(?, ?, ?, ?, ?)", row)


def test_a_large_log_is_emptied(small: None, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    connection = connect(str(path), create=True)
    ours = Log(connection, str(path))
    fill(connection, 6 * MIB)
    assert os.stat(f"{path}-wal").st_size > 4 * MIB
    assert not ours.wait_s()
    assert os.stat(f"{path}-wal").st_size == 0
    assert ours.note() == ""
    connection.close()


def test_the_larger_the_log_the_longer_is_waited(small: None, tmp_path: Path) -> None:
    """Twice as long for each 16 MiB: it has a bound, however fast is written."""
    path = tmp_path / "t.db"
    connection = connect(str(path), create=True)
    ours = Log(connection, str(path))
    with pinning(path):
        fill(connection, 6 * MIB)
        first = ours.wait_s()
        fill(connection, 16 * MIB)
        assert 0.25 <= first < 0.4 and 1.9 < ours.wait_s() / first < 2.3
    connection.close()


def test_a_reader_of_arts_is_named_by_its_command(small: None, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    connection = connect(str(path), create=True)
    ours = Log(connection, str(path))
    program = tmp_path / "art"
    program.write_text(f"#!{sys.executable}\n{PINS.replace('argv[1]', 'argv[-1]')}")
    program.chmod(0o755)
    argv = [str(program), "db", "check", "--password=secret", str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == b"reads\n"
        fill(connection, 6 * MIB)
        assert ours.wait_s()
        assert f"process {reader.pid} (art db check)" in ours.note()
        reader.communicate(b"\n", timeout=30)
    connection.close()


def test_who_keeps_the_log_large_is_named(small: None, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    connection = connect(str(path), create=True)
    ours = Log(connection, str(path))
    with pinning(path) as reader:
        fill(connection, 6 * MIB)
        assert ours.wait_s()
        comm = Path(f"/proc/{reader.pid}/comm").read_text().strip()
        assert f"process {reader.pid} ({comm})" in ours.note()
    assert not ours.wait_s(), "the reader ended"
    assert os.stat(f"{path}-wal").st_size == 0
    connection.close()


@pytest.mark.parametrize("bench", ["one layer"], indirect=True)
def test_writing_goes_on_slowly_while_somebody_keeps_the_log_large(bench: Bench, small: None) -> None:
    mount = bench.mount()
    with pinning(bench.database), open(mount.path / "file", "wb", buffering=0) as file:
        for _ in range(12):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
        assert os.stat(f"{bench.database}-wal").st_size > 4 * MIB
    (mount.path / "more").write_bytes(b"more")
    mount.server.ask({"ask": "commit"}, 30.0)
    assert os.stat(f"{bench.database}-wal").st_size < 4 * MIB
    notes = mount.server.ask({"ask": "notes"}, 30.0)["notes"]
    assert isinstance(notes, list) and "writing was slowed: process" in notes[0]
    bench.unmount(mount)
    with sqlite3.connect(bench.database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
