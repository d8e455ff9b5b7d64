"""Mounts that were asked for: how they are written, checked and pinned."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.contracts import Mount, MountSet, Origin, Workspace
from art_core.errors import MountError, UsageError
from art_core.view import mounts
from art_core.view.mounts import Gathered, gather, grants, parse_bind, parse_expose
from art_core.view.workspace import open_workspace

CWD, HOME = "/srv/here", "/home/ann"


@pytest.mark.parametrize(
    ("text", "source", "guest", "writable"),
    [
        ("/a:/b", "/a", "/b", False),
        ("/a:/b:ro", "/a", "/b", False),
        ("/a:/b:rw", "/a", "/b", True),
        ("rel:/b", "/srv/here/rel", "/b", False),
        ("../x:/b", "/srv/x", "/b", False),
        (".:/b", "/srv/here", "/b", False),
        ("~:/b", "/home/ann", "/b", False),
        ("~/d:/b", "/home/ann/d", "/b", False),
        ("~bob:/b", "/srv/here/~bob", "/b", False),
        ("/with:colon:/b", "/with:colon", "/b", False),
        ("/a:/b:c", "/a", "/b:c", False),
        ("/a b:/c d:rw", "/a b", "/c d", True),
    ],
)
def test_a_bind_as_it_is_typed(text: str, source: str, guest: str, writable: bool) -> None:
    found = parse_bind(text, cwd=CWD, home=HOME)
    assert (found.source, found.guest, found.writable) == (source, guest, writable)
    assert str(found.origin) == f"--bind {text}"


@pytest.mark.parametrize("text", ["", "/a", "/a:", ":/b", "/a:b", "/a:rw", "/a:b:rw"])
def test_what_is_no_bind_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="write HOST:GUEST or HOST:GUEST:rw"):
        parse_bind(text, cwd=CWD, home=HOME)


PARTS = st.text("abc~: .é", min_size=1, max_size=5).filter(lambda text: text not in (".", ".."))
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(PATHS, PATHS, st.sampled_from(["", ":ro", ":rw"]))
def test_what_is_written_is_read(host: str, guest: str, mode: str) -> None:
    if ":/" in guest + "/" or host.endswith(":") or (not mode and guest.endswith((":ro", ":rw"))):
        return
    found = parse_bind(f"{host}:{guest}{mode}", cwd=CWD, home=HOME)
    assert (found.source, found.guest, found.writable) == (os.path.normpath(host), guest, mode == ":rw")


def test_an_exposed_path_stands_where_it_is() -> None:
    found = parse_expose("~/.local", cwd=CWD, home=HOME)
    assert (found.source, found.guest, found.writable) == ("/home/ann/.local", "/home/ann/.local", False)


# --- checked together --------------------------------------------------------------------------


class Listed:
    """A mount source with a fixed answer."""

    def __init__(self, *found: Mount, evidence: dict[str, bytes] | None = None) -> None:
        self.answer = MountSet(found, evidence or {})

    def load(self, workspace: Workspace) -> MountSet:
        return self.answer


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "ws/sub").mkdir(parents=True)
    (tmp_path / "ws/file").write_text("")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("")
    space = open_workspace(str(tmp_path / "ws"))
    yield space
    os.close(space.fd)


def bind(source: object, guest: str, *, writable: bool = False, origin: str = "--bind x") -> Mount:
    return Mount(source=str(source), guest=guest, writable=writable, origin=Origin(origin))


def gathered(ws: Workspace, *asked: Mount, aliases: Sequence[str] = ()) -> list[Mount]:
    found: Gathered = gather(ws, [], asked, aliases=aliases)
    kept = list(found.mounts)
    found.close()
    return kept


def refused(ws: Workspace, said: str, *asked: Mount, aliases: Sequence[str] = ()) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(MountError, match=said):
        gather(ws, [], asked, aliases=aliases)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_source_is_resolved_and_pinned(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("host")
    found = gather(ws, [], [bind(tmp_path / "link", "/opt/x")])
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("/etc")
    (mount,) = found.mounts
    assert (mount.source, mount.directory) == (str(tmp_path / "host"), True)
    assert os.readlink(f"/proc/self/fd/{mount.fd}") == str(tmp_path / "host")
    found.close()


def test_a_file_is_told_from_a_directory(ws: Workspace, tmp_path: Path) -> None:
    assert not gathered(ws, bind(tmp_path / "host/file", "/opt/x"))[0].directory


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        ("relative", "is not an absolute path"),
        ("/", "is the sandbox's own"),
        ("//", "is the sandbox's own"),
        ("/proc", "is the sandbox's own"),
        ("/proc/1", "is the sandbox's own"),
        ("/dev", "is the sandbox's own"),
        ("/dev/shm/x", "is the sandbox's own"),
        ("/sys/x", "is the sandbox's own"),
        ("/opt/../etc", r"holds '\.\.'"),
        ("/home/agent", "is the home"),
        ("/home/agent/", "is the home"),
        ("/home", "holds the home"),
        ("/home/agent/ws", "is the workspace"),
        ("/srv/alias", "is the workspace"),
        ("/srv", "holds the workspace"),
    ],
)
def test_a_guest_that_cannot_be_is_refused_by_origin(
    guest: str, said: str, ws: Workspace, tmp_path: Path
) -> None:
    refused(ws, rf"^--bind x: guest .*{said}", bind(tmp_path / "host", guest), aliases=["/srv/alias"])


def test_a_guest_is_normalised(ws: Workspace, tmp_path: Path) -> None:
    assert gathered(ws, bind(tmp_path / "host", "//opt/./x/"))[0].guest == "/opt/x"


def test_two_mounts_on_one_guest_name_both_origins(ws: Workspace, tmp_path: Path) -> None:
    first = bind(tmp_path / "host", "/opt/x", origin="--bind first")
    second = bind(tmp_path / "host/file", "/opt/x/", origin="binds.json: binds[0]")
    refused(ws, r"binds\[0\]: guest '/opt/x' is asked for by --bind first as well", first, second)


def test_the_same_mount_twice_is_one(ws: Workspace, tmp_path: Path) -> None:
    found = gathered(ws, bind(tmp_path / "host", "/opt/x"), bind(tmp_path / "host", "/opt/x"))
    assert {mount.guest for mount in found} == {"/opt/x"}


def test_a_missing_host_path_is_refused(ws: Workspace, tmp_path: Path) -> None:
    refused(ws, "host path '.*missing': No such file", bind(tmp_path / "missing", "/opt/x"))


def test_a_socket_is_refused(ws: Workspace, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        refused(ws, "is neither a file nor a directory", bind(tmp_path / "socket", "/opt/x"))


def test_a_mount_point_in_the_workspace_must_exist(ws: Workspace, tmp_path: Path) -> None:
    assert gathered(ws, bind(tmp_path / "host", "/home/agent/ws/sub"))
    refused(ws, "no mount point is made on the host", bind(tmp_path / "host", "/home/agent/ws/new"))
    refused(ws, "no mount point is made on the host", bind(tmp_path / "host", "/home/agent/ws/file/x"))
    assert not (tmp_path / "ws/new").exists()


def test_a_mount_point_in_the_workspace_must_be_of_the_same_kind(ws: Workspace, tmp_path: Path) -> None:
    refused(ws, "is not a directory", bind(tmp_path / "host", "/home/agent/ws/file"))
    refused(ws, "is not a file", bind(tmp_path / "host/file", "/home/agent/ws/sub"))


@pytest.mark.parametrize("guest", ["/home/agent/ws/link", "/home/agent/ws/link/deeper", "/srv/alias/link"])
def test_a_link_in_the_workspace_refuses_the_run(guest: str, ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "host/deeper").mkdir()
    (tmp_path / "ws/link").symlink_to(tmp_path / "host")
    refused(ws, "leads through a symbolic link", bind(tmp_path / "host", guest), aliases=["/srv/alias"])


def test_a_mount_point_in_another_bind_must_exist_too(ws: Workspace, tmp_path: Path) -> None:
    outer = bind(tmp_path / "host", "/opt/x", writable=True)
    refused(ws, "no mount point is made on the host", outer, bind("/etc", "/opt/x/new"))
    (tmp_path / "host/there").mkdir()
    assert len(gathered(ws, outer, bind("/etc", "/opt/x/there"))) == 2


def test_elsewhere_in_the_home_anything_can_be_mounted(ws: Workspace, tmp_path: Path) -> None:
    assert gathered(ws, bind(tmp_path / "host", "/home/agent/.cache/pip"))


def test_sources_and_options_are_checked_together(ws: Workspace, tmp_path: Path) -> None:
    source = Listed(bind(tmp_path / "host", "/opt/x", origin="file: binds[0]"), evidence={"file": b"1"})
    found = gather(ws, [("listed", source)], [bind("/etc", "/opt/y")])
    assert sorted(mount.guest for mount in found.mounts) == ["/opt/x", "/opt/y"]
    assert found.evidence == {"file": b"1"}
    found.close()
    with pytest.raises(MountError, match="asked for by --bind x as well"):
        gather(ws, [("listed", source)], [bind("/etc", "/opt/x")])


# --- what needs approval -----------------------------------------------------------------------


def granted(ws: Workspace, *asked: Mount, hidden: Sequence[str] = ("/home", "/root")) -> list[str]:
    return [grant.why for grant in grants(asked, ws, hidden)]


def test_reading_what_is_visible_anyway_needs_no_approval(ws: Workspace) -> None:
    assert granted(ws, bind("/etc", "/opt/x")) == []


def test_writing_to_the_host_needs_approval(ws: Workspace) -> None:
    assert granted(ws, bind("/srv/data", "/opt/x", writable=True)) == ["writes to the host"]


def test_writing_within_the_workspace_needs_none(ws: Workspace) -> None:
    assert granted(ws, bind(f"{ws.real}/sub", "/opt/x", writable=True)) == []
    assert granted(ws, bind(f"{ws.real}-other", "/opt/x", writable=True)) == ["writes to the host"]


@pytest.mark.parametrize("source", ["/root", "/root/.ssh", "/"])
def test_seeing_what_is_masked_needs_approval(source: str, ws: Workspace) -> None:
    assert granted(ws, bind(source, "/opt/x")) == ["shows what is hidden"]


def test_an_exposed_path_was_typed_for_that(ws: Workspace) -> None:
    assert granted(ws, parse_expose("/root/.cargo", cwd="/", home="/root")) == []
    assert Origin("--expose") == mounts.EXPOSE


def test_a_workspace_in_a_masked_home_may_bind_its_own_directories(ws: Workspace) -> None:
    assert granted(ws, bind(f"{ws.real}/sub", "/opt/x"), hidden=[os.path.dirname(ws.real)]) == []
