"""What an agent puts into the home that is kept leads no later run, and no bind, anywhere else."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.attackers import Attacker
from tests.support.installed_copies import Installed
from tests.support.sandbox_programs import program

RENAME_EXCHANGE = {"x86_64": 316, "aarch64": 276}
"""renameat2(2), by machine."""
REPLACING = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
number, told = int(sys.argv[1]), {}
os.chdir("/home/agent")
os.mkdir("own"); os.symlink("/", "link"); open("file", "w").close()

def tried(what, function, *arguments):
    try:
        function(*arguments)
        told[what] = "done"
    except OSError as error:
        told[what] = errno.errorcode[error.errno]

def exchange(one, other):
    if libc.syscall(number, -100, one.encode(), -100, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "exchange")

for name in sys.argv[2:]:
    tried(name + " away", os.rename, name, "w2")
    tried(name + " onto", os.rename, "own", name)
    tried(name + " exchanged", exchange, "link", name)
    tried(name + " exchanged back", exchange, name, "link")
    tried(name + " rmdir", os.rmdir, name)
    tried(name + " mkdir", os.mkdir, name)
    tried(name + " symlink", os.symlink, "/", name)
    tried(name + " link", os.link, "file", name)
print(ascii(told))
"""


def tampered(database: Path, name: str, mode: int, target: str = "") -> None:
    """What the agent of an older version could leave: something else in the place of a workspace."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        rows = connection.execute("SELECT ino FROM dentry WHERE parent = 1 AND name = ?", (name.encode(),))
        assert rows.fetchone()
        connection.execute("UPDATE dentry SET name = x'7732' WHERE parent = 1 AND name = ?", (name.encode(),))
        (layer,) = connection.execute("SELECT layer FROM point WHERE name = 'main'").fetchone()
        connection.execute(
            "INSERT OR IGNORE INTO inode SELECT ino, ?, mode, nlink, rdev, size, holes, clip, host_clip, "
            "atime, mtime, ctime, target, origin, origin_size, origin_mtime FROM inode WHERE ino = 1 LIMIT 1",
            (layer,),
        )
        size = len(target)
        values = (9999, layer, mode, 1, 0, size, 0, size, 0, 0, 0, 0, target.encode() or None)
        connection.execute(f"INSERT INTO inode VALUES({', '.join('?' * 13)}, NULL, NULL, NULL)", values)
        connection.execute("INSERT INTO dentry VALUES(1, ?, ?, 9999)", (name.encode(), layer))
        connection.execute("UPDATE meta SET value = 20000 WHERE key = 'next_ino'")


@pytest.fixture
def kept(anybody: Attacker) -> Attacker:
    """Over a database, with which an earlier run has worked in another workspace as well."""
    (anybody.workspace / "file").write_text("host\n")
    second = anybody.workspace.parent / "second"
    second.mkdir()
    for path in (anybody.workspace / "file", second):
        os.chown(path, anybody.caller.uid, anybody.caller.gid)
    database = anybody.workspace.parent / "x.db"
    made = replace(anybody, options=[*anybody.options, "-d", database])
    assert replace(made, workspace=second).run("true").returncode == 0
    return made


def test_the_places_of_all_workspaces_are_busy_as_mounts_are(kept: Attacker) -> None:
    assert kept.run("true").returncode == 0
    told = kept.learn(REPLACING, str(RENAME_EXCHANGE[os.uname().machine]), "ws", "second")
    exists = {
        f"{name} {what}": "EEXIST" for name in ("ws", "second") for what in ("mkdir", "symlink", "link")
    }
    busy = {
        f"{name} {what}": "EBUSY"
        for name in ("ws", "second")
        for what in ("away", "onto", "exchanged", "exchanged back", "rmdir")
    }
    assert told == exists | busy
    assert kept.run("cat", "file").stdout == b"host\n"


def test_a_place_that_is_free_in_a_branch_is_nobodys_to_take(kept: Attacker) -> None:
    """The second workspace is known, and this branch has never had it."""
    database = kept.workspace.parent / "x.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO workspace VALUES(x'7468697264', x'2f7468697264')")  # third
    script = "cd ~; mkdir third; ln -s / third; touch third; mkfifo third; mkdir d; mv d third; ls -d third"
    done = kept.shell(script)
    assert done.returncode and b"third" not in done.stdout
    assert done.stderr.count(b"Device or resource busy") == 5, done.stderr


KINDS = {"link": stat.S_IFLNK | 0o777, "file": stat.S_IFREG | 0o644, "fifo": stat.S_IFIFO | 0o644}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_was_put_in_the_place_of_a_workspace_is_refused_and_mended(kept: Attacker, kind: str) -> None:
    secret = kept.workspace.parent / "elsewhere"
    secret.mkdir()
    (secret / "file").write_text("secret\n")
    os.chown(secret, kept.caller.uid, kept.caller.gid)
    assert kept.shell("echo changed > file").returncode == 0
    database = kept.workspace.parent / "x.db"
    tampered(database, "ws", KINDS[kind], str(secret) if kind == "link" else "")
    art = kept.caller.art
    sides: list[str | Path] = ["-m", kept.workspace, "-d", database]
    for options in ([], ["--no-alias"]):
        done = kept.shell(f"echo x >> {kept.workspace}/file", options=options)
        assert done.returncode == 125 and b"'ws' in the home" in done.stderr, done.stderr
        assert b"art db check --repair" in done.stderr and done.stderr.count(b"\n") == 1
    for refused in (["pull"], ["push"], ["status"], ["diff"]):
        done = art(*refused, *sides, env=kept.variables)
        assert done.returncode == 125 and b"'ws' in the home" in done.stderr, (refused, done.stderr)
    assert (secret / "file").read_text() == "secret\n"
    assert (kept.workspace / "file").read_text() == "host\n"
    assert b"has the place of the workspace b'ws'" in art("db", "check", "-d", database).stdout
    mended = art("db", "check", "--repair", "-d", database)
    assert mended.returncode == 0, mended.stdout
    done = kept.shell("cat file; cd ~; echo *")
    assert done.stdout == b"changed\nlost+found-9999 second ws\n", done.stderr
    assert (kept.workspace / "file").read_text() == "host\n"


def test_nothing_puts_something_else_in_the_place_of_a_workspace(kept: Attacker, tmp_path: Path) -> None:
    """Restoring, importing, and copying a file there."""
    database = kept.workspace.parent / "x.db"
    art = kept.caller.art
    sides: list[str | Path] = ["-m", kept.workspace, "-d", database]
    assert kept.run("true").returncode == 0
    assert art("snapshot", "good", "-d", database).returncode == 0
    tampered(database, "ws", KINDS["link"], "/")
    assert art("snapshot", "bad", "-d", database).returncode == 0
    tar = kept.workspace.parent / "x.tar"
    with open(tar, "wb") as file:
        assert not kept.caller.run(
            [kept.caller.art_program, "db", "export", "--tar", "-d", database], stdout=file
        ).returncode
    assert art("restore", "good", *sides).returncode == 0
    assert kept.run("cat", "file").stdout == b"host\n"
    wanted: list[list[str | Path]] = [
        ["restore", "bad", *sides],
        ["db", "import", "--tar", "-d", database, "-b", "new"],
    ]
    for refused in wanted:
        done = art(*refused, input=tar.read_bytes())
        assert done.returncode == 125 and b"the place of" in done.stderr, (refused, done)
    link = kept.workspace.parent / "link"
    link.symlink_to("/")
    done = art("fs", "cp", "-d", database, link, ":ws")
    assert b"the place of a workspace" in done.stderr or done.returncode == 2, done
    assert kept.run("cat", "file").stdout == b"host\n"


def test_no_session_from_python_starts_over_it_either(kept: Attacker, installed: Installed) -> None:
    assert kept.run("true").returncode == 0
    (kept.workspace.parent / "x.db").rename(kept.workspace.parent / "home.db")
    tampered(kept.workspace.parent / "home.db", "ws", KINDS["link"], "/")
    caller = replace(kept.caller, env=kept.caller.environment(kept.variables))
    said = program(caller, installed, kept.workspace, "print(raised(Sandbox, WORKSPACE, database=DATABASE))")
    assert "the place of the workspace, is a link" in said


def test_what_another_store_would_bind_is_opened_through_no_link(installed: Installed, root: object) -> None:
    """The core believes no store: the workspace of a home is a descriptor before anything is planned."""
    source = """
import errno
from art_core.host.stage import HOME
from art_core.launch.namespace import PrivateNamespace
namespace = PrivateNamespace((0, 0))
made = "mkdir -p good a/b && ln -s / link && ln -s good near && : > file && ln -s /proc/self/root magic"
assert namespace.run(["/bin/sh", "-c", f"mkdir {HOME} && cd {HOME} && {made}"]) == 0
for name in ("good", "a/b", "link", "near", "magic", "link/etc", "a/../good", "file", "none"):
    try:
        print(name, "open", namespace.pin(name) > 0)
    except OSError as error:
        print(name, errno.errorcode[error.errno])
namespace.close()
"""
    done = subprocess.run([installed.python, "-c", source], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        *("good open True", "a/b open True", "link ELOOP", "near ELOOP", "magic ELOOP", "link/etc ELOOP"),
        *("a/../good EINVAL", "file ENOTDIR", "none ENOENT"),
    ], done.stderr
