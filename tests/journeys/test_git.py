"""A repository that is used on both sides: git on the host says after a pull what it says inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept

OWNER = "git config user.name Ann; git config user.email ann@example.org"
SAYS = "git status --porcelain --branch; git log --oneline --all; git stash list; git tag"


class Repository(Kept):
    """A workspace that is a git repository."""

    def host(self, script: str) -> str:
        done = self.caller.run(["sh", "-ec", script], cwd=self.workspace)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def inside(self, script: str) -> str:
        done = self.shell(f"set -e; {script}")
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def rewrite(self) -> None:
        """What a prompt or an editor does to the host's index."""
        before = (self.workspace / ".git/index").read_bytes()
        self.host("touch -d 2001-01-01 link main.py; git status --porcelain")
        assert (self.workspace / ".git/index").read_bytes() != before


@pytest.fixture(params=["plain", "root", pytest.param("overlayfs", marks=pytest.mark.slow)])
def repository(request: pytest.FixtureRequest, plain: Caller, root: Caller) -> Iterator[Repository]:
    caller = root if request.param == "root" else plain
    if request.param == "overlayfs":
        program = request.getfixturevalue("with_overlayfs") / "art"
        caller = replace(caller, art_program=program, env={**caller.env, "ART_STORE": "overlayfs"})
    with fresh_directory(caller, "workspace") as workspace:
        made = Repository(caller, workspace)
        made.host(f"git init -q -b main; {OWNER}; git add .; git commit -qm first")
        yield made


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "never pushed"])
def test_commits_inside_arrive_though_the_hosts_index_was_rewritten(
    repository: Repository, pushed: bool
) -> None:
    if pushed:
        assert repository.push("-q").returncode == 0
    said = repository.inside(
        "echo x >x; git add x; git commit -qm second; git checkout -qb other; git mv x y;"
        f"git commit -qm third; git tag v1; echo z >main.py; git stash -q; echo z >>src/deep.py; {SAYS}"
    )
    repository.rewrite()
    dry = repository.pull("--dry-run")
    done = repository.pull()
    assert (done.returncode, b"CONFLICT" in done.stderr) == (0, False), done.stderr
    assert dry.stdout == done.stdout
    assert repository.host(SAYS) == said
    assert repository.host("git fsck --no-dangling 2>&1") == ""


def test_an_index_that_both_sides_only_refreshed_is_no_conflict(repository: Repository) -> None:
    assert repository.push("-q").returncode == 0
    repository.inside("touch -d 2002-02-02 main.py; git status --porcelain")
    repository.rewrite()
    index = (repository.workspace / ".git/index").read_bytes()
    done = repository.pull()
    assert (done.returncode, b"CONFLICT" in done.stderr) == (0, False), done.stderr
    assert (repository.workspace / ".git/index").read_bytes() == index
    assert repository.host("git status --porcelain") == ""


def test_what_somebody_staged_or_committed_on_the_host_stays(repository: Repository) -> None:
    assert repository.push("-q").returncode == 0
    repository.inside("touch -d 2002-02-02 main.py; git status --porcelain; echo x >x; git add x")
    repository.host("echo mine >mine; git add mine")
    staged = repository.host("git status --porcelain")
    done = repository.pull()
    assert done.returncode == 1 and b"CONFLICT .git/index" in done.stderr, done.stderr
    assert repository.host("git status --porcelain") == staged + "?? x\n"
    repository.host("git commit -qm mine")
    assert b"CONFLICT .git/index" in repository.pull().stderr
    assert repository.host("git status --porcelain") == "?? x\n"


def test_a_commit_of_the_host_stays_on_its_branch_when_the_sandbox_wins(repository: Repository) -> None:
    assert repository.push("-q").returncode == 0
    repository.inside("echo x >x; git add x; git commit -qm second")
    repository.host("echo mine >mine; git add mine; git commit -qm mine; git pack-refs --all")
    said = repository.host("git log --oneline; git rev-parse main; git ls-files -s")
    done = repository.pull("--force")
    assert done.returncode == 1 and b"CONFLICT .git/index" in done.stderr, done.stderr
    assert b"CONFLICT .git/refs/heads/main" in done.stderr, done.stderr
    assert repository.host("git log --oneline; git rev-parse main; git ls-files -s") == said
    assert repository.host("git status --porcelain") == "?? x\n"


def test_what_the_settings_of_the_host_name_is_not_run(repository: Repository) -> None:
    repository.inside("echo x >x; git add x; git commit -qm second")
    repository.rewrite()
    ran = repository.workspace.parent / "ran"
    repository.host(
        f"git config core.fsmonitor 'touch {ran}; false'; git config filter.a.clean 'touch {ran}';"
        "echo '* filter=a' >.git/info/attributes"
    )
    repository.pull()
    assert not ran.exists()
    assert repository.host("git -c core.fsmonitor=false ls-files x") == "x\n"
