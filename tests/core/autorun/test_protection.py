"""Files of the workspace that the host runs by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.autorun.finder import listed
from art_core.autorun.protection import given_up, protections, selected
from art_core.autorun.rules import watched_names
from art_core.contracts import Mount, Workspace
from art_core.view.workspace import open_workspace

PATHS = (".git/hooks", ".git/config", ".gitmodules", ".envrc", ".vscode", ".art")
TOP = "/home/agent/ws"


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    space = open_workspace(str(tmp_path))
    yield space
    os.close(space.fd)


def chosen(ws: Workspace, *unprotected: str, patterns: tuple[str, ...] = PATHS) -> list[Mount]:
    listing = listed(ws.real, watched_names(patterns), {})
    return protections(ws, selected(patterns, listing, given_up(unprotected, ws, listing)), [TOP])


def mounted(ws: Workspace, *unprotected: str) -> dict[str, bool]:
    found = chosen(ws, *unprotected)
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
    listing = listed(ws.real, watched_names(PATHS), {})
    found = protections(ws, selected(PATHS, listing, []), [TOP, "/srv/ws"])
    assert {mount.guest for mount in found} == {f"{TOP}/.envrc", "/srv/ws/.envrc"}
    os.close(found[0].fd)


def test_a_link_is_not_mounted(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".vscode").symlink_to("/etc")
    (tmp_path / ".git").symlink_to("/srv")
    assert mounted(ws) == {}


def test_what_a_link_leads_to_is_protected(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "conf/editor").mkdir(parents=True)
    (tmp_path / "env.sh").write_text("")
    (tmp_path / "AGENTS.md").write_text("")
    (tmp_path / ".vscode").symlink_to("conf/editor")
    (tmp_path / ".envrc").symlink_to("env.sh")
    (tmp_path / "CLAUDE.md").symlink_to("AGENTS.md")
    assert mounted(ws) == {f"{TOP}/conf/editor": False, f"{TOP}/env.sh": False}
    assert mounted(ws, "conf", "env.sh") == {}


def repository(top: Path) -> None:
    for name in ("objects", "refs", "hooks"):
        (top / name).mkdir(parents=True)
    (top / "HEAD").write_text("")
    (top / "config").write_text("")


def test_a_git_directory_of_any_name_at_the_top_is_protected(ws: Workspace, tmp_path: Path) -> None:
    repository(tmp_path / "gd")
    repository(tmp_path / "deep/er")
    assert mounted(ws) == {f"{TOP}/gd": True, f"{TOP}/gd/config": False, f"{TOP}/gd/hooks": False}


def test_a_workspace_that_is_a_git_directory_is_protected(ws: Workspace, tmp_path: Path) -> None:
    repository(tmp_path)
    assert mounted(ws) == {f"{TOP}/config": False, f"{TOP}/hooks": False}


@pytest.mark.parametrize("pointer", ["gitdir: store/gd", ""])
def test_where_git_is_led_to_is_protected_and_given_up_by_the_same_name(
    ws: Workspace, tmp_path: Path, pointer: str
) -> None:
    repository(tmp_path / "store/gd")
    if pointer:
        (tmp_path / ".git").write_text(pointer)
    else:
        (tmp_path / ".git").symlink_to("store/gd")
    held = {f"{TOP}/store": True, f"{TOP}/store/gd": True, f"{TOP}/store/gd/hooks": False}
    held |= {f"{TOP}/.git": False} if pointer else {}
    assert mounted(ws) == {**held, f"{TOP}/store/gd/config": False}
    assert mounted(ws, ".git/config") == held


def test_nothing_in_a_protected_directory_is_mounted_writable(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".vscode/sub").mkdir(parents=True)
    (tmp_path / ".vscode/sub/env.sh").write_text("")
    (tmp_path / ".envrc").symlink_to(".vscode/sub/env.sh")
    assert mounted(ws) == {f"{TOP}/.vscode": False}


def test_sources_are_pinned(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / ".envrc").write_text("pinned")
    found = chosen(ws, patterns=(".envrc",))
    (tmp_path / ".envrc").unlink()
    (tmp_path / ".envrc").symlink_to("/etc/passwd")
    assert os.fstat(found[0].fd).st_size == len("pinned")
    os.close(found[0].fd)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (".git/config", {".git", ".git/hooks", ".envrc"}),
        (".git", {".envrc"}),
        ("./.git/", {".envrc"}),
        (".", set()),
        (".gi", {".git", ".git/hooks", ".git/config", ".envrc"}),
    ],
)
def test_protection_can_be_given_up_by_path(ws: Workspace, tmp_path: Path, path: str, left: set[str]) -> None:
    (tmp_path / ".git/hooks").mkdir(parents=True)
    for name in (".git/config", ".envrc"):
        (tmp_path / name).write_text("")
    assert set(mounted(ws, path)) == {f"{TOP}/{name}" for name in left}
    assert set(mounted(ws, str(tmp_path / path))) == {f"{TOP}/{name}" for name in left}
