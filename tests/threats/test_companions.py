"""What lies beside a database is believed by SQLite: nothing that comes from a sandbox gets there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from art_cowfs.db.transactions import changing
from art_cowfs.opening.database import connect
from tests.support.callers import Caller, fresh_directory
from tests.support.journals import hot_journal


class Kept:
    """A workspace that holds its own database, `x.db`, and one of another workspace, `other.db`."""

    def __init__(self, caller: Caller, workspace: Path) -> None:
        self.caller = caller
        self.workspace = workspace
        self.art("-d", "x.db", "-i=false", "--", "true")
        shutil.copy2(workspace / "x.db", workspace / "other.db")
        os.chown(workspace / "other.db", caller.uid, caller.gid)

    def art(self, *args: str | Path) -> subprocess.CompletedProcess[bytes]:
        return self.caller.art(*args, cwd=self.workspace)

    def inside(self, script: str) -> None:
        done = self.art("-d", "x.db", "-i=false", "--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr

    def files(self) -> dict[str, bytes]:
        """All there is; of the database in use only its name."""
        return {
            path.name: b"" if path.name == "x.db" else path.read_bytes() for path in self.workspace.iterdir()
        }


@pytest.fixture
def kept(caller: Caller) -> Iterator[Kept]:
    with fresh_directory(caller) as workspace:
        yield Kept(caller, workspace)


@pytest.fixture
def journal(caller: Caller, kept: Kept) -> Path:
    """One that the sandbox can read."""
    path = kept.workspace.parent / "journal"
    path.write_bytes(hot_journal())
    path.chmod(0o644)
    return path


PLANTED = """
for name in x.db other.db; do
    cp {0} $name-journal; cp {0} $name-wal; ln -s /etc/passwd $name-shm
    mkdir -p $name-lock/deep; cp {0} $name-LOCK.1
done 2>/dev/null
rm -f other.db; cp {0} other.db 2>/dev/null; echo work >work; true
"""


def test_a_pull_writes_and_removes_nothing_beside_a_database(kept: Kept, journal: Path) -> None:
    before = kept.files()
    kept.inside(PLANTED.format(journal))
    for options in ([], ["--force", "--protected"]):
        done = kept.art("pull", "-d", "x.db", *options)
        assert (
            b"SKIP x.db-journal: it belongs to the database, and a transfer leaves that alone" in done.stderr
        )
        assert b"SKIP other.db-journal: it belongs to other.db, a database of ART" in done.stderr
        assert kept.files() == {**before, "work": b"work\n"}
    for database in ("x.db", "other.db"):
        assert kept.art("db", "check", "-d", database).stdout == b"nothing is wrong\n"


def test_what_has_the_name_of_a_file_that_is_not_whole_is_left_out(kept: Kept) -> None:
    """The next pull would remove it, and no push would see it."""
    before = kept.files()
    kept.inside(
        "mkdir d .art-pull-7-z; "
        "for i in d/.art-pull-999999-y d/.art-pull-y .art-pull-7-z/a; do echo q >$i; done"
    )
    for options in ([], ["--force", "--protected"]):
        done = kept.art("pull", "-d", "x.db", *options)
        assert done.stderr.count(b"its name is one of what a pull has not finished") == 3, done.stderr
        assert done.returncode == 0
        assert [path.name for path in (kept.workspace / "d").iterdir()] == [".art-pull-y"]
        (kept.workspace / "d").rename(kept.workspace.parent / "d")
        assert kept.files() == before
        (kept.workspace.parent / "d").rename(kept.workspace / "d")
    kept.art("pull", "-d", "x.db", "--into", "../out")
    assert not list((kept.workspace.parent / "out").rglob(".art-pull-[0-9]*"))
    assert b"d/.art-pull-999999-y" in kept.art("status", "-d", "x.db").stdout


def test_nothing_is_copied_beside_a_database(kept: Kept, journal: Path) -> None:
    before = kept.files()
    kept.inside(PLANTED.format(journal))
    for name in ("x.db-journal", "other.db-journal", "x.db-lock"):
        kept.art("fs", "cp", "-r", "-d", "x.db", f"guest:ws/{name}", ".")
    done = kept.art("fs", "cp", "-d", "x.db", "guest:ws/work", "x.db-wal")
    assert b"SKIP" in done.stderr and b"it belongs to the database" in done.stderr
    assert kept.files() == before


def test_a_branch_is_written_elsewhere_without_them(kept: Kept, journal: Path) -> None:
    kept.inside(PLANTED.format(journal))
    done = kept.art("pull", "-d", "x.db", "--into", "../into")
    written = {path.name for path in (kept.workspace.parent / "into").iterdir()}
    assert done.returncode == 0 and "work" in written
    assert not {name for name in written if name.startswith(("x.db", "other.db-"))}


def test_a_database_that_the_sandbox_made_comes_without_what_lies_beside_it(
    kept: Kept, journal: Path
) -> None:
    copied = kept.workspace.parent / "copy.db"
    copied.write_bytes((kept.workspace / "other.db").read_bytes())
    copied.chmod(0o644)
    kept.inside(f"cp {copied} new.db; cp {journal} new.db-journal; cp {journal} app.sqlite-journal")
    done = kept.art("pull", "-d", "x.db")
    assert b"SKIP new.db-journal: it belongs to new.db, a database of ART" in done.stderr
    assert {"new.db", "app.sqlite-journal"} <= set(kept.files())
    assert "new.db-journal" not in kept.files()


def test_a_push_takes_no_other_database(kept: Kept, journal: Path) -> None:
    (kept.workspace / "other.db-wal").write_bytes(b"log")
    (kept.workspace / "work").write_bytes(b"work")
    done = kept.art("push", "-d", "x.db")
    assert done.stdout.splitlines()[2:] == [b"FILE /ws/work (4 bytes, ino 2)"]
    assert b"SKIP other.db: it belongs to other.db, a database of ART" in done.stderr
    assert b"SKIP other.db-wal: it belongs to other.db" in done.stderr


def test_a_journal_beside_a_database_is_refused(kept: Kept, journal: Path) -> None:
    """However it came there: in direct mode, by an archive, or with git."""
    before = (kept.workspace / "x.db").read_bytes()
    beside = kept.workspace / "x.db-journal"
    beside.write_bytes(hot_journal())
    for command in ("db check", "-i=false"):
        done = kept.art(*command.split(), "-d", "x.db", *(["--", "true"] if command == "-i=false" else []))
        assert done.returncode == 125
        assert b"lies beside it, which ART never makes" in done.stderr
        assert done.stderr.endswith(b"remove it\n")
    beside.unlink()
    assert (kept.workspace / "x.db").read_bytes() == before
    assert kept.art("db", "check", "-d", "x.db").stdout == b"nothing is wrong\n"


def test_a_journal_that_waits_for_a_database_is_not_believed(kept: Kept) -> None:
    for name in ("late.db-journal", "late.db-wal"):
        (kept.workspace / name).write_bytes(hot_journal())
    kept.inside("true")
    assert kept.art("-d", "late.db", "-i=false", "--", "true").returncode == 0
    assert kept.art("db", "check", "-d", "late.db").stdout == b"nothing is wrong\n"
    assert not (kept.workspace / "late.db-journal").exists()


PLANTS = """
import shutil, sqlite3
made = sqlite3.connect("/tmp/e.db", isolation_level=None)
for one in ("page_size=16384", "journal_mode=wal", "wal_autocheckpoint=0", "application_id=1095914496"):
    made.execute(f"pragma {one}")
made.execute("pragma user_version=2")
made.execute("create table x(y)")
made.execute("insert into x values(1)")
shutil.copy("/tmp/e.db-wal", "other.db-wal")
"""


def test_a_log_that_direct_mode_puts_beside_a_database_is_not_believed(kept: Kept) -> None:
    before = (kept.workspace / "other.db").read_bytes()
    done = kept.art("-i=false", "--", "python3", "-c", PLANTS)
    assert done.returncode == 0 and (kept.workspace / "other.db-wal").stat().st_size, done.stderr
    for command in (["fs", "ls"], ["status"], ["pull"], ["push"]):
        done = kept.art(*command, "-d", "other.db")
        assert done.returncode == 125, (command, done.stdout)
        assert b"is not in use, and" in done.stderr and b"--repair" in done.stderr
        assert (kept.workspace / "other.db").read_bytes() == before
    assert kept.art("db", "check", "--repair", "-d", "other.db").returncode == 0
    assert kept.art("fs", "ls", "-d", "other.db").returncode == 0
    assert kept.art("db", "check", "-d", "other.db").stdout == b"nothing is wrong\n"


def test_nor_is_the_log_of_another_database_or_one_with_a_view(kept: Kept, tmp_path: Path) -> None:
    """A whole database of the attacker's, which proves itself with what he knows."""
    before = (kept.workspace / "other.db").read_bytes()
    for more in ("", "DROP TABLE meta; CREATE VIEW meta AS SELECT 1 AS key, 2 AS value"):
        made = tmp_path / f"made{len(more)}.db"
        with closing(connect(str(made), create=True)) as connection:
            with changing(connection):
                connection.execute("INSERT INTO meta VALUES('planted', 1)")
            connection.execute(more)
            shutil.copyfile(f"{made}-wal", kept.workspace / "other.db-wal")
        done = kept.art("fs", "ls", "-d", "other.db")
        assert done.returncode == 125 and b"is not in use, and" in done.stderr
        (kept.workspace / "other.db-wal").unlink()
        assert (kept.workspace / "other.db").read_bytes() == before
    assert kept.art("fs", "ls", "-d", "other.db").returncode == 0


def test_the_log_of_a_command_that_was_killed_is_its_own(tmp_path: Path) -> None:
    path, killed = tmp_path / "x.db", tmp_path / "killed.db"
    connect(str(path), create=True).close()
    with closing(connect(str(path))) as connection:
        with changing(connection):
            connection.execute("INSERT INTO meta VALUES('kept', 1)")
        shutil.copy(path, killed)
        shutil.copy(f"{path}-wal", f"{killed}-wal")
    with closing(connect(str(killed))) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'kept'").get == 1


@pytest.mark.parametrize("suffix", ["-lock", "-wal", "-shm"])
def test_what_is_no_file_beside_a_database_is_named_and_not_waited_for(kept: Kept, suffix: str) -> None:
    beside = kept.workspace / f"x.db{suffix}"
    for kind in ("a pipe", "a directory", "a link", "a socket"):
        with closing(socket.socket(socket.AF_UNIX)) as made:
            match kind:
                case "a pipe":
                    os.mkfifo(beside)
                case "a directory":
                    beside.mkdir()
                case "a link":
                    beside.symlink_to("elsewhere")
                case _:
                    made.bind(str(beside))
        commands: list[list[str]] = (
            [["status"]] if kind != "a pipe" else [["db", "check", "--repair"], ["-i=false"]]
        )
        for command in commands:
            done = kept.art(*command, "-d", "x.db", *(["--", "true"] if command == ["-i=false"] else []))
            assert done.returncode == 125
            assert done.stderr.count(b"\n") == 1
            assert f"beside it is {kind} and no file of ART's; remove it\n".encode() in done.stderr
        beside.rmdir() if kind == "a directory" else beside.unlink()
    assert kept.art("db", "check", "-d", "x.db").stdout == b"nothing is wrong\n"
