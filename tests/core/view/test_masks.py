"""What of the host is masked."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.host import unix_sockets
from art_core.host.tree import within
from art_core.view import masks
from art_core.view.masks import MountLine, mount_aliases, parse_mountinfo


def test_the_homes_of_the_machine_are_masked() -> None:
    assert {"/root", "/home"} <= set(masks.home_directories("/root"))


def test_the_callers_home_is_masked_wherever_it_is(tmp_path: Path) -> None:
    assert str(tmp_path) in masks.home_directories(str(tmp_path))


def test_a_home_is_masked_under_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert str(tmp_path / "real") in masks.home_directories(str(tmp_path / "link"))


@pytest.mark.parametrize("home", ["/", "/bin", "/dev", "/usr", "/var", "/srv", "/nowhere", ""])
def test_a_home_that_is_a_system_directory_is_not(home: str) -> None:
    found = masks.home_directories(home)
    assert home not in found
    assert os.path.realpath(home or "/") not in found


def test_run_is_masked() -> None:
    assert "/run" in masks.host_masks([])


def test_only_the_outermost_of_nested_paths_is_kept(tmp_path: Path) -> None:
    found = masks.host_masks(["/root"], ["/root/.ssh", "/root"])
    assert "/root" in found
    assert "/root/.ssh" not in found


def test_what_lies_in_the_sandboxs_own_places_needs_no_mask(tmp_path: Path) -> None:
    assert str(tmp_path).startswith("/tmp/")
    assert str(tmp_path) not in masks.host_masks([], [str(tmp_path)])


@pytest.fixture
def public(places: object) -> Iterator[Path]:
    path = Path(places.work) / f"masks-{os.getpid()}"  # type: ignore[attr-defined]
    path.mkdir()
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


def test_a_socket_is_masked_by_its_directory(public: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(public / "socket"))
        server.listen()
        assert str(public) in masks.host_masks([])


def test_a_socket_in_a_system_directory_is_masked_alone() -> None:
    path = f"/srv/art-test-{os.getpid()}.socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        try:
            server.listen()
            found = masks.host_masks([])
        finally:
            os.unlink(path)
    assert path in found
    assert "/srv" not in found


def test_a_socket_that_is_gone_is_not_masked(public: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(public / "socket"))
        server.listen()
        (public / "socket").unlink()
        assert str(public) not in masks.host_masks([])


MOUNTINFO = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:1 /home/ann /mnt/with\040space rw - ext4 /dev/sda1 rw
31 22 8:1 /home /exports/home rw - ext4 /dev/sda1 rw
32 22 8:1 / /mnt/whole rw - ext4 /dev/sda1 rw
33 22 8:2 /home /mnt/other rw - ext4 /dev/sdb1 rw
34 22 8:1 /srv /mnt/srv rw - ext4 /dev/sda1 rw
"""


@pytest.fixture
def everything_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda path: True)


@pytest.mark.usefixtures("everything_exists")
def test_bind_mounts_that_show_what_is_masked_are_masked_too() -> None:
    found = mount_aliases(["/home"], parse_mountinfo(MOUNTINFO))
    assert set(found) == {"/mnt/with space", "/exports/home", "/mnt/whole/home"}


@pytest.mark.usefixtures("everything_exists")
def test_a_masked_place_on_a_mount_of_its_own_is_found_elsewhere() -> None:
    mounts = [
        MountLine("8:1", "/", "/"),
        MountLine("8:3", "/", "/home"),
        MountLine("8:3", "/ann", "/mnt/ann"),
        MountLine("8:3", "/", "/mnt/all"),
    ]
    assert set(mount_aliases(["/home"], mounts)) == {"/mnt/ann", "/mnt/all"}


@pytest.mark.usefixtures("everything_exists")
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4))
def test_every_path_into_a_masked_tree_is_covered(parts: list[str]) -> None:
    """Whatever part of one file system a bind mount shows, no masked file is left uncovered."""
    root = "/" + "/".join(parts)
    mounts = [MountLine("8:1", "/", "/"), MountLine("8:1", root, "/data/x")]
    covered = ["/a/b", *mount_aliases(["/a/b"], mounts)]
    secret = "/a/b/secret"
    if within(secret, root):
        seen_at = "/data/x" + secret[len(root) :]
        assert any(within(seen_at, mask) for mask in covered)


def test_a_real_bind_mount_of_a_masked_directory_is_found(public: Path) -> None:
    (public / "home").mkdir()
    (public / "alias").mkdir()
    code = f"""if True:
        from art_core.view import masks
        print("{public}/alias" in masks.host_masks(["{public}/home"]))
    """
    import sys

    command = f"mount --bind {public}/home {public}/alias && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_private_files_are_found(public: Path) -> None:
    (public / "open").mkdir(mode=0o755)
    (public / "open/key").write_text("")
    (public / "open/key").chmod(0o640)
    (public / "open/cert").write_text("")
    (public / "open/cert").chmod(0o644)
    (public / "closed").mkdir(mode=0o700)
    (public / "closed/file").write_text("")
    (public / "link").symlink_to("open/key")
    assert sorted(masks.private_paths([str(public)])) == [f"{public}/closed", f"{public}/open/key"]


def test_shadow_is_private() -> None:
    assert "/etc/shadow" in masks.private_paths(["/etc"])


def test_name_resolution_survives_a_link_into_a_mask(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (public / "resolve").mkdir()
    (public / "resolve/stub.conf").write_text("nameserver 127.0.0.53\n")
    real = os.path.realpath
    redirected: dict[str, str] = {"/etc/resolv.conf": f"{public}/resolve/stub.conf"}
    monkeypatch.setattr(os.path, "realpath", lambda path: real(redirected.get(str(path), str(path))))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(public / "resolve/varlink"))
        mounts, covers = masks.needed_links([str(public)])
    assert [(mount.source, mount.guest, mount.writable) for mount in mounts] == [
        (f"{public}/resolve", f"{public}/resolve", False)
    ]
    assert [cover.guest for cover in covers] == [f"{public}/resolve/varlink"]


def test_a_file_right_in_a_mask_is_shown_alone(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (public / "resolv.conf").write_text("")
    real = os.path.realpath
    redirected: dict[str, str] = {"/etc/resolv.conf": f"{public}/resolv.conf"}
    monkeypatch.setattr(os.path, "realpath", lambda path: real(redirected.get(str(path), str(path))))
    mounts, covers = masks.needed_links([str(public)])
    assert [mount.guest for mount in mounts] == [f"{public}/resolv.conf"]
    assert covers == []


def test_looking_for_sockets_has_bounds(tmp_path: Path) -> None:
    for depth in range(4):
        directory = tmp_path.joinpath(*["d"] * depth, "d")
        directory.mkdir()
        for number in range(10):
            (directory / f"f{number}").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "d/d/s"))
        assert unix_sockets.found([str(tmp_path)], [], seconds=60) == [str(tmp_path / "d/d/s")]
        assert unix_sockets.found([str(tmp_path)], [], entries=5, seconds=60) == []
        assert unix_sockets.found([str(tmp_path)], [str(tmp_path / "d/d")], seconds=60) == []
        assert unix_sockets.found([str(tmp_path)], [str(tmp_path)], seconds=60) == []


def test_file_systems_that_may_answer_late_are_not_looked_into() -> None:
    mounts = [("/mnt/n", "nfs4"), ("/mnt/f", "fuse.sshfs"), ("/auto", "autofs"), ("/srv", "ext4")]
    assert unix_sockets.slow(mounts) == ["/mnt/n", "/mnt/f", "/auto"]
