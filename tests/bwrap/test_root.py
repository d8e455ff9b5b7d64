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
    assert found.index("--ro-bind-try /opt/tool /opt/tool") < found.index("--ro-bind-fd 11 /opt/mydata")
    assert found.index("--ro-bind-fd 11 /opt/mydata") < found.index("--remount-ro /opt")


def test_several_missing_parents_are_made_with_open_permissions() -> None:
    found = lines(mounts=[mount("/srv/ws", "/opt/a/b/c")])
    place = found.index("--dir /opt/a")
    assert found[place - 1 : place + 3] == ["--perms 0755", "--dir /opt/a", "--perms 0755", "--dir /opt/a/b"]


def test_a_guest_path_that_exists_needs_nothing() -> None:
    found = lines(mounts=[mount("/srv/ws", "/opt/tool")])
    assert "--tmpfs /opt" not in found
    assert "--ro-bind-fd 11 /opt/tool" in found


def test_a_directory_over_a_file_takes_its_place() -> None:
    found = lines(mounts=[mount("/srv/ws", "/etc/passwd")])
    assert "--tmpfs /etc" in found
    assert "--ro-bind-try /etc/passwd /etc/passwd" not in found
    assert "--ro-bind-fd 11 /etc/passwd" in found


def test_a_guest_path_is_followed_through_the_links_of_the_host() -> None:
    found = lines(mounts=[mount("/srv/ws", "/bin/tool")])
    assert "--tmpfs /usr/bin" in found
    assert "--ro-bind-fd 11 /usr/bin/tool" in found


def test_links_in_a_masked_directory_are_not_followed() -> None:
    tree = {**DEBIAN, "/home/ann/link": "-> /srv/ws"}
    found = lines(tree=tree, masks=["/home"], mounts=[mount("/srv/ws", "/home/ann/link")])
    assert "--ro-bind-fd 11 /home/ann/link" in found


def test_a_masked_directory_is_an_empty_one_of_ours_in_a_rebuilt_directory() -> None:
    """Not a mount on the host's: that would go when the host renames or removes the directory."""
    found = lines(masks=["/home/ann/ws"])
    for top in ("/home", "/home/ann"):
        place = found.index(f"--tmpfs {top}")
        assert found[place - 2 : place] == ["--perms 0755", "--size 1048576"]
        assert f"--remount-ro {top}" in found
    assert found[found.index("--dir /home/ann/ws") - 1] == "--perms 0755"
    assert not [line for line in found if "bind" in line and "/home" in line]


def test_a_masked_directory_among_very_many_is_covered_where_it_is() -> None:
    tree = {**DEBIAN, **{f"/srv/{number}": "file" for number in range(300)}}
    found = lines(tree=tree, masks=["/srv/ws"])
    assert "--tmpfs /srv/ws" in found and "--remount-ro /srv/ws" in found
    assert "--tmpfs /srv" not in found


def test_the_sandboxs_own_places_need_no_mask_and_take_mounts() -> None:
    found = lines(tree={**DEBIAN, "/tmp/x": "dir"}, masks=["/tmp/x"], mounts=[mount("/srv/ws", "/tmp/x/y")])
    assert [line for line in found if "/tmp" in line] == [
        "--tmpfs /tmp",
        "--dir /tmp/x",
        "--ro-bind-fd 11 /tmp/x/y",
    ]


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
        if option in ("--ro-bind-try", "--ro-bind", "--ro-bind-fd"):
            _, guest = rest
            parent = guest.rpartition("/")[0] or "/"
            inside_a_mount = any(guest.startswith(f"{top}/") for top in mounted)
            assert guest in DEBIAN or parent in ours or inside_a_mount or guest in ours, line
            if option == "--ro-bind-fd":
                mounted.add(guest)


def test_what_is_mounted_in_a_rebuilt_directory_needs_nothing_of_the_host() -> None:
    """The host may replace its file between the two mounts: /etc/passwd when a user is added."""
    passwd = GuestFile(guest="/etc/passwd", contents=b"")
    found = lines(masks=["/etc/shadow"], files=[passwd])
    assert [line for line in found if "passwd" in line] == ["--ro-bind-data 11 /etc/passwd"]
