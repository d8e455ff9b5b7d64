"""Without room beside a database, or with a limit on the size of files, it is said what helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from art_cowfs.access.branch import OpenBranch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk of its own")
FULL = """
import subprocess, sys
from art_core.errors import ArtError
from art_cowfs.care import maintenance as caring
from art_cowfs.opening.database import connect
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
from art_cowfs.access.branch import OpenBranch
with OpenBranch(database, "main", uid=0, gid=0) as session:
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


READ = """
import os, subprocess, sys
top, database, workspace = sys.argv[1:4]
sys.path[:] = sys.argv[4:]
ART = [sys.executable, "-c", "from art_cli.entry import main; main()"]
def art(*words):
    done = subprocess.run([*ART, *words], capture_output=True, text=True, cwd=workspace)
    print(done.returncode, repr(done.stdout), repr(done.stderr))
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", top], check=True)
for companion in ("", "-wal"):
    if os.path.exists(database + companion):
        subprocess.run(["cp", database + companion, f"{top}/t.db{companion}"], check=True)
with open(f"{top}/fill", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
at = ["-d", f"{top}/t.db"]
art("status", *at)
art("log", *at)
art("diff", "--name-only", *at)
art("fs", "cat", *at, "w/new")
art("-i=false", *at, "--", "sh", "-c", "cat new; echo x > new")
art("snapshot", "one", *at)
os.unlink(f"{top}/fill")
art("db", "check", *at)
art("-i=false", *at, "--", "cat", "new")
"""
LEFT = """
import os, sys
database, workspace, how = sys.argv[1:4]
sys.path[:] = sys.argv[4:]
import stat
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
place = Place(b"w", os.fsencode(workspace), os.open(workspace, os.O_RDONLY))
session = OpenBranch(database, "main", workspace=place, uid=0, gid=0)
tree = session.tree
node = tree.new(stat.S_IFREG | 0o644, 0)
node.nlink = 1
tree.enter(tree.lookup(tree.node(1), b"w"), b"new", node)
tree.write(node, 0, b"content")
tree.pending.wait()
if how == "killed":
    os._exit(0)
session.close()
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
    OpenBranch(path, "main", uid=0, gid=0).close()
    return path


def test_a_database_on_a_full_disk_can_be_checked_and_says_what_it_needs(
    database: str, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    checked, said, *_ = _ran(FULL, str(tmp_path / "disk"), database, own=True).splitlines()
    assert checked.startswith("[]")
    assert "no space left on its disk" in said


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_what_only_reads_works_on_a_full_disk(tmp_path: Path, how: str) -> None:
    for name in ("disk", "w"):
        (tmp_path / name).mkdir()
    database = str(tmp_path / "t.db")
    _ran(LEFT, database, str(tmp_path / "w"), how, own=False)
    assert os.path.exists(f"{database}-wal") == (how == "killed")
    said = _ran(READ, str(tmp_path / "disk"), database, str(tmp_path / "w"), own=True).splitlines()
    status, log, diff, cat, run, snapshot, check, later = said
    assert status.startswith("0 ") and "added      new (7 bytes)" in status
    assert log.startswith("0 ")
    assert diff.startswith("0 'new")
    assert cat.startswith("0 'content'")
    assert run.startswith("2 'content'") and "are read-only in this run" in run
    assert snapshot.startswith("125 ") and "there is no space left on its disk" in snapshot
    assert check.startswith("0 ")
    assert later.startswith("0 'content'")


def test_a_limit_on_the_size_of_files_is_named(database: str) -> None:
    assert "the limit on the size of files (1048576 bytes" in _ran(LIMITED, database, own=False)
