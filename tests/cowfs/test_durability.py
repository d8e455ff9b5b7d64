"""What was synced survives, and the database is a prefix of what was answered, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from art_cowfs.check import problems
from art_cowfs.schema import connect
from tests.cowfs.conftest import Bench, Mount

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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_server_leaves_a_prefix(bench: Bench) -> None:
    chance = random.Random(5)
    moments = set()
    for turn in range(12):
        start = 10_000 * (turn + 1)
        mount = bench.mount()
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
            continue  # It was killed before the clearing was committed.
        moment = is_prefix(found, start)
        assert moment is not None, sorted(found)[-12:]
        assert moment[0] >= synced
        moments.add(moment[1])
    assert len(moments) > 1, "every kill fell on the same request"


def test_a_supervisor_that_dies_leaves_everything_committed(bench: Bench, tmp_path: Path) -> None:
    """The server is tied to it: it commits what was answered, and ends."""
    source = """
import os, sys, time
sys.path[:] = sys.argv[3:]
from pathlib import Path
from tests.cowfs.conftest import Mount
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
    assert sorted(os.listdir(bench.top)) == ["t.db", "t.db-lock", "t.db-shm", "t.db-wal", "ws"]
