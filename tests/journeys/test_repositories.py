"""A git repository on both sides: what a pull and a push make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept

OWNER = "-c user.name=a -c user.email=a@example.com"
COMMIT = f"git add -A && git {OWNER} commit -qm"
STASH = f"git {OWNER} stash -q"
SAYS = "git status --porcelain --branch; git log --oneline --all; git stash list; git tag"


class Repository(Kept):
    """A workspace with a repository in it, `top` of it."""

    def __init__(self, caller: Caller, workspace: Path, top: str = ".") -> None:
        super().__init__(caller, workspace)
        self.top = top
        self.host(f"git init -q -b main {top}; echo one >{top}/first; cd {top}; {COMMIT} one")

    def host(self, script: str) -> str:
        done = self.caller.run(["sh", "-ec", script], cwd=self.workspace)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def git(self, words: str) -> str:
        return self.host(f"cd {self.top}; git {words}")

    def inside(self, script: str) -> str:
        done = self.shell(f"set -e; cd {self.top}; {script}")
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def rewrite(self) -> None:
        """What a prompt or an editor does to the host's index."""
        before = (self.workspace / ".git/index").read_bytes()
        self.host("touch -d 2001-01-01 link main.py; git status --porcelain")
        assert (self.workspace / ".git/index").read_bytes() != before

    def said(self, *words: str, command: str = "pull") -> tuple[int, str]:
        """The status of a command of ART's, and all that it printed."""
        done = self.art(*words, command=command)
        return done.returncode, (done.stdout + done.stderr).decode()

    def is_whole(self) -> None:
        """Nothing is missing, and `git status` says the same on both sides."""
        assert self.host(f"cd {self.top}; git fsck --no-dangling 2>&1") == ""
        assert self.git("status --short") == self.inside("git status --short")
        assert self.git("log --format=%H%d --all") == self.inside("git log --format=%H%d --all")


@pytest.fixture(params=["plain", "root", pytest.param("overlayfs", marks=pytest.mark.slow)])
def caller(request: pytest.FixtureRequest, plain: Caller, root: Caller) -> Caller:
    if request.param != "overlayfs":
        return root if request.param == "root" else plain
    program = request.getfixturevalue("with_overlayfs") / "art"
    return replace(plain, art_program=program, env={**plain.env, "ART_STORE": "overlayfs"})


@pytest.fixture
def repository(caller: Caller) -> Iterator[Repository]:
    with fresh_directory(caller, "workspace") as workspace:
        yield Repository(caller, workspace)


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "never pushed"])
def test_commits_inside_arrive_though_the_hosts_index_was_rewritten(
    repository: Repository, pushed: bool
) -> None:
    if pushed:
        repository.push()
    said = repository.inside(
        f"echo x >x; {COMMIT} two; git checkout -qb other; git mv x y; {COMMIT} three; git tag v1;"
        f"echo z >main.py; {STASH}; echo z >>src/deep.py; {SAYS}"
    )
    repository.rewrite()
    would = repository.pull("--dry-run").stdout
    done = repository.pull()
    assert (done.returncode, b"CONFLICT" in done.stderr, done.stdout) == (0, False, would), done.stderr
    assert repository.host(SAYS) == said
    repository.is_whole()


def test_an_index_that_both_sides_only_refreshed_is_no_conflict(repository: Repository) -> None:
    repository.push()
    repository.inside("touch -d 2002-02-02 main.py; git status --porcelain")
    repository.rewrite()
    index = (repository.workspace / ".git/index").read_bytes()
    code, said = repository.said()
    assert (code, "CONFLICT" in said) == (0, False), said
    assert (repository.workspace / ".git/index").read_bytes() == index
    assert repository.git("status --porcelain") == ""


def test_what_is_staged_on_both_sides_stays_so_on_the_host(repository: Repository) -> None:
    repository.push()
    repository.inside("touch -d 2002-02-02 main.py; git status --porcelain; echo x >x; git add x")
    repository.host("echo mine >mine; git add mine")
    staged = repository.git("status --porcelain")
    code, said = repository.said()
    assert (code, "CONFLICT" in said) == (0, False), said
    assert repository.git("status --porcelain") == staged + "?? x\n"


def test_a_commit_of_the_host_stays_on_its_branch_when_that_is_packed(
    repository: Repository,
) -> None:
    repository.push()
    repository.inside(f"echo x >x; {COMMIT} second")
    repository.host(f"echo mine >mine; {COMMIT} mine; git pack-refs --all")
    before = repository.git("log --oneline; git ls-files -s; git status --porcelain")
    for words in ((), ("--force",), ("--force", ".git/refs")):
        code, said = repository.said(*words)
        assert (code, said.count("CONFLICT")) == (1, 1), said
    assert repository.git("log --oneline; git ls-files -s; git status --porcelain") == before
    assert repository.git("log --format=%s refs/art/main/heads/main").split() == ["second", "one"]


def test_what_the_settings_of_the_host_name_is_not_run(repository: Repository) -> None:
    repository.inside(f"echo x >x; {COMMIT} second")
    repository.rewrite()
    ran = repository.workspace.parent / "ran"
    repository.host(
        f"git config core.fsmonitor 'touch {ran}; false'; git config filter.a.clean 'touch {ran}';"
        f"echo '* filter=a' >.git/info/attributes; git config core.hooksPath {ran}.d; mkdir {ran}.d;"
        f"printf '#!/bin/sh\\ntouch {ran}' >{ran}.d/reference-transaction; chmod 755 {ran}.d/*"
    )
    assert repository.pull().returncode == 0
    assert not ran.exists()
    assert repository.host("git -c core.fsmonitor=false ls-files x") == "x\n"
    quiet = f"git -c core.hooksPath= -c core.fsmonitor=false -c filter.a.clean=cat {OWNER}"
    repository.inside(f"echo y >y; {quiet} add y; {quiet} commit -qm third")
    repository.host(f"{quiet} commit -q --allow-empty -m ours; rm -f {ran}")
    assert repository.pull().returncode == 1
    assert not ran.exists()
    assert repository.git("log --format=%s refs/art/main/heads/main").split() == ["third", "second", "one"]


def test_what_both_committed_stands_beside_and_is_joined_by_git(repository: Repository) -> None:
    repository.push()
    repository.host(f"echo host >ours; {COMMIT} ours")
    repository.inside(f"echo inside >theirs; echo more >>first; {COMMIT} theirs; echo loose >loose")
    tip = repository.git("rev-parse main")
    state = repository.git("status --short")
    for words in ((), ("--force",)):
        told = repository.art(command="status").stdout.decode()
        assert "git merge refs/art/main/heads/main" in told
        _, would = repository.said(*words, "--dry-run")
        code, said = repository.said(*words)
        assert (code, said.count("CONFLICT"), would.count("CONFLICT")) == (1, 1, 1), said
        assert (repository.git("rev-parse main"), repository.git("status --short")) == (tip, state)
        assert repository.git("log --format=%s refs/art/main/heads/main").split() == ["theirs", "one"]
        assert repository.host("git fsck --no-dangling 2>&1") == ""
    assert repository.inside("git log --format=%s").split() == ["theirs", "one"]
    repository.git("-c user.name=h -c user.email=h@example.com merge -q -m joined refs/art/main/heads/main")
    assert repository.pull().returncode == 0
    assert (repository.workspace / "loose").read_text() == "loose\n"
    done = repository.push()
    assert done.returncode == 0, done.stdout
    assert sorted(repository.inside("git log --format=%s").split()) == ["joined", "one", "ours", "theirs"]
    repository.is_whole()


def test_what_is_staged_on_the_host_is_not_lost(repository: Repository) -> None:
    repository.push()
    repository.host("echo staged >staged; git add staged; rm staged")
    repository.inside(f"echo two >second; {COMMIT} two")
    code, said = repository.said()
    assert code == 1 and "something is staged on the host" in said
    assert repository.git("show :staged") == "staged\n"
    assert repository.git("log --format=%s refs/art/main/heads/main").split() == ["two", "one"]


def test_work_that_is_not_committed_arrives_beside_commits_of_the_host(repository: Repository) -> None:
    repository.push()
    repository.inside("echo more >>first; git add first; echo new >new")
    repository.host(f"echo host >ours; {COMMIT} ours")
    done = repository.pull()
    assert done.returncode == 0, done.stdout
    assert repository.git("status --short").splitlines() == [" M first", "?? new"]
    assert repository.host("git fsck --no-dangling 2>&1") == ""


def test_objects_that_both_sides_packed_or_made_are_no_conflict(repository: Repository) -> None:
    repository.push()
    repository.inside(f"echo same >same; {COMMIT} two; git gc -q")
    repository.host("echo same | git hash-object -w --stdin; git gc -q")
    _, said = repository.said()
    assert not [row for row in said.splitlines() if row.startswith("CONFLICT") and "objects" in row]
    assert repository.host("git fsck --no-dangling 2>&1") == ""
    assert "two" in repository.git("log --all --format=%s").split()


def test_a_repository_below_the_workspace_is_a_unit_of_its_own(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        repository = Repository(plain, workspace, "sub")
        repository.push()
        repository.host(f"cd sub; echo host >ours; {COMMIT} ours")
        repository.inside(f"echo inside >theirs; {COMMIT} theirs; echo beside >../beside; echo s >../sub2")
        assert repository.said()[1].count("CONFLICT") == 1
        assert (workspace / "beside").exists() and (workspace / "sub2").exists()
        assert not (workspace / "sub/theirs").exists()
        assert repository.git("log --format=%s refs/art/main/heads/main").split() == ["theirs", "one"]


def test_a_commit_without_its_objects_gets_no_name(repository: Repository) -> None:
    """The sandbox can write anything into its repository."""
    repository.push()
    repository.host(f"{COMMIT} ours --allow-empty")
    repository.inside(
        f"echo two >second; {COMMIT} two; rm -f .git/objects/$(git rev-parse HEAD: | sed 's,..,&/,')"
    )
    code, said = repository.said()
    assert code == 1 and "got no name here: not all of it is there" in said
    assert repository.git("for-each-ref refs/art") == ""
    assert repository.host("git fsck --no-dangling --connectivity-only main 2>&1") == ""
