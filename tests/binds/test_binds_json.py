"""Reading .art/config/binds.json: every mistake is named by file, entry and key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_binds.source import SIZE_LIMIT, BindsFile
from art_core.contracts import MountSet, Workspace
from art_core.errors import MountError
from art_core.view.workspace import open_workspace


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "ws/.art/config").mkdir(parents=True)
    (tmp_path / "ws/data").mkdir()
    space = open_workspace(str(tmp_path / "ws"))
    yield space
    os.close(space.fd)


def file_of(ws: Workspace) -> Path:
    return Path(ws.path, ".art/config/binds.json")


def load(ws: Workspace, content: object) -> MountSet:
    text = content if isinstance(content, str) else json.dumps(content)
    file_of(ws).write_text(text)
    found = BindsFile().load(ws)
    for mount in found.mounts:
        if mount.fd >= 0:
            os.close(mount.fd)
    return found


def entry(**fields: object) -> dict[str, object]:
    return {"binds": [{"host": "/etc", "guest": "/opt/etc", **fields}]}


def test_without_the_file_nothing_is_asked_for(ws: Workspace) -> None:
    assert BindsFile().load(ws) == MountSet()


def test_an_empty_list_asks_for_nothing(ws: Workspace) -> None:
    assert load(ws, {"binds": []}).mounts == []
    assert load(ws, {}).mounts == []


def test_a_bind_is_read_only_unless_it_says_otherwise(ws: Workspace) -> None:
    assert not load(ws, entry()).mounts[0].writable
    assert not load(ws, entry(readonly=True)).mounts[0].writable
    assert load(ws, entry(readonly=False)).mounts[0].writable


def test_the_bytes_that_were_read_are_the_evidence(ws: Workspace) -> None:
    text = '{"binds": [ ] }'
    assert load(ws, text).evidence == {str(file_of(ws)): text.encode()}


def test_a_relative_host_path_is_one_of_the_workspace(ws: Workspace) -> None:
    assert load(ws, entry(host="data")).mounts[0].source == f"{ws.real}/data"
    assert load(ws, entry(host="./data/../data")).mounts[0].source == f"{ws.real}/data"


def test_links_of_an_absolute_host_path_are_resolved(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/usr/share")
    assert load(ws, entry(host=str(tmp_path / "link"))).mounts[0].source == "/usr/share"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "this is not JSON: line 1"),
        ("", "this is not JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ('{"bind": []}', "unknown key 'bind'; known: binds"),
        ('{"binds": {}}', "binds: must be a list"),
        ('{"binds": [1]}', r"binds\[0\]: must be an object with host, guest and readonly"),
        ('{"binds": [], "binds": []}', "the key 'binds' stands twice"),
        ('{"binds": [{"host": "/a", "host": "/b"}]}', "the key 'host' stands twice"),
        (entry(mode="rw"), r"binds\[0\]\.mode: unknown key; known: host, guest, readonly"),
        (entry(readonly="yes"), r"binds\[0\]\.readonly: must be true or false"),
        (entry(readonly=1), r"binds\[0\]\.readonly: must be true or false"),
        (entry(host=1), r"binds\[0\]\.host: must be a text"),
        (entry(host=""), r"binds\[0\]\.host: must be a text"),
        (entry(guest=None), r"binds\[0\]\.guest: must be a text"),
        (entry(host="/a\0b"), r"binds\[0\]\.host: must be a text"),
        ({"binds": [{"guest": "/x"}]}, r"binds\[0\]\.host: is missing"),
        ({"binds": [{"host": "/etc"}]}, r"binds\[0\]\.guest: is missing"),
        (entry(host="/nowhere"), r"binds\[0\]\.host: '/nowhere': No such file"),
        (entry(host="missing"), r"binds\[0\]\.host: 'missing': No such file"),
        (entry(host="../x"), r"binds\[0\]\.host: '\.\./x' leaves the workspace"),
        (entry(host="data/../../x"), r"binds\[0\]\.host: .* leaves the workspace"),
        (entry(host="/dev/null"), "is neither a file nor a directory"),
        ('{"binds": ' + "1" * 5000, "a number has too many digits"),
        ('{"binds": [{"host": "\\ud800"}]}', r"binds\[0\]\.host: .* is half of a character"),
        ("[" * 100_000, "nested too deeply|must be an object"),
    ],
)
def test_a_mistake_is_named(content: object, said: str, ws: Workspace) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(MountError, match=rf"^{file_of(ws)}: .*({said})"):
        load(ws, content)
    assert len(os.listdir("/proc/self/fd")) == before


def test_bytes_that_are_no_text_are_named(ws: Workspace) -> None:
    file_of(ws).write_bytes(b"\xff")
    with pytest.raises(MountError, match="this is not UTF-8"):
        BindsFile().load(ws)


def test_a_relative_host_path_may_not_leave_through_a_link(ws: Workspace) -> None:
    Path(ws.path, "out").symlink_to("/root")
    with pytest.raises(MountError, match=r"binds\[0\]\.host: 'out' leads through a symbolic link"):
        load(ws, entry(host="out"))


@pytest.mark.parametrize("part", [".art", ".art/config", ".art/config/binds.json"])
def test_a_link_on_the_way_to_the_file_is_refused(part: str, ws: Workspace, tmp_path: Path) -> None:
    file_of(ws).write_text('{"binds": []}')
    place = Path(ws.path, part)
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "moved")
    with pytest.raises(MountError, match="a symbolic link leads there"):
        BindsFile().load(ws)


def test_a_directory_in_its_place_is_refused(ws: Workspace) -> None:
    file_of(ws).mkdir()
    with pytest.raises(MountError, match="this is not a regular file"):
        BindsFile().load(ws)


def test_a_fifo_in_its_place_is_refused_and_not_waited_for(ws: Workspace) -> None:
    os.mkfifo(file_of(ws))
    with pytest.raises(MountError, match="this is not a regular file"):
        BindsFile().load(ws)


def test_a_huge_file_is_refused(ws: Workspace) -> None:
    with open(file_of(ws), "wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    with pytest.raises(MountError, match="this is larger than"):
        BindsFile().load(ws)


def test_a_file_that_cannot_be_read_is_named(ws: Workspace) -> None:
    file_of(ws).write_text("{}")
    file_of(ws).chmod(0)
    for directory in (ws.path, f"{ws.path}/.art", f"{ws.path}/.art/config"):
        os.chmod(directory, 0o755)
    os.seteuid(65533)
    try:
        with pytest.raises(MountError, match="it cannot be read: Permission denied"):
            BindsFile().load(ws)
    finally:
        os.seteuid(0)
