"""A pull brings nothing that git on the host runs, whatever it is called and however many pulls it takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.kept_homes import Kept

MAKE = """
    canaries=$1
    make() {
        git init -q --bare "$1" && git -C "$1" config core.bare false
        git -C "$1" config core.fsmonitor "touch '$canaries/$way'; false"
        printf '#!/bin/sh\\ntouch %s\\n' "'$canaries/$way'" >"$1/hooks/post-checkout"
        chmod +x "$1/hooks/post-checkout"
    }
"""


class Prey(Kept):
    """A workspace that somebody uses git in after a pull; what git ran of the agent's leaves a canary."""

    @property
    def canaries(self) -> Path:
        return self.workspace.parent / "canaries"

    def attack(self, script: str) -> None:
        done = self.art("-i=false", "--", "sh", "-c", MAKE + script, "sh", self.canaries)
        assert done.returncode == 0, done.stderr.decode()

    def use(self, top: Path | None = None) -> None:
        """What somebody does in each directory, and what an editor does by itself."""
        top = top or self.workspace
        self.canaries.mkdir(exist_ok=True)
        self.canaries.chmod(0o777)
        deep = {"objects", "refs", "info", "branches"}
        for directory in (top, *(path for path in top.rglob("*") if path.is_dir())):
            if not deep.intersection(directory.relative_to(top).parts):
                for words in (["status"], ["checkout", "--quiet", "HEAD"]):
                    self.caller.run(["git", *words], cwd=directory)
        assert os.listdir(self.canaries) == []


@pytest.fixture(params=["plain", "root", "mapped", pytest.param("overlayfs", marks=pytest.mark.slow)])
def prey(request: pytest.FixtureRequest, plain: Caller, root: Caller) -> Iterator[Prey]:
    caller = plain if request.param in ("plain", "overlayfs") else root
    env = {"ART_ROOT_AS": request.param} if caller is root else {}
    if request.param == "overlayfs":
        program = request.getfixturevalue("with_overlayfs") / "art"
        caller, env = replace(caller, art_program=program), {"ART_STORE": "overlayfs"}
    with fresh_directory(caller, "workspace") as workspace:
        yield Prey(replace(caller, env={**caller.env, **env}), workspace)


WAYS = {
    "a file": "make gd; echo 'gitdir: gd' >.git",
    "a link": "make gd; ln -s gd .git",
    "a file below": "mkdir src; make src/gd; echo 'gitdir: gd' >src/.git",
    "a bare one": "mkdir src; make src/gd; git -C src/gd config core.bare true",
    "the directory itself": "make gd; mv gd/* .",
    "another spelling": "make gd; echo 'gitdir: gd' >.GIT; ln -s gd .Git; ln -s gd 'git~1'",
    "links for pieces": "make gd; mkdir lk; for i in gd/*; do ln -s ../$i lk/${i#gd/}; done; ln -s lk .git",
    "a common directory": "make gd; mkdir w; cp gd/HEAD w; echo ../gd >w/commondir; rm gd/HEAD; mv w .git",
    "a submodule": """
        make gd; mkdir -p src .git/modules; mv gd .git/modules/m; echo 'gitdir: ../.git/modules/m' >src/.git
    """,
    "by its parts": "mkdir .git; make gd; cp -r gd/* .git/; ln -sf ../gd/config .git/config",
    "linked settings": "make .git; for i in config hooks; do mv .git/$i $i; ln -s ../$i .git/$i; done",
}


def test_a_git_directory_that_the_agent_made_runs_nothing(prey: Prey) -> None:
    prey.attack("".join(f'(way=\'{way}\'; mkdir "$way"; cd "$way"; {WAYS[way]})\n' for way in WAYS))
    done = prey.pull("--force")
    for way in WAYS:
        assert f"SKIP {way}/" in done.stderr.decode(), done.stderr.decode()
    prey.use()
    assert prey.pull("--into", "out").returncode == 0
    prey.use(prey.workspace.parent / "out")


def test_a_workspace_that_is_a_git_directory_runs_nothing(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        prey = Prey(plain, workspace)
        prey.attack("way=top; make gd; mv gd/* .")
        assert b"SKIP config: git runs the programs" in prey.pull().stderr
        prey.use()


def test_several_pulls_complete_nothing(plain: Caller) -> None:
    """Its settings come while it is no git directory, its HEAD when they are there."""
    with fresh_directory(plain, "workspace") as workspace:
        prey = Prey(plain, workspace)
        prey.attack("way=top; make gd; mv gd/HEAD .; mkdir .git; mv gd sub")
        assert prey.pull().returncode == 0
        assert (workspace / "sub/config").exists()
        prey.attack("mv HEAD sub/")
        done = prey.pull()
        assert b"SKIP sub/HEAD: git would take settings and hooks from its directory" in done.stderr
        prey.use()
        prey.attack("mkdir second; cp -r sub/HEAD sub/refs sub/config sub/hooks second")
        prey.pull("second/config", "second/hooks")
        prey.attack("cp -r sub/objects second")
        prey.pull("second")
        prey.use()


def test_a_pointer_of_the_hosts_is_not_replaced_by_a_directory(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        prey = Prey(plain, workspace)
        plain.run(["git", "init", "-q", "--separate-git-dir", workspace.parent / "own.git", workspace])
        before = (workspace / ".git").read_bytes()
        prey.attack("way=top; make gd; rm .git; mv gd .git")
        done = prey.pull("--force")
        assert b"SKIP .git: git" in done.stderr and b"CONFLICT" not in done.stderr
        assert (workspace / ".git").read_bytes() == before
        prey.use()


def git(kept: Kept, *words: str) -> subprocess.CompletedProcess[bytes]:
    owner = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    return kept.caller.run(["git", "-C", kept.workspace, *owner, *words])


@pytest.mark.parametrize("command", ["pull", "copy"])
def test_settings_that_were_not_all_read_are_a_failure(plain: Caller, command: str) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        git(kept, "init", "-q")
        with (workspace / ".git/config").open("a") as file:
            file.writelines(f"[include]\n\tpath = ../conf{number}\n" for number in range(300))
        own(plain, workspace)
        assert kept.shell("mkdir d; echo work >d/work").returncode == 0
        copy: list[str | Path] = ["fs", "cp", "-r", "-d", kept.database, "guest:workspace/d", workspace / "e"]
        done = kept.pull() if command == "pull" else plain.art(*copy)
        assert done.returncode == 1, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if b"not looked at" in line]
        assert line.startswith(b"FAIL ") and b"more than 256 files" in line
        assert (workspace / ("d/work" if command == "pull" else "e/work")).exists()


def test_what_the_hosts_links_and_settings_lead_to_is_held_back(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        git(kept, "init", "-q")
        git(kept, "config", "core.hooksPath", "tools/hooks")
        git(kept, "config", "include.path", "../team.conf")
        (workspace / "src/.envrc").symlink_to("env.sh")
        (workspace / ".vscode").symlink_to("conf/editor")
        own(plain, workspace)
        script = """
            mkdir -p t2/hooks conf/editor
            for i in t2/hooks/pre-commit team.conf src/env.sh conf/editor/t; do echo planted >$i; done
            ln -s t2 tools; echo work >src/other.sh
        """
        assert kept.shell(script).returncode == 0
        done = kept.pull()
        for line in (
            b"SKIP team.conf: git finds it by include.path",
            b"SKIP tools: git finds it by core.hookspath",
            b"SKIP src/env.sh: direnv runs it when a shell enters the directory",
            b"SKIP conf/editor",
        ):
            assert line in done.stderr, done.stderr.decode()
        assert (workspace / "src/other.sh").exists() and (workspace / "t2/hooks/pre-commit").exists()
        for name in ("tools", "team.conf", "src/env.sh", "conf/editor/t"):
            assert not os.path.lexists(workspace / name)


def test_ordinary_work_in_a_repository_is_carried(caller: Caller) -> None:
    """Commits, branches, a rebase, a worktree and a bare repository; then the user goes on with git."""
    with fresh_directory(caller, "workspace") as workspace:
        kept = Kept(caller, workspace)
        git(kept, "init", "-q", "-b", "main")
        git(kept, "add", "--all")
        assert git(kept, "commit", "-q", "-m", "first").returncode == 0
        assert kept.push("-q").returncode == 0
        script = """
            export GIT_AUTHOR_NAME=a GIT_COMMITTER_NAME=a EMAIL=a@example.org; set -e
            echo more >>main.py; git commit -qam second; git switch -qc topic; echo x >x; git add x
            git commit -qm x; git switch -q main; echo y >y; git add y; git commit -qm y
            git switch -q topic; git rebase -q main; git worktree add -q ../wt2 main; git gc -q
            git init -q --bare remote.git; git push -q ./remote.git topic; echo instructions >CLAUDE.md
            echo >.envrc; mkdir .vscode; for i in $(seq 60); do echo x >.vscode/$i.json; done
        """
        done = kept.shell(script)
        assert done.returncode == 0, done.stderr.decode()
        pulled = kept.pull()
        assert pulled.returncode == 0, pulled.stderr.decode()
        lines = pulled.stderr.decode().splitlines()
        assert len(lines) < 25
        assert any(line.startswith("SKIP .envrc: direnv runs it") for line in lines)
        assert "SKIP .vscode/: and 58 more, for the same reason" in lines
        assert lines[-1] == "art: agents read these as instructions: CLAUDE.md"
        assert (workspace / "CLAUDE.md").exists()
        assert git(kept, "branch", "--show-current").stdout == b"topic\n"
        assert git(kept, "log", "--oneline").stdout.count(b"\n") == 4
        assert git(kept, "fsck", "--strict").returncode == 0
        assert git(kept, "status", "--porcelain").stdout.splitlines() == [b"?? CLAUDE.md", b"?? remote.git/"]
        assert git(kept, "--git-dir", "remote.git", "log", "topic").returncode == 0
        carried = kept.pull("--protected")
        assert (carried.returncode, len(list((workspace / ".vscode").iterdir()))) == (0, 60)


def test_a_directory_that_is_copied_out_runs_nothing(prey: Prey) -> None:
    prey.attack("way=copied; make gd; echo 'gitdir: gd' >.git; echo >.envrc; mkdir sub; make sub/.git")
    out = prey.workspace.parent / "out"
    done = prey.caller.art("fs", "cp", "-d", prey.database, "-r", "guest:workspace", out)
    for name in (".git", "gd/config", "gd/hooks", ".envrc", "sub/.git/config"):
        assert f"SKIP {out}/{name}: " in done.stderr.decode(), done.stderr.decode()
    assert done.returncode == 0 and (out / "gd/HEAD").exists()
    prey.use(out)
    typed = prey.caller.art("fs", "cp", "-d", prey.database, "guest:workspace/.envrc", prey.workspace.parent)
    assert typed.returncode == 0 and (prey.workspace.parent / ".envrc").exists()
    whole = prey.caller.art(
        "fs", "cp", "-d", prey.database, "-r", "--protected", "guest:workspace/gd", out / "all"
    )
    assert whole.returncode == 0 and (out / "all/config").exists()
