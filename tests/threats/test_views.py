"""Whatever else shows the workspace inside gives no more than the workspace itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed

PROTECTED = (".git/hooks/x", ".git/config", ".envrc", ".vscode/x", ".art/x")
ATTACK = """
for view; do
    for file in .git/hooks/x .git/config .envrc .vscode/x .art/x; do
        (echo evil >> $view/$file) 2> /dev/null && echo wrote $view/$file
    done
    for held in .git .vscode .art; do mv $view/$held $view/moved 2> /dev/null && echo moved $view/$held; done
    echo free > $view/free || echo $view cannot be written
done
"""
"""Prints what should not have been possible in a view of the whole workspace."""


@pytest.fixture
def repository(anybody: Attacker) -> Attacker:
    workspace = anybody.workspace
    git(workspace, "init", "-q")
    for name in (".vscode", ".art", "sub"):
        (workspace / name).mkdir()
    (workspace / ".envrc").write_text("")
    owned(workspace, anybody.caller)
    return anybody


def git(workspace: Path, *words: str) -> None:
    subprocess.run(["git", "-C", workspace, *words], check=True, capture_output=True)


def owned(top: Path, caller: Caller) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, caller.uid, caller.gid, follow_symlinks=False)


def asks(attacker: Attacker, host: str, *, readonly: bool) -> Path:
    """The workspace asks for a bind of something at /opt/view."""
    file = attacker.workspace / ".art/config/binds.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"binds": [{"host": host, "guest": "/opt/view", "readonly": readonly}]}))
    return file


def untouched(workspace: Path) -> bool:
    made = [name for name in PROTECTED if name.endswith("/x") and (workspace / name).exists()]
    return not made and not any(
        "evil" in (workspace / name).read_text() for name in (".git/config", ".envrc")
    )


def test_a_second_view_has_the_rights_of_the_first(repository: Attacker) -> None:
    """By a bind that is typed, by one that the workspace asks for, and as a share."""
    typed = ["--bind", f"{repository.workspace}:/opt/typed:rw"]
    shared = ["--share", f"{repository.workspace}:~/shared", "--trust-binds"]
    asks(repository, ".", readonly=False)
    views = ["/opt/view", "/opt/typed", "/home/agent/shared", ".", str(repository.workspace)]
    done = repository.shell(ATTACK, *views, options=[*typed, *shared])
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert untouched(repository.workspace)
    assert (repository.workspace / "free").read_text() == "free\n"


@pytest.mark.parametrize("host", [".git", ".git/hooks", ".git/hooks/new", ".envrc", ".art"])
def test_a_part_of_the_workspace_keeps_what_is_protected_in_it(repository: Attacker, host: str) -> None:
    (repository.workspace / ".git/hooks/new").mkdir()
    owned(repository.workspace / ".git/hooks/new", repository.caller)
    asks(repository, host, readonly=False)
    done = repository.shell(
        "echo evil > /opt/view/hooks/x; echo evil >> /opt/view/config; echo x > /opt/view/f"
    )
    if host == ".git":
        assert done.stderr.count(b"Read-only file system") == 2 and done.returncode == 0
        assert (repository.workspace / ".git/f").read_text() == "x\n"
    else:
        assert done.returncode == 125 and b"is protected in the workspace" in done.stderr
        assert b"--no-protect" in done.stderr
        done = repository.run("true", options=["--no-protect", host])
        assert done.returncode == (125 if host == ".git/hooks/new" else 0), done.stderr
    assert untouched(repository.workspace)


def test_a_directory_above_the_workspace_holds_it_in_place(repository: Attacker) -> None:
    above = repository.workspace.parent
    moving = "mv /opt/a/b /opt/a/c 2>&1; mv /opt/a/b/ws /opt/a/b/other 2>&1"
    deep = above / "b"
    deep.mkdir()
    shutil.move(repository.workspace, deep / "ws")
    owned(deep, repository.caller)
    moved = Attacker(repository.caller, deep / "ws", repository.options, repository.variables)
    options = ["--bind", f"{above}:/opt/a:rw", "--trust-binds"]
    done = moved.shell(f"{ATTACK}\n{moving}", "/opt/a/b/ws", options=options)
    assert done.stdout.count(b"Device or resource busy") == 2 and b"wrote" not in done.stdout, done.stdout
    assert untouched(deep / "ws") and (deep / "ws/free").exists()


def test_with_a_database_the_host_is_written_by_nobody_who_was_not_asked(repository: Attacker) -> None:
    database: list[str | Path] = ["-d", repository.workspace.parent / "x.db"]
    file = asks(repository, ".", readonly=False)
    done = repository.shell("echo evil > /opt/view/free", options=database)
    assert done.returncode == 125 and b"not approved" in done.stderr and b"art trust" in done.stderr
    assert not (repository.workspace / "free").exists()
    trusted = repository.caller.art("trust", "-m", repository.workspace, "--yes", env=repository.variables)
    assert b"which a database keeps as it is" in trusted.stdout, trusted
    no_database: list[str | Path] = []
    for options in (database, no_database):  # What is approved for both holds for either.
        done = repository.shell(ATTACK, "/opt/view", options=options)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert untouched(repository.workspace) and (repository.workspace / "free").exists()
    file.write_text(file.read_text().replace("false", "true"))
    assert repository.run("ls", "/opt/view", options=database).returncode == 0


def test_no_view_shows_the_database(repository: Attacker) -> None:
    database: list[str | Path] = ["-d", repository.workspace / "x.db"]
    for readonly in (True, False):
        asks(repository, ".", readonly=readonly)
        done = repository.run("true", options=[*database, "--trust-binds"])
        assert done.returncode == 125 and b"holds the database" in done.stderr, done.stderr
    (repository.workspace / ".art/config/binds.json").unlink()
    above = ["--bind", f"{repository.workspace.parent}:/opt/a:rw", "--trust-binds"]
    done = repository.run("true", options=[*database, *above])
    assert done.returncode == 125 and b"holds the database" in done.stderr, done.stderr


@pytest.mark.parametrize("caller_of", ["mapped", "root"])
def test_bind_mounts_of_the_host_show_no_other_workspace(
    root: Caller, installed: Installed, caller_of: str
) -> None:
    """All of it, a part, and a directory that holds it, by other paths: only root mounts."""
    with fresh_directory(root) as workspace:
        git(workspace, "init", "-q")
        above = workspace.parent
        for name in ("all", "part", "holds/ws"):
            (above / name).mkdir(parents=True)
        script = f"""
cd {above} && mount --bind ws all && mount --bind ws/.git part && mount --bind ws holds/ws || exit 9
exec "$@" -i=false -m ws --trust-binds --bind all:/opt/all:rw --bind part:/opt/part:rw \\
    --bind holds:/opt/holds:rw -- sh -c 'for git in all/.git part holds/ws/.git; do
    for f in hooks/x config; do (echo evil >> /opt/$git/$f) 2>/dev/null && echo wrote; done
    echo x > /opt/$git/free; done; mv /opt/holds/ws /opt/holds/w2 2>/dev/null && echo moved; ls .git/free'
"""
        done = root.run(
            ["unshare", "-m", "sh", "-c", script, "sh", installed.art], env={"ART_ROOT_AS": caller_of}
        )
        assert (done.returncode, done.stdout) == (0, b".git/free\n"), done.stderr
