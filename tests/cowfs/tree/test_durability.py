"""What was synced survives, and the database is a prefix of what was answered, whatever is killed."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from art_core.errors import StoreError
from art_cowfs.integrity.check import problems
from art_cowfs.opening.database import connect
from art_cowfs.tree.writer import Batch, BatchWriter
from tests.cowfs.tree.faulty import Disk, faulty
from tests.support.bench import Bench, Mount

EXTREMES = pytest.mark.parametrize("bench", ["one layer", "layers, crowded"], indirect=True)
"""The whole matrix is for what is fast."""

WORK = """
import os, sys
top, start, often = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(start, start + 1_000_000):
    os.mkdir(f"{top}/d{number}")
    with open(f"{top}/d{number}/new", "wb") as file:
        file.write(b"%08d" % number * 700)
        if number % often == 0:
            file.flush()
            os.fsync(file.fileno())
    os.rename(f"{top}/d{number}/new", f"{top}/d{number}/file")
    if number % often == 0:
        print(number, flush=True)
    if number % 3 == 0 and number >= start + 10:
        os.unlink(f"{top}/d{number - 10}/file")
        os.rmdir(f"{top}/d{number - 10}")
"""
"""Each number is six or eight requests in a fixed order; one in `often` is on the disk when it is printed."""


def after(number: int, steps: int, start: int) -> dict[str, bytes | None]:
    """The tree when `steps` requests of `number` were answered, and all of those before."""
    found: dict[str, bytes | None] = {}
    for n in range(start, number + 1):
        limit = steps if n == number else 99
        whole = b"%08d" % n * 700
        if limit >= 1:
            found[f"d{n}"] = None
        if limit >= 2:
            found[f"d{n}/new"] = whole if limit >= 3 else b""
        if limit >= 4:
            found[f"d{n}/file"] = found.pop(f"d{n}/new")
        if n % 3 == 0 and n >= start + 10 and limit >= 5:
            found.pop(f"d{n - 10}/file")
            if limit >= 6:
                found.pop(f"d{n - 10}")
    return found


def tree(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() else None for path in top.rglob("*")
    }


def is_prefix(found: dict[str, bytes | None], start: int) -> tuple[int, int] | None:
    """The moment at which the work had this result; None when it never had."""
    last = max((int(name[1:]) for name in found if "/" not in name), default=start)
    for number in (last, last + 1):
        for steps in range(7):
            if after(number, steps, start) == found:
                return number, steps
    return None


def killed(bench: Bench, mount: Mount, delay: float, start: int, often: int) -> int:
    """Work until the server is killed; the last number that was synced, -1 for none."""
    argv = [sys.executable, "-I", "-S", "-c", WORK, str(mount.path), str(start), str(often)]
    worker = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    mount.server.kill()
    out, _ = worker.communicate(timeout=30)
    with pytest.raises(Exception, match="was killed"):
        bench.unmount(mount)
    return int(out.split()[-1]) if out.split() else -1


def survives(bench: Bench, turns: int, mounting: Callable[[int], Mount]) -> None:
    """Kill the server at a random moment, again and again: what is left is sound, is a prefix of
    what was done, and has what was synced."""
    chance = random.Random(5)
    moments = set()
    for turn in range(turns):
        start = 10_000 * (turn + 1)
        mount = mounting(turn)
        for path in mount.path.iterdir():
            if path.name != "ws":
                subprocess.run(["rm", "-r", path], check=True)
        synced = killed(bench, mount, chance.uniform(0.05, 0.6), start, 1000 if turn % 2 else 10)
        connection = connect(str(bench.database))
        assert list(problems(connection)) == []
        connection.close()
        mount = bench.mount()
        found = {name: data for name, data in tree(mount.path).items() if name != "ws"}
        bench.unmount(mount)
        if any(int(name[1:].partition("/")[0]) < start for name in found):
            assert synced < 0
            continue  # It was killed before the clearing was committed.
        moment = is_prefix(found, start)
        assert moment is not None, sorted(found)[-12:]
        assert moment[0] >= synced
        moments.add((moment[0] - start, moment[1]))
    assert len(moments) > 1, "every kill fell on the same moment of the work"


@EXTREMES
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_server_leaves_a_prefix(bench: Bench) -> None:
    survives(bench, 9, lambda turn: bench.mount())


@EXTREMES
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_power_cut_leaves_a_prefix(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not synced is gone, or is there in part and in any order."""

    def mounting(turn: int) -> Mount:
        with faulty(Disk(turn), monkeypatch):
            return bench.mount()

    survives(bench, 9, mounting)


@EXTREMES
@pytest.mark.parametrize("kind", ["write", "sync"])
def test_a_disk_that_fails_is_told_inside_and_outside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """After the first failure nothing more is written: nobody knows what the disk has. What was
    answered before an fsync that succeeded stays."""
    mount = bench.mount()
    (mount.path / "before").write_bytes(b"before")
    bench.unmount(mount)
    asked = 0

    def fails(what: str) -> bool:
        nonlocal asked
        asked += what == kind
        return what == kind and asked > (60 if kind == "write" else 8)

    with faulty(Disk(1, fails), monkeypatch):
        mount = bench.mount()
    synced, failure = -1, None
    for number in range(100):
        try:
            with open(mount.path / f"f{number}", "wb", buffering=0) as file:
                file.write(b"contents")
                os.fsync(file.fileno())
            synced = number
        except OSError as error:
            failure = error
            break
    assert failure is not None and failure.errno in (errno.EIO, errno.EROFS)
    assert (mount.path / "before").read_bytes() == b"before"
    for change in (
        lambda: (mount.path / "more").mkdir(),
        lambda: (mount.path / "before").unlink(),
        lambda: (mount.path / "before").chmod(0o600),
        lambda: (mount.path / "before").write_bytes(b"after"),
    ):
        with pytest.raises(OSError) as raised:
            change()
        assert raised.value.errno == errno.EROFS
    with pytest.raises(StoreError, match="not everything that was answered reached the database"):
        bench.unmount(mount)
    connection = connect(str(bench.database))
    assert list(problems(connection)) == []
    connection.close()
    mount = bench.mount()
    assert (mount.path / "before").read_bytes() == b"before"
    names = [f"f{number}" for number in range(synced + 1)]
    assert [name for name in names if (mount.path / name).read_bytes() != b"contents"] == []


def test_a_sync_covers_what_came_while_another_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(str(tmp_path / "t.db"), create=True)
    turns, begun = threading.Semaphore(0), threading.Semaphore(0)
    order = []

    class Turn:
        @contextmanager
        def committing(self) -> Iterator[None]:
            begun.release()
            turns.acquire()
            yield
            order.append("commit")

        def check(self, connection: apsw.Connection) -> None:
            pass

    monkeypatch.setattr("art_cowfs.tree.writer.os.fdatasync", lambda fd: order.append("sync"))
    writer = BatchWriter(connection, 1, str(tmp_path / "t.db"), Turn())
    batches = [Batch(), Batch()]
    for number, batch in enumerate(batches):
        batch.origins[0, number] = 1
    writer.take(batches[0], lambda: None)
    writer.sync(lambda failure: None)
    begun.acquire()
    writer.take(batches[1], lambda: None)
    waiting = threading.Thread(target=writer.wait)
    waiting.start()
    turns.release()
    begun.acquire()
    time.sleep(0.05)
    assert waiting.is_alive()
    turns.release()
    waiting.join(10)
    assert not waiting.is_alive()
    assert order[-2:] == ["commit", "sync"] and order.count("commit") == 2
    writer.close()
    connection.close()


@EXTREMES
@pytest.mark.parametrize("harm", ["removed", "replaced", "truncated", "log"])
def test_a_database_that_is_taken_away_is_told(bench: Bench, harm: str) -> None:
    mount = bench.mount()
    (mount.path / "kept").write_bytes(b"kept")
    mount = bench.again(mount)
    with open(mount.path / "new", "wb", buffering=0) as file:
        file.write(b"new")
        os.fsync(file.fileno())
        if harm == "removed":
            bench.database.unlink()
        elif harm == "replaced":
            bench.database.rename(bench.top / "aside")
            bench.database.write_bytes((bench.top / "aside").read_bytes())
        elif harm == "truncated":
            os.truncate(bench.database, 0)
        else:
            os.unlink(f"{bench.database}-wal")
        with pytest.raises(OSError):
            for _ in range(100):
                file.write(b"more")
                os.fsync(file.fileno())
    with pytest.raises(OSError):
        (mount.path / "another").mkdir()
    said = {"truncated": "truncated", "replaced": "replaced by another file"}.get(harm, "removed")
    with pytest.raises(StoreError, match=f"was {said} during the run"):
        bench.unmount(mount)


@EXTREMES
def test_a_supervisor_that_dies_leaves_everything_committed(bench: Bench, tmp_path: Path) -> None:
    """The server is tied to it: it commits what was answered, and ends."""
    source = """
import os, sys, time
sys.path[:] = sys.argv[3:]
from pathlib import Path
from tests.support.bench import Mount
mount = Mount(Path(sys.argv[1]), Path(sys.argv[2]))
(mount.path / "file").write_bytes(b"answered")
print(mount.server.pid, flush=True)
time.sleep(100)
"""
    argv = [sys.executable, "-c", source, str(bench.database), str(bench.host), *sys.path]
    supervisor = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    server = int(supervisor.stdout.readline())
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    until = time.monotonic() + 10
    while Path(f"/proc/{server}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    mount = bench.mount()
    assert (mount.path / "file").read_bytes() == b"answered"
    assert sorted(os.listdir(bench.top)) == ["state", "t.db", "t.db-lock", "t.db-shm", "t.db-wal", "ws"]
