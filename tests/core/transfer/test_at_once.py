"""Pulls beside each other, a push and a run, and pulls that are killed: what comes of it is one result."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator

import pytest

from tests.core.transfer.worlds import Side, Step, World, side
from tests.support.bench import forked_servers

START = [
    *(Step("mkdir", path) for path in ("d", "dist", "x", "y")),
    *(Step("write", path, data=path.encode() * 3) for path in ("a", "b", "log", "d/old", "dist/old")),
    *(Step("write", path, data=path.encode() * 30_000) for path in ("x/n", "y/n", "x/o", "first")),
    Step("link", "first", "second"),
]
WORK = [
    Step("swap", "a", "b"),
    Step("rename", "log", "log.old"),
    Step("write", "log", data=b"anew"),
    Step("rename", "d", "e"),
    Step("mkdir", "d"),
    Step("write", "d/new", data=b"new"),
    Step("remake", "dist"),
    Step("write", "dist/new", data=b"new"),
    Step("swap", "x", "y"),
    Step("chmod", "first", mode=0o600),
]
MOMENTS = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.utime", "fcntl.fcntl"}
"""Before a change of the host, and wherever the store takes a lock or lets go of it."""


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    with forked_servers():
        yield


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with contextlib.closing(made):
        made.on_host(START)
        made.push()
        yield made


def started(work: Callable[[], object]) -> int:
    """A process that does it, and ends with 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def ended(*pids: int) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def killed_at(world: World, moment: int) -> bool:
    """A pull that is killed before so many of its steps; whether it came to that."""

    def work() -> None:
        left = moment

        def look(event: str, arguments: object) -> None:
            nonlocal left
            if event in MOMENTS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(look)
        world.pull()

    (status,) = ended(started(work))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def contents(found: Side) -> Side:
    """Without the names of one file: a temporary one may be among them."""
    return {path: what[:3] for path, what in found.items()}


def at_the_end(world: World, expected: Side) -> None:
    totals, printed = world.pull()
    assert (totals.conflicts, totals.failed) == (0, 0)
    assert world.inside() == expected == side(world.host)
    assert world.pull()[1] == set(), printed
    world.sound()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [*range(1, 118, 9)])
def test_a_pull_that_was_killed_is_gone_on_with(world: World, moment: int) -> None:
    expected = world.inside(WORK)
    assert killed_at(world, moment), "the pull has fewer steps"
    left = {path: what for path, what in world.inside().items() if ".art-pull-" not in path}
    assert contents(left) == contents(expected), "what the sandbox has"
    killed_at(world, moment)
    at_the_end(world, expected)


def test_two_pulls_and_a_push_at_once(world: World) -> None:
    expected = world.inside(WORK)
    assert ended(*(started(work) for work in (world.pull, world.push, world.pull))) == [0, 0, 0]
    at_the_end(world, expected)


def test_pulls_beside_a_run_that_writes(world: World) -> None:
    """Each file of the host is one that the sandbox had, whole."""
    mount = world.bench.mount()
    pids = []
    for number in range(60):
        if number % 20 == 5:
            pids.append(started(world.pull))
        for name in ("a", "b", f"made{number}"):
            new = mount.workspace / "new~"
            new.write_bytes(b"%d" % number * 5000)
            os.rename(new, mount.workspace / name)
        os.rename(
            mount.workspace / ("x" if number % 2 == 0 else "z"),
            mount.workspace / ("z" if number % 2 == 0 else "x"),
        )
    assert ended(*pids) == [0, 0, 0]
    for name in ("a", "b"):
        data = (world.host / name).read_bytes()
        assert data == data[: len(data) // 5000] * 5000
    expected = side(mount.workspace)
    world.bench.unmount(mount)
    at_the_end(world, expected)
