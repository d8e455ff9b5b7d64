"""In direct mode what the host obeys stays as it was where it is known, and is told where it is new, over
runs too; ordinary work with git goes on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from art_core.autorun.finder import Listing
from art_core.autorun.finder_cache import Before, Remembered, is_known
from art_core.contracts import Workspace
from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed
from tests.support.repositories import git, own

MAKE = """
    make() {
        git init -q --bare "$1" && git -C "$1" config core.bare false
        git -C "$1" config core.fsmonitor "touch /tmp/canary; false"
    }
"""
CONFIG = b"git runs the programs that its settings name, already at git status: "


def test_a_git_directory_that_is_prepared_in_one_run_and_renamed_in_the_next_is_named_in_both(
    anybody: Attacker,
) -> None:
    first = anybody.shell(MAKE + "mkdir s; make s/g")
    assert CONFIG + b"s/g/config" in first.stderr
    second = anybody.run("mv", "s/g", ".git")
    assert CONFIG + b".git/config" in second.stderr
    third = anybody.shell(
        "mkdir -p deep/er; cp -r .git deep/er/x; mv deep/er/x/HEAD deep/er/x/H; mv deep/er y"
    )
    assert b"config" not in third.stderr
    assert CONFIG + b"y/x/config" in anybody.shell("mv y/x/H y/x/HEAD").stderr
    assert anybody.run("true").stderr == b""


def test_what_is_kept_of_a_run_is_not_seen_inside(anybody: Attacker) -> None:
    home = anybody.caller.home
    anybody.run("true")
    kept = list((home / ".local/state/art/obeyed").iterdir())
    assert kept and all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    done = anybody.shell(
        'cat "$1"/* 2>/dev/null; ls "$1" /home/agent/.local 2>/dev/null | wc -l', kept[0].parent
    )
    assert done.stdout == b"0\n"


@pytest.mark.parametrize(
    "link", [(".git/hooks", "../tracked"), (".vscode", "tracked"), (".envrc", "tracked/env")]
)
def test_where_a_link_of_the_hosts_leads_is_read_only(anybody: Attacker, link: tuple[str, str]) -> None:
    top = anybody.workspace
    git(anybody, "init", "--quiet", "--template=")
    (top / "tracked").mkdir()
    (top / "tracked/env").write_text("the user's own\n")
    (top / link[0]).symlink_to(link[1])
    own(anybody)
    script = """
        echo planted >>tracked/env; echo planted >tracked/pre-commit; rm -f tracked/env; mv x tracked/env
        mv tracked other && cp -r other tracked && echo planted >>tracked/env
    """
    done = anybody.shell(script)
    assert (top / "tracked/env").read_text() == "the user's own\n" or b"tracked/env" in done.stderr
    if link[0] != ".envrc":
        assert os.listdir(top / "tracked") == ["env"]


def test_what_gits_settings_name_is_read_only(anybody: Attacker) -> None:
    top = anybody.workspace
    git(anybody, "init", "--quiet")
    for name in ("hooks/pre-commit", "team.conf", "tools/strip"):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text("#!/bin/sh\n# the user's own\n")
    git(anybody, "config", "core.hooksPath", "hooks")
    git(anybody, "config", "include.path", "../team.conf")
    git(anybody, "config", "filter.strip.clean", "tools/strip --all")
    own(anybody)
    anybody.shell(
        "for i in hooks/pre-commit team.conf tools/strip; do echo x >>$i; rm -f $i; echo x >$i; done"
    )
    for name in ("hooks/pre-commit", "team.conf", "tools/strip"):
        assert (top / name).read_text() == "#!/bin/sh\n# the user's own\n"


def test_a_bare_repository_at_the_top_keeps_its_settings(anybody: Attacker) -> None:
    bare = anybody.workspace / "remote.git"
    anybody.caller.run(["git", "init", "-q", "--bare", bare])
    before = (bare / "config").read_bytes()
    done = anybody.shell(
        WORK.replace("set -e", "")
        + """
        echo planted >>remote.git/config; git -C remote.git config core.fsmonitor false; mv remote.git x
        echo planted >remote.git/hooks/post-receive; git init -q w; cd w
        git commit -q --allow-empty -m first && git push -q ../remote.git HEAD:main && echo pushed
        """
    )
    assert done.stdout == b"pushed\n", done.stderr
    assert (bare / "config").read_bytes() == before and not (bare / "hooks/post-receive").exists()
    allowed = ["--no-protect", "remote.git/config"]
    assert anybody.shell("git -C remote.git config a.b c", options=allowed).returncode == 0


# --- ordinary work ------------------------------------------------------------------------------


def committed(anybody: Attacker) -> None:
    """A repository with a hook of one's own, editor settings, and two branches that differ in them."""
    top = anybody.workspace
    git(anybody, "init", "--quiet")
    for name, text in (
        (".vscode/settings.json", "{}\n"),
        ("main.py", "x\n"),
        (".pre-commit-config.yaml", "repos: []\n"),
    ):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(text)
    hook = top / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho the hook ran >&2\n")
    hook.chmod(0o755)
    own(anybody)
    git(anybody, "add", "--all")
    git(anybody, "commit", "--quiet", "-m", "first")
    git(anybody, "switch", "-qc", "other")
    (top / ".vscode/settings.json").write_text('{"other": 1}\n')
    git(anybody, "commit", "-qam", "other")
    git(anybody, "switch", "-q", "main")


WORK = "export GIT_AUTHOR_NAME=a GIT_COMMITTER_NAME=a EMAIL=a@example.org; set -e\n"


def test_git_works_with_hooks_of_ones_own(anybody: Attacker) -> None:
    committed(anybody)
    done = anybody.shell(
        WORK
        + """
        echo more >>main.py; git commit -qam more; git switch -qc topic; git stash list; git rebase -q main
        git worktree add -q wt; git -C wt status >/dev/null; git init -q made; git clone -q . cloned
        git init -q --bare bare.git; git push -q ./bare.git topic; git gc -q; echo done
        """
    )
    assert done.stdout == b"done\n", done.stderr.decode()
    assert b"the hook ran" in done.stderr
    told = done.stderr.decode()
    assert "wt/.git" in told and "made/.git/config" in told and "cloned/.git/config" in told
    assert told.count("read-only inside") == 1  # It went to another branch.
    again = anybody.shell(
        "git -C cloned config a.b c; git -C cloned remote set-url origin x; rm -rf cloned made"
    )
    assert again.returncode == 0, again.stderr  # What a sandbox cloned, the next one may change and remove.


def test_what_a_checkout_may_not_write_is_explained(anybody: Attacker) -> None:
    committed(anybody)
    done = anybody.shell("git switch other")  # It succeeds with an error for the file.
    assert b"Read-only file system" in done.stderr
    (line,) = [line for line in done.stderr.decode().splitlines() if "read-only inside" in line]
    assert ".vscode" in line and "--no-protect" in line
    git(anybody, "restore", ".")
    allowed = anybody.shell("git switch -q other", options=["--no-protect", ".vscode"])
    assert allowed.returncode == 0, allowed.stderr
    assert b".vscode" not in allowed.stderr


def test_a_submodule_is_added_when_it_is_let_through(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        committed(anybody)
        script = (
            WORK
            + """
            git init -q /tmp/lib; git -C /tmp/lib commit -q --allow-empty -m lib
            git -c protocol.file.allow=always submodule --quiet add /tmp/lib lib
            git commit -qm lib; cat .gitmodules
        """
        )
        refused = anybody.shell(script)
        assert b"--no-protect .git/config" in refused.stderr
        subprocess.run(
            ["rm", "-rf", workspace / "lib", workspace / ".git/modules", workspace / ".gitmodules"]
        )
        git(anybody, "reset", "-q", "--hard", "HEAD~1")
        done = anybody.shell(script, options=["--no-protect", ".git", "--no-protect", ".gitmodules"])
        assert done.returncode == 0, done.stderr.decode()
        assert b"path = lib" in done.stdout
        assert git(anybody, "submodule", "status").stdout.split()[1] == b"lib"


def test_agents_instructions_are_work_and_named(plain: Caller, tmp_path: Path) -> None:
    with fresh_directory(plain) as workspace:
        (workspace / "AGENTS.md").write_text("be kind\n")
        os.chown(workspace / "AGENTS.md", plain.uid, plain.gid)
        done = Attacker(plain, workspace, ["-i=false"]).shell(
            "echo more >>AGENTS.md; ln -s AGENTS.md CLAUDE.md"
        )
        assert done.returncode == 0
        assert b"agents read it as instructions: AGENTS.md, CLAUDE.md" in done.stderr


def test_a_worktree_does_not_reach_the_settings_of_another(anybody: Attacker) -> None:
    """git takes settings from where a worktree's commondir leads; what can be made anew there is named."""
    repository = anybody.workspace.parent / "repository"
    repository.mkdir()
    os.chown(repository, anybody.caller.uid, anybody.caller.gid)
    of = Attacker(anybody.caller, repository, anybody.options, anybody.variables)
    git(of, "init", "--quiet")
    git(of, "commit", "-q", "--allow-empty", "-m", "first")
    git(of, "config", "core.hooksPath", "hooks")
    for name in ("one", "two"):
        git(of, "worktree", "add", "-q", f"../{name}")
    one = Attacker(anybody.caller, repository.parent / "one", anybody.options, anybody.variables)
    (one.workspace / "hooks").mkdir()
    own(one)
    script = (
        WORK.replace("set -e", "")
        + """
        common=$(git rev-parse --git-common-dir); mine=$(git rev-parse --git-dir)
        git init -q --bare evil; mv $common/worktrees/two x
        python3 -c 'import os, sys; os.rename(*sys.argv[1:])' $common/worktrees $common/x
        echo "$PWD/evil" >$common/worktrees/two/commondir; echo planted >hooks/pre-commit
        echo x >$common/config.worktree; echo y >$mine/config.worktree; echo "$PWD/evil" >$common/commondir
        git commit -q --allow-empty -m second && git log --oneline | wc -l
    """
    )
    done = one.shell(script, options=["--trust-binds"])
    assert (repository / ".git/worktrees/two/commondir").read_text() == "../..\n"
    assert os.listdir(one.workspace / "hooks") == []
    for name in ("config.worktree", "worktrees/one/config.worktree", "commondir"):
        assert f"{repository}/.git/{name}" in done.stderr.decode()


def test_work_in_a_worktree_is_not_named(anybody: Attacker) -> None:
    committed(anybody)
    tree = anybody.workspace.parent / "tree"
    git(anybody, "worktree", "add", "-q", tree)
    done = Attacker(anybody.caller, tree, anybody.options, anybody.variables).shell(
        WORK + "echo x >new; git add new; git commit -qm second; git log --oneline | wc -l",
        options=["--trust-binds"],
    )
    assert done.stdout == b"2\n", done.stderr
    assert b"new or changed" not in done.stderr


def test_what_a_run_that_was_killed_planted_is_named_by_the_next(anybody: Attacker) -> None:
    process = anybody.start("sh", "-c", "mkdir s; echo planted >s/.envrc; echo ready; sleep 100")
    process.kill()
    process.communicate()
    assert b"s/.envrc" in anybody.run("true").stderr
    assert b"s/.envrc" not in anybody.run("true").stderr


SESSION = """
import sys
from art_core import Sandbox
with Sandbox(sys.argv[1]) as box:
    done = box.run(["sh", "-c", "echo x >.envrc; echo x >>.git/config"])
    assert b"Read-only" in done.stderr, done
with Sandbox(sys.argv[1]) as box:
    ended = box.execute(["true"])
    print(*box.notices(ended), sep="\\n")
"""


def test_a_session_from_python_has_the_same_protections(caller: Caller, installed: Installed) -> None:
    with fresh_directory(caller) as workspace:
        anybody = Attacker(caller, workspace, ["-i=false"])
        committed(anybody)
        before = (workspace / ".git/config").read_bytes()
        done = caller.run([installed.python, "-c", SESSION, workspace])
        assert done.returncode == 0, done.stderr.decode()
        assert (workspace / ".git/config").read_bytes() == before
        assert b"the directory: .envrc\n" in done.stdout
        assert b".vscode/settings.json" not in done.stdout  # Not the agent's.


def test_what_a_directory_left_that_had_the_inode_before_hides_nothing(tmp_path: Path) -> None:
    """Its record is of another path: the one of a run that was not told takes its place."""
    (tmp_path / "ws").mkdir()
    fd = os.open(tmp_path / "ws", os.O_PATH)
    try:
        before = Before(1, Listing(str(tmp_path / "gone")))
        gone = Remembered(str(tmp_path / "kept"), Workspace("ws", "", str(tmp_path / "gone"), fd))
        gone.begin(before)
        gone.leave()
        found = Remembered(str(tmp_path / "kept"), Workspace("ws", "", str(tmp_path / "ws"), fd))
        found.begin(Before(7, Listing(str(tmp_path / "ws"))))
        found.leave()
        untold = found.untold()
        assert untold is not None and untold.since_ns == 7
        gone.end(before)
        assert not is_known(str(tmp_path / "kept"), str(tmp_path / "ws"))
        found.end(before)
        assert is_known(str(tmp_path / "kept"), str(tmp_path / "ws"))
    finally:
        os.close(fd)
