"""Services of the host that listen at a path, in places and by ways that the kernel's list does not tell."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attackers import CONNECT, Attacker
from tests.support.callers import Caller, fresh_directory

SERVE = """
import os, socket, sys
os.chdir(sys.argv[1])
server = socket.socket(socket.AF_UNIX)
server.bind("first")
os.chmod("first", 0o777)
server.listen()
if len(sys.argv) > 2:
    os.rename("first", sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def service() -> Iterator[Path]:
    directory = Path("/srv", f"art-test-{os.getpid()}-service", "run")
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(directory.parent)


WAYS = {
    "a relative name": ([], "first", []),
    "renamed": ([], "last", ["last"]),
    "another network namespace": (["unshare", "--net"], "first", []),
}


@pytest.mark.parametrize("network", ["host", "none"])
@pytest.mark.parametrize("way", WAYS)
def test_it_cannot_be_reached(root: Caller, plain: Caller, service: Path, way: str, network: str) -> None:
    before, name, more = WAYS[way]
    argv = [*before, sys.executable, "-c", SERVE, str(service), *more]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            assert server.stdout.readline() == b"ready\n"
            listed = f"{service}/{name}" in Path("/proc/net/unix").read_text()
            assert not listed, "the kernel's list has it: this is no other way"
            for caller in (root, plain):
                with fresh_directory(caller) as workspace:
                    attacker = Attacker(caller, workspace, ["-i=false", "--network", network])
                    assert attacker.learn(CONNECT, service / name) in (["ENOENT"], ["EACCES"])
                    seen = attacker.learn(CONNECT, service / name, options=["--no-masks"])
                    assert seen == ["connected"], "the attack of this test would never work"
        finally:
            server.stdin.close()


def test_one_beside_the_workspace_is_found_first(plain: Caller) -> None:
    """However much there is elsewhere to look at."""
    with fresh_directory(plain) as workspace:
        beside = workspace.parent / "db"
        beside.mkdir()
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(beside, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/late")
            os.close(here)
            (beside / "late").chmod(0o777)
            server.listen()
            attacker = Attacker(plain, workspace, ["-i=false"])
            assert attacker.learn(CONNECT, beside / "late") in (["ENOENT"], ["EACCES"])
