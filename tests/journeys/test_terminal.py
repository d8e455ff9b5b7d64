"""A terminal, as a person at a keyboard has it, with a real shell on both sides."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.support.callers import Caller
from tests.support.terminals import PROMPT, ended, terminal


@contextmanager
def art(caller: Caller, workspace: Path, *words: str) -> Iterator[pexpect.spawn]:
    with terminal(caller, caller.art_program, "-m", workspace, *words) as child:
        yield child


def test_a_shell_has_a_prompt_line_editing_and_a_status(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "-e", f"PS1={PROMPT}", "--", "bash", "--norc") as child:
        child.expect_exact(PROMPT)
        child.send("echo hellx\x7fo; tty\r")
        child.expect_exact("hello")
        child.expect(r"/dev/(pts/\d+|console)")
        child.expect_exact(PROMPT)
        child.send("exit 3\r")
        assert ended(child) == 3


def test_without_a_command_it_is_a_shell(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "-e", f"PS1={PROMPT}") as child:
        child.send("echo $0 in $PWD; test -t 0 && test -t 1 && test -t 2 && echo terminal\r")
        child.expect_exact("in /home/agent/ws")
        child.expect_exact("terminal")
        child.send("exit 3\r")
        assert ended(child) == 3


def test_the_interrupt_key_goes_to_the_command_alone(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "-e", f"PS1={PROMPT}", "--", "bash", "--norc") as child:
        child.expect_exact(PROMPT)
        child.send("sleep 100\r")
        child.expect_exact("sleep 100")
        time.sleep(0.3)
        child.sendintr()
        child.expect_exact(PROMPT)
        child.send("echo status $?\r")
        child.expect_exact("status 130")
        child.send("exit\r")
        ended(child)


def test_an_interrupted_command_is_130(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "--", "sh", "-c", "echo ready; exec sleep 100") as child:
        child.expect_exact("ready")
        child.sendintr()
        assert ended(child) == 130


def test_job_control_works_inside(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "-e", f"PS1={PROMPT}", "--", "bash", "--norc") as child:
        child.expect_exact(PROMPT)
        # One process: dash forks by vfork(2); a stop between that and the exec stops the child alone.
        source = "import time; print('running', flush=True); time.sleep(1); print('finished')"
        child.send(f'python3 -c "{source}"\r')
        child.expect_exact("running\r\n")
        child.send("\x1a")
        child.expect("Stopped")
        child.expect_exact(PROMPT)
        child.send("jobs\r")
        child.expect("Stopped")
        child.send("fg\r")
        child.expect_exact("\r\nfinished")
        child.expect_exact(PROMPT)
        child.send("sleep 0.2 &\r")
        child.expect(r"\[1\] \d+")
        child.send("wait; echo waited\r")
        child.expect_exact("\r\nwaited")
        child.send("exit\r")
        assert ended(child) == 0


def test_dash_keeps_its_terminal_too(caller: Caller, workspace: Path) -> None:
    with art(caller, workspace, "--", "dash", "-i") as child:
        child.send("sleep 100\r")
        time.sleep(0.3)
        child.sendintr()
        child.send("echo $((40 + 2)) left\r")
        child.expect_exact("42 left")
        child.send("exit 4\r")
        assert ended(child) == 4


def test_the_window_size_follows(caller: Caller, workspace: Path) -> None:
    script = "trap 'stty size' WINCH; stty size; echo ready; until read -t 0.1 line; do :; done"
    with art(caller, workspace, "--", "bash", "-c", script) as child:
        child.expect_exact("24 80")
        child.expect_exact("ready")
        child.setwinsize(40, 132)
        child.expect_exact("40 132")
        child.send("end\r")
        assert ended(child) == 0


# --- the terminal afterwards -------------------------------------------------------------------

SHELL = ("bash", "--norc", "--noediting", "-i")


@contextmanager
def outer_shell(caller: Caller) -> Iterator[pexpect.spawn]:
    """The caller's own interactive shell; `stty -g` before and after tells whether all was put back."""
    with terminal(caller, *SHELL, env={"PS1": "outside> "}) as child:
        child.expect_exact("outside> ")
        yield child


def settings_of(child: pexpect.spawn) -> str:
    child.send("stty -g; echo done\r")
    child.expect(r"\r\n([0-9a-f:]{40,})\r\n")
    found: str = child.match[1].decode()
    child.expect_exact("done\r\n")
    child.expect_exact("outside> ")
    return found


ENDINGS = {
    "exit": ("exit 7", 7),
    "killed": ("kill -9 $$", 137),
    "raw": ("stty raw -echo; exit 5", 5),
    "crash": ("kill -SEGV $$", 139),
    "missing": (None, 127),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_the_terminal_is_as_it_was(caller: Caller, workspace: Path, how: str) -> None:
    script, status = ENDINGS[how]
    words = "no-such-command" if script is None else f"sh -c '{script}'"
    with outer_shell(caller) as child:
        before = settings_of(child)
        child.send(f"{caller.art_program} -m {workspace} -- {words}; echo status $?\r")
        child.expect(rf"\r\nstatus {status}\r\n")
        child.expect_exact("outside> ")
        assert settings_of(child) == before
        child.send("exit\r")
        child.expect(pexpect.EOF)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_terminal_is_put_back_when_art_is_ended(
    caller: Caller, workspace: Path, number: signal.Signals
) -> None:
    with outer_shell(caller) as child:
        before = settings_of(child)
        child.send(
            f"{caller.art_program} -m {workspace} -- sh -c 'stty raw; echo rea\"\"dy; exec sleep 100'\r"
        )
        child.expect_exact("ready")
        (supervisor,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(supervisor), number)
        child.expect_exact("outside> ")
        time.sleep(0.3)
        assert settings_of(child) == before
        child.send("exit\r")
        child.expect(pexpect.EOF)


def test_modes_that_a_program_left_on_are_switched_off(caller: Caller, workspace: Path) -> None:
    """The alternate screen, mouse reports, bracketed paste and a hidden cursor, left by a killed program."""
    script = r"printf '\033[?1049h\033[?1000h\033[?2004h\033[?25l'; kill -9 $$"
    with art(caller, workspace, "--", "sh", "-c", script) as child:
        child.expect(pexpect.EOF)
        after: bytes = child.before
    for reset in (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?2004l", b"\x1b[?25h"):
        assert reset in after


def test_art_itself_can_be_stopped_and_continued(caller: Caller, workspace: Path) -> None:
    with outer_shell(caller) as child:
        before = settings_of(child)
        child.send(
            f"{caller.art_program} -m {workspace} -- sh -c 'echo rea\"\"dy; read line; echo got $line'\r"
        )
        child.expect_exact("ready")
        (supervisor,) = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        os.kill(int(supervisor), signal.SIGTSTP)
        child.expect("Stopped")
        child.expect_exact("outside> ")
        assert settings_of(child) == before
        child.send("fg\r")
        child.expect_exact("art")
        time.sleep(0.3)
        child.send("a line\r")
        child.expect_exact("got a line")
        child.expect_exact("outside> ")
        child.send("exit\r")
        child.expect(pexpect.EOF)


# --- streams that are not terminals ------------------------------------------------------------


def test_a_redirected_stream_stays_its_own(caller: Caller, workspace: Path) -> None:
    """Standard output goes to a file, byte for byte; input and errors stay on the terminal."""
    out = caller.place / "out.txt"
    out.unlink(missing_ok=True)
    command = f"{caller.art_program} -m {workspace} -- sh -c 'printf \"a\\nb\\n\"; echo seen >&2' >{out}"
    with outer_shell(caller) as child:
        child.send(f"{command}\r")
        child.expect_exact("\r\nseen")
        child.expect_exact("outside> ")
        child.send("exit\r")
        child.expect(pexpect.EOF)
    assert out.read_bytes() == b"a\nb\n"


def test_a_forced_pty_leaves_keys_alone_when_input_is_redirected(caller: Caller, workspace: Path) -> None:
    # One process reads and waits: a shell between two commands may miss an interrupt (dash does).
    waits = "import os, sys, time; os.isatty(1) and print(sys.stdin.read()); time.sleep(100)"
    command = f"{caller.art_program} -i -m {workspace} -- python3 -c '{waits}' <<<input"
    with outer_shell(caller) as child:
        before = settings_of(child)
        child.send(f"{command}\r")
        child.expect_exact("\r\ninput")
        child.sendintr()
        child.expect_exact("outside> ")
        assert settings_of(child) == before
        child.send("exit\r")
        child.expect(pexpect.EOF)


def test_a_question_is_asked_on_the_terminal(caller: Caller, workspace: Path) -> None:
    data = caller.place / "asked"
    data.mkdir(exist_ok=True)
    os.chown(data, caller.uid, caller.gid)
    state = {"XDG_STATE_HOME": str(caller.place / f"state-{time.monotonic_ns()}")}
    words: list[str | Path] = [caller.art_program, "-m", workspace, "--bind", f"{data}:/opt/mydata:rw"]
    words += ["--", "touch", "/opt/mydata/x"]
    for answer, status in (("n", 125), ("", 125), ("y", 0)):
        with terminal(caller, *words, env=state) as child:
            child.expect_exact(str(data))
            child.expect(re.escape("[y/N]"))
            child.send(f"{answer}\r")
            assert ended(child) == status, answer
    assert (data / "x").exists()


def test_a_transfer_shows_how_far_it_is(caller: Caller, workspace: Path) -> None:
    for number in range(5000):
        (workspace / f"file{number:04}").write_bytes(b"x" * 1000)
    (workspace / "file0000\x1b[31m").touch()
    sides = ["-m", str(workspace), "-d", str(workspace.parent / "t.db")]
    for words, verb in ((["push", "-q"], "pushing"), (["pull", "-q"], "pulling")):
        with terminal(caller, caller.art_program, *words, *sides) as child:
            child.expect(rf"\r\x1b\[K{verb}: \d+ entries, [\d.]+ (bytes|[KMG]iB): file\d+")
            assert ended(child) == 0
            last = child.before.decode().rpartition("\r\x1b[K")[2]
            assert last.startswith("art: ") and last.count("\n") == 1, "the line is gone at the end"
            assert "\x1b[31m" not in child.before.decode()
        caller.art("-i=false", *sides, "--", "touch", *(f"file{n:04}" for n in range(5000)))
