"""Which directories of the host are rebuilt, and what is left out of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.contracts import GuestFile
from art_core.errors import IsolationError
from tests.bwrap.machine import DEBIAN, arguments, isolation, mount, run, steps


def lines(**what: object) -> list[str]:
    tree = what.pop("tree", None)
    return steps(arguments(isolation(tree).plan(run(**what)).files))  # type: ignore[arg-type]


def test_a_missing_guest_path_has_its_parent_rebuilt_with_all_it_holds() -> None:
    found = lines(mounts=[mount("/srv/ws", "/opt/mydata")])
    assert found.index("--tmpfs /opt") < found.index("--ro-bind-try /opt/tool /opt/tool")
    assert found.index("--ro-bind-try /opt/tool /opt/tool") < found.index("--ro-bind /srv/ws /opt/mydata")
    assert found.index("--ro-bind /srv/ws /opt/mydata") < found.index("--remount-ro /opt")


def test_several_missing_parents_are_made_with_open_permissions() -> None:
    found = lines(mounts=[mount("/srv/ws", "/opt/a/b/c")])
    place = found.index("--dir /opt/a")
    assert found[place - 1 : place + 3] == ["--perms 0755", "--dir /opt/a", "--perms 0755", "--dir /opt/a/b"]


def test_a_guest_path_that_exists_needs_nothing() -> None:
    found = lines(mounts=[mount("/srv/ws", "/opt/tool")])
    assert "--tmpfs /opt" not in found
    assert "--ro-bind /srv/ws /opt/tool" in found


def test_a_directory_over_a_file_takes_its_place() -> None:
    found = lines(mounts=[mount("/srv/ws", "/etc/passwd")])
    assert "--tmpfs /etc" in found
    assert "--ro-bind-try /etc/passwd /etc/passwd" not in found
    assert "--ro-bind /srv/ws /etc/passwd" in found


def test_a_guest_path_is_followed_through_the_links_of_the_host() -> None:
    found = lines(mounts=[mount("/srv/ws", "/bin/tool")])
    assert "--tmpfs /usr/bin" in found
    assert "--ro-bind /srv/ws /usr/bin/tool" in found


def test_links_in_a_masked_directory_are_not_followed() -> None:
    tree = {**DEBIAN, "/home/ann/link": "-> /srv/ws"}
    found = lines(tree=tree, masks=["/home"], mounts=[mount("/srv/ws", "/home/ann/link")])
    assert "--ro-bind /srv/ws /home/ann/link" in found


def test_a_masked_directory_below_the_root_is_an_empty_tmpfs_that_ends_read_only() -> None:
    found = lines(masks=["/srv/ws"])
    place = found.index("--tmpfs /srv/ws")
    assert found[place - 2 : place] == ["--perms 0755", "--size 1048576"]
    assert "--remount-ro /srv/ws" in found


def test_a_masked_file_is_absent_from_a_rebuilt_directory() -> None:
    found = lines(masks=["/etc/shadow"])
    assert "--tmpfs /etc" in found
    assert "--ro-bind-try /etc/passwd /etc/passwd" in found
    assert not [line for line in found if "shadow" in line]


def test_links_of_a_rebuilt_directory_stay_links() -> None:
    assert "--symlink /usr/share/zoneinfo/UTC /etc/localtime" in lines(masks=["/etc/shadow"])


def test_a_mask_inside_a_mask_adds_nothing() -> None:
    assert lines(masks=["/home", "/home/ann", "/home/ann/ws"]) == lines(masks=["/home"])


def test_a_mask_that_does_not_exist_adds_nothing() -> None:
    assert lines(masks=["/nowhere"]) == lines()


def test_a_mask_is_found_through_links() -> None:
    assert "--dir /run" in lines(masks=["/var/run"])


def test_nothing_can_be_mounted_below_a_file() -> None:
    with pytest.raises(IsolationError, match=r"/etc/passwd/x: /etc/passwd is not a directory"):
        lines(mounts=[mount("/srv/ws", "/etc/passwd/x")])


def test_a_directory_with_too_many_entries_is_not_rebuilt() -> None:
    tree = {**DEBIAN, **{f"/opt/{number}": "file" for number in range(5000)}}
    with pytest.raises(IsolationError, match="choose another guest path"):
        lines(tree=tree, mounts=[mount("/srv/ws", "/opt/mydata")])


def test_an_empty_directory_that_exists_only_inside() -> None:
    found = lines(files=[GuestFile(guest="/etc/ssh", contents=None)])
    assert "--remount-ro /etc/ssh" in found


NAMES = st.sampled_from(["etc", "opt", "srv", "home", "ann", "new", "tool", "ws", "deep"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda parts: "/" + "/".join(parts))


@given(masks=st.lists(PATHS, max_size=4), guests=st.lists(PATHS, max_size=4, unique=True))
def test_every_parent_is_ours_or_the_hosts_before_something_is_mounted_on_it(
    masks: list[str], guests: list[str]
) -> None:
    """bwrap makes a missing mount point where it stands: that must never be a host directory."""
    words = lines(masks=masks, mounts=[mount("/srv/ws", guest) for guest in sorted(guests)])
    ours = {"/"}
    mounted: set[str] = set()
    for line in words:
        option, *rest = line.split(" ")
        if option in ("--tmpfs", "--dir"):
            ours.add(rest[0])
        if option in ("--ro-bind-try", "--ro-bind"):
            source, guest = rest
            parent = guest.rpartition("/")[0] or "/"
            inside_a_mount = any(guest.startswith(f"{top}/") for top in mounted)
            assert guest in DEBIAN or parent in ours or inside_a_mount or guest in ours, line
            if source == "/srv/ws":
                mounted.add(guest)
