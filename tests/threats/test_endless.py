"""What is inside cannot keep a run, or a command of the host, from ending."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attackers import INTERPRETER, Attacker
from tests.support.callers import Caller, fresh_directory

STOPPING = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
said = []
for request in (16, 0x4206):
    said.append((libc.ptrace(request, 1, 0, 0), ctypes.get_errno()))
print(ascii(said), flush=True)
"""
OVERWRITING = """
parts = [line.split()[0].split("-") for line in open("/proc/1/maps") if " r-xp " in line]
with open("/proc/1/mem", "r+b", 0) as memory:
    for start, end in [(int(part[0], 16), int(part[1], 16)) for part in parts[:-1]]:
        size = end - start
        memory.seek(start)
        memory.write(bytes([0x90]) * (size - 5) + bytes([0xE9]) + (-size).to_bytes(4, "little", signed=True))
print("written")
"""
"""All code of process 1 becomes one endless loop."""


def test_process_1_cannot_be_stopped_from_inside(attacker: Attacker) -> None:
    assert attacker.learn(STOPPING) == [(-1, 1), (-1, 1)]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the code that is written is of x86-64")
@pytest.mark.slow
def test_a_sandbox_whose_process_1_hangs_ends_with_its_command(caller: Caller, workspace: Path) -> None:
    done = Attacker(caller, workspace, ["-i=false"]).run(*INTERPRETER, OVERWRITING, timeout=30)
    assert done.returncode == 128 + signal.SIGKILL
    assert done.stdout in (b"written\n", b"")


def server_of(process: subprocess.Popen[bytes]) -> int:
    """The process that serves the home of a run."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            above = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            open_files = [os.readlink(link) for link in (entry / "fd").iterdir()]
        except OSError:
            continue
        if above == str(process.pid) and "/dev/fuse" in open_files:
            return int(entry.name)
    raise AssertionError("nobody serves the home")


SYNCING = """
import os, threading
def work(number):
    fd = os.open(f"file{number}", os.O_RDWR | os.O_CREAT)
    while True:
        os.write(fd, b"x")
        os.fsync(fd)
for number in range(8):
    threading.Thread(target=work, args=[number]).start()
print("up", flush=True)
"""
"""There is always a request that the server has taken and not answered, which no signal interrupts."""


@pytest.mark.slow
def test_a_run_ends_by_a_signal_whatever_its_server_does(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        attacker = Attacker(plain, workspace, ["-i=false", "-d", workspace.parent / "x.db"])
        process = attacker.start(*INTERPRETER, SYNCING)
        os.kill(server_of(process), signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=50)
    assert process.returncode == 125
    assert b"server was killed" in said


@pytest.mark.parametrize("kind", ["pipe", "endless device"])
@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("given", ["--env-file", "given"]),
        ("given", ["-d", "given"]),
        (".art/config/binds.json", []),
        (".venv/pyvenv.cfg", ["--agent", "tools"]),
        ("config/art/config.toml", []),
    ],
)
def test_what_stands_in_the_place_of_a_file_that_art_reads_keeps_nobody_waiting(
    plain: Caller, workspace_of_plain: Path, kind: str, place: str, options: list[str]
) -> None:
    path = workspace_of_plain / place
    plain.run(["mkdir", "-p", path.parent])
    made = ["mkfifo", str(path)] if kind == "pipe" else ["ln", "-s", "/dev/zero", str(path)]
    assert plain.run(made).returncode == 0
    venv = workspace_of_plain / ".venv/bin"
    plain.run(["mkdir", "-p", venv])
    plain.run(["ln", "-s", "/usr/bin/python3", venv / "python"])
    variables = {"PATH": f"{venv}:/usr/bin:/bin", "XDG_CONFIG_HOME": str(workspace_of_plain / "config")}
    done = plain.art(*options, "--", "true", cwd=workspace_of_plain, env=variables, timeout=30)
    if place != ".venv/pyvenv.cfg":
        assert done.returncode in (2, 125) and done.stderr.startswith(b"art: error: ")


@pytest.fixture
def workspace_of_plain(plain: Caller) -> Iterator[Path]:
    with fresh_directory(plain) as directory:
        yield directory


def test_a_pipe_of_the_callers_own_is_read_as_a_file_of_variables(plain: Caller) -> None:
    script = '"$0" -i=false --env-file <(echo GIVEN=yes) -- sh -c \'echo "$GIVEN"\''
    with fresh_directory(plain) as directory:
        done = plain.run(["bash", "-c", script, plain.art_program], cwd=directory)
    assert done.stdout == b"yes\n", done.stderr
