"""What is told at the end of a run in direct mode, and what is kept for the next one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.autorun import watch as watching
from art_core.autorun.finder import Listing, listed
from art_core.autorun.finder_cache import Before, Remembered
from art_core.autorun.rules import watched_names
from art_core.autorun.watch import Watch
from art_core.contracts import Workspace
from art_core.view.workspace import open_workspace

PATHS = (".git/hooks", ".git/config", ".gitmodules", ".envrc", ".vscode", ".art")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


@pytest.fixture
def ws(top: Path) -> Iterator[Workspace]:
    space = open_workspace(str(top))
    yield space
    os.close(space.fd)


@pytest.fixture
def kept(ws: Workspace, tmp_path: Path) -> Remembered:
    return Remembered(str(tmp_path / "state/obeyed"), ws)


def start(ws: Workspace, kept: Remembered | None = None, *unprotected: str) -> Watch:
    time.sleep(0.02)  # more than a tick of the clock that stamps inodes
    watch = Watch(ws, PATHS, unprotected, {}, kept)
    watch.begin()
    return watch


def named(watch: Watch) -> list[str]:
    """The paths of all lines."""
    return sorted(
        path for line in watch.notices(failed=False) for path in line.rpartition(": ")[2].split(", ")
    )


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_nothing_that_was_there_before_is_named(ws: Workspace, top: Path) -> None:
    write(top / ".git/hooks/pre-commit")
    write(top / ".envrc")
    assert named(start(ws)) == []


def test_a_new_file_is_named_with_who_obeys_it(ws: Workspace, top: Path) -> None:
    watch = start(ws)
    write(top / ".envrc")
    assert watch.notices(failed=False) == [
        "new or changed, and direnv runs it when a shell enters the directory: .envrc"
    ]


def test_a_changed_file_is_named_although_its_times_were_set_back(ws: Workspace, top: Path) -> None:
    write(top / ".envrc", "a")
    watch = start(ws)
    write(top / ".envrc", "b")
    os.utime(top / ".envrc", (0, 0))
    assert named(watch) == [".envrc"]


def test_a_file_in_a_watched_directory_is_named(ws: Workspace, top: Path) -> None:
    (top / ".vscode").mkdir()
    watch = start(ws)
    write(top / ".vscode/tasks.json")
    assert named(watch) == [".vscode/tasks.json"]


def test_a_file_that_was_removed_is_named_by_its_directory(ws: Workspace, top: Path) -> None:
    write(top / ".vscode/tasks.json")
    watch = start(ws)
    (top / ".vscode/tasks.json").unlink()
    assert named(watch) == [".vscode/"]


def test_nested_repositories_are_looked_at(ws: Workspace, top: Path) -> None:
    watch = start(ws)
    write(top / "a/b/.git/hooks/post-checkout")
    write(top / "a/b/.git/hooks/post-checkout.sample")
    assert named(watch) == ["a/b/.git/hooks/post-checkout"]


def test_ordinary_files_are_not_named(ws: Workspace, top: Path) -> None:
    watch = start(ws)
    write(top / "src/main.py")
    write(top / ".git/index")
    assert named(watch) == []


def test_a_link_in_place_of_a_watched_file_is_named_and_what_it_leads_to(ws: Workspace, top: Path) -> None:
    write(top / "src/tasks.json")
    watch = start(ws)
    (top / ".vscode").symlink_to("src")
    (top / ".envrc").symlink_to("/etc/passwd")
    assert named(watch) == [".envrc", ".vscode", "src/tasks.json"]


def repository(top: Path) -> None:
    for name in ("HEAD", "config", "objects/x", "refs/x"):
        write(top / name)


@pytest.mark.parametrize("again", [False, True])
def test_what_was_prepared_and_renamed_is_named(
    ws: Workspace, top: Path, kept: Remembered, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renaming changes no time of what lies in the directory; with and without a listing of everything."""
    repository(top / "s/g")
    write(top / "s/e/.envrc")
    (top / "sub").mkdir()
    if again:
        named(start(ws, kept))
    else:
        monkeypatch.setattr(watching, "_ENTRIES_AT_START", 0)
    watch = start(ws, kept)
    (top / "s/g").rename(top / ".git")
    (top / "s/e").rename(top / "sub/e")
    assert named(watch) == [".git/config", "sub/e/.envrc"]


def test_a_git_directory_that_was_completed_is_named(ws: Workspace, top: Path, kept: Remembered) -> None:
    repository(top / "s/g")
    (top / "s/g/HEAD").rename(top / "s/g/HEAP")
    assert named(start(ws, kept)) == []
    watch = start(ws, kept)
    (top / "s/g/HEAP").rename(top / "s/g/HEAD")
    assert named(watch) == ["s/g/config"]


def test_a_workspace_that_became_a_git_directory_is_told(ws: Workspace, top: Path, kept: Remembered) -> None:
    repository(top)
    (top / "HEAD").unlink()
    assert named(start(ws, kept)) == []
    watch = start(ws, kept)
    write(top / "HEAD")
    assert named(watch) == ["config"]


def test_what_is_deep_in_a_tree_too_large_for_the_start_is_not_named(
    ws: Workspace, top: Path, kept: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_ENTRIES_AT_START", 0)
    write(top / "a/b/.envrc")
    write(top / "a/c/.envrc")
    watch = start(ws, kept)
    write(top / "a/b/new")
    assert named(watch) == ["a/b/.envrc"]  # Somebody may have moved it there.
    watch = start(ws, kept)
    write(top / "a/b/newer")
    assert named(watch) == []  # It is known by now.


def test_what_the_user_changed_between_two_runs_is_not_named(
    ws: Workspace, top: Path, kept: Remembered
) -> None:
    write(top / "a/.envrc")
    write(top / ".git/config")
    named(start(ws, kept))
    for path in ("a/.envrc", ".git/config", "b/.envrc", "gd.code-workspace"):
        write(top / path, "the user's")
    assert named(start(ws, kept)) == []


def test_what_a_run_that_was_killed_did_not_tell_the_next_one_tells(
    ws: Workspace, top: Path, tmp_path: Path
) -> None:
    program = f"""if True:
        import os, signal, sys
        from art_core.autorun.finder_cache import Remembered
        from art_core.autorun.watch import Watch
        from art_core.view.workspace import open_workspace
        ws = open_workspace({str(top)!r})
        Watch(ws, {PATHS!r}, (), {{}}, Remembered({str(tmp_path / "state/obeyed")!r}, ws)).begin()
        open({str(top / ".envrc")!r}, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", program], check=False)
    kept = Remembered(str(tmp_path / "state/obeyed"), ws)
    assert named(start(ws, kept)) == [".envrc"]
    assert named(start(ws, kept)) == []


def test_what_a_session_did_not_tell_the_next_one_tells(ws: Workspace, top: Path, kept: Remembered) -> None:
    watch = start(ws, kept)
    write(top / ".envrc")
    watch.close()
    start(ws, kept).close()
    assert named(start(ws, kept)) == [".envrc"]


def test_what_is_kept_is_the_callers_alone_and_may_be_anything(
    ws: Workspace, top: Path, tmp_path: Path, kept: Remembered
) -> None:
    write(top / os.fsdecode(b".vscode/\xff"))
    named(start(ws, kept))
    (file,) = (tmp_path / "state/obeyed").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert named(start(ws, kept)) == []
    for nonsense in ("", "{}", "[1]", '{"root": 1}', file.read_text().replace('["found"', '["found", 1')):
        file.write_text(nonsense)
        assert named(start(ws, kept)) == []


def test_a_record_that_is_spoilt_hides_nothing_of_a_run_that_was_not_told(
    ws: Workspace, top: Path, tmp_path: Path, kept: Remembered
) -> None:
    watch = start(ws, kept)
    write(top / "a/.envrc")
    watch.close()
    (file,) = (tmp_path / "state/obeyed").iterdir()
    file.write_text(file.read_text()[:-3])
    assert named(start(ws, kept)) == ["a/.envrc"]
    assert named(start(ws, kept)) == []


def test_a_large_record_is_read_again(ws: Workspace, top: Path, kept: Remembered) -> None:
    """However long the names are that a sandbox gives."""
    inner = top / "z" / "/".join(["y" * 240] * 7)
    inner.mkdir(parents=True)
    for number in range(1_500):
        (inner / f"{number}.code-workspace").touch()
    names = watched_names((*PATHS, "*.code-workspace"))
    listing = listed(str(top), names, {})
    assert len(listing.found) == 1_500
    kept.begin(Before(7, listing))
    kept.leave()
    untold = kept.untold()
    assert untold is not None and untold.since_ns == 7
    assert 500 < len(untold.listing.found) < 1_500
    assert not untold.listing.complete
    shutil.rmtree(top / "z")


def test_of_several_runs_that_were_not_told_the_first_one_counts(ws: Workspace, tmp_path: Path) -> None:
    for since, number in ((1, 9), (2, 10), (3, 8)):
        one = Remembered(str(tmp_path / "state/obeyed"), ws)
        one.begin(Before(since, Listing(ws.real)))
        own = next(path for path in (tmp_path / "state/obeyed").iterdir() if str(os.getpid()) in path.name)
        key = own.name.partition(".")[0]
        # As if it had been a process that is no more, or whose number another one has by now.
        own.rename(own.with_name(f"{key}.{number if since != 2 else os.getpid()}-1-0"))
        time.sleep(0.02)
    untold = Remembered(str(tmp_path / "state/obeyed"), ws).untold()
    assert untold is not None and untold.since_ns == 1


def test_a_directory_that_cannot_be_written_is_no_obstacle(ws: Workspace, top: Path) -> None:
    watch = start(ws, Remembered("/proc/obeyed", ws))
    write(top / ".envrc")
    assert named(watch) == [".envrc"]


def test_sixty_files_are_one_line_and_hide_nothing(ws: Workspace, top: Path) -> None:
    watch = start(ws)
    for number in range(60):
        write(top / f".vscode/{number:02}.json")
        write(top / f"d{number:02}/.vscode/x.json")
    write(top / "z.code")
    write(top / ".envrc")
    write(top / "z/z/.envrc")
    write(top / "CLAUDE.md")
    lines = watch.notices(failed=False)
    assert len(lines) == 22
    assert lines[0].endswith("the directory: .envrc")
    assert lines[1].endswith(".vscode/00.json, .vscode/01.json, .vscode/02.json and 57 more")
    assert lines[-2] == "new or changed in more directories: 43 of .envrc, .vscode"
    assert lines[-1] == "new or changed, and agents read it as instructions: CLAUDE.md"


def test_what_is_given_up_is_not_named(ws: Workspace, top: Path) -> None:
    watch = start(ws, None, ".vscode", "sub")
    for path in (".vscode/x", "sub/.envrc", ".envrc"):
        write(top / path)
    assert named(watch) == [".envrc"]


def test_what_is_read_only_is_told_when_git_may_have_failed_at_it(ws: Workspace, top: Path) -> None:
    repository(top / ".git")
    write(top / ".vscode/tasks.json")
    watch = start(ws)
    assert watch.notices(failed=True) == []
    write(top / ".git/index")
    all_of_it = "read-only inside: .git/config, .vscode; to let one be written: --no-protect .git/config"
    assert watch.notices(failed=True) == [all_of_it]
    assert watch.notices(failed=False) == []
    write(top / ".git/ORIG_HEAD")
    assert watch.notices(failed=False) == [
        "read-only inside: .vscode; to let one be written: --no-protect .vscode"
    ]
    write(top / ".gitmodules")
    assert watch.notices(failed=False)[-1] == all_of_it


def test_a_bound_that_was_met_is_told(ws: Workspace, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = start(ws)
    monkeypatch.setattr("art_core.autorun.finder.DIRECTORIES_LIMIT", 3)
    for number in range(5):
        (top / str(number)).mkdir()
    (line,) = watch.notices(failed=False)
    assert line.startswith("not all of the workspace was looked at")


def test_directories_in_one_another_without_end_do_not_end_it(ws: Workspace, top: Path) -> None:
    watch = start(ws)
    fd = os.open(top, os.O_RDONLY)
    for name in (".vscode", *("d" for _ in range(3000))):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    lines = watch.notices(failed=False)
    assert lines[0].endswith("d/") and ".vscode/d/d/d" in lines[0]
    assert lines[1].startswith("not all of the workspace was looked at")
    subprocess.run(["rm", "-rf", top / ".vscode"], check=True)
