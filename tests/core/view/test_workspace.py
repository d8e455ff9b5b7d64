"""What may be a workspace, and what it is called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.contracts import Workspace
from art_core.errors import WorkspaceError
from art_core.view.workspace import needs_consent, open_workspace, refuse_foreign


@pytest.fixture
def opened() -> Iterator[list[Workspace]]:
    spaces: list[Workspace] = []
    yield spaces
    for space in spaces:
        os.close(space.fd)


@pytest.mark.parametrize("name", ["ws", "with space", "-dash", "äöü", "a" * 255, "new\nline", "..."])
def test_the_name_is_the_last_component(name: str, tmp_path: Path, opened: list[Workspace]) -> None:
    (tmp_path / name).mkdir()
    opened.append(open_workspace(f"{tmp_path / name}/"))
    assert opened[0].name == name


def test_a_name_may_be_any_bytes(tmp_path: Path, opened: list[Workspace]) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe")
    os.mkdir(path)
    opened.append(open_workspace(os.fsdecode(path)))
    assert os.fsencode(opened[0].name) == b"\xff\xfe"


def test_a_link_gives_its_own_name_and_is_resolved(tmp_path: Path, opened: list[Workspace]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    opened.append(open_workspace(str(tmp_path / "link")))
    assert (opened[0].name, opened[0].real) == ("link", str(tmp_path / "real"))


def test_a_dot_is_the_current_directory(
    tmp_path: Path, opened: list[Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened.append(open_workspace("."))
    assert opened[0].name == tmp_path.name


def test_a_name_can_be_given(tmp_path: Path, opened: list[Workspace]) -> None:
    opened.append(open_workspace(str(tmp_path), name="other"))
    assert opened[0].name == "other"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256])
def test_a_name_that_is_no_component_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="--name"):
        open_workspace(str(tmp_path), name=name)


def test_the_root_has_no_name() -> None:
    with pytest.raises(WorkspaceError, match="'/' has no name of its own"):
        open_workspace("/")


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(WorkspaceError, match="empty path"):
        open_workspace("")


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="No such file or directory; make it first"):
        open_workspace(str(tmp_path / "missing"))


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="is not a directory"):
        open_workspace(str(tmp_path / "file"))


def test_a_refusal_leaks_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(WorkspaceError):
            open_workspace(str(tmp_path / "file"))
    assert len(os.listdir("/proc/self/fd")) == before


def at(path: str) -> Workspace:
    return Workspace(name="x", path=path, real=path, fd=-1)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/home/ann", "is a home directory"),
        ("/home", "holds the home directory /home/ann"),
        ("/srv", "is a system directory"),
        ("/var", "is a system directory"),
        ("/usr/share/doc", "lies in the system directory /usr"),
        ("/etc/nginx", "lies in the system directory /etc"),
    ],
)
def test_a_directory_that_is_more_than_a_workspace_wants_consent(path: str, sentence: str) -> None:
    assert sentence in str(needs_consent(at(path), ["/home/ann"]))


@pytest.mark.parametrize("path", ["/home/ann/ws", "/srv/ws", "/usr/src/linux", "/usr/local/src/x", "/data/x"])
def test_an_ordinary_directory_wants_none(path: str) -> None:
    assert needs_consent(at(path), ["/home/ann"]) is None


def test_the_workspace_of_another_user_is_refused_with_the_line_that_works(tmp_path: Path) -> None:
    os.chown(tmp_path, 1, 1)
    space = open_workspace(str(tmp_path))
    try:
        with pytest.raises(WorkspaceError, match=f"run ART as its owner: sudo -u daemon art -m {tmp_path}"):
            refuse_foreign(space, 0)
    finally:
        os.close(space.fd)


def test_ones_own_workspace_is_not_refused(tmp_path: Path, opened: list[Workspace]) -> None:
    opened.append(open_workspace(str(tmp_path)))
    refuse_foreign(opened[0], os.getuid())
