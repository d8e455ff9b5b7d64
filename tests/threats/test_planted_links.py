"""A link that a command put into its workspace decides nothing on the host."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory

PLANT = """
ln -s {0}/profile t.log; ln -s {0}/profile deep.db; ln -s {0} out; ln -s {0}/new dangling
ln -s t.log second
"""


class Trap:
    """A workspace with links that lead to `victim`, a directory beside it."""

    def __init__(self, caller: Caller, workspace: Path) -> None:
        self.caller = caller
        self.workspace = workspace
        self.victim = workspace.parent / "victim"
        self.victim.mkdir(mode=0o700)
        self.profile = self.victim / "profile"
        self.profile.write_text("KEY=secret\n")
        for path in (self.victim, self.profile):
            os.chown(path, caller.uid, caller.gid)
        done = caller.art("-m", workspace, "-i=false", "--", "sh", "-c", PLANT.format(self.victim))
        assert done.returncode == 0, done.stderr


@pytest.fixture
def trap(caller: Caller) -> Iterator[Trap]:
    with fresh_directory(caller) as workspace:
        yield Trap(caller, workspace)


RUN = ["-m", "ws", "-i=false"]
REFUSED = {
    "a record": [*RUN, "--trace-log", "ws/t.log", "--", "true"],
    "a record through two": [*RUN, "--trace-log", "ws/second", "--", "true"],
    "a record in a directory": [*RUN, "--trace-log", "ws/out/t.log", "--", "true"],
    "a record of another workspace": ["-m", "other", "-i=false", "--trace-log", "ws/t.log", "--", "true"],
    "a database": [*RUN, "-d", "ws/dangling", "--", "true"],
    "a database in a directory": ["push", "-m", "ws", "-d", "ws/out/x.db"],
    "variables": [*RUN, "--env-file", "ws/t.log", "--", "env"],
    "a seed": [*RUN, "--seed", "ws/out:~/seed", "--", "cat", "/home/agent/seed/profile"],
    "what is shown": [*RUN, "--expose", "ws/out", "--", "true"],
    "a state": ["status", "-m", "ws", "-d", "ws/dangling"],
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_option_does_not_follow_it(trap: Trap, what: str) -> None:
    (trap.workspace.parent / "other").mkdir()
    os.chown(trap.workspace.parent / "other", trap.caller.uid, trap.caller.gid)
    done = trap.caller.art(*REFUSED[what], cwd=trap.workspace.parent)
    assert done.returncode == 2
    assert b"is a link to" in done.stderr and b"name the file itself\n" in done.stderr
    assert done.stdout == b""
    assert [path.name for path in trap.victim.iterdir()] == ["profile"]
    assert trap.profile.read_text() == "KEY=secret\n"


def test_nothing_is_copied_or_written_through_it(trap: Trap) -> None:
    place = trap.workspace.parent
    (place / "kept").write_text("kept")
    sides = ["-m", "ws", "-d", "x.db"]
    assert trap.caller.art("fs", "cp", *sides, "kept", "guest:kept", cwd=place).returncode == 0
    for command in (
        ["fs", "cp", *sides, "guest:kept", "ws/out"],
        ["fs", "cp", *sides, "ws/t.log", "guest:stolen"],
        ["pull", *sides, "--into", "ws/dangling"],
        ["db", "check", *sides, "--repair", "--backup", "ws/out/backup.db"],
    ):
        done = trap.caller.art(*command, cwd=place)
        assert done.returncode == 2, command
        assert b"is a link to" in done.stderr
    assert [path.name for path in trap.victim.iterdir()] == ["profile"]


def test_links_of_ones_own_go_on(caller: Caller) -> None:
    with fresh_directory(caller) as workspace:
        place = workspace.parent
        (place / "disk").mkdir()
        os.chown(place / "disk", caller.uid, caller.gid)
        (place / "x.db").symlink_to("disk/x.db")
        done = caller.art("-m", "ws", "-d", "x.db", "-i=false", "--", "true", cwd=place)
        assert done.returncode == 0, done.stderr
        assert (place / "disk/x.db").exists()
        (place / "logs").symlink_to("disk")
        traced = caller.art("-m", "ws", "-i=false", "--trace-log", "logs/t.log", "--", "true", cwd=place)
        assert traced.returncode == 0 and "exit_group" in (place / "disk/t.log").read_text()
        with sqlite3.connect(place / "disk/x.db") as database:
            assert database.execute("PRAGMA application_id").fetchone() == (0x41525400,)


def test_a_workspace_is_not_where_it_leads(trap: Trap) -> None:
    """Not by -m, and not by the directory that a shell went to through it."""
    place, out = trap.workspace.parent, trap.workspace / "out"
    for options, cwd, pwd in ((["-m", "ws/out"], place, place), ([], out, out), (["-m", "."], out, out)):
        done = trap.caller.art(*options, "-i=false", "--", "touch", "made", cwd=cwd, env={"PWD": str(pwd)})
        assert done.returncode == 2, done
        assert f"{out} is a link to {trap.victim}, in a workspace".encode() in done.stderr
    assert [path.name for path in trap.victim.iterdir()] == ["profile"]
    # Named itself it is a workspace like any other, and so is one behind a link of one's own.
    (place / "mine").symlink_to(trap.victim)
    for named in (trap.victim, place / "mine"):
        assert trap.caller.art("-m", named, "-i=false", "--", "true").returncode == 0
