"""However a run ends, nothing of it stays: no process, no mount, no file on the host."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attackers import INTERPRETER, Attacker

PATIENCE_S = 10


class Marked:
    """A mark in command lines that tells the processes of one test from all others."""

    def __init__(self) -> None:
        self.text = f"1000.{secrets.randbelow(10**9):09d}"

    def processes(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found

    def gone(self) -> bool:
        until = time.monotonic() + PATIENCE_S
        while self.processes():
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def mark() -> Iterator[Marked]:
    marked = Marked()
    yield marked
    for pid in marked.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def tree(*tops: Path) -> list[Path]:
    return sorted(path for top in tops for path in top.rglob("*"))


def start(attacker: Attacker, script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return attacker.start("sh", "-c", f"{script}\n", "sh", *arguments)


def end(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=30)
    return process.returncode


CLINGING = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None)
for number in range(1, 65):
    if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
        signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        libc.prctl(1, 0)
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", sys.argv[1]])
        time.sleep(1000)
        os._exit(0)
"""
"""Leaves sessions, ignores every signal and forgets the parent-death signal (prctl(2))."""


def test_what_clings_ends_with_the_command(anybody: Attacker, mark: Marked) -> None:
    done = anybody.run(*INTERPRETER, CLINGING, mark.text)
    assert (done.returncode, done.stderr) == (0, b"")
    assert mark.gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_what_clings_ends_with_the_supervisor(
    anybody: Attacker, mark: Marked, number: signal.Signals
) -> None:
    clinging = (
        CLINGING
        + """
if int(sys.argv[2]) != signal.SIGKILL:
    signal.signal(int(sys.argv[2]), signal.SIG_DFL)
print("ready", flush=True)
time.sleep(1000)
"""
    )
    process = anybody.start(*INTERPRETER, clinging, mark.text, str(int(number)))
    assert mark.processes()
    process.send_signal(number)
    assert end(process) in (128 + number, -number)
    assert mark.gone()


HOLDING = """
import ctypes, os, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
libc.ptrace(PTRACE_SEIZE, 1, 0, 0)
libc.ptrace(PTRACE_INTERRUPT, 1, 0, 0)
for pid in (1, os.getppid()):
    for number in (signal.SIGSTOP, signal.SIGTSTP):
        try:
            os.kill(pid, number)
        except OSError:
            pass
print("ready", flush=True)
os.execvp("sleep", ["sleep", sys.argv[1]])
"""


def test_a_stopped_or_traced_first_process_holds_nothing_up(anybody: Attacker, mark: Marked) -> None:
    process = anybody.start(*INTERPRETER, HOLDING, mark.text)
    process.kill()
    end(process)
    assert mark.gone()


@pytest.mark.parametrize("which", ["launcher", "isolation"])
def test_a_killed_part_takes_the_rest_with_it(anybody: Attacker, mark: Marked, which: str) -> None:
    process = start(anybody, "echo ready; exec sleep $1", mark.text)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (launcher,) = map(int, children.read_text().split())
    victim = launcher
    if which == "isolation":
        (victim,) = map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in ((125,) if which == "launcher" else (125, 137))
    assert mark.gone()
    assert b"Traceback" not in errors


def rounds(attacker: Attacker, mark: Marked, number: int, longest_s: float) -> list[float]:
    """Kill the supervisor at `number` moments of its start; return those after which something stayed."""
    failed = []
    for turn in range(number):
        delay = longest_s * turn / number
        process = attacker.caller.popen(
            attacker.argv("sleep", mark.text),
            env=attacker.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(delay)
        process.kill()
        process.wait()
        if not mark.gone():
            failed.append(delay)
    return failed


def test_a_supervisor_killed_at_its_start_leaves_nothing(attacker: Attacker, mark: Marked) -> None:
    before = tree(attacker.workspace.parent)
    assert rounds(attacker, mark, 8, 0.25) == []
    assert tree(attacker.workspace.parent) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_supervisor_killed_at_any_moment_leaves_nothing(anybody: Attacker, mark: Marked) -> None:
    """25 ms were enough to leave a sandbox behind in most rounds with bwrap alone."""
    before = tree(anybody.workspace.parent)
    assert rounds(anybody, mark, 30, 0.3) == []
    assert tree(anybody.workspace.parent) == before


@pytest.mark.parametrize("how", ["normal", "killed"])
def test_no_stub_and_no_mount_point_on_the_host(anybody: Attacker, mark: Marked, how: str) -> None:
    """Whatever is bound wherever: parents are made in tmpfs of ours, never in a directory of the host."""
    data = anybody.caller.place / "data"
    (data / "inner").mkdir(parents=True, exist_ok=True)
    (anybody.workspace / "existing").mkdir()
    (anybody.workspace / "file").touch()
    place = anybody.caller.place
    unique = f"art-guest-{os.getpid()}"
    guests = [
        f"/opt/{unique}/a/b",
        f"/usr/lib/{unique}",
        f"/{unique}/x",
        f"{place}/{unique}",
        f"/tmp/{unique}/y",
    ]
    guests += [
        f"/home/{unique}",
        "/home/agent/.config/deep/er",
        "/home/agent/ws/existing",
        f"/var/lib/{unique}/z",
    ]
    options = [word for guest in guests for word in ("--bind", f"{data}:{guest}")]
    options += ["--bind", f"{anybody.workspace}/file:/etc/{unique}", "--expose", str(anybody.caller.home)]
    mounts = Path("/proc/self/mountinfo").read_text()
    before = tree(anybody.workspace, data)
    process = anybody.start("sh", "-c", 'echo ready; exec sleep "$1"', "sh", mark.text, options=options)
    if how == "killed":
        process.kill()
    else:
        process.terminate()
    end(process)
    assert mark.gone()
    assert tree(anybody.workspace, data) == before
    tops = (
        "/opt",
        "/usr/lib",
        "/",
        str(place),
        "/home",
        "/etc",
        "/var/lib",
        "/tmp",
        str(anybody.caller.home),
    )
    assert [top for top in tops if Path(top, unique).exists()] == []
    assert not Path("/home/agent").exists()
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_a_refused_run_leaves_nothing(attacker: Attacker) -> None:
    before = tree(attacker.workspace.parent)
    for option in (
        "/nowhere:/opt/x",
        f"{attacker.workspace}:/proc/x",
        f"{attacker.caller.place}:/home/agent/ws/no",
    ):
        done = attacker.run("true", options=["--bind", option])
        assert done.returncode == 125, option
        assert done.stderr.count(b"\n") == 1
    assert tree(attacker.workspace.parent) == before


@pytest.mark.slow
def test_a_command_that_ignores_the_request_to_end_is_ended(attacker: Attacker, mark: Marked) -> None:
    process = start(attacker, "trap '' TERM; echo ready; while :; do sleep $1; done", mark.text)
    process.terminate()
    started = time.monotonic()
    assert end(process) == 128 + signal.SIGKILL
    assert 2 < time.monotonic() - started < 15
    assert mark.gone()
