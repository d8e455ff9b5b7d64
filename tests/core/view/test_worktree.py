"""Linked git worktrees, made by a real git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.contracts import Workspace
from art_core.view.workspace import open_workspace
from art_core.view.worktree import offer


def git(directory: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    main = tmp_path / "main"
    main.mkdir()
    git(main, "init", "-b", "trunk")
    git(main, "commit", "--allow-empty", "-m", "first")
    git(main, "worktree", "add", str(tmp_path / "linked"))
    return main


@pytest.fixture
def linked(repository: Path) -> Iterator[Workspace]:
    space = open_workspace(str(repository.parent / "linked"))
    yield space
    os.close(space.fd)


def test_the_common_directory_is_offered_writable_with_hooks_and_config_on_top(
    linked: Workspace, repository: Path
) -> None:
    found = {mount.guest: mount.writable for mount in offer(linked)}
    git_dir = str(repository / ".git")
    assert found[git_dir]
    assert found[f"{git_dir}/hooks"] is found[f"{git_dir}/config"] is False
    assert found[f"{git_dir}/worktrees/linked/gitdir"] is False
    assert found[f"{git_dir}/worktrees/linked/commondir"] is False


def test_of_the_worktrees_only_its_own_is_writable(linked: Workspace, repository: Path) -> None:
    found = {mount.guest: mount.writable for mount in offer(linked)}
    assert found[f"{repository}/.git/worktrees"] is False
    assert found[f"{repository}/.git/worktrees/linked"]


def test_everything_stands_at_its_own_path_and_says_why(linked: Workspace) -> None:
    assert all(mount.source == mount.guest and "worktree" in str(mount.origin) for mount in offer(linked))


def test_an_ordinary_repository_is_offered_nothing(repository: Path) -> None:
    space = open_workspace(str(repository))
    assert offer(space) == []
    os.close(space.fd)


def test_an_ordinary_directory_is_offered_nothing(tmp_path: Path) -> None:
    space = open_workspace(str(tmp_path))
    assert offer(space) == []
    os.close(space.fd)


def test_a_pointer_that_the_repository_does_not_return_is_not_believed(
    linked: Workspace, repository: Path
) -> None:
    (repository / ".git/worktrees/linked/gitdir").write_text("/somewhere/else/.git\n")
    assert offer(linked) == []


@pytest.mark.parametrize("pointer", ["gitdir: /etc", "gitdir: /nowhere", "nonsense", "", "gitdir: ", "\0"])
def test_a_made_up_pointer_gives_nothing(pointer: str, tmp_path: Path) -> None:
    (tmp_path / ".git").write_text(pointer)
    space = open_workspace(str(tmp_path))
    assert offer(space) == []
    os.close(space.fd)


def test_a_link_for_a_pointer_is_not_followed(linked: Workspace, tmp_path: Path) -> None:
    pointer = Path(linked.real) / ".git"
    pointer.rename(tmp_path / "moved")
    pointer.symlink_to(tmp_path / "moved")
    assert offer(linked) == []


def test_a_worktree_inside_its_own_repository_needs_no_offer(repository: Path) -> None:
    git(repository, "worktree", "add", str(repository / ".git/inner"))
    space = open_workspace(str(repository / ".git/inner"))
    assert offer(space) == []
    os.close(space.fd)


def test_a_common_directory_that_is_any_directory_is_not_believed(
    linked: Workspace, repository: Path
) -> None:
    (repository / ".git/worktrees/linked/commondir").write_text("/etc\n")
    assert offer(linked) == []
