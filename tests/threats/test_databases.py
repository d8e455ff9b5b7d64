"""What a home keeps is its owner's: no other user, and no other sandbox, reads its database."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.support.callers import Caller, fresh_directory

SECRET = "a-secret-of-the-agent"
KEEPS = f"umask 077; echo {SECRET} > ~/.creds; sync ~/.creds; echo kept; read line || true"
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


class Home:
    """A home in `x.db` of a directory that everybody may enter, with two workspaces."""

    def __init__(self, caller: Caller, workspace: Path) -> None:
        self.caller = caller
        self.workspace = workspace
        self.top = workspace.parent
        self.database = self.top / "x.db"
        os.chmod(self.top, 0o755)

    def art(self, *args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        return self.caller.art(*args, cwd=cwd or self.workspace)

    def files(self) -> list[Path]:
        return sorted(self.database.parent.glob("x.db*"))


@pytest.fixture
def home(caller: Caller) -> Iterator[Home]:
    with fresh_directory(caller) as workspace:
        yield Home(caller, workspace)


@pytest.fixture
def running(home: Home) -> Iterator[Home]:
    """The same while a run keeps a secret in it."""
    argv: list[str | bytes | Path] = [home.caller.art_program, "-m", home.workspace, "-d", home.database]
    before = os.umask(0)
    try:
        process = home.caller.popen(
            [*argv, "-i=false", "--", "sh", "-c", KEEPS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        os.umask(before)
    assert process.stdout is not None
    assert process.stdout.readline() == b"kept\n"
    yield home
    _, err = process.communicate(b"\n", timeout=60)
    assert process.returncode == 0, err


def test_all_files_of_a_database_are_their_owners_alone(running: Home) -> None:
    names = [path.name for path in running.files()]
    assert names == ["x.db", "x.db-lock", "x.db-shm", "x.db-wal"]
    for path in running.files():
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, running.caller.uid), path.name
        assert subprocess.run([*NOBODY, "cat", path], capture_output=True).returncode != 0


READS = (
    "cd {top}; cat x.db* {more} 2>/dev/null | grep -c {secret}; "
    "for path in x.db x.db-wal x.db-shm x.db-lock; do echo y >> $path; done 2>/dev/null; "
    "ls {top} | grep x.db; true"
)


def attack(home: Home, *options: str | Path, more: str = "", cwd: Path | None = None) -> list[bytes]:
    script = READS.format(top=home.top, more=more, secret=SECRET)
    done = home.art(*options, "-i=false", "--", "sh", "-c", script, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_other_sandbox_reads_it(running: Home) -> None:
    assert SECRET.encode() in (running.top / "x.db-wal").read_bytes(), "it is there to be read"
    assert attack(running) == [b"0"]
    assert attack(running, "-d", running.top / "other.db") == [b"0"]
    running.database.with_name("link").symlink_to(running.database)
    assert attack(running, more=str(running.database.with_name("link"))) == [b"0"]


def test_a_workspace_that_holds_it_does_not_show_it(home: Home) -> None:
    assert home.art("-d", home.database, "-i=false", "--", "sh", "-c", KEEPS).returncode == 0
    before = home.database.read_bytes()
    options: tuple[str | Path, ...]
    for options in ((), ("-d", home.top.parent / f"{home.top.name}.db"), ("--no-alias",)):
        try:
            inside = f"~/{home.top.name}/x.db*"
            done = attack(home, "--name", home.top.name, *options, more=inside, cwd=home.top)
            assert done[0] == b"0"
        finally:
            for path in home.top.parent.glob(f"{home.top.name}.db*"):
                path.unlink()
    assert home.database.read_bytes() == before


def test_a_directory_that_is_bound_does_not_show_it(home: Home) -> None:
    assert home.art("-d", home.database, "-i=false", "--", "sh", "-c", KEEPS).returncode == 0
    before = home.database.read_bytes()
    options = ("--trust-binds", "--bind", f"{home.top}:/opt/there:rw")
    assert attack(home, *options, more="/opt/there/x.db*")[0] == b"0"
    done = home.art(*options, "-i=false", "--", "sh", "-c", "echo y > /opt/there/x.db; rm /opt/there/x.db")
    assert done.returncode != 0 and home.database.read_bytes() == before
    done = home.art("--bind", f"{home.database}:/opt/x.db", "-i=false", "--", "true")
    assert done.returncode == 125 and b"shows what is hidden" in done.stderr


@pytest.mark.slow
def test_a_crowded_directory_does_not_show_it(home: Home) -> None:
    assert home.art("-d", home.database, "-i=false", "--", "sh", "-c", KEEPS).returncode == 0
    for number in range(5000):
        (home.top / f"file-{number}").touch()
    assert attack(home)[0] == b"0"


def test_a_database_that_others_may_read_is_told_once(home: Home) -> None:
    assert home.art("-d", home.database, "-i=false", "--", "true").returncode == 0
    os.chmod(home.database, 0o644)
    told = [home.art("-d", home.database, "-i=false", "--", "true").stderr for _ in range(2)]
    assert b"chmod 600" in told[0] and b"mode 0644" in told[0] and b"chmod" not in told[1]
    os.chmod(home.database, 0o660)
    assert b"chmod" not in home.art("-d", home.database, "-i=false", "--", "true").stderr
    assert stat.S_IMODE(home.database.stat().st_mode) == 0o660, "a group's stays a group's"


def test_two_names_by_a_link_are_one_database(running: Home) -> None:
    """SQLite's files lie beside what a link leads to, and so do the locks."""
    link = running.top / "link.db"
    link.symlink_to(running.database)
    done = running.art("-d", link, "-i=false", "--", "true")
    assert done.returncode == 125 and b"is held by process" in done.stderr
    link.unlink()


@pytest.mark.slow
def test_a_lock_that_somebody_keeps_ends_in_who_keeps_it(root: Caller) -> None:
    """Who may open the file could lock it, and every command waited for ever."""
    with fresh_directory(root) as workspace:
        database = workspace.parent / "x.db"
        assert root.art("-d", database, "-i=false", "--", "true", cwd=workspace).returncode == 0
        lock = Path(f"{database}-lock")
        lock.touch(0o644)
        script = (
            "import fcntl, struct, sys; file = open(sys.argv[1]); "
            "fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 2, 0)); "
            "print('held', flush=True); sys.stdin.readline()"
        )
        argv = [*NOBODY, "/usr/bin/python3", "-c", script, str(lock)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"held\n"
            done = root.art("-d", database, "-i=false", "--", "true", cwd=workspace)
            assert done.returncode == 125 and b"has been locked for more than" in done.stderr
            assert f"by process {process.pid} (python3)".encode() in done.stderr
            process.communicate(b"\n")
        assert root.art("-d", database, "-i=false", "--", "true", cwd=workspace).returncode == 0


def test_a_database_that_is_somebody_elses_is_refused_in_one_line_and_nothing_is_made_beside_it(
    root: Caller, plain: Caller
) -> None:
    with fresh_directory(plain) as workspace:
        database = workspace.parent / "theirs.db"
        assert plain.art("-d", database, "--", "true", cwd=workspace).returncode == 0
        before = sorted(os.listdir(workspace.parent))
        os.chown(database, root.uid, root.gid)
        database.chmod(0o644)
        for command in (["-d", str(database), "--", "true"], ["push", "-d", str(database)]):
            done = plain.art(*command, cwd=workspace)
            assert done.returncode == 125
            errors = [line for line in done.stderr.splitlines() if line.startswith(b"art: error:")]
            assert len(errors) == 1 and b"it is read-only; make it and its directory writable" in errors[0]
            assert sorted(os.listdir(workspace.parent)) == before


DEEP = "'" + "[" * 100_000 + "'"
NO_TEXT = "cast(x'ff41' as text)"


@pytest.mark.parametrize(
    ("command", "table", "values"),
    [
        (
            "log",
            "session",
            {
                "argv": (DEEP, "'5'", "'[1, [2]]'", "'[\"cut'"),
                "notes": (DEEP, "'{\"a\": 1}'"),
                "trace": (NO_TEXT, "x'ff'"),
                "workspace": ("5",),
                "started_ns": ("'soon'", "1e300"),
                "files": ("x'ff'",),
            },
        ),
        (
            "branch",
            "point",
            {
                "name": (NO_TEXT, "x'ff'"),
                "parent": ("x'ff'",),
                "created_ns": ("'soon'", "1e300"),
                "note": (NO_TEXT,),
            },
        ),
        ("run -i=false", "meta", {"value": (DEEP, NO_TEXT, "9223372036854775807")}),
    ],
)
def test_values_that_no_run_wrote_end_in_one_line(
    root: Caller, tmp_path: Path, command: str, table: str, values: dict[str, tuple[str, ...]]
) -> None:
    path = tmp_path / "x.db"
    assert root.art("-d", path, "-i=false", "--network", "none", "--", "true", cwd=tmp_path).returncode == 0
    kept = path.read_bytes()
    for column, those in values.items():
        for value in those:
            for beside in tmp_path.glob("x.db-*"):
                beside.unlink()
            path.write_bytes(kept)
            with closing(apsw.Connection(str(path))) as connection:
                connection.execute(f"UPDATE {table} SET {column} = {value}")
            done = root.art(*command.split(), "-d", path, cwd=tmp_path)
            assert done.returncode == 125, (column, value[:40])
            assert done.stderr.startswith(b"art: error: database '"), done.stderr
            assert b"has values that make no sense" in done.stderr
            assert done.stderr.count(b"\n") == 1
