"""A database without a sandbox, and beside one: what is in it, its care, its files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from art_core.host.fuse_mount import is_mounted
from tests.support.callers import Caller, fresh_directory
from tests.support.kept_homes import Kept

BYTES = bytes(range(256)) * 1000


@pytest.fixture(scope="module")
def kept(caller: Caller) -> Iterator[Kept]:
    """A database with a snapshot, a strange name, and contents that are no text."""
    with fresh_directory(caller, "workspace") as workspace:
        made = Kept(caller, workspace)
        script = "echo more >>main.py; touch $(printf 'bad\\033[31m'); ln -s main.py ~/home-link"
        assert made.shell(script).returncode == 0
        cp(made, "workspace/main.py", "guest:copied")
        source = workspace.parent / "bytes"
        source.write_bytes(BYTES)
        assert cp(made, str(source), "guest:bytes").returncode == 0
        assert made.art("before", command="snapshot").returncode == 0
        assert made.shell("rm ~/copied").returncode == 0
        yield made


def call(kept: Kept, *words: str | Path, **more: bytes) -> subprocess.CompletedProcess[bytes]:
    group, command, *rest = words
    sides: list[str | Path] = ["-m", "workspace", "-d", "workspace.db"]
    return kept.caller.art(group, command, *sides, *rest, cwd=kept.workspace.parent, **more)  # type: ignore[arg-type]


def cp(kept: Kept, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return call(kept, "fs", "cp", *words)


@contextmanager
def running(kept: Kept) -> Iterator[subprocess.Popen[bytes]]:
    """A sandbox that writes one line after the other."""
    argv: list[str | Path] = [kept.caller.art_program, "-m", kept.workspace, "-d", kept.database, "-i=false"]
    script = "while read word; do echo $word >>~/said; echo $word; done"
    process = kept.caller.popen(
        [*argv, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.communicate(timeout=30)
    assert process.returncode == 0


def say(process: subprocess.Popen[bytes], word: bytes) -> None:
    assert process.stdin and process.stdout
    process.stdin.write(word + b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == word + b"\n"


def test_files_are_listed_as_the_sandbox_sees_them(kept: Kept) -> None:
    listed = call(kept, "fs", "ls")
    assert listed.stdout == b"bytes\nhome-link\nworkspace\n", listed.stderr
    inside = call(kept, "fs", "ls", "/home/agent/workspace")
    assert inside.stdout == b"bad\\x1b[31m\nlink\nmain.py\nsrc\n", "no name drives a terminal"
    long = call(kept, "fs", "ls", "-l", "-b", "before").stdout.decode().splitlines()
    assert [line.split()[0] for line in long] == ["-rw-r--r--", "-rw-r--r--", "lrwxrwxrwx", "drwxr-xr-x"]
    assert long[2].endswith(" home-link -> main.py")
    objects = [json.loads(line) for line in call(kept, "fs", "ls", "--json", "workspace").stdout.splitlines()]
    assert {one["path"]: one["from"] for one in objects}["workspace/src"] == "host"
    assert {one["path"]: one["from"] for one in objects}["workspace/main.py"] == "database"


def test_without_the_host_directory_the_databases_part_is_shown(kept: Kept) -> None:
    elsewhere = kept.caller.art("fs", "ls", "-d", kept.database, "workspace", cwd=kept.caller.place)
    assert elsewhere.stdout == b"bad\\x1b[31m\nmain.py\n"
    assert elsewhere.stderr.startswith(b"art: note: what the host has in ")
    gone = kept.caller.art("fs", "ls", "-m", kept.workspace.parent / "x/workspace", "-d", kept.database)
    assert gone.returncode == 0 and b"is not there: only what the database has" in gone.stderr


def test_contents_are_printed_byte_for_byte(kept: Kept) -> None:
    assert call(kept, "fs", "cat", "bytes").stdout == BYTES
    assert call(kept, "fs", "cat", "workspace/main.py").stdout == b"x" * 1234 + b"more\n"
    assert call(kept, "fs", "cat", "-b", "before", "guest:copied").stdout == b"x" * 1234
    for path, said in {
        "workspace": b"this is no file",
        "nothing": b"there is no such file",
        "/etc/passwd": b"is not in there",
        "../../etc/passwd": b"is not in there",
        "home-link": b"there is no such file",
    }.items():
        done = call(kept, "fs", "cat", path)
        assert (done.stdout, done.returncode != 0) == (b"", True) and said in done.stderr, path


def test_files_are_copied_out_whole_and_never_through_a_link(kept: Kept) -> None:
    out = kept.workspace.parent / "out"
    done = cp(kept, "-r", "guest:/home/agent/workspace", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "main.py").read_bytes() == b"x" * 1234 + b"more\n" and os.readlink(
        out / "link"
    ) == "main.py"
    assert (out / "src/deep.py").read_text() == "deep\n" and (out / "src").stat().st_uid == kept.caller.uid
    target = kept.workspace.parent / "target"
    target.write_text("mine")
    (out / "bytes").symlink_to(target)
    assert cp(kept, "guest:bytes", str(out)).returncode == 0
    assert target.read_text() == "mine" and (out / "bytes").read_bytes() == BYTES
    (out / "main.py").unlink()
    (out / "main.py").mkdir()
    (out / "main.py/full").touch()
    over = cp(kept, "guest:workspace/main.py", str(out))
    assert over.returncode == 1 and over.stderr.startswith(b"FAIL ")
    for words in (["guest:bytes", "guest:x"], ["a", "b"], ["guest:bytes"], ["guest:workspace", str(out)]):
        assert cp(kept, *words).returncode == 2, words


def test_a_copy_into_the_home_needs_the_branch(kept: Kept) -> None:
    with running(kept) as process:
        say(process, b"one")
        refused = cp(kept, "workspace/main.py", "guest:late")
        assert refused.returncode == 125 and b"is held by process " in refused.stderr
        assert call(kept, "fs", "cat", "said").stdout == b"one\n"
        say(process, b"two")
        assert call(kept, "fs", "cat", "said").stdout == b"one\ntwo\n"
    assert cp(kept, "-r", "workspace/src", "guest:workspace/new").returncode == 0
    assert kept.shell("cat new/deep.py; rm -r new; rm ~/said").stdout == b"deep\n"
    itself = cp(kept, "workspace.db", "guest:x")
    assert itself.returncode == 125 and b"is the database itself" in itself.stderr


def test_every_look_works_beside_a_running_sandbox(kept: Kept) -> None:
    with running(kept) as process:
        for number, words in enumerate(
            (
                ("db", "check"),
                ("db", "info"),
                ("db", "gc"),
                ("db", "squash"),
                ("fs", "ls"),
                ("db", "export", "--tar"),
            )
        ):
            say(process, b"%d" % number)
            done = call(kept, *words)
            assert done.returncode == 0, done.stderr
            say(process, b"%d again" % number)
        assert b"held by process" in call(kept, "db", "info").stdout
        refused = call(kept, "db", "check", "--repair")
        assert refused.returncode == 125 and b"cannot be repaired now" in refused.stderr
    assert call(kept, "db", "check").stdout == b"nothing is wrong\n"
    assert kept.shell("wc -l <~/said; rm ~/said").stdout == b"12\n"


def test_an_export_is_imported_into_another_database(kept: Kept) -> None:
    done = call(kept, "db", "export", "--tar", "-b", "before")
    assert done.returncode == 0 and done.stderr.startswith(b"art: "), done.stderr
    with tarfile.open(fileobj=BytesIO(done.stdout)) as found:
        assert "workspace/src/deep.py" in found.getnames() and found.getmember("bytes").size == len(BYTES)
    only = call(kept, "db", "export", "--tar", "--workspace")
    with tarfile.open(fileobj=BytesIO(only.stdout)) as found:
        assert "src/deep.py" in found.getnames() and "bytes" not in found.getnames()
    new = kept.workspace.parent / "new.db"
    imported = kept.caller.art("db", "import", "--tar", "-d", new, input=done.stdout)
    assert imported.returncode == 0, imported.stderr
    again = kept.caller.art("db", "export", "--tar", "-d", new)
    assert again.stdout == done.stdout
    hostile = kept.caller.art("db", "import", "--tar", "-d", new, "-b", "two", input=b"no tar" * 1000)
    assert hostile.returncode == 125 and b"nothing was imported" in hostile.stderr
    info = json.loads(kept.caller.art("db", "info", "--json", "-d", new).stdout)
    assert [branch["name"] for branch in info["branches"]] == ["main"]


def test_a_damaged_database_is_told_of_and_mended(kept: Kept) -> None:
    import sqlite3

    broken = kept.workspace.parent / "broken.db"
    broken.write_bytes(kept.database.read_bytes())
    with sqlite3.connect(broken) as connection:
        connection.execute("UPDATE inode SET nlink = 7 WHERE ino = 1")
        connection.execute("DELETE FROM dentry WHERE name = CAST('bytes' AS BLOB)")
    connection.close()
    os.chown(broken, kept.caller.uid, kept.caller.gid)
    found = kept.caller.art("db", "check", "-d", broken)
    assert found.returncode == 1 and b"\norphan: no name leads to inode " in b"\n" + found.stdout
    objects = [
        json.loads(line)
        for line in kept.caller.art("db", "check", "--json", "-d", broken).stdout.splitlines()
    ]
    assert {one["kind"] for one in objects} == {"links", "orphan"} and all(one["mends"] for one in objects)
    mended = kept.caller.art(
        "db", "check", "--repair", "--backup", "kept-copy", "-d", broken, cwd=broken.parent
    )
    assert mended.returncode == 0 and (broken.parent / "kept-copy").exists(), mended.stderr
    listed = kept.caller.art("fs", "ls", "-d", broken).stdout.split()
    (lost,) = [name for name in listed if name.startswith(b"lost+found-")]
    assert kept.caller.art("fs", "cat", "-d", broken, lost).stdout == BYTES


def test_of_three_branches_one_is_pulled_and_the_others_are_collected(plain: Caller) -> None:
    with fresh_directory(plain, "workspace") as workspace:
        own = Kept(plain, workspace)
        names = ["one", "two", "three"]
        assert own.shell("true").returncode == 0
        for name in names:
            assert own.art(name, command="branch").returncode == 0
        script = "head -c 2000000 /dev/urandom >made; echo {0} >name"
        sides: list[str | Path] = [plain.art_program, "-m", workspace, "-d", own.database, "-i=false"]
        runs = [plain.popen([*sides, "-b", name, "--", "sh", "-c", script.format(name)]) for name in names]
        assert [run.wait(timeout=60) for run in runs] == [0, 0, 0]
        assert own.pull("-b", "two").returncode == 0
        assert (workspace / "name").read_text() == "two\n"
        before = own.database.stat().st_size
        for name in ("one", "three"):
            assert own.art("--delete", name, command="branch").returncode == 0
        done = own.caller.art("db", "gc", "--json", "-d", own.database)
        assert json.loads(done.stdout)["layers"] >= 2 and done.stderr == b""
        assert own.database.stat().st_size < before - 3_900_000
        assert own.art("-b", "two", "-i=false", "--", "cat", "name").stdout == b"two\n"
        assert own.caller.art("db", "check", "-d", own.database).stdout == b"nothing is wrong\n"


@contextmanager
def mounted(kept: Kept, *options: str) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    place = kept.caller.home / f"mnt{time.monotonic_ns()}"  # root's sandbox may not enter it
    kept.caller.run(["mkdir", place])
    sides: list[str | Path] = ["-m", "workspace", "-d", "workspace.db", *options]
    argv: list[str | Path] = [kept.caller.art_program, "fs", "mount", *sides, place]
    process = kept.caller.popen(argv, cwd=kept.workspace.parent, stderr=subprocess.PIPE)
    assert process.stderr
    said = process.stderr.readline()
    assert b" is at " in said, said
    try:
        yield place, process
    finally:
        process.terminate()
        process.communicate(timeout=30)
        place.rmdir()


def test_a_home_is_mounted_and_everything_is_committed_at_the_end(kept: Kept) -> None:
    run = kept.caller.run
    with mounted(kept) as (place, process):
        assert run(["cat", place / "workspace/src/deep.py"]).stdout == b"deep\n"
        assert run(["cp", place / "bytes", place / "workspace/made"]).returncode == 0
        held = kept.shell("true")
        assert held.returncode == 125 and b"is held by" in held.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert run(["ls", place]).stdout == b""
    assert not (kept.workspace / "made").exists()
    assert call(kept, "fs", "cat", "workspace/made").stdout == BYTES
    assert kept.shell("rm made").returncode == 0


def test_a_read_only_mount_shows_one_moment_and_ends_with_umount(kept: Kept) -> None:
    run = kept.caller.run
    with mounted(kept, "--read-only", "-b", "before") as (place, process):
        assert run(["cat", place / "copied"]).stdout == b"x" * 1234
        refused = run(["touch", place / "x"])
        assert b"Read-only file system" in refused.stderr
        umount: list[str | Path] = ["umount", place] if kept.caller.uid == 0 else ["fusermount3", "-u", place]
        assert run(umount).returncode == 0
        assert process.wait(timeout=30) == 0
    with mounted(kept, "--read-only") as (place, _):
        assert kept.shell("echo now >~/now; rm ~/now; echo new >~/then").returncode == 0
        assert run(["ls", place]).stdout == b"bytes\nhome-link\nworkspace\n", "as it was at the start"
    assert kept.shell("rm ~/then").returncode == 0


@pytest.mark.parametrize("options", [[], ["--allow-other"]])
def test_others_see_a_mount_of_root_when_that_is_asked_for(
    root: Caller, plain: Caller, options: list[str]
) -> None:
    with fresh_directory(root) as directory, tempfile.TemporaryDirectory(dir="/var/tmp") as top:
        os.chmod(top, 0o755)
        place = Path(top, "mnt")
        place.mkdir()
        assert root.art("-i=false", "-d", directory / "x.db", "--", "true", cwd=directory).returncode == 0
        argv: list[str | Path] = ["fs", "mount", "-d", directory / "x.db", *options, place]
        process = root.popen([root.art_program, *argv], stderr=subprocess.PIPE)
        try:
            assert process.stderr
            said = process.stderr.readline()
            assert b" is at " in said, said
            for name, mode in ("open", 0o666), ("closed", 0o600):
                (place / name).touch()
                (place / name).chmod(mode)
            done = plain.run(["sh", "-c", 'echo seen >> "$1/open"', "sh", place])
            assert (done.returncode == 0) == bool(options), done.stderr
            assert (place / "open").read_text() == "seen\n" * len(options)
            assert plain.run(["cat", place / "closed"]).returncode == 1
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_who_may_not_let_others_in_is_told(plain: Caller) -> None:
    if "\nuser_allow_other" in Path("/etc/fuse.conf").read_text():
        pytest.skip("this host lets everybody let others in")
    with fresh_directory(plain) as directory:
        plain.run(["mkdir", directory / "mnt"])
        assert plain.art("-i=false", "-d", directory / "x.db", "--", "true", cwd=directory).returncode == 0
        done = plain.art("fs", "mount", "-d", directory / "x.db", "--allow-other", directory / "mnt")
        assert done.returncode == 125 and b"user_allow_other" in done.stderr


def test_a_mount_goes_when_the_one_who_made_it_is_killed(kept: Kept) -> None:
    with mounted(kept) as (place, process):
        assert kept.caller.run(["touch", place / "last"]).returncode == 0
        process.kill()
        process.wait(timeout=30)
        until = time.monotonic() + 20
        while is_mounted(str(place)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not is_mounted(str(place))
    assert b"last\n" in call(kept, "fs", "ls").stdout
    assert kept.shell("rm ~/last").returncode == 0


def test_who_cannot_mount_is_told_what_to_install(plain: Caller) -> None:
    with fresh_directory(plain) as directory:
        database, place = directory / "x.db", directory / "mnt"
        plain.run(["mkdir", place])
        (directory / "file").write_text("new")
        assert plain.art("fs", "cp", "-d", database, directory / "file", "guest:file").returncode == 0
        done = plain.art("fs", "mount", "-d", database, place, env={"PATH": "/nowhere"})
        assert done.returncode == 125 and b"sudo apt install fuse3" in done.stderr


def test_a_mount_that_would_hide_the_database_is_refused(kept: Kept) -> None:
    for place, said in (
        (".", b"holds the database"),
        ("workspace", b"the workspace itself"),
        ("none", b"No such"),
    ):
        done = call(kept, "fs", "mount", place)
        assert done.returncode == 2 and said in done.stderr
