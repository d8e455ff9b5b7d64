"""A caller whose uid and gid do not fit in 31 bits, as sssd and user namespaces give them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from art_core.host.user_namespace import inside, keeps
from art_core.view.identity import identify
from tests.support.callers import Caller, fresh_directory

LARGE = 3_000_000_000


@pytest.fixture
def large(root: Caller) -> Iterator[Caller]:
    """Such a caller, whose home and place are new."""
    caller = replace(root, name="plain", user="", uid=LARGE, gid=LARGE + 1)
    with fresh_directory(caller, "home") as home:
        place = home.parent
        yield replace(caller, home=home, place=place, env={**root.env, "HOME": str(home)})


@pytest.fixture
def workspace(large: Caller) -> Path:
    made = large.place / "ws"
    made.mkdir()
    os.chown(made, large.uid, large.gid)
    return made


def test_an_id_that_is_too_large_is_another_inside() -> None:
    assert [inside(number) for number in (0, 1000, (1 << 31) - 1, 1 << 31, LARGE)] == [
        0,
        1000,
        (1 << 31) - 1,
        1000,
        1000,
    ]
    assert identify(LARGE, 5, mapped=True)[:2] == (1000, 5)
    assert not keeps(5, LARGE)
    assert keeps(5, 6)


def test_it_runs_in_place(large: Caller, workspace: Path) -> None:
    done = large.art(
        "-i=false", "--", "sh", "-c", "id -u; id -g; echo x >made; stat -c %u:%g made", cwd=workspace
    )
    assert (done.returncode, done.stdout) == (0, b"1000\n1000\n1000:1000\n"), done.stderr
    found = (workspace / "made").stat()
    assert (found.st_uid, found.st_gid) == (large.uid, large.gid)


def test_it_runs_over_a_database(large: Caller, workspace: Path) -> None:
    (workspace / "old").write_text("host")
    os.chown(workspace / "old", large.uid, large.gid)
    script = "stat -c %u:%g old . ~; chmod 600 old && echo more >>old && echo x >made && echo y >~/kept"
    database = large.home / "x.db"
    run = ("-i=false", "-d", database, "--")
    done = large.art(*run, "sh", "-c", script, cwd=workspace)
    assert (done.returncode, done.stdout) == (0, b"1000:1000\n" * 3), done.stderr
    done = large.art(*run, "sh", "-c", "cat ~/kept", cwd=workspace)
    assert (done.returncode, done.stdout) == (0, b"y\n"), done.stderr
    done = large.art("pull", "-d", database, cwd=workspace)
    assert done.returncode == 0, done.stderr
    found = (workspace / "made").stat()
    assert (found.st_uid, found.st_gid) == (large.uid, large.gid)
    assert (workspace / "old").read_text() == "hostmore\n"


def test_doctor_finds_that_a_sandbox_starts(large: Caller, workspace: Path) -> None:
    done = large.art("doctor", cwd=workspace)
    assert b"a command ran in a sandbox" in done.stdout
