"""A link that an agent leaves where something will be mounted later makes nothing on the host."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.installed_copies import Installed
from tests.support.sandbox_programs import program

LINKS = """
for name in data file; do ln -s /oldroot$1 ~/$name; done
rmdir sub && ln -s /oldroot$1 sub
"""


@pytest.fixture
def planted(anybody: Attacker) -> Attacker:
    """Over a home in which an earlier run has replaced directories by links to one of the host."""
    place = anybody.workspace.parent
    (anybody.workspace / "sub").mkdir()
    (anybody.workspace / "good/m").mkdir(parents=True)
    for name in ("shown", "target"):
        (place / name).mkdir()
    (place / "shown/file").write_text("shown\n")
    for path in (*place.rglob("*"),):
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    kept = replace(anybody, options=[*anybody.options, "-d", place / "x.db"])
    assert kept.shell(LINKS, place / "target").returncode == 0
    (anybody.workspace / "sub/m").mkdir()
    return kept


def test_no_mount_point_is_made_through_a_link_of_the_home(planted: Attacker) -> None:
    place = planted.workspace.parent
    shown = place / "shown"
    guests = ["data/made", "data", "data/deep/er", "ws/sub/m"]
    binds = [f"{shown}:/home/agent/{guest}" for guest in guests]
    binds += [f"{shown}:{planted.workspace}/sub/m", f"{shown}/file:/home/agent/file"]
    for bind in binds:
        done = planted.run("true", options=["--bind", bind])
        assert done.returncode == 125 and b"leads through a symbolic link" in done.stderr, (bind, done.stderr)
        assert done.stderr.count(b"\n") == 1
    assert list((place / "target").iterdir()) == []


def test_no_share_is_made_through_a_link_either(planted: Attacker) -> None:
    place = planted.workspace.parent
    done = planted.run("true", options=["--share", f"{place}/shown/file:~/data/file", "--trust-binds"])
    assert done.returncode == 125 and b"'data' in the home is no directory" in done.stderr, done.stderr
    done = planted.run("true", options=["--share", f"{place}/shown:~/data/shown", "--trust-binds"])
    assert done.returncode == 125 and b"leads through a symbolic link" in done.stderr, done.stderr
    assert list((place / "target").iterdir()) == []


def test_mount_points_that_are_missing_are_made_in_the_home(planted: Attacker) -> None:
    place = planted.workspace.parent
    shown = place / "shown"
    guests = ["/home/agent/a/b/c", "/home/agent/ws/good/m", f"{planted.workspace}/good/m"]
    options = [word for guest in guests[:2] for word in ("--bind", f"{shown}:{guest}")]
    options += ["--bind", f"{shown}/file:/home/agent/d/file", "--bind", f"{shown}:{guests[2]}"]
    script = (
        "cat ~/a/b/c/file ~/d/file good/m/file; touch ~/a/b/own ~/d/own && rm ~/a/b/own; echo x > ~/a/b/c/new"
    )
    done = planted.shell(script, options=options)
    assert done.stdout == b"shown\n" * 3 and done.returncode, done.stderr
    assert planted.shell("rm -r ~/a ~/d").returncode == 0  # They are the command's own.
    assert [path.name for path in shown.iterdir()] == ["file"]


def test_a_second_command_of_a_sandbox_looks_again(anybody: Attacker, installed: Installed) -> None:
    """In direct mode the first one renames the directory above a mount point, and leaves a link."""
    place = anybody.workspace.parent
    for path in (place / "target", place / "shown", anybody.workspace / "a/b"):
        path.mkdir(parents=True)
    for path in place.rglob("*"):
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    caller = replace(anybody.caller, env=anybody.caller.environment(anybody.variables))
    said = program(
        caller,
        installed,
        anybody.workspace,
        """
        place = os.path.dirname(WORKSPACE)
        with Sandbox(WORKSPACE, binds=[place + "/shown:/home/agent/ws/a/b"]) as box:
            script = f"mv a away && ln -s /oldroot{place}/target a && echo done"
            end = box.execute(["sh", "-c", script], output=1)
            print(end.code, raised(box.execute, ["true"], output=1))
        """,
    )
    assert said.startswith("done\n0 MountError") and "leads through a symbolic link" in said, said
    assert list((place / "target").iterdir()) == []


def test_mount_points_are_made_by_descriptors(tmp_path: Path) -> None:
    from art_core.host import openat

    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    top = os.open(tmp_path, os.O_PATH)
    try:
        for path, directory in (("a/b", True), ("a/b", True), ("a/c", False), ("a/c", False)):
            openat.make_beneath(top, path, (os.getuid(), os.getgid()), directory=directory)
        wrong = {
            ("link", True): "Too many levels of symbolic links",
            ("link/x", False): "Too many levels of symbolic links",
            ("a/../x", True): "Invalid argument",
            ("file", True): "Not a directory",
            ("file/x", True): "Not a directory",
            ("a", False): "Is a directory",
        }
        for (path, directory), why in wrong.items():
            with pytest.raises(OSError, match=why):
                openat.make_beneath(top, path, (0, 0), directory=directory)
    finally:
        os.close(top)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        *("a", "a/b", "a/c", "file", "link")
    ]
