"""A pull without conflicts makes both sides equal; with conflicts nothing of either side is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from art_core.transfer.push import push
from art_core.transfer.transfer import Wishes
from tests.core.transfer.worlds import Side, Step, World, side
from tests.support.bench import forked_servers

PATHS = st.sampled_from(["a", "b", "c", "d", "e", "d/a", "d/b", "e/a", "e/b", "d/s", "d/s/a"])
ON_HOST = ["write", "replace", "rename", "swap", "remove", "remake", "mkdir", "chmod", "stamp", "symlink"]
INSIDE = [*ON_HOST, "link"]
NUMBERS = iter(range(10**9))


def steps(acts: list[str], most: int) -> st.SearchStrategy[list[Step]]:
    def made(act: str, path: str, other: str, mode: int, size: int) -> Step:
        # Many are of one size, and with `stamp` of one time.
        return Step(act, path, other, b"%07d" % next(NUMBERS) * (1 + 40_000 * (size == 9)), mode)

    modes = st.sampled_from([0o600, 0o644, 0o755])
    one = st.builds(made, st.sampled_from(acts), PATHS, PATHS, modes, st.integers(0, 9))
    return st.lists(one, max_size=most)


FILES = ("a", "d/a", "d/b", "d/s/a", "e/a")
START = [
    *(Step("mkdir", path) for path in ("d", "e", "d/s")),
    *(Step("write", path, data=f"at first in {path}".encode()) for path in FILES),
    Step("link", "a", "b"),
]
ENDS = st.sampled_from(["pull", "pull", "push", "force"])
ROUND = st.tuples(steps(ON_HOST, 4), steps(INSIDE, 8), steps(ON_HOST, 3), ENDS)


def readable(found: Side) -> Side:
    """Without what cannot be read any more because the host changed what it was a part of."""
    return {path: what for path, what in found.items() if not isinstance(what[2], int)}


def pulled(world: World, before: Side, *, force: bool) -> None:
    told = world.status()
    trial = world.pull(dry_run=True)[1]
    totals, printed = world.pull(force=force)
    after = world.inside()
    if not force:
        assert printed == trial
        assert {path for _, path in printed} == {path for _, path in told}
        kept = readable(before)
        assert {path: what[:3] for path, what in after.items() if path in kept} == {
            path: what[:3] for path, what in kept.items()
        }
    assert totals.failed == 0
    if totals.conflicts:
        return
    again, more = world.pull()
    assert more == set()
    assert again.conflicts == 0
    # What the host alone changed of what was pushed or pulled comes with the next push.
    if world.push().conflicts == 0:
        assert world.inside() == side(world.host)


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    with forked_servers():
        yield


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(pushed=st.booleans(), rounds=st.lists(ROUND, min_size=1, max_size=3))
def test_any_work(pushed: bool, rounds: list[tuple[list[Step], list[Step], list[Step], str]]) -> None:
    world = World()
    try:
        world.on_host(START)
        if pushed:
            world.push()
        for on_host, inside, meanwhile, end in rounds:
            world.on_host(on_host)
            world.inside(inside)
            world.on_host(meanwhile)
            if end == "push":
                world.push()
                continue
            pulled(world, world.inside(), force=end == "force")
        world.sound()
    finally:
        world.close()


LOG = [Step("write", "f", data=b"v1"), Step("stamp", "f")]
SAVED = [Step("rename", "f", "f.bak"), Step("write", "f", data=b"v2")]
TWO = [Step("write", "one", data=b"1"), Step("write", "two", data=b"2")]
EQUAL = [*TWO, Step("stamp", "one"), Step("stamp", "two")]
LINKED = [Step("write", "one", data=b"base"), Step("link", "one", "two"), Step("stamp", "one")]
DIRECTORIES = [
    *(Step("mkdir", name) for name in ("x", "y")),
    *(Step("write", path, data=path.encode()) for path in ("x/n", "y/n")),
]
ROWS: dict[str, tuple[list[Step], list[Step], dict[str, bytes]]] = {
    "a backup is kept": (LOG, SAVED, {"f": b"v2", "f.bak": b"v1"}),
    "the mode of a file of two names": (
        LINKED,
        [Step("chmod", "one", mode=0o600)],
        {"one": b"base", "two": b"base"},
    ),
    "a file of two names is written": (LINKED, [Step("write", "one", data=b"x")], {"one": b"x", "two": b"x"}),
    "two names change places": (TWO, [Step("swap", "one", "two")], {"one": b"2", "two": b"1"}),
    "and are alike in size and time": (EQUAL, [Step("swap", "one", "two")], {"one": b"2", "two": b"1"}),
    "three names": (
        [*TWO, Step("write", "three", data=b"33")],
        [Step("swap", "one", "two"), Step("swap", "two", "three")],
        {"one": b"2", "two": b"33", "three": b"1"},
    ),
    "two directories": (DIRECTORIES, [Step("swap", "x", "y")], {"x/n": b"y/n", "y/n": b"x/n"}),
}


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize("row", ROWS)
def test_what_is_read_from_a_place_that_changes(row: str, pushed: bool) -> None:
    start, inside, expected = ROWS[row]
    world = World()
    try:
        world.on_host(start)
        if pushed:
            world.push()
        seen = world.inside(inside)
        pulled(world, seen, force=False)
        assert {path: (world.host / path).read_bytes() for path in expected} == expected
        assert world.inside() == seen == side(world.host)
        world.sound()
    finally:
        world.close()


@pytest.mark.parametrize("pushed", [False, True])
def test_what_was_in_a_directory_that_was_made_anew(pushed: bool) -> None:
    """What the sandbox saw there is removed like any other file; what the host made later stays."""
    world = World()
    try:
        world.on_host([Step("mkdir", "d"), Step("write", "d/old", data=b"old")])
        if pushed:
            world.push()
        world.inside([Step("remake", "d"), Step("write", "d/new", data=b"new")])
        world.on_host([Step("write", "d/later", data=b"later")])
        word = "DEL" if pushed else "CONFLICT"
        assert (word, "d/old") in world.status()
        assert (word, "d/old") in world.pull()[1]
        assert (world.host / "d/old").exists() != pushed
        world.pull(force=True)
        assert sorted(path.name for path in (world.host / "d").iterdir()) == ["later", "new"]
        assert world.inside() == side(world.host)
    finally:
        world.close()


@pytest.mark.parametrize("pushed", [False, True])
def test_a_directory_that_was_renamed_is_its_own_afterwards(pushed: bool) -> None:
    world = World()
    try:
        world.on_host([Step("mkdir", "d"), Step("write", "d/old", data=b"old")])
        if pushed:
            world.push()
        world.inside([Step("rename", "d", "e"), Step("mkdir", "d"), Step("write", "d/new", data=b"new")])
        world.pull()
        assert [path for path in world.inside() if path.startswith("e/")] == ["e/old"]
        world.pull(force=True)
        assert list(side(world.host)) == ["d", "d/new", "e", "e/old"]
        assert world.inside() == side(world.host)
    finally:
        world.close()


AGREED_ON: dict[str, tuple[str, list[Step]]] = {
    "a file": ("k", [Step("write", "k", data=b"again")]),
    "one in a directory": ("d/k", [Step("write", "d/k", data=b"again")]),
    "a directory": ("d", [Step("mkdir", "d"), *(Step("write", f"d/{name}", data=b"again") for name in "kn")]),
    "a directory in a file's place": ("k", [Step("mkdir", "k"), Step("write", "k/n", data=b"again")]),
}


@pytest.mark.parametrize("removed_by", ["host", "sandbox"])
@pytest.mark.parametrize("row", AGREED_ON)
def test_made_anew_on_the_host_after_both_sides_had_removed_it(row: str, removed_by: str) -> None:
    gone, again = AGREED_ON[row]
    world = World()
    try:
        world.on_host([Step("mkdir", "d"), *(Step("write", path, data=b"1") for path in ("k", "x", "d/k"))])
        world.push()
        for _ in range(2):
            if removed_by == "host":
                world.on_host([Step("remove", gone)])
                world.push()
            else:
                world.inside([Step("remove", gone)])
                assert world.pull()[0].conflicts == 0
            world.on_host(again)
            made = side(world.host)
            assert world.status() == set()
            assert world.pull(force=True)[1] == set()
            assert side(world.host) == made
            assert world.push().conflicts == 0
            assert world.inside() == made
        world.sound()
    finally:
        world.close()


def test_what_was_agreed_on_is_not_what_is_removed_later() -> None:
    """Where the sandbox sees the host's again, or another branch has not agreed, a removal is a removal."""
    world = World()
    try:
        world.on_host([Step("mkdir", "d"), Step("write", "d/k", data=b"1")])
        world.push()
        world.store.snapshot("main", "before")
        world.inside([Step("remove", "d")])
        world.pull()
        world.inside([Step("mkdir", "d"), Step("write", "d/n", data=b"2")])
        world.pull()
        world.on_host([Step("write", "d/k", data=b"again")])
        assert "d/k" in world.inside()
        world.inside([Step("remove", "d/k")])
        assert world.status() == {("CONFLICT", "d/k")}
        world.pull(force=True)
        assert not (world.host / "d/k").exists()
        world.store.restore("main", "before", (), world.workspace)
        assert world.inside()["d/k"][2] == b"1"
        world.pull(force=True)
        assert (world.host / "d/k").read_bytes() == b"1"
    finally:
        world.close()


ALL_THERE = [Step("write", path, data=b"1") for path in ("k", "d/x", "d/s/x")]
LEFT = ("d", "d/y", "d/s", "d/s/y")


@pytest.mark.parametrize("end", ["push", "pull"])
def test_a_side_that_is_to_win_wins_where_a_directory_was_removed(end: str) -> None:
    """Also over what the host made in it since, and what it has there unchanged."""
    world = World()
    try:
        world.on_host([Step("mkdir", "d"), Step("mkdir", "d/s"), *ALL_THERE])
        world.push()
        world.inside([Step("remove", "d"), Step("remove", "k")])
        world.on_host([Step("write", "d/y", data=b"later"), Step("write", "d/s/y", data=b"later")])
        before = side(world.host)
        if end == "push":
            assert push(world.store, "main", world.workspace, Wishes(force=True)).conflicts == 0
            assert world.inside() == side(world.host) == before
        else:
            assert world.pull()[0].conflicts > 0
            assert side(world.host) == {path: what for path, what in before.items() if path in LEFT}
            assert world.pull(force=True)[0].conflicts == 0
            assert world.inside() == side(world.host) == {}
        assert world.status() == set()
        world.sound()
    finally:
        world.close()


def test_a_file_that_the_host_moved_away_after_a_part_of_it_was_changed() -> None:
    """Its contents are nowhere at its path any more: all that ask say so."""
    world = World()
    try:
        world.on_host([Step("write", "a", data=b"a"), Step("write", "c", data=b"c")])
        world.inside([Step("write", "a", data=b"inside"), Step("chmod", "c", mode=0o600)])
        world.on_host([Step("rename", "c", "a")])
        both = {("CONFLICT", "a"), ("CONFLICT", "c")}
        assert world.status() == both
        assert world.pull(dry_run=True)[1] == both
        assert world.pull()[1] == both
        assert side(world.host)["a"][2] == b"c"
    finally:
        world.close()


def set_back(path: Path, contents: bytes) -> None:
    """Write a file of the host as `touch -r` makes it look unwritten."""
    before = path.lstat()
    if path.is_symlink():
        path.unlink()
        path.symlink_to(contents.decode())
    else:
        assert len(contents) == before.st_size
        path.write_bytes(contents)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


WHAT_THE_SANDBOX_DOES: dict[str, list[Step]] = {
    "writes": [Step("write", "f", data=b"inside")],
    "appends": [Step("write", "f", data=b"at first, and more")],
    "replaces": [Step("replace", "f", data=b"inside")],
    "removes": [Step("remove", "f")],
    "renames": [Step("rename", "f", "g")],
    "a directory in its place": [Step("remove", "f"), Step("mkdir", "f"), Step("write", "f/n", data=b"n")],
}


@pytest.mark.parametrize("kind", ["pushed", "pulled", "several names", "not pushed"])
@pytest.mark.parametrize("row", WHAT_THE_SANDBOX_DOES)
def test_what_the_host_wrote_with_its_time_set_back(row: str, kind: str) -> None:
    """No program can set a ctime, and where only that is another one the contents tell."""
    world = World()
    try:
        start = [Step("write", "f", data=b"at first"), Step("stamp", "f")]
        world.on_host(start if kind != "pulled" else [])
        if kind == "several names":
            world.on_host([Step("link", "f", "z")])
        if kind == "pulled":
            world.inside(start)
            world.pull()
        elif kind != "not pushed":
            world.push()
        world.inside(WHAT_THE_SANDBOX_DOES[row])
        set_back(world.host / "f", b"of host!")
        told = ("CONFLICT", "g" if row == "renames" else "f")
        assert told in world.status()  # A file and its new name are one line there.
        totals, printed = world.pull()
        assert ("CONFLICT", "f") in printed, totals
        assert (world.host / "f").read_bytes() == b"of host!"
        world.pull(force=True)
        assert world.inside() == side(world.host)
    finally:
        world.close()


def test_a_link_that_was_turned_with_its_time_set_back() -> None:
    world = World()
    try:
        world.on_host([Step("symlink", "l", "one"), Step("stamp", "l")])
        world.push()
        world.inside([Step("remove", "l"), Step("symlink", "l", "inside")])
        set_back(world.host / "l", b"two")
        assert ("CONFLICT", "l") in world.pull()[1]
        assert os.readlink(world.host / "l") == "two"
    finally:
        world.close()


def test_a_file_that_got_another_name_on_the_host_is_what_it_was() -> None:
    """Its ctime changes with its names, and its contents do not."""
    world = World()
    try:
        world.on_host([Step("write", "f", data=b"at first"), Step("write", "g", data=b"at first")])
        world.push()
        world.inside([Step("write", "f", data=b"inside"), Step("remove", "g")])
        world.on_host([Step("chmod", "f", mode=0o600), Step("chmod", "f"), Step("link", "g", "h")])
        assert world.pull()[0].conflicts == 0
        assert (world.host / "f").read_bytes() == b"inside"
        assert not (world.host / "g").exists()
    finally:
        world.close()


SAME_WORK: dict[str, list[Step]] = {
    "written": [Step("write", "f", data=b"the same")],
    "made": [Step("write", "n", data=b"the same")],
    "a link": [Step("symlink", "n", "f")],
    "large": [Step("write", "f", data=b"the same" * 200_000)],
    "of two names": [Step("write", "two", data=b"the same")],
}


@pytest.mark.parametrize("end", ["pull", "push"])
@pytest.mark.parametrize("row", SAME_WORK)
def test_the_same_work_on_both_sides_is_no_conflict(row: str, end: str) -> None:
    """Also where it was done at different times."""
    world = World()
    try:
        world.on_host([Step("write", "f", data=b"at first"), Step("write", "one", data=b"1")])
        world.on_host([Step("link", "one", "two")])
        world.push()
        work = SAME_WORK[row]
        world.inside(work)
        world.on_host(work)
        assert world.status() == set()
        for _ in range(2):
            if end == "pull":
                assert world.pull()[1] == set()
            else:
                assert world.push().conflicts == 0
        world.inside([Step("write", work[0].path, data=b"inside")])
        assert world.pull()[0].conflicts == 0
        assert (world.host / work[0].path).read_bytes() == b"inside"
        assert world.inside() == side(world.host)
    finally:
        world.close()


@pytest.mark.parametrize("differs", ["contents", "mode", "attributes"])
def test_nearly_the_same_work_is_a_conflict(differs: str) -> None:
    world = World()
    try:
        world.on_host([Step("write", "f", data=b"at first"), Step("stamp", "f")])
        world.push()
        mode = 0o600 if differs == "mode" else 0o644
        world.inside(
            [Step("write", "f", data=b"the same"), Step("chmod", "f", mode=mode), Step("stamp", "f")]
        )
        world.on_host([Step("write", "f", data=b"the samf" if differs == "contents" else b"the same")])
        world.on_host([Step("stamp", "f")])
        if differs == "attributes":
            os.setxattr(world.host / "f", "user.note", b"of the host")
        assert world.status() == {("CONFLICT", "f")}
        assert world.push().conflicts == 1
        assert world.pull()[1] == {("CONFLICT", "f")}
    finally:
        world.close()
