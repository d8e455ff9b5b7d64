"""Where a command works: below the home, or at the workspace's own path on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import checked

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b")


@pytest.fixture
def own(plain: Caller) -> Iterator[Path]:
    """A workspace of the plain caller's."""
    with fresh_directory(plain) as directory:
        yield directory


MODES = pytest.mark.parametrize("kept", [False, True], ids=["direct", "overlay"])


def database(workspace: Path, kept: bool) -> list[str]:
    return ["-d", f"{workspace}.db"] if kept else []


@MODES
def test_the_hosts_own_path_is_the_working_directory(caller: Caller, workspace: Path, kept: bool) -> None:
    options = ["-m", str(workspace), *database(workspace, kept)]
    script = 'pwd; echo "$PWD"; echo made > file; cat /home/agent/ws/file'
    done = caller.art(*options, "--workdir", "host", "--", "sh", "-c", script)
    assert done.stdout.decode().splitlines() == [str(workspace), str(workspace), "made"], done
    assert (workspace / "file").exists() is not kept


def test_a_virtual_environment_works_on_both_sides(plain: Caller, own: Path) -> None:
    done = plain.art("-m", own, "--workdir", "host", "--", "python3", "-m", "venv", "--without-pip", "v")
    assert done.returncode == 0, done
    script = f". {own}/v/bin/activate && python -c 'import sys; print(sys.prefix)'"
    assert plain.run(["sh", "-c", script]).stdout.decode().strip() == f"{own}/v"
    assert plain.art("-m", own, "--", "sh", "-c", script).stdout.decode().strip() == f"{own}/v"


def test_what_holds_paths_of_the_inside_is_named_once(caller: Caller, workspace: Path) -> None:
    for words in (["init", "-q"], [*IDENTITY, "commit", "-qm", "first", "--allow-empty"]):
        assert caller.run(["git", "-C", workspace, *words]).returncode == 0
    script = "python3 -m venv --without-pip v; git worktree add -q wt; ln -s $PWD/v l; ln -s v near"
    options = ["-m", str(workspace), "--no-protect", ".git"]
    done = caller.art(*options, "--", "sh", "-c", script)
    assert done.returncode == 0, done
    told = [line for line in done.stderr.decode().splitlines() if "/home/agent/ws" in line]
    assert told == [
        "art: note: .git/worktrees/wt, l, v: made with paths below /home/agent/ws, which the host does not "
        "have; what is made with --workdir host works on both sides"
    ]
    assert b"/home/agent/ws" not in caller.art(*options, "--", "true").stderr
    script = "python3 -m venv --without-pip v2; git worktree add -q wt2; ln -s $PWD/v2 l2"
    assert b"paths below" not in caller.art(*options, "--workdir", "host", "--", "sh", "-c", script).stderr
    assert (workspace / "l2/bin/python3").exists()


def test_a_setting_chooses_it_and_the_option_has_the_last_word(plain: Caller, own: Path) -> None:
    chosen = {"ART_WORKDIR": "host"}
    assert plain.art("-m", own, "--", "pwd", env=chosen).stdout.decode().strip() == str(own)
    done = plain.art("-m", own, "--workdir=home", "--", "pwd", env=chosen)
    assert done.stdout.decode().strip() == "/home/agent/ws"


def test_it_is_refused_where_that_path_is_left_out(plain: Caller, own: Path) -> None:
    done = plain.art("-m", own, "--workdir", "host", "--no-alias", "--", "pwd")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == (
        b"art: error: --workdir host needs the workspace at its own path, and --no-alias leaves it out\n"
    )


def test_a_workspace_below_its_repository_is_told_where_it_is(caller: Caller, workspace: Path) -> None:
    (workspace / "sub").mkdir()
    checked(["git", "init", "-q", str(workspace)])
    checked(["chown", "-R", f"{caller.uid}:{caller.gid}", str(workspace)])
    done = caller.art("-m", workspace / "sub", "--", "git", "status")
    assert done.returncode == 128
    assert done.stderr.decode().splitlines()[-1] == (
        f"art: note: the repository of this workspace is above it, in {workspace}; to work in all of it: "
        f"art -m {workspace}; to read it: art --workdir host --expose {workspace}"
    )
    options = ["-m", str(workspace / "sub"), "--workdir", "host", "--expose", str(workspace)]
    told = caller.art(*options, "--", "sh", "-c", "git rev-parse --show-toplevel; touch ../x; touch x")
    assert told.stdout.decode().strip() == str(workspace), told
    assert not (workspace / "x").exists()
    assert (workspace / "sub/x").exists()
