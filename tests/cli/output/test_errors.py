"""What goes wrong becomes one line and a status."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from art_cli.main import guarded
from art_cli.output.console import printable
from art_core.errors import ArtError
from tests.support.callers import Caller


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """The only line of an error."""
    assert done.stderr.startswith(b"art: error: "), done.stderr
    assert done.stderr.count(b"\n") == 1, done.stderr
    return done.stderr.decode().removeprefix("art: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é", "plain é"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\u202egnp", "\\u202egnp"),
        ("\x9b1m", "\\x9b1m"),
    ],
)
def test_nothing_in_a_line_drives_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--moutn", "x"], 2, "did you mean --mount?"),
        (["stauts"], 127, "'stauts': not found in the sandbox; did you mean art status?"),
        (["--nested", "push"], 2, "art -- push"),
        (["-m", "no/such", "true"], 125, "No such file or directory"),
        (["-m", "/", "--allow-home", "true"], 125, "no name"),
        (["-d", "/", "true"], 125, "directory"),
        (["-d", "no/such/x.db", "true"], 125, "does not exist"),
        (["--no-plugin", "ptrace", "--trace", "true"], 125, "tracer"),
        (["--trace-log", "t.log", "true"], 125, "in the workspace"),
        (["--trace-log", "no/such/t.log", "true"], 125, "no/such/t.log"),
        (["--trace-syscalls", "opena", "true"], 2, "did you mean openat"),
        (["-b", "other", "true"], 125, "--db"),
        (["--isolation", "none", "true"], 125, "bwrap"),
        (["--no-plugin", "bwrap", "true"], 125, "--no-plugin"),
        (["-c", "plugins.bwrap.tmp_siez=1", "true"], 125, "tmp_size"),
        (["doctor", "--jsno"], 2, "art doctor --help"),
        (["plugins", "more"], 2, "art plugins --help"),
        (["trust", "--yes", "--list"], 2, "choose one"),
        (["x", "no-such"], 125, "no plugin brings"),
    ],
)
def test_a_mistake_is_one_line_with_its_status(
    plain: Caller, words: list[str], status: int, says: str
) -> None:
    done = plain.art(*words)
    assert says in one_line(done)
    assert (done.returncode, done.stdout) == (status, b"")
    assert not list(plain.place.glob("x.db*"))


def test_names_with_control_characters_are_shown_escaped(plain: Caller) -> None:
    assert "\\x1b[2J" in one_line(plain.art("-m", "\x1b[2J", "true"))
    assert "\\xff" in one_line(plain.art(b"--\xff", "true"))


def test_a_command_that_is_missing_or_no_program_is_told_apart(caller: Caller, workspace: Path) -> None:
    missing = caller.art("-m", workspace, "no-such-program")
    assert (missing.returncode, "no-such-program" in one_line(missing)) == (127, True)
    forbidden = caller.art("-m", workspace, "/etc/passwd")
    assert (forbidden.returncode, "/etc/passwd" in one_line(forbidden)) == (126, True)


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 143), ("exit 125", 125)])
def test_the_status_of_the_command_is_arts_own_and_nothing_is_added(
    caller: Caller, workspace: Path, script: str, status: int
) -> None:
    done = caller.art("-m", workspace, "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


def test_output_that_nobody_reads_ends_quietly(plain: Caller) -> None:
    read, write = os.pipe()
    os.close(read)
    done = plain.run([plain.art_program, "run", "--help"], stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_output_that_cannot_be_written_is_an_error(plain: Caller) -> None:
    with open("/dev/full", "wb") as full:
        done = plain.run([plain.art_program, "--help"], stdout=full)
    assert done.returncode == 125
    assert one_line(done) == "standard output: No space left on device"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_obstacle(plain: Caller, closed: str) -> None:
    art = plain.art_program
    assert plain.run(["sh", "-c", f'"{art}" --version {closed}']).returncode == 0
    assert plain.run(["sh", "-c", f'"{art}" --moutn {closed}']).returncode == 2
    assert plain.run(["sh", "-c", f'"{art}" --allow-home -- sh -c "exit 3" {closed}']).returncode == 3


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(argv: object) -> int:
        raise error

    monkeypatch.setattr("art_cli.main._serve", fail)
    return guarded([])


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ArtError("no luck"), 125, "art: error: no luck\n"),
        (
            ZeroDivisionError("oh"),
            125,
            "art: error: internal error: ZeroDivisionError: oh; set ART_DEBUG=1 for a traceback\n",
        ),
        (
            OSError(28, "No space left on device", "/x\x1b"),
            125,
            "art: error: /x\\x1b: No space left on device; set ART_DEBUG=1 for a traceback\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_failure_has_its_line(
    error: BaseException,
    status: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("ART_DEBUG", raising=False)
    assert failing(error, monkeypatch) == status
    assert capfd.readouterr().err == line


def test_a_traceback_is_shown_to_who_asks(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ART_DEBUG", "1")
    assert failing(ArtError("no luck"), monkeypatch) == 125
    said = capfd.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("art: error: no luck\n")
