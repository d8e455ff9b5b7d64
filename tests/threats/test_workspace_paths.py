"""A workspace that an agent wrote cannot lead the next run, or a bind, anywhere else."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.places import locked


@pytest.fixture
def elsewhere(anybody: Attacker) -> Path:
    """A directory of the caller's outside the workspace, with a file that the sandbox may read."""
    directory = anybody.workspace.parent / "elsewhere"
    directory.mkdir()
    (directory / "file").write_text("host\n")
    for path in (directory, directory / "file"):
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    return directory


def test_a_link_in_the_workspace_is_no_way_out_for_writing(anybody: Attacker, elsewhere: Path) -> None:
    (anybody.workspace / "link").symlink_to(elsewhere)
    script = "cat link/file; true >link/new; echo x >>link/file; rm link/file; ln link/file hard; ls /oldroot"
    done = anybody.shell(script)
    assert done.stdout == b"host\n"
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "host\n"
    assert not (anybody.workspace / "hard").exists()


@pytest.mark.parametrize("target", ["elsewhere", "/oldroot/tmp", "/newroot", "/proc/self/root/tmp", "."])
def test_no_bind_goes_through_a_link_of_the_workspace(
    anybody: Attacker, elsewhere: Path, target: str
) -> None:
    to = str(elsewhere) if target == "elsewhere" else target
    (anybody.workspace / "link").symlink_to(to)
    for guest in ("link", "link/deep", "link/inner/deep"):
        for top in ("/home/agent/ws", anybody.workspace):
            done = anybody.run("true", options=["--bind", f"{elsewhere}:{top}/{guest}"])
            assert done.returncode == 125, done.stderr
            assert b"symbolic link" in done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert [path.name for path in anybody.workspace.iterdir()] == ["link"]


def test_a_bind_that_the_workspace_asks_for_does_not_leave_it(anybody: Attacker, elsewhere: Path) -> None:
    config = anybody.workspace / ".art/config"
    config.mkdir(parents=True)
    (anybody.workspace / "link").symlink_to(elsewhere)
    for host in ("link", "link/file", "../elsewhere", "./x/../../elsewhere"):
        asked = {"binds": [{"host": host, "guest": "/opt/mydata"}]}
        (config / "binds.json").write_text(json.dumps(asked))
        done = anybody.run("true", options=["--trust-binds"])
        assert done.returncode == 125, done.stderr
        assert b"binds[0].host" in done.stderr


def test_the_file_of_binds_is_not_followed_out_of_the_workspace(anybody: Attacker, elsewhere: Path) -> None:
    asked = {"binds": [{"host": "/usr", "guest": "/opt/mydata"}]}
    (elsewhere / "config").mkdir()
    (elsewhere / "config/binds.json").write_text(json.dumps(asked))
    (anybody.workspace / ".art").symlink_to(elsewhere)
    done = anybody.run("ls", "/opt/mydata", options=["--trust-binds"])
    assert done.returncode == 125
    assert b"symbolic link" in done.stderr


@pytest.mark.slow
def test_a_source_that_is_swapped_all_the_time_shows_what_was_approved(
    anybody: Attacker, elsewhere: Path
) -> None:
    """The workspace's own directory flips between a directory and a link to a private one, as a
    second process of the agent could do while a run starts."""
    secret = anybody.workspace.parent / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret\n")
    os.chown(secret, anybody.caller.uid, anybody.caller.gid)
    asked = {"binds": [{"host": "data", "guest": "/opt/mydata"}]}
    (anybody.workspace / ".art/config").mkdir(parents=True)
    (anybody.workspace / ".art/config/binds.json").write_text(json.dumps(asked))
    (anybody.workspace / "kept").mkdir()
    (anybody.workspace / "kept/file").write_text("own\n")
    data = anybody.workspace / "data"
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            (anybody.workspace / "kept").rename(data)
            data.rename(anybody.workspace / "kept")
            data.symlink_to(secret)
            data.unlink()

    flipping = threading.Thread(target=flip)
    flipping.start()
    try:
        answers = [anybody.run("cat", "/opt/mydata/file") for _ in range(25)]
    finally:
        stop.set()
        flipping.join()
    assert {answer.stdout for answer in answers} <= {b"", b"own\n"}
    assert {answer.returncode for answer in answers} <= {0, 125}


def test_masks_hold_when_the_host_works(anybody: Attacker) -> None:
    """The host removes, makes and renames while the command runs; a setting masks a file, a directory,
    and a directory two levels down."""
    top = anybody.caller.place / f"host-{os.getpid()}"
    for name in ("directory", "deep/er", "hidden"):
        (top / name).mkdir(parents=True)
    for name in ("file", "directory/key", "deep/er/key", "hidden/socket"):
        (top / name).write_text("secret")
    config = anybody.caller.place / "config/art"
    config.mkdir(parents=True, exist_ok=True)
    masked = [f"{top}/{name}" for name in ("file", "directory", "deep/er", "hidden")]
    (config / "config.toml").write_text(f"[sandbox]\nmasks = {json.dumps(masked)}\n")
    script = 'ls -A "$1/directory"; echo ready; read line; grep -rs secret "$1"; cat "$1/file"'
    variables = {**anybody.variables, "XDG_CONFIG_HOME": str(config.parent)}
    attacker = Attacker(anybody.caller, anybody.workspace, anybody.options, variables)
    process = attacker.start("sh", "-c", script, "sh", top)
    try:
        (top / "new").write_text("secret")
        (top / "new").rename(top / "file")
        (top / "directory").rename(top / "moved-away")
        (top / "directory").mkdir()
        (top / "directory/key").write_text("secret")
        (top / "deep").rename(top / "shallow")
        (top / "deep/er").mkdir(parents=True)
        (top / "deep/er/key").write_text("secret")
        (top / "hidden/socket").unlink()
        (top / "hidden").rmdir()
        (top / "hidden").mkdir()
        (top / "hidden/socket").write_text("secret")
        out, errors = process.communicate(b"go\n", timeout=30)
    finally:
        process.kill()
        import shutil

        shutil.rmtree(top)
        shutil.rmtree(config.parent)
    assert b"secret" not in out + errors
    assert out == b""


def test_the_account_has_the_home_of_the_sandbox(anybody: Attacker) -> None:
    with locked("/etc/login.defs"):  # The other test workers add users, too.
        done = anybody.shell("getent passwd $(id -u) | cut -d: -f6; echo ~")
    assert done.stdout == b"/home/agent\n/home/agent\n"
