"""Without room beside a database, or with a limit on the size of files, it is said what helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from art_cowfs.session import Session

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk of its own")
FULL = """
import subprocess, sys
from art_core.errors import ArtError
from art_cowfs import caring
from art_cowfs.schema import connect
top, database = sys.argv[1:3]
sys.path[:] = sys.argv[3:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", top], check=True)
subprocess.run(["cp", database, f"{top}/t.db"], check=True)
with open(f"{top}/fill", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
print([finding.what for finding in caring.check(f"{top}/t.db")], caring.info(f"{top}/t.db").branches)
try:
    connect(f"{top}/t.db")
except ArtError as error:
    print(error)
"""
LIMITED = """
import resource, sys
database = sys.argv[1]
sys.path[:] = sys.argv[2:]
import os, stat
from art_cowfs.session import Session
with Session(database, "main", uid=0, gid=0) as session:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    node = session.tree.new(stat.S_IFREG | 0o644, 0)
    node.nlink = 1
    session.tree.enter(session.tree.node(1), b"large", node)
    session.tree.write(node, 0, os.urandom(2 << 20))
    try:
        session.tree.pending.wait()
    except OSError as error:
        print(error.strerror, flush=True)
    os._exit(0)
"""


def _ran(program: str, *argv: str, own: bool) -> str:
    command = [sys.executable, "-c", program, *argv, *sys.path]
    done = subprocess.run(
        [*(["unshare", "-m"] if own else []), *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "t.db")
    Session(path, "main", uid=0, gid=0).close()
    return path


def test_a_database_on_a_full_disk_can_be_checked_and_says_what_it_needs(
    database: str, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    checked, said, *_ = _ran(FULL, str(tmp_path / "disk"), database, own=True).splitlines()
    assert checked.startswith("[]")
    assert "no space left on its disk" in said


def test_a_limit_on_the_size_of_files_is_named(database: str) -> None:
    assert "the limit on the size of files (1048576 bytes" in _ran(LIMITED, database, own=False)
