"""What a sandbox does so that something that is obeyed is not seen: directories that cannot be listed, places
that are not looked at, and more of everything than is looked at. Links where git writes are obeyed, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept
from tests.support.repositories import git, own

PLANT = """
    plant() { mkdir -p "$1"; echo planted >"$1/.envrc"; }
    decoys() {
        i=0
        while [ $((i += 1)) -le $1 ]; do mkdir git~$i; : >git~$i/HEAD; : >git~$i/objects; : >git~$i/refs; done
    }
"""


def in_git(kept: Kept, *words: str) -> str:
    owner = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    done = kept.caller.run(["git", "-C", kept.workspace, *owner, *words])
    return (done.stdout + done.stderr).decode()


# --- places that are not looked at --------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "sub", "sub/.git/x"])
def test_a_directory_that_cannot_be_listed_is_told(plain: Caller, place: str) -> None:
    """To execute it suffices for direnv and git."""
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        done = anybody.shell(PLANT + 'plant "$1"; git init -q "$1"; mkdir "$1"/a; chmod 0311 "$1"', place)
        told = done.stderr.decode()
        shown = "" if place == "." else f"{place}/"
        assert f"{shown}.envrc" in told and f"{shown}.git/config" in told, told
        assert "permission denied" in told
        assert place == "." or b"permission denied" in anybody.run("true").stderr
        (workspace / place).chmod(0o755)


def test_objects_and_git_directories_hide_nothing(anybody: Attacker) -> None:
    script = """
        mkdir -p src/objects src/refs; : >src/HEAD; git init -q src/objects/lib; git init -q .
        for i in src/objects src/objects/deep src/objects/ab .git/x .git/objects/x; do plant $i; done
        git init -q --bare .git/x/y
    """
    told = anybody.shell(PLANT + script).stderr.decode()
    names = ("src/objects/.envrc", "src/objects/deep/.envrc", "src/objects/ab/.envrc", ".git/x/.envrc")
    for name in (*names, "src/objects/lib/.git/config", ".git/x/y/config", ".git/objects/x/.envrc"):
        assert name in told, told


# --- more than is looked at ---------------------------------------------------------------------


def hooked(top: Path) -> None:
    (top / "tools").mkdir()
    (top / "tools/pre-commit").write_text("#!/bin/sh\n# the user's own\n")


def test_git_directories_do_not_crowd_out_the_users_own(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        git(anybody, "init", "--quiet")
        git(anybody, "config", "core.hooksPath", "tools")
        hooked(workspace)
        own(anybody)
        told = anybody.shell(PLANT + "decoys 1100").stderr.decode()
        assert "more than 1000 git directories" in told
        done = anybody.shell("echo planted >>tools/pre-commit")
        assert b"Read-only" in done.stderr
        assert "planted" not in (workspace / "tools/pre-commit").read_text()


def test_a_pull_reads_the_settings_of_all_git_directories(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        in_git(kept, "init", "-q", "z/z")
        in_git(kept, "-C", "z/z", "config", "core.hooksPath", "../../tools")
        hooked(workspace)
        own(Attacker(plain, workspace))
        assert kept.shell(PLANT + "decoys 1100; echo planted >>tools/pre-commit").returncode == 0
        kept.pull("git~*/**")
        kept.pull()
        assert "SKIP tools/pre-commit: git finds it by core.hookspath" in kept.pull().stderr.decode()


@pytest.mark.parametrize(
    ("bound", "script"),
    [
        ("more than 2000 files", "mkdir .vscode; cd .vscode; seq 2100 | xargs touch"),
        ("more than 256 places", "seq -f %g.code-workspace 300 | xargs touch"),
    ],
)
def test_a_bound_that_was_met_is_told(plain: Caller, bound: str, script: str) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        first, second = anybody.shell(script), anybody.run("true")
        assert bound in (first.stderr + second.stderr).decode()
        assert bound in anybody.run("true").stderr.decode()


# --- links where git writes ---------------------------------------------------------------------

WRITTEN = (
    ".git/MERGE_MSG",
    ".git/FETCH_HEAD",
    ".git/logs/HEAD",
    ".git/objects/info/commit-graph",
    "bare/FETCH_HEAD",
)
OTHERS = (".hg/last-message.txt", ".svn/wc.db", ".jj/working_copy/x", ".sl/dirstate")
LINKS = """
    git init -q --bare bare; rm -f .git/FETCH_HEAD .git/logs/HEAD
    for i in "$@"; do mkdir -p "${i%/*}"; ln -sf "$target" "$i"; done
"""


def test_links_where_git_writes_are_held_back(caller: Caller) -> None:
    with fresh_directory(caller, "workspace") as workspace:
        kept = Kept(caller, workspace)
        in_git(kept, "init", "-q", "-b", "main")
        assert "first" in in_git(kept, "commit", "--allow-empty", "-m", "first")
        profile = workspace.parent / "profile"
        profile.write_text("# the user's own\n")
        os.chown(profile, caller.uid, caller.gid)
        script = f"target={profile}; set -- {' '.join((*WRITTEN, *OTHERS))}; ln -s x ordinary" + LINKS
        assert kept.shell(script).returncode == 0
        done = kept.pull("-v")
        for name in (*WRITTEN, *OTHERS):
            assert f"SKIP {name}: " in done.stderr.decode(), done.stderr.decode()
            assert not (workspace / name).is_symlink()
        assert (workspace / "ordinary").is_symlink()
        in_git(kept, "fetch", ".")
        in_git(kept, "commit", "--allow-empty", "-m", "planted")
        assert profile.read_text() == "# the user's own\n"
        out = workspace.parent / "out"
        copied = caller.art("fs", "cp", "-d", kept.database, "-r", "guest:workspace", out)
        assert f"SKIP {out}/.git/MERGE_MSG: " in copied.stderr.decode()


def test_links_make_no_git_directory_in_several_pulls(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        kept.shell("mkdir b; mkdir b/objects b/refs; ln -s /srv/x b/FETCH_HEAD")
        assert kept.pull().returncode == 0 and (workspace / "b/FETCH_HEAD").is_symlink()
        kept.shell("echo 'ref: refs/heads/main' >b/HEAD")
        assert "SKIP b/HEAD: git would write to where links" in kept.pull().stderr.decode()


def test_links_where_git_writes_are_named_in_direct_mode(anybody: Attacker) -> None:
    git(anybody, "init", "--quiet")
    own(anybody)
    told = anybody.shell("target=/srv/x" + LINKS, *WRITTEN).stderr.decode()
    for name in WRITTEN:
        assert name in told, told
    assert "writes to where a link in its own directory leads" in told
    assert anybody.run("true").stderr == b""


# --- submodules ---------------------------------------------------------------------------------

WORK = "export GIT_AUTHOR_NAME=a GIT_COMMITTER_NAME=a EMAIL=a@example.org; set -e\n"
BUMP = WORK + "echo more >>lib/l; git -C lib commit -qam more; git add lib; git commit -qm bump"


def with_submodule(anybody: Attacker) -> None:
    lib = anybody.workspace.parent / "lib"
    lib.mkdir()
    (lib / "l").write_text("l\n")
    os.chown(lib, anybody.caller.uid, anybody.caller.gid)
    os.chown(lib / "l", anybody.caller.uid, anybody.caller.gid)
    of_lib = Attacker(anybody.caller, lib)
    for one in (of_lib, anybody):
        git(one, "init", "--quiet")
    git(of_lib, "add", "l")
    git(of_lib, "commit", "-qm", "first")
    git(anybody, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", lib, "lib")
    git(anybody, "commit", "-qm", "first")


def test_a_commit_in_a_submodule_works_and_its_settings_stay(anybody: Attacker) -> None:
    with_submodule(anybody)
    config = anybody.workspace / ".git/modules/lib/config"
    before = config.read_bytes()
    done = anybody.shell(BUMP)
    assert (done.returncode, done.stderr) == (0, b"")
    assert git(anybody, "status", "--porcelain").stdout == b""
    script = """
        cd .git/modules; echo planted >>lib/config; echo planted >lib/hooks/post-commit
        mv lib x; mv ../modules ../y; echo planted >lib/commondir; git init -q --bare other
    """
    told = anybody.shell(script).stderr.decode()
    assert config.read_bytes() == before and not (config.parent / "hooks/post-commit").exists()
    assert ".git/modules/lib/commondir" in told and ".git/modules/other/config" in told


def test_a_pull_carries_a_submodules_commit_and_not_its_settings(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        with_submodule(Attacker(plain, workspace))
        done = kept.shell(
            BUMP + "; git -C lib config core.fsmonitor false; echo x >.git/modules/lib/hooks/post-commit"
        )
        assert done.returncode == 0, done.stderr
        told = kept.pull().stderr.decode()
        assert "SKIP .git/modules/lib/config: git runs" in told
        assert "SKIP .git/modules/lib/hooks/post-commit: git runs hooks" in told
        assert in_git(kept, "submodule", "status").startswith(" ")
        assert "fsmonitor" not in (workspace / ".git/modules/lib/config").read_text()


# --- what is found for another reason, or not at all --------------------------------------------

CANARIES = "#!/bin/sh\n# the user's own\n"


def obeying(anybody: Attacker, *words: str, top: str = ".") -> Path:
    """A repository whose settings name a program and hooks of a work tree."""
    place = anybody.workspace / top
    place.mkdir(exist_ok=True)
    git(anybody, "init", "--quiet", *words)
    git(anybody, "config", "core.fsmonitor", "./fsm.sh")
    git(anybody, "config", "core.hooksPath", "hk")
    (place / "hk").mkdir()
    for name in ("fsm.sh", "hk/pre-commit"):
        (place / name).write_text(CANARIES)
    own(anybody)
    return place


def kept_as_it_was(place: Path) -> bool:
    return [(place / name).read_text() for name in ("fsm.sh", "hk/pre-commit")] == [CANARIES] * 2


PLANTED = "cd $1; for i in fsm.sh hk/pre-commit; do echo planted >$i; done"


def test_what_agents_read_hides_nothing_that_is_obeyed(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        place = obeying(anybody)
        told = anybody.shell(
            "git init -q .rules/z; ln -s fsm.sh AGENTS.md; ln -s hk CLAUDE.md"
        ).stderr.decode()
        assert (
            "git runs the programs that its settings name, already at git status: .rules/z/.git/config"
            in told
        )
        anybody.shell(PLANTED, ".")
        assert kept_as_it_was(place)


def test_a_head_that_is_moved_away_hides_nothing(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        place = obeying(anybody)
        anybody.run("mv", ".git/HEAD", ".git/H")
        anybody.shell(PLANTED, ".")
        assert kept_as_it_was(place)


@pytest.mark.parametrize("words", [["--separate-git-dir=.bare"], []])
def test_settings_hold_for_the_work_tree_that_is_meant(plain: Caller, words: list[str]) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        top = "." if words else "src"
        place = obeying(anybody, *words, top=top)
        if not words:
            git(anybody, "config", "core.worktree", "../src")
        anybody.shell(PLANTED, top)
        assert kept_as_it_was(place)


def test_a_repository_and_links_above_the_workspace_and_of_the_home_lead_into_it(plain: Caller) -> None:
    with fresh_directory(plain) as workspace:
        above = Attacker(plain, workspace.parent, ["-i=false"])
        place = obeying(above)
        os.rename(place / "hk", workspace / "hk")
        os.rename(place / "fsm.sh", workspace / "fsm.sh")
        git(above, "config", "core.hooksPath", f"{workspace.name}/hk")
        git(above, "config", "core.fsmonitor", f"./{workspace.name}/fsm.sh")
        (workspace / "env").write_text("")
        (workspace / "rc").write_text("")
        (workspace.parent / ".envrc").symlink_to(workspace / "env")
        (workspace.parent / ".inputrc").symlink_to(workspace / "rc")
        own(Attacker(plain, workspace))
        anybody = Attacker(plain, workspace, ["-i=false"])
        anybody.shell(PLANTED + "; echo planted >env", ".")
        anybody.shell("echo planted >rc", env={"HOME": str(workspace.parent)})
        assert kept_as_it_was(workspace)
        assert (workspace / "env").read_text() == (workspace / "rc").read_text() == ""


ENDLESS = {
    "links": "i=0; while [ $i -lt 1500 ]; do ln -s l$((i + 1)) l$i; i=$((i + 1)); done; ln -s l0 .pdbrc",
    "a pointer": "mkdir sub; printf 'gitdir: x\\0y\\n' >sub/.git",
    "settings": "git init -q sub; printf '[core]\\nhooksPath = a\\0b\\n' >>sub/.git/config",
    "long lines": """git init -q sub; python3 -c 'open("sub/.git/config", "w").write("[a]" * 87000)'""",
}


@pytest.mark.parametrize("way", ENDLESS)
def test_nothing_in_a_file_ends_the_looking(plain: Caller, way: str) -> None:
    with fresh_directory(plain) as workspace:
        anybody = Attacker(plain, workspace, ["-i=false"])
        done = anybody.shell(ENDLESS[way] + "; echo planted >.envrc")
        assert done.returncode == 0 and b"directory: .envrc" in done.stderr, done.stderr
        assert anybody.run("true").returncode == 0


def test_a_started_cherry_pick_and_old_remotes_are_held_back(plain: Caller) -> None:
    names = [".git/sequencer/opts", ".git/rebase-merge/strategy", ".git/remotes/origin", ".git/branches/x"]
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        in_git(kept, "init", "-q")
        kept.shell(f"for i in {' '.join(names)}; do mkdir -p ${{i%/*}}; echo x >$i; done")
        told = kept.pull().stderr.decode()
        assert all(f"SKIP {name}: git " in told for name in names), told


def test_a_copy_leaves_out_what_the_hosts_settings_lead_to(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        place = obeying(Attacker(plain, workspace))
        assert kept.shell("for i in fsm.sh hk/pre-commit; do echo planted >$i; done").returncode == 0
        done = plain.art("fs", "cp", "-d", kept.database, "-r", "guest:workspace", workspace.parent)
        assert "fsm.sh: git finds it by core.fsmonitor" in done.stderr.decode()
        assert kept_as_it_was(place)
