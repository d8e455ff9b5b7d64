"""What would run on the host later cannot be planted in secret, by any way around the protection."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.repositories import git, own


@pytest.fixture
def repository(anybody: Attacker) -> Attacker:
    """A workspace that is a git repository with one commit, editor tasks and an agent's own folder."""
    git(anybody, "init", "--quiet")
    for name in (".vscode/tasks.json", ".envrc", ".claude/settings.json", ".mcp.json", "src/main.py"):
        file = anybody.workspace / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("the user's own\n")
    own(anybody)
    git(anybody, "add", "--all")
    git(anybody, "commit", "--quiet", "-m", "first")
    return anybody


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


PROTECTED = [".git/config", ".git/hooks/pre-commit.sample", ".vscode/tasks.json", ".envrc", ".mcp.json"]
PROTECTED += [".claude/settings.json"]

ATTACKS = {
    "write": 'echo planted >>"$1"',
    "remove": 'rm -f "$1"',
    "rename over": 'echo planted >x; mv -f x "$1"',
    "rename away": 'mv "$1" x && echo planted >"$1"',
    "link to": 'ln "$1" x && echo planted >>x',
    "exchange": """python3 -c "
import ctypes, sys
open('x', 'w').write('planted')
ctypes.CDLL(None).renameat2(-100, b'x', -100, sys.argv[1].encode(), 2)" "$1" """,
    "rename its directory": 'd=$(dirname "$1"); mv "$d" x && cp -r x "$d" && echo planted >>"$1"',
    "rename the top": 'd=${1%%/*}; mv "$d" x && cp -r x "$d" && echo planted >>"$1"',
    "remove the top": 'd=${1%%/*}; rm -rf "$d"; mkdir -p "$(dirname "$1")"; echo planted >>"$1"',
    "change modes": 'chmod 777 "$1"; echo planted >>"$1"',
    "through /proc": 'echo planted >>"/proc/self/cwd/$1"; echo planted >>"/proc/1/root$PWD/$1"',
    "unmount": 'umount "$1"; umount -l "$PWD/$1"; echo planted >>"$1"',
    "truncate": 'truncate -s0 "$1"; : >"$1"',
    "mount over": 'mount --bind src "$(dirname "$1")"; echo planted >>"$1"',
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_protected_stays_as_it_was(repository: Attacker, attack: str) -> None:
    top = repository.workspace
    before = {path: (top / path).read_bytes() for path in PROTECTED}
    modes = {path: (top / path).stat().st_mode for path in PROTECTED}
    script = f"""
        for place in /home/agent/ws "$0"; do
            cd "$place"
            for file; do ( set -- "$file"; {ATTACKS[attack]} ); done
        done
    """
    repository.run("sh", "-c", script, top, *PROTECTED)
    assert {path: (top / path).read_bytes() for path in PROTECTED} == before
    assert {path: (top / path).stat().st_mode for path in PROTECTED} == modes


def test_a_hook_cannot_be_planted(repository: Attacker) -> None:
    canary = repository.workspace.parent / "canary"
    hook = f"#!/bin/sh\ntouch {canary}\n"
    script = """
        plant() { printf %s "$1" >"$2/pre-commit" && chmod +x "$2/pre-commit"; }
        plant "$1" .git/hooks
        mv .git/hooks .git/old && mkdir .git/hooks && plant "$1" .git/hooks
        mv .git old && cp -r old .git && plant "$1" .git/hooks
        mkdir planted && plant "$1" planted
        git config core.hooksPath planted
        git config --worktree core.hooksPath planted
        GIT_CONFIG=.git/config git config core.fsmonitor "touch $2"
        true
    """
    repository.shell(script, hook, canary)
    (repository.workspace / "src/main.py").write_text("changed\n")
    git(repository, "commit", "--quiet", "--all", "-m", "second")
    git(repository, "status")
    assert not canary.exists()


def test_a_common_directory_cannot_be_planted_in_secret(repository: Attacker) -> None:
    """`.git/commondir` makes git read its configuration from elsewhere; it can be made, and is named."""
    done = repository.shell("cp -r .git other && echo ../other >.git/commondir")
    assert done.returncode == 0
    assert b".git/commondir" in done.stderr


def test_work_goes_on_in_a_protected_repository(repository: Attacker) -> None:
    script = """
        git config user.name >/dev/null || export GIT_AUTHOR_NAME=a GIT_COMMITTER_NAME=a EMAIL=a@example.org
        echo more >>src/main.py && git commit -qam more && git switch -qc topic && git tag v1 &&
        git stash list && git gc -q && git branch other && git merge -q main && git log --oneline | wc -l
    """
    done = repository.shell(script)
    assert (done.returncode, done.stdout) == (0, b"2\n"), done.stderr
    assert b"dubious" not in done.stderr
    assert git(repository, "branch", "--show-current").stdout == b"topic\n"
    assert git(repository, "fsck", "--strict").returncode == 0


def test_what_git_may_not_do_is_explained(repository: Attacker) -> None:
    done = repository.shell("git remote add origin https://example.org/x.git")
    assert done.returncode != 0
    assert b"--no-protect .git/config" in done.stderr.splitlines()[-1]
    allowed = repository.shell(
        "git remote add origin https://example.org/x.git", options=["--no-protect", ".git/config"]
    )
    assert allowed.returncode == 0, allowed.stderr
    assert b"example.org" in git(repository, "remote", "-v").stdout


NEW = [
    ".envrc",
    ".vscode/tasks.json",
    ".husky/pre-commit",
    ".mcp.json",
    ".bashrc",
    "sub/.git/hooks/post-checkout",
]
NEW += [
    "deep/er/.envrc",
    ".git/hooks/pre-push",
    ".art/config/binds.json",
    ".claude/settings.json",
    ".gitmodules",
]


@pytest.mark.parametrize("path", NEW)
def test_what_appears_is_named(anybody: Attacker, path: str) -> None:
    done = anybody.shell('mkdir -p "$(dirname "$1")" && echo planted >"$1"', path)
    assert done.returncode == 0
    assert path in done.stderr.decode()
    assert (anybody.workspace / path).exists()


def test_what_appears_on_the_way_of_a_failing_command_is_named_too(anybody: Attacker) -> None:
    done = anybody.shell("echo planted >.envrc; kill -9 $$")
    assert done.returncode == 137
    assert b".envrc" in done.stderr


def test_the_request_for_binds_cannot_be_changed_from_inside(anybody: Attacker) -> None:
    """The agent asks for more in .art: it cannot write there, and what is new needs approval."""
    config = anybody.workspace / ".art/config"
    config.mkdir(parents=True)
    file = config / "binds.json"
    file.write_text('{"binds": []}')
    own(anybody)
    asked = json.dumps({"binds": [{"host": str(anybody.caller.home), "guest": "/opt/mydata"}]})
    script = """
        printf %s "$1" >.art/config/binds.json
        mv .art x && mkdir -p .art/config && printf %s "$1" >.art/config/binds.json
        rm -rf .art; mkdir -p .art/config; printf %s "$1" >.art/config/binds.json
    """
    anybody.shell(script, asked)
    assert file.read_text() == '{"binds": []}'
    file.write_text(asked)
    refused = anybody.run("ls", "/opt/mydata")
    assert refused.returncode == 125
    assert b"art trust" in refused.stderr


def test_a_git_directory_that_is_a_link_or_a_file_is_watched(anybody: Attacker) -> None:
    real = anybody.workspace / "real.git"
    anybody.caller.run(["git", "init", "--quiet", "--separate-git-dir", real, anybody.workspace])
    files = [anybody.workspace / ".git", real / "config"]
    before = [file.read_bytes() for file in files]
    anybody.shell("rm -f .git; echo gitdir: other >.git; mv .git x; echo gitdir: other >.git")
    anybody.shell("echo planted >>real.git/config; echo planted >real.git/hooks/pre-commit; mv real.git x")
    assert [file.read_bytes() for file in files] == before
    assert not (real / "hooks/pre-commit").exists()
    (anybody.workspace / ".git").unlink()
    (anybody.workspace / ".git").symlink_to("real.git")
    anybody.shell("echo planted >>real.git/config; mv real.git x")
    assert (real / "config").read_bytes() == before[1]
    done = anybody.shell("rm .git && ln -s other .git")
    assert done.returncode == 0
    assert b".git" in done.stderr


@pytest.mark.parametrize("relative", [".git/config", ".git/hooks", ".envrc"])
def test_a_change_by_the_host_is_no_secret_door(repository: Attacker, relative: str) -> None:
    """The user works in the same repository meanwhile: `git config` renames a new file over the
    protected one, which takes its mount away. What the sandbox writes then is named at the end."""
    process = repository.start(
        "sh", "-c", f"echo ready; read line; echo planted >>{relative} 2>/dev/null; true"
    )
    path = repository.workspace / relative
    if path.is_dir():
        path.rename(path.with_name("moved"))
        path.mkdir()
    else:
        path.with_name("new").write_bytes(path.read_bytes())
        path.with_name("new").rename(path)
    os.chown(path, repository.caller.uid, repository.caller.gid)
    _, errors = process.communicate(b"go\n", timeout=30)
    assert relative in errors.decode()
