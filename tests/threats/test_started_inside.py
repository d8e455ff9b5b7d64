"""What ART itself starts inside is the host's own: a workspace puts nothing of its own in the place of it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.attackers import Attacker

PROGRAM = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
DIRECTORY = os.path.dirname(PROGRAM)
MODULES = os.path.realpath(os.path.dirname(os.__file__))
INIT = b"""#!/bin/sh
echo evil >.envrc
printf '{"exec": true}' >&4
head -c 4000 /dev/zero | tr '\\0' '[' >&4
"""


def asks(attacker: Attacker, host: str, guest: str) -> None:
    file = attacker.workspace / ".art/config/binds.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"binds": [{"host": host, "guest": guest}]}))


def libc() -> str:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(path for line in lines if "/libc.so" in (path := line.split()[-1]))


FILES = (
    PROGRAM,
    libc(),
    f"/usr/lib/{os.path.basename(libc())}",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    f"{DIRECTORY}/pyvenv.cfg",
    f"{os.path.dirname(DIRECTORY)}/pyvenv.cfg",
    f"{MODULES}/encodings/__init__.py",
    f"{MODULES}/new.py",
    f"{os.path.dirname(MODULES)}/python{sys.version_info[0]}{sys.version_info[1]}.zip",
)
DIRECTORIES = (
    *(DIRECTORY, f"{DIRECTORY}/lib", MODULES, os.path.dirname(libc()), "/lib64", "/etc"),
    *(f"{os.path.dirname(libc())}/glibc-hwcaps", "/run/art/python"),
)


def test_a_workspace_does_not_replace_what_starts_inside(anybody: Attacker) -> None:
    file, directory = anybody.workspace / "init", anybody.workspace / "tree"
    file.write_bytes(INIT)
    file.chmod(0o755)
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / os.path.basename(PROGRAM)).write_bytes(INIT)
    (directory / "bin" / os.path.basename(PROGRAM)).chmod(0o755)
    for host, guests in (("init", FILES), ("tree", DIRECTORIES)):
        for guest in guests:
            asks(anybody, host, guest)
            done = anybody.run("true")
            assert done.returncode == 125, guest
            assert b"changes what ART's own program is started with" in done.stderr, (guest, done.stderr)
            assert not (anybody.workspace / ".envrc").exists()


def test_other_programs_and_files_of_the_system_are_replaced(anybody: Attacker) -> None:
    tool = anybody.workspace / "tool"
    tool.write_text("#!/bin/sh\necho mine\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    for guest in ("/usr/bin/env", "/usr/bin/art-test-tool", "/usr/lib/art-test/tool"):
        asks(anybody, "tool", guest)
        done = anybody.run(guest)
        assert (done.returncode, done.stdout) == (0, b"mine\n"), done.stderr


@pytest.mark.parametrize("number", ["1" * 5000, "[" * 4000])
def test_a_hostile_file_of_binds_is_one_line(anybody: Attacker, number: str) -> None:
    file = anybody.workspace / ".art/config/binds.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"binds": [{{"host": {number}')
    done: subprocess.CompletedProcess[bytes] = anybody.run("true")
    assert done.returncode == 125
    assert done.stderr.count(b"\n") == 1 and b"binds.json: " in done.stderr
