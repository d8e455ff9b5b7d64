"""`art trust`: showing, approving, listing and taking back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.support.callers import Caller


@pytest.fixture
def results(caller: Caller, workspace: Path) -> Iterator[Path]:
    """A directory beside the workspace, which the workspace asks to write to."""
    directory = workspace.parent / "results"
    caller.run(["mkdir", directory])
    ask_for(caller, workspace, directory)
    yield directory
    shutil.rmtree(caller.home / ".local", ignore_errors=True)


def ask_for(caller: Caller, workspace: Path, directory: Path) -> None:
    binds = {"binds": [{"host": str(directory), "guest": "/opt/mydata", "readonly": False}]}
    script = 'mkdir -p "$1/.art/config" && cat > "$1/.art/config/binds.json"'
    caller.run(["sh", "-c", script, "sh", workspace], input=json.dumps(binds).encode())


def write(caller: Caller, workspace: Path, *options: str) -> tuple[int, bytes]:
    done = caller.art("-m", workspace, *options, "--", "touch", "/opt/mydata/made")
    return done.returncode, done.stderr


def test_what_a_refusal_prints_is_what_approves(caller: Caller, workspace: Path, results: Path) -> None:
    status, said = write(caller, workspace)
    assert status == 125
    assert said.decode().rstrip().endswith(f"to approve: art trust -m {workspace}")
    done = caller.art("trust", "-m", workspace, "--yes")
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{results} at /opt/mydata, read-write".encode() in done.stdout
    assert write(caller, workspace) == (0, b"")
    assert (results / "made").exists()


def test_without_a_terminal_nobody_can_be_asked(caller: Caller, workspace: Path, results: Path) -> None:
    done = caller.art("trust", "-m", workspace)
    assert done.returncode == 125
    assert str(results).encode() in done.stdout
    assert b"--yes" in done.stderr
    assert write(caller, workspace)[0] == 125


def test_an_approval_ends_when_the_file_changes(caller: Caller, workspace: Path, results: Path) -> None:
    caller.art("-m", workspace, "trust", "--yes")
    ask_for(caller, workspace, results.parent)
    assert write(caller, workspace)[0] == 125


def test_an_approval_can_be_listed_and_taken_back(caller: Caller, workspace: Path, results: Path) -> None:
    assert caller.art("trust", "--list").stdout == b""
    caller.art("trust", f"-m={workspace}", "--yes")
    assert str(workspace) in caller.art("trust", "--list").stdout.decode()
    assert b"is approved already" in caller.art("trust", "-m", workspace).stdout
    assert b"taken back" in caller.art("trust", "-m", workspace, "--forget").stdout
    assert b"there was no approval" in caller.art("trust", "-m", workspace, "--forget").stdout
    assert write(caller, workspace)[0] == 125


def test_one_run_can_be_approved_alone(caller: Caller, workspace: Path, results: Path) -> None:
    assert write(caller, workspace, "--trust-binds") == (0, b"")
    assert write(caller, workspace)[0] == 125


def test_a_workspace_that_asks_for_nothing_needs_no_approval(caller: Caller, workspace: Path) -> None:
    done = caller.art("trust", cwd=workspace)
    assert (done.returncode, done.stdout) == (
        0,
        f"{workspace} asks for nothing that needs approval\n".encode(),
    )


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("no", 125), ("", 125)])
def test_on_a_terminal_trust_asks(
    caller: Caller, workspace: Path, results: Path, answer: str, status: int
) -> None:
    argv = caller.command([caller.art_program, "trust", "-m", workspace])
    child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", timeout=20, dimensions=(24, 200))
    child.expect("Approve, until this changes.*N]")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == status
    assert write(caller, workspace)[0] == status


def test_on_a_terminal_a_run_asks_and_remembers(caller: Caller, workspace: Path, results: Path) -> None:
    argv = caller.command([caller.art_program, "-m", workspace, "touch", "/opt/mydata/made"])
    child = pexpect.spawn(argv[0], argv[1:], encoding="utf-8", timeout=20, dimensions=(24, 200))
    child.expect("Approve, until this changes.*N]")
    child.sendline("y")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert (results / "made").exists()
    assert write(caller, workspace) == (0, b"")
