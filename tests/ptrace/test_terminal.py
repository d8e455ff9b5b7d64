"""A trace changes nothing for a person at a terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.support.callers import Caller
from tests.support.terminals import PROMPT, ended, terminal

SHELL = ("-e", f"PS1={PROMPT}", "--", "bash", "--norc")


@contextmanager
def art(caller: Caller, workspace: Path, *words: str) -> Iterator[pexpect.spawn]:
    """A traced run of the caller's on a new terminal."""
    log = workspace.parent / "trace.log"
    options = ["--trace-log", str(log), "-m", str(workspace)]
    with terminal(caller, caller.art_program, *options, *words) as child:
        yield child


def record(workspace: Path) -> str:
    return (workspace.parent / "trace.log").read_text()


@pytest.mark.parametrize("calls", ["all", "%process"])
def test_job_control_works(caller: Caller, workspace: Path, calls: str) -> None:
    with art(caller, workspace, "--trace-syscalls", calls, *SHELL) as child:
        child.expect_exact(PROMPT)
        source = "import time; print('running', flush=True); time.sleep(1); print('finished')"
        child.send(f'python3 -c "{source}"\r')
        child.expect_exact("running\r\n")
        child.send("\x1a")
        child.expect("Stopped")
        child.expect_exact(PROMPT)
        child.send("bg\r")
        child.expect_exact("finished\r\n")
        child.send("wait; echo waited\r")
        child.expect_exact("echo waited")
        child.expect_exact("waited\r\n")
        child.expect_exact(PROMPT)
        child.send(f'python3 -c "{source}"\r')
        child.expect_exact("running\r\n")
        child.send("\x1a")
        child.expect("Stopped")
        child.expect_exact(PROMPT)
        child.send("fg\r")
        child.expect_exact("\r\nfinished")
        child.expect_exact(PROMPT)
        child.send("sleep 100\r")
        child.expect_exact("sleep 100\r\n")
        time.sleep(0.5)
        child.sendintr()
        child.expect_exact(PROMPT)
        child.send("echo status $?\r")
        child.expect_exact("status 130")
        child.send("exit 3\r")
        assert ended(child) == 3
    assert "--- stopped by SIGTSTP ---" in record(workspace)
    assert re.search(r"--- SIGINT \{si_signo=SIGINT, si_code=SI_KERNEL\} ---", record(workspace))


def test_the_window_size_follows(caller: Caller, workspace: Path) -> None:
    script = "trap 'stty size' WINCH; stty size; echo ready; until read -t 0.1 line; do :; done"
    with art(caller, workspace, "--", "bash", "-c", script) as child:
        child.expect_exact("24 80")
        child.expect_exact("ready")
        child.setwinsize(40, 132)
        child.expect_exact("40 132")
        child.send("end\r")
        assert ended(child) == 0


def test_a_trace_on_the_terminal_has_whole_lines(caller: Caller, workspace: Path) -> None:
    words = (caller.art_program, "-m", str(workspace), "--trace-syscalls", "mkdir", "--", "mkdir", "one")
    with terminal(caller, *words) as child:
        child.expect(r'\d+/2 mkdir\("one", 0777\) += 0\r\n')
        child.expect(r"\d+/2 \+\+\+ exited with 0 \+\+\+\r\n")
        assert ended(child) == 0
