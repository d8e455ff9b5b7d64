"""A pull of a part: paths, patterns, what is chosen one by one; and a whole branch written elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.kept_homes import Kept
from tests.support.terminals import ended, terminal

QUESTION = " [y,n,q,a,d,?]? "


@pytest.fixture
def kept(plain: Caller) -> Iterator[Kept]:
    """Changed in several directories: made, removed, renamed, and a file that programs of the host run."""
    with fresh_directory(plain, "workspace") as workspace:
        made = Kept(plain, workspace)
        (workspace / "old/in").mkdir(parents=True)
        for name in ("old/a.py", "old/in/b.log", "c.py", "d.log"):
            (workspace / name).write_text(f"{name}\n")
        own(plain, workspace)
        assert made.push().returncode == 0
        script = """
            echo more >>src/deep.py; rm -r old; mv c.py src/c.py; echo x >new.log
            mkdir -p new/er; echo y >new/er/file.py; mkdir empty; echo z >.envrc
        """
        assert made.shell(script).returncode == 0
        yield made


def choosing(kept: Kept) -> list[str | Path]:
    return [kept.caller.art_program, "pull", "-p", "-m", kept.workspace, "-d", kept.database]


def carried(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.replace("workspace/", "") for line in done.stdout.decode().splitlines()[2:]]


ALL = [
    "DIR  empty",
    "DIR  new",
    "DIR  new/er",
    "FILE new/er/file.py (2 bytes)",
    "FILE new.log (2 bytes)",
    "FILE src/c.py (5 bytes)",
    "FILE src/deep.py (10 bytes)",
    "DEL  old/in/b.log",
    "DEL  old/in",
    "DEL  old/a.py",
    "DEL  old",
    "DEL  c.py",
]


def without(*lines: str) -> list[str]:
    return [line for line in ALL if not line.endswith(lines)]


def test_what_was_not_named_is_offered_by_the_next_pull(kept: Kept) -> None:
    trial = kept.pull("--dry-run", "new/er", "workspace/src/deep.py")
    assert trial.stderr == b"art: 4 would be pulled (12 bytes), 0 would be removed, 0 unchanged\n"
    assert not (kept.workspace / "new").exists()
    some = kept.pull("new/er", "workspace/src/deep.py", "/home/agent/workspace/old/in")
    assert carried(some) == [
        "DIR  new",
        "DIR  new/er",
        "FILE new/er/file.py (2 bytes)",
        "FILE src/deep.py (10 bytes)",
        "DEL  old/in/b.log",
        "DEL  old/in",
    ]
    assert some.stderr == b"art: 4 pulled (12 bytes), 2 removed, 0 unchanged\n"
    assert sorted(os.listdir(kept.workspace / "old")) == ["a.py"]
    rest = kept.pull()
    assert carried(rest) == without("new", "new/er", "file.py (2 bytes)", "deep.py (10 bytes)", "b.log", "in")
    assert b"SKIP .envrc: " in rest.stderr
    assert carried(kept.pull()) == []


def test_paths_are_those_of_the_current_directory(kept: Kept) -> None:
    words = ["-m", "..", "-d", "../../workspace.db", "--dry-run"]
    done = kept.caller.art("pull", *words, "deep.py", "../c.py", cwd=kept.workspace / "src")
    assert done.stdout.splitlines()[2:] == [b"FILE ../src/deep.py (10 bytes)", b"DEL  ../c.py"]


def test_a_path_that_is_nowhere_is_an_error_and_nothing_is_carried(kept: Kept) -> None:
    done = kept.pull("src", "sr/deep.py")
    assert (done.returncode, (kept.workspace / "src/deep.py").read_text()) == (125, "deep\n")
    assert done.stderr.startswith(b"art: error: 'sr/deep.py' is neither on the host nor in the database")
    assert kept.pull("/etc/passwd").stderr.startswith(b"art: error: '/etc/passwd' lies outside")


def test_patterns_are_those_of_gitignore(kept: Kept) -> None:
    assert carried(kept.pull("--dry-run", "--include", "*.py")) == [
        "DIR  new",
        "DIR  new/er",
        "FILE new/er/file.py (2 bytes)",
        "FILE src/c.py (5 bytes)",
        "FILE src/deep.py (10 bytes)",
        "DEL  old/a.py",
        "DEL  c.py",
    ]
    assert carried(
        kept.pull("--dry-run", "--exclude", "*.log", "--exclude", "/new/", "--exclude", "!x.log")
    ) == (without("new", "new/er", "file.py (2 bytes)", "new.log (2 bytes)", "b.log", "old/in", "old"))
    assert carried(kept.pull("--dry-run", "--include", "*.log", "--exclude", "old/**")) == [
        "FILE new.log (2 bytes)"
    ]
    assert carried(kept.pull("--exclude", "old/in/b.log", "old")) == ["DEL  old/a.py"]


def test_a_rename_of_which_only_the_end_is_chosen_loses_nothing(plain: Caller) -> None:
    """What stands at the new name is still the host's own file."""
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        kept.shell("mv main.py moved.py")
        done = kept.pull("--force", "main.py")
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            1,
            b"CONFLICT main.py: renamed in the sandbox; left, because the new name was not chosen",
        )
        assert carried(kept.pull("--force")) == ["FILE moved.py (1234 bytes)", "DEL  main.py"]
        assert kept.shell("wc -c <moved.py").stdout == b"1234\n"


def test_what_the_host_takes_from_where_a_rename_came_from_stays_inside(plain: Caller) -> None:
    """A directory that was renamed inside is its own after a pull."""
    with fresh_directory(plain, "workspace") as workspace:
        kept = Kept(plain, workspace)
        kept.shell("mv src moved")
        done = kept.pull()
        assert b"FILE workspace/moved/deep.py" in done.stdout and b"CONFLICT src: removed" in done.stderr
        (workspace / "src/deep.py").unlink()
        (workspace / "src").rmdir()
        again = kept.pull()
        assert (again.returncode, (workspace / "moved/deep.py").read_text()) == (0, "deep\n")
        assert kept.art(command="status").stdout.endswith(b"nothing changed\n")
        (workspace / "src").mkdir()
        (workspace / "src/other.py").write_text("other\n")
        (workspace / "moved/new.py").write_text("new\n")
        own(plain, workspace)
        assert kept.shell("ls moved; cat moved/deep.py").stdout == b"deep.py\nnew.py\ndeep\n"


def test_protected_files_stay_left_out_unless_asked(kept: Kept) -> None:
    assert b"SKIP .envrc" in kept.pull(".envrc").stderr and not (kept.workspace / ".envrc").exists()
    assert carried(kept.pull("--protected", ".envrc")) == ["FILE .envrc (2 bytes)"]


def test_each_change_is_shown_and_asked_for(kept: Kept) -> None:
    with terminal(kept.caller, *choosing(kept)) as child:
        for shown, answer in (
            ("empty/: added", "n"),
            ("\x1b[32m+y\x1b[m", "y"),
            ("diff --git a/new.log b/new.log", "?"),
            ("a - carry this one and all that follow", "n"),
            ("Carry src/c.py to the host", "y"),
            ("\x1b[32m+more\x1b[m", "n"),
            ("Delete old/in/b.log on the host", "y"),
            ("Delete old/a.py on the host", "d"),
        ):
            child.expect_exact(shown)
            child.expect_exact(QUESTION)
            child.sendline(answer)
        child.expect_exact("art: 4 pulled (7 bytes), 2 removed, 4 unchanged, 5 not taken, 1 skipped")
        assert ended(child) == 0
    assert carried(kept.pull()) == without(
        "DIR  new", "new/er", "file.py (2 bytes)", "src/c.py (5 bytes)", "b.log", "old/in"
    )


def test_the_rest_can_be_carried_or_left_at_once(kept: Kept) -> None:
    for answer in ("q", "\x04", "\x03"):
        with terminal(kept.caller, *choosing(kept)) as child:
            child.expect_exact(QUESTION)
            child.send(answer + "\r" * (answer == "q"))
            assert ended(child) == (130 if answer == "\x03" else 0)
    with terminal(kept.caller, *choosing(kept)) as child:
        child.expect_exact(QUESTION)
        child.sendline("a")
        child.expect_exact("art: 7 pulled")
        assert ended(child) == 0
    assert carried(kept.pull()) == []


def test_answers_can_be_piped(kept: Kept) -> None:
    done = kept.caller.run(choosing(kept), input=b"n\ny\n")
    assert done.returncode == 0 and (kept.workspace / "new/er/file.py").exists()
    assert not (kept.workspace / "empty").exists() and not (kept.workspace / "new.log").exists()


def test_a_branch_is_written_elsewhere(caller: Caller) -> None:
    """All that it shows, the host's files too, by root and by a plain user."""
    with fresh_directory(caller, "workspace") as workspace:
        kept = Kept(caller, workspace)
        kept.push()
        kept.shell(
            "rm link; mkdir made; echo made >made/file; ln made/file second; echo x >.envrc; chmod 700 made"
        )
        assert kept.art("other", command="branch").returncode == 0
        (workspace / "of the host").write_text("shows through\n")
        before = {path: path.lstat().st_mtime_ns for path in workspace.rglob("*")}
        out = workspace.parent / "out"
        done = kept.pull("-b", "other", "--into", "out")
        assert (done.returncode, done.stderr.splitlines()[-1]) == (
            0,
            b"art: 7 pulled (1263 bytes), 0 removed, 0 unchanged, 1 skipped",
        )
        assert b"FILE out/made/file (5 bytes)\n" in done.stdout
        assert sorted(str(path.relative_to(out)) for path in out.rglob("*")) == [
            "made",
            "made/file",
            "main.py",
            "of the host",
            "second",
            "src",
            "src/deep.py",
        ]
        assert (out / "second").samefile(out / "made/file") and (out / "made").stat().st_mode & 0o777 == 0o700
        assert (out / "main.py").stat().st_mtime_ns == (workspace / "main.py").stat().st_mtime_ns
        assert {path: path.lstat().st_mtime_ns for path in workspace.rglob("*")} == before
        again = kept.pull("--into", "out")
        assert again.returncode == 125 and b"is not empty" in again.stderr
        within = kept.pull("--into", "workspace/new")
        assert within.returncode == 125 and b"lies in the workspace itself" in within.stderr
        assert carried(kept.pull("src/deep.py", "made/file", "--into", "part")) == [
            "DIR  part/made",
            "FILE part/made/file (5 bytes)",
            "DIR  part/src",
            "FILE part/src/deep.py (5 bytes)",
        ]
        assert b"FILE workspace/made/file" in kept.pull().stdout, "the agreement was not touched"
