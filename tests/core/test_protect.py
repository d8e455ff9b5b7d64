"""Files of the workspace that the host runs by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.contracts import Mount, Workspace
from art_core.protect import Watch, protections, selected
from art_core.workspace import open_workspace

PATHS = (".git/hooks", ".git/config", ".gitmodules", ".envrc", ".vscode", ".art")
TOP = "/home/agent/ws"


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    space = open_workspace(str(tmp_path))
    yield space
    os.close(space.fd)


def mounted(ws: Workspace, *tops: str) -> dict[str, bool]:
    found = protections(ws, PATHS, tops or (TOP,))
    for fd in {mount.fd for mount in found}:
        os.close(fd)
    return {mount.guest: mount.writable for mount in found}


def test_what_is_not_there_is_not_mounted(ws: Workspace) -> None:
    assert mounted(ws) == {}


def test_a_file_is_mounted_read_only(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("")
    assert mounted(ws) == {f"{TOP}/.envrc": False}


def test_a_directory_above_is_mounted_on_itself_writable(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".git/hooks").mkdir(parents=True)
    (tmp_path / ".git/config").write_text("")
    assert mounted(ws) == {
        f"{TOP}/.git": True,
        f"{TOP}/.git/config": False,
        f"{TOP}/.git/hooks": False,
    }


def test_a_repository_without_config_is_still_pinned(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert mounted(ws) == {f"{TOP}/.git": True}


def test_a_git_file_of_a_worktree_is_read_only(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /elsewhere")
    assert mounted(ws) == {f"{TOP}/.git": False}


def test_each_place_that_shows_the_workspace_is_protected(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("")
    assert set(mounted(ws, TOP, "/srv/ws")) == {f"{TOP}/.envrc", "/srv/ws/.envrc"}


def test_a_link_is_not_followed(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".vscode").symlink_to("/etc")
    (tmp_path / ".git").symlink_to("/srv")
    assert mounted(ws) == {}


def test_sources_are_pinned(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("pinned")
    found: list[Mount] = protections(ws, [".envrc"], [TOP])
    (tmp_path / ".envrc").unlink()
    (tmp_path / ".envrc").symlink_to("/etc/passwd")
    assert os.fstat(found[0].fd).st_size == len("pinned")
    os.close(found[0].fd)


@pytest.mark.parametrize(
    ("given_up", "left"),
    [
        ([], [".git/hooks", ".git/config", ".envrc"]),
        ([".git/config"], [".git/hooks", ".envrc"]),
        ([".git"], [".envrc"]),
        (["./.git/"], [".envrc"]),
        (["."], []),
        ([".gi"], [".git/hooks", ".git/config", ".envrc"]),
    ],
)
def test_protection_can_be_given_up_by_path(ws: Workspace, given_up: list[str], left: list[str]) -> None:
    assert selected([".git/hooks", ".git/config", ".envrc"], given_up, ws) == left


def test_protection_can_be_given_up_by_absolute_path(ws: Workspace, tmp_path: Path) -> None:
    assert selected([".git/config"], [str(tmp_path / ".git")], ws) == []


def start(ws: Workspace) -> Watch:
    time.sleep(0.02)  # more than a tick of the clock that stamps inodes
    return Watch.start(ws, PATHS)


def test_nothing_that_was_there_before_is_named(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".git/hooks").mkdir(parents=True)
    (tmp_path / ".git/hooks/pre-commit").write_text("")
    (tmp_path / ".envrc").write_text("")
    assert start(ws).changes() == []


def test_a_new_file_is_named(ws: Workspace, tmp_path: Path) -> None:
    watch = start(ws)
    (tmp_path / ".envrc").write_text("")
    assert watch.changes() == [".envrc"]


def test_a_changed_file_is_named_although_its_times_were_set_back(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("a")
    watch = start(ws)
    (tmp_path / ".envrc").write_text("b")
    os.utime(tmp_path / ".envrc", (0, 0))
    assert watch.changes() == [".envrc"]


def test_a_file_in_a_watched_directory_is_named(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    watch = start(ws)
    (tmp_path / ".vscode/tasks.json").write_text("")
    assert watch.changes() == [".vscode/tasks.json"]


def test_a_file_that_was_removed_is_named_by_its_directory(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    (tmp_path / ".vscode/tasks.json").write_text("")
    watch = start(ws)
    (tmp_path / ".vscode/tasks.json").unlink()
    assert watch.changes() == [".vscode/"]


def test_nested_repositories_are_looked_at(ws: Workspace, tmp_path: Path) -> None:
    watch = start(ws)
    (tmp_path / "a/b/.git/hooks").mkdir(parents=True)
    (tmp_path / "a/b/.git/hooks/post-checkout").write_text("")
    assert "a/b/.git/hooks/post-checkout" in watch.changes()


def test_ordinary_files_are_not_named(ws: Workspace, tmp_path: Path) -> None:
    watch = start(ws)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/index").write_text("")
    assert watch.changes() == []


def test_a_link_in_place_of_a_watched_file_is_named_and_not_followed(ws: Workspace, tmp_path: Path) -> None:
    watch = start(ws)
    (tmp_path / ".vscode").symlink_to("/etc")
    assert watch.changes() == [".vscode"]


def test_too_many_to_name_are_said_to_be_more(ws: Workspace, tmp_path: Path) -> None:
    watch = start(ws)
    for number in range(40):
        (tmp_path / f"d{number:02}").mkdir()
        (tmp_path / f"d{number:02}/.envrc").write_text("")
    found = watch.changes()
    assert found[-1] == "... and perhaps more"
    assert len(found) == 21
