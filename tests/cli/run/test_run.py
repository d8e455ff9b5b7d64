"""What the command line adds to a run."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from art_cli.run.run import quoted
from tests.support.callers import Caller


def test_a_failure_of_another_program_than_the_callers_is_explained(caller: Caller, workspace: Path) -> None:
    mine = workspace / "bin/false"
    caller.run(["mkdir", mine.parent])
    caller.run(["cp", "/bin/true", mine])
    path = {"PATH": f"{mine.parent}:{caller.env['PATH']}"}
    done = caller.art("-m", workspace, "false", env=path)
    assert done.returncode == 1
    assert done.stderr.decode() == f"art: note: false is /usr/bin/false in the sandbox, not your {mine}\n"
    assert caller.art("-m", workspace, "/bin/false", env=path).stderr == b""


def test_without_a_command_a_shell_reads_its_input(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, input=b"echo from $PWD; exit 4\n")
    assert (done.returncode, done.stdout) == (4, b"from /home/agent/ws\n")


def test_run_spelled_out_is_the_same(caller: Caller, workspace: Path) -> None:
    assert caller.art("run", "-m", workspace, "--", "pwd").stdout == b"/home/agent/ws\n"


def test_a_program_with_the_name_of_a_command_runs_after_two_dashes(caller: Caller, workspace: Path) -> None:
    caller.run(["cp", "/bin/echo", workspace / "push"])
    done = caller.art("-m", workspace, "--path", workspace, "--", "push", "-m", "it")
    assert (done.returncode, done.stdout) == (0, b"-m it\n")


def test_the_command_line_is_printed_without_secrets_and_nothing_runs(
    caller: Caller, workspace: Path
) -> None:
    done = caller.art("-m", workspace, "--print-command", "-e", "KEY=secret", "--", "touch", "a b")
    assert (done.returncode, done.stderr) == (0, b"")
    words = shlex.split(done.stdout.decode())
    assert words[0].endswith("bwrap")
    assert words[-2:] == ["touch", "a b"]
    assert "KEY" in words and b"secret" not in done.stdout
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize(
    "word", ["plain", "a b", "it's", "", "a\nb", "\x1b[2J", "\udcff\\'", "é\t$(x)`", "\x7f"]
)
def test_printed_words_are_what_a_shell_reads(plain: Caller, word: str) -> None:
    assert quoted(word).isprintable()
    echo = plain.run(["bash", "-c", f"printf %s {quoted(word)}"])
    assert echo.stdout == word.encode("utf-8", "surrogateescape")
