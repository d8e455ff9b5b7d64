"""A branch never has two writers: not beside those who come, go, are killed, or remove the file of locks."""

from __future__ import annotations

import ast
import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from art_cowfs.db import locks
from art_cowfs.db.locks import BranchInUse, BranchLock, BranchLost, Bystander, Occupied, Pin
from art_cowfs.opening.database import connect

WORKER = """
import os, random, sys, time
from contextlib import suppress
from art_cowfs.db.locks import BranchLock, BranchLost, Bystander, BranchInUse, Pin
from art_cowfs.opening.database import connect

path, seed, seconds, removing = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "removing"
rng = random.Random(seed)
connection = connect(path)
done = {"held": 0, "alone": 0, "commits": 0, "lost": 0}

def generation(branch):
    return connection.execute("SELECT value FROM meta WHERE key = ?", (branch,)).get or 0

def write(branch):
    try:
        lock = BranchLock(path, branch, rng.choice([0, 0.2]), yields=rng.random() < 0.2)
    except BranchInUse:
        return
    marker = f"{path}.{branch}.held"
    try:
        with lock.changing(connection):
            own = generation(branch) + 1
            connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (branch, own))
        if not removing:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        for _ in range(rng.randrange(4)):
            time.sleep(rng.random() * 0.01)
            with lock.changing(connection):
                assert generation(branch) == own, f"{branch} has two writers"
                connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (branch, own))
                done["commits"] += 1
        if not removing:
            os.unlink(marker)
        done["held"] += 1
        if rng.random() < 0.02:
            print(done, flush=True)
            os._exit(0)
    except BranchLost:
        assert removing
        done["lost"] += 1
    finally:
        lock.close(as_it_was=rng.random() < 0.3)

def look():
    by = Bystander(path)
    with by.alone() as held:
        if not held:
            done["alone"] += 1
            time.sleep(rng.random() * 0.005)
            if not removing:
                left = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".held")]
                assert not left, f"nobody holds anything, and there is {left}"
    by.holders()
    with by.changing(connection):
        connection.execute("INSERT OR REPLACE INTO meta VALUES('bystander', 1)")
    by.close()

def read():
    pin = Pin(path, 1)
    pin.wait_for_merges()
    by = Bystander(path)
    assert removing or by.is_read(1), "what is read looks free"
    by.close()
    pin.close()

def remove():
    with suppress(FileNotFoundError):
        os.unlink(f"{path}-lock")

until = time.monotonic() + seconds
while time.monotonic() < until:
    chance = rng.random()
    if removing and chance < 0.05:
        remove()
    elif chance < 0.7:
        write(rng.choice(["one", "two"]))
    elif chance < 0.9:
        look()
    else:
        read()
print(done, flush=True)
"""
PROCESSES = 8


def worked(path: Path, seconds: float, mode: str) -> list[dict[str, int]]:
    """What so many processes did that hold, look, read and are killed, as long as each finds what it may."""
    connect(str(path), create=True).close()
    seed, running, found = 0, list[subprocess.Popen[str]](), []
    until = time.monotonic() + seconds
    while running or time.monotonic() < until:
        left = until - time.monotonic()
        while left > 0 and len(running) < PROCESSES:
            seed += 1
            argv = [sys.executable, "-c", WORKER, str(path), str(seed), str(left), mode]
            running.append(subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        ended = [process for process in running if process.poll() is not None]
        for process in ended:
            running.remove(process)
            out, err = process.communicate()
            assert process.returncode == 0, err
            found.append(ast.literal_eval(out))
        time.sleep(0.02)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sound", "removing"])
def test_no_two_of_many_processes_ever_write_one_branch(tmp_path: Path, mode: str) -> None:
    found = worked(tmp_path / "t.db", 6, mode)
    total = {key: sum(one[key] for one in found) for key in found[0]}
    assert total["held"] > 20 and total["commits"] > 20 and total["alone"] > 0, total
    if mode == "sound":
        # Those that were killed left records; when their branches are held once more, nothing is left.
        for branch in ("one", "two"):
            BranchLock(str(tmp_path / "t.db"), branch).close()
        assert not (tmp_path / "t.db-lock").exists()


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = str(tmp_path / "t.db")
    connect(made, create=True).close()
    return made


def test_one_who_was_there_before_does_not_remove_what_others_hold(path: str) -> None:
    first = BranchLock(path, "main")
    by = Bystander(path)
    first.close()
    second = BranchLock(path, "main")
    assert list(by.holders()) == ["main"], "it sees who came later"
    by.close()
    with pytest.raises(BranchInUse):
        BranchLock(path, "main")
    second.close()
    assert not os.path.exists(f"{path}-lock")


def test_the_last_of_several_removes_the_file(path: str) -> None:
    everybody: list[BranchLock | Bystander | Pin] = [BranchLock(path, "main"), Bystander(path), Pin(path, 1)]
    for one in everybody:
        assert os.path.exists(f"{path}-lock")
        one.close()
    assert not os.path.exists(f"{path}-lock")


def test_a_file_that_is_removed_is_made_again_by_the_holder(path: str) -> None:
    lock = BranchLock(path, "main")
    os.unlink(f"{path}-lock")
    with lock.committing():
        pass
    with pytest.raises(BranchInUse, match=f"process {os.getpid()}"):
        BranchLock(path, "main")
    lock.close()
    assert not os.path.exists(f"{path}-lock")


def test_who_was_away_while_another_one_wrote_writes_nothing_any_more(path: str) -> None:
    connection = connect(path)
    lock = BranchLock(path, "main")
    with lock.changing(connection):
        pass
    os.unlink(f"{path}-lock")
    with lock.changing(connection):
        pass
    os.unlink(f"{path}-lock")
    other = BranchLock(path, "main")
    with other.changing(connection):
        pass
    other.close()
    with pytest.raises(BranchLost, match="somebody else wrote"), lock.changing(connection):
        raise AssertionError
    lock.close()
    connection.close()


def test_who_lost_the_branch_with_the_file_writes_nothing_any_more(path: str) -> None:
    lock = BranchLock(path, "main")
    os.unlink(f"{path}-lock")
    other = BranchLock(path, "main")
    with pytest.raises(BranchLost, match="-lock was removed while"), lock.committing():
        raise AssertionError
    lock.close()
    with pytest.raises(BranchInUse):
        BranchLock(path, "main")
    other.close()


def test_a_holder_that_is_killed_is_told_and_another_branch_may_be_vacuumed(path: str) -> None:
    script = (
        "import os, sys; from art_cowfs.db.locks import BranchLock; "
        "BranchLock(sys.argv[1], 'gone'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, path], check=True)
    lock = BranchLock(path, "main")
    with lock.alone() as held:
        assert held == {}
    lock.close()
    assert os.path.exists(f"{path}-lock")
    lock = BranchLock(path, "gone")
    assert lock.left_by.startswith("process ")
    lock.close()
    assert not os.path.exists(f"{path}-lock")


HOLDS = """
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 2, 0))
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_wait_for_one_who_keeps_the_locks_ends_and_says_who(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.2)
    lock = BranchLock(path, "main")
    argv = [sys.executable, "-c", HOLDS, f"{path}-lock"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        said = rf"locked for more than .* by process {process.pid} \(.*\)"
        with pytest.raises(Occupied, match=said):
            BranchLock(path, "other")
        with pytest.raises(Occupied, match=said), lock.committing():
            raise AssertionError
        process.communicate(b"\n")
    with lock.committing():
        pass
    lock.close()


def test_a_branch_that_a_command_has_for_a_moment_is_waited_for(path: str) -> None:
    script = (
        "import sys, time; from art_cowfs.db.locks import BranchLock; "
        "lock = BranchLock(sys.argv[1], 'main'); print('held', flush=True); time.sleep(1.5); lock.close()"
    )
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with pytest.raises(BranchInUse):
            BranchLock(path, "main")
        lock = BranchLock(path, "main", 30)
        assert lock.waited.startswith(f"waited for branch 'main', which process {process.pid}, since")
    lock.close()
    assert not os.path.exists(f"{path}-lock")


def test_a_run_that_goes_on_is_not_waited_for(path: str, tmp_path: Path) -> None:
    lock = BranchLock(path, "main")
    (tmp_path / "socket").touch()
    lock.reachable(str(tmp_path / "socket"))
    began = time.monotonic()
    with pytest.raises(BranchInUse):
        BranchLock(path, "main", 60)
    assert time.monotonic() - began < 30
    lock.close()


def test_who_takes_a_branch_again_and_again_leaves_it_to_one_who_waits(path: str) -> None:
    script = (
        "import sys, time; from art_cowfs.db.locks import BranchLock; "
        "lock = BranchLock(sys.argv[1], 'main', 60); lock.close()"
    )
    lock = BranchLock(path, "main", yields=True)
    with subprocess.Popen([sys.executable, "-c", script, path]) as process:
        while process.poll() is None:
            lock.close()
            try:
                lock = BranchLock(path, "main", yields=True)
            except BranchInUse:
                continue
            time.sleep(0.02)
        assert process.returncode == 0
    lock.close()


def test_locks_of_a_process_that_is_stopped_are_named_as_its(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.2)
    script = (
        "import os, signal, sys; from art_cowfs.db.locks import BranchLock\n"
        "lock = BranchLock(sys.argv[1], 'a')\n"
        "with lock.committing(): os.kill(os.getpid(), signal.SIGSTOP)"
    )
    with subprocess.Popen([sys.executable, "-c", script, path]) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        lock = BranchLock(path, "main")
        with pytest.raises(Occupied, match=f"process {process.pid} "), lock.committing():
            raise AssertionError
        process.send_signal(signal.SIGCONT)
        process.wait(30)
    with lock.committing():
        pass
    lock.close()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o644])
def test_the_file_may_be_used_by_those_who_may_use_the_database(path: str, mode: int) -> None:
    os.chmod(path, mode)
    before = os.umask(0o077)
    try:
        lock = BranchLock(path, "main")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(f"{path}-lock").st_mode) == mode
    if os.geteuid() == 0:
        lock.close()
        os.chown(path, 12345, 54321)
        lock = BranchLock(path, "main")
        found = os.stat(f"{path}-lock")
        assert (found.st_uid, found.st_gid) == (12345, 54321)
    lock.close()


def test_the_struct_of_a_lock_is_the_kernels() -> None:
    assert struct.calcsize("hhqqi4x") == 32 and fcntl.F_OFD_GETLK == 36
