"""A home that is kept: push, a session that changes it, another that finds it again, pull."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.kept_homes import Kept


@pytest.fixture
def kept(caller: Caller) -> Iterator[Kept]:
    with fresh_directory(caller, "workspace") as workspace:
        yield Kept(caller, workspace)


def test_push_and_pull_print_this(kept: Kept) -> None:
    pushed = kept.push()
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.decode() == (
        "Workspace name: workspace\n"
        "Files will be stored under: /workspace/\n"
        "LINK /workspace/link (ino 2)\n"
        "FILE /workspace/main.py (1234 bytes, ino 3)\n"
        "DIR  /workspace/src (ino 4)\n"
        "FILE /workspace/src/deep.py (5 bytes, ino 5)\n"
    )
    assert pushed.stderr == b"art: 4 pushed (1239 bytes), 0 removed, 0 unchanged\n"
    numbers = kept.shell("stat -c %i link main.py src src/deep.py")
    assert numbers.stdout == b"2\n3\n4\n5\n"
    assert kept.push().stdout == b"Workspace name: workspace\nFiles will be stored under: /workspace/\n"
    changed = kept.shell("echo more >>src/deep.py; rm link; mkdir new; echo made >new/file")
    assert (changed.returncode, changed.stdout) == (0, b""), changed.stderr
    pulled = kept.pull()
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.decode() == (
        "Workspace name: workspace\n"
        "Exporting from: /workspace/\n"
        "DIR  workspace/new\n"
        "FILE workspace/new/file (5 bytes)\n"
        "FILE workspace/src/deep.py (10 bytes)\n"
        "DEL  workspace/link\n"
    )
    assert kept.pull().stdout == b"Workspace name: workspace\nExporting from: /workspace/\n"
    assert (kept.workspace / "src/deep.py").read_text() == "deep\nmore\n"
    owners = {path.lstat().st_uid for path in kept.workspace.rglob("*")}
    assert owners == {kept.caller.uid}


def test_the_home_lasts_and_the_host_is_untouched_until_the_pull(kept: Kept) -> None:
    before = {path: path.read_bytes() for path in kept.workspace.rglob("*.py")}
    first = kept.shell("echo kept >~/.rc; mkdir -p ~/.local/bin; echo changed >main.py; rm -r src; ls -A")
    assert (first.returncode, first.stdout) == (0, b"link\nmain.py\n"), first.stderr
    second = kept.shell("cat ~/.rc main.py; ls -A . ~; id -un; pwd")
    user = "agent" if kept.caller.name == "root" else kept.caller.user
    listed = [".:", "link", "main.py", "/home/agent:", ".local", ".rc", "workspace"]
    assert second.stdout.decode().split() == ["kept", "changed", *listed, user, "/home/agent/workspace"]
    assert {path: path.read_bytes() for path in kept.workspace.rglob("*.py")} == before
    assert sorted(os.listdir(kept.workspace.parent)) == ["workspace", "workspace.db"]


def test_the_workspace_is_merged_at_its_host_path_too(kept: Kept) -> None:
    kept.shell("echo changed >main.py")
    done = kept.art("-i=false", "--", "cat", kept.workspace / "main.py")
    assert done.stdout == b"changed\n"


def test_what_is_installed_inside_is_there_the_next_time(kept: Kept) -> None:
    made = kept.shell("/usr/bin/python3 -m venv --without-pip ~/venv && ~/venv/bin/python -c 'print(1)'")
    assert made.stdout == b"1\n", made.stderr
    assert kept.shell("~/venv/bin/python -c 'import sys; print(sys.prefix)'").stdout == b"/home/agent/venv\n"


def test_git_works_in_a_home_that_is_kept(kept: Kept) -> None:
    script = """
        git init -q . && git add . && git -c user.name=a -c user.email=a@b.c commit -qm first &&
        git config user.name Agent && git clone -q . ~/clone && git -C ~/clone fsck --strict && git gc -q
    """
    done = kept.shell(script)
    assert done.returncode == 0, done.stderr
    assert kept.shell("git log --oneline | wc -l; git status --short").stdout == b"1\n"
    pulled = kept.pull()
    assert b"SKIP .git/config" in pulled.stderr and b"SKIP .git/hooks" in pulled.stderr
    assert not (kept.workspace / ".git/hooks").exists()


def test_the_database_is_not_visible_inside(kept: Kept) -> None:
    kept.database = kept.workspace / "own.db"
    words: list[str | Path] = ["-m", kept.workspace, "-d", kept.database, "-i=false", "--", "sh", "-c"]
    script = 'ls -A; ls -A "$1"; cat own.db "$1/own.db" "$1/own.db-wal"; true'
    done = kept.caller.art(*words, script, "sh", kept.workspace)
    assert b"own.db" not in done.stdout
    assert b"SQLite" not in done.stdout
    outside = kept.workspace.parent / "workspace.db"
    done = kept.art(
        "-i=false", "--", "sh", "-c", 'cat "$1" "$1"-wal "$1"-shm; ls "$(dirname "$1")"', "sh", outside
    )
    assert b"SQLite" not in done.stdout
    assert done.stdout.split() == [b"workspace"]


def test_conflicts_are_listed_and_left_alone(kept: Kept) -> None:
    kept.push()
    kept.shell("echo inside >main.py; rm src/deep.py; echo inside >both")
    (kept.workspace / "main.py").write_text("outside\n")
    (kept.workspace / "src/deep.py").write_text("outside\n")
    (kept.workspace / "both").write_text("outside\n")
    own(kept.caller, kept.workspace)
    for move in (kept.push, kept.pull):
        done = move()
        assert done.returncode == 1
        assert done.stderr.count(b"CONFLICT ") >= 2, done.stderr
    assert (kept.workspace / "main.py").read_text() == "outside\n"
    assert kept.shell("cat main.py both").stdout == b"inside\ninside\n"
    assert kept.pull("--force").returncode == 0
    assert (kept.workspace / "main.py").read_text() == "inside\n"
    assert not (kept.workspace / "src/deep.py").exists()
    assert kept.push().returncode == 0


def test_a_pull_into_a_new_directory_makes_all_of_it(kept: Kept) -> None:
    os.link(kept.workspace / "main.py", kept.workspace / "hard")
    os.chmod(kept.workspace / "main.py", 0o640)
    kept.push()
    done = kept.caller.art(
        "pull", "-m", "elsewhere", "--name", "workspace", "-d", "workspace.db", cwd=kept.workspace.parent
    )
    assert done.returncode == 0, done.stderr
    made = kept.workspace.parent / "elsewhere"
    assert sorted(os.listdir(made)) == ["hard", "link", "main.py", "src"]
    assert (made / "main.py").read_bytes() == b"x" * 1234
    assert os.path.samefile(made / "main.py", made / "hard")
    assert (made / "main.py").stat().st_mode & 0o777 == 0o640
    assert (made / "main.py").stat().st_mtime_ns == (kept.workspace / "main.py").stat().st_mtime_ns
    assert os.readlink(made / "link") == "main.py"


def test_a_start_tells_how_far_the_host_has_moved_on(kept: Kept) -> None:
    kept.push()
    assert kept.shell("true").stderr == b""
    (kept.workspace / "main.py").write_text("newer\n")
    (kept.workspace / "src/deep.py").unlink()
    seen = kept.shell("cat src/deep.py; wc -c <main.py")
    assert seen.stdout == b"deep\n1234\n", "what was pushed stays as it was pushed"
    assert seen.stderr.decode() == (
        "art: note: host files changed since the push: 2; they are seen as pushed until the next `art push`\n"
    )
    assert kept.push().returncode == 0
    done = kept.shell("ls src; wc -c <main.py")
    assert (done.stdout, done.stderr) == (b"6\n", b"")


def test_a_directory_that_moved_is_refused_unless_it_is_said(kept: Kept) -> None:
    kept.push()
    kept.shell("echo inside >inside")
    elsewhere = kept.workspace.parent / "elsewhere"
    elsewhere.mkdir()
    own(kept.caller, elsewhere)
    kept.workspace.rename(elsewhere / "workspace")
    sides: list[str | Path] = ["-m", elsewhere / "workspace", "-d", kept.database]
    refused = kept.caller.art(*sides, "true")
    assert refused.returncode == 125
    assert b"--moved" in refused.stderr and b"--name" in refused.stderr
    assert kept.caller.art("push", *sides).returncode == 125
    moved = kept.caller.art("--moved", *sides, "cat", "inside")
    assert (moved.returncode, moved.stdout, moved.stderr) == (0, b"inside\n", b"")
    again = kept.caller.art("pull", *sides)
    assert again.returncode == 0 and b"FILE" in again.stdout, again.stderr
    assert (elsewhere / "workspace/inside").read_text() == "inside\n"


def test_what_a_forced_push_covers_is_kept_in_a_snapshot(kept: Kept) -> None:
    kept.push()
    kept.push("--force")
    kept.shell("echo of the sandbox >main.py")
    (kept.workspace / "main.py").write_text("of the host\n")
    assert kept.push("--force").returncode == 0
    assert kept.shell("cat main.py").stdout == b"of the host\n"
    with sqlite3.connect(kept.database) as connection:
        kept_layers = connection.execute("SELECT layer FROM point WHERE name LIKE 'before-push-%'").fetchall()
        assert len(kept_layers) == 1, "a push that covers nothing takes none"
        rows = connection.execute("SELECT data FROM chunk WHERE layer = ?", kept_layers[0]).fetchall()
    assert (b"of the sandbox\n",) in rows


def test_a_dry_run_changes_nothing(kept: Kept) -> None:
    assert b"FILE /workspace/main.py (1234 bytes, new)" in kept.push("--dry-run").stdout
    assert b"FILE /workspace/main.py (1234 bytes, ino 3)" in kept.push().stdout
    kept.shell("echo changed >main.py")
    assert b"FILE workspace/main.py (8 bytes)" in kept.pull("--dry-run").stdout
    assert (kept.workspace / "main.py").read_bytes() == b"x" * 1234
    lines = kept.pull("--json").stdout.decode().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["main.py"]


def test_a_pull_goes_through_no_link_that_the_sandbox_made(kept: Kept) -> None:
    outside = kept.workspace.parent / "outside"
    outside.mkdir()
    own(kept.caller, outside)
    kept.push()
    kept.shell(f"rm -r src; ln -s {outside} src; ln -s {outside}/file planted")
    done = kept.pull()
    assert done.returncode in (0, 1)
    kept.shell("rm src; mkdir src; echo x >src/file; rm planted; echo x >planted")
    kept.pull("--force")
    assert os.listdir(outside) == []


def test_what_a_run_holds_is_told_to_the_second(kept: Kept) -> None:
    argv: list[str | bytes | Path] = [
        kept.caller.art_program,
        "-m",
        kept.workspace,
        "-d",
        kept.database,
        "-i=false",
    ]
    running = kept.caller.popen(
        [*argv, "--", "sh", "-c", "echo ready; echo answered >file; sleep 60"], stdout=subprocess.PIPE
    )
    assert running.stdout and running.stdout.readline() == b"ready\n"
    second = kept.shell("true")
    assert second.returncode == 125
    assert b"is held by process" in second.stderr
    running.kill()
    running.communicate()
    until = time.monotonic() + 10
    while (after := kept.shell("cat file")).returncode == 125 and time.monotonic() < until:
        time.sleep(0.1)
    assert after.stdout == b"answered\n", after.stderr
    assert kept.shell("true").stderr == b""
    assert sorted(os.listdir(kept.workspace.parent)) == ["workspace", "workspace.db"]


def test_ten_sandboxes_work_on_ten_databases_at_once(kept: Kept) -> None:
    top = kept.workspace.parent
    script = (
        'echo >>main.py; n=0; while [ $n -lt 40 ]; do echo "$0 $n" >>main.py; n=$((n+1)); done; '
        "cp main.py ~/kept; tail -n1 main.py"
    )
    runs = []
    for number in range(10):
        sides: list[str | bytes | Path] = [
            kept.caller.art_program,
            "-m",
            kept.workspace,
            "-d",
            top / f"{number}.db",
        ]
        argv = [*sides, "-i=false", "--", "sh", "-c", script, f"run{number}"]
        runs.append(kept.caller.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    for number, run in enumerate(runs):
        out, err = run.communicate(timeout=100)
        assert (run.returncode, out) == (0, f"run{number} 39\n".encode()), err
    assert (kept.workspace / "main.py").read_bytes() == b"x" * 1234
    databases = sorted(f"{number}.db" for number in range(10))
    assert sorted(os.listdir(top)) == [*databases, "workspace"]
    again = kept.caller.art(
        "-m", "workspace", "-d", "7.db", "-i=false", "--", "cat", "/home/agent/kept", cwd=top
    )
    assert again.stdout.splitlines()[1:] == [f"run7 {n}".encode() for n in range(40)], again.stderr


def test_the_host_is_watched_for_the_sandbox_which_holds_none_of_it(kept: Kept) -> None:
    script = """
        cat src/deep.py absent 2>/dev/null
        readlink /proc/[0-9]*/fd/* | grep inotify
        echo seen; read _
        until test -e absent; do sleep 0.05; done
        cat absent; until grep -q changed src/deep.py; do sleep 0.05; done
        echo seen
    """
    sides: list[str | Path] = ["-m", kept.workspace, "-d", kept.database, "-i=false", "--"]
    argv = [kept.caller.art_program, *sides, "sh", "-c", script]
    with kept.caller.popen(argv, stdin=-1, stdout=-1, stderr=-1) as running:
        assert running.stdin is not None and running.stdout is not None
        assert [running.stdout.readline() for _ in range(2)] == [b"deep\n", b"seen\n"]
        server = int(Path(f"{kept.database}-lock").read_text().split("process ")[1].split(",")[0])
        told = [path.read_text() for path in Path(f"/proc/{server}/fdinfo").iterdir()]
        assert sum(text.count("inotify wd:") for text in told) == 2
        (kept.workspace / "src/deep.py").write_text("changed\n")
        (kept.workspace / "absent").write_text("here\n")
        out, err = running.communicate(b"\n", timeout=60)
    assert (running.returncode, out) == (0, b"here\nseen\n"), err


def test_the_sandbox_ends_with_the_server_of_its_home(kept: Kept) -> None:
    """A command that went on with a dead home would fail in a thousand places."""
    sides: list[str | Path] = ["-m", kept.workspace, "-d", kept.database, "-i=false", "--"]
    sides.insert(0, kept.caller.art_program)
    source = "echo kept >~/file; sync ~/file; echo ready; sleep 60; echo on >&2"
    running = kept.caller.popen([*sides, "sh", "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout and running.stdout.readline() == b"ready\n"
    server = int(Path(f"{kept.database}-lock").read_text().split("process ")[1].split(",")[0])
    begin = time.monotonic()
    os.kill(server, signal.SIGKILL)
    _, said = running.communicate(timeout=20)
    assert time.monotonic() - begin < 10
    assert running.returncode == 125
    assert said.decode().count("\n") == 1 and "server was killed during the run" in said.decode()
    after = kept.shell("cat ~/file")
    assert after.stdout == b"kept\n"
    assert after.stderr.decode().count("\n") == 1 and "was killed" in after.stderr.decode()


def test_a_database_that_cannot_be_used_is_one_line(kept: Kept) -> None:
    place = kept.workspace.parent
    (place / "text.db").write_text("this is no database, and longer than a header of one hundred bytes " * 3)
    subprocess.run(
        ["python3", "-c", "import sqlite3; sqlite3.connect('other.db').execute('CREATE TABLE t(x)')"],
        cwd=place,
    )
    own(kept.caller, place)
    for name, said in (
        ("text.db", "not an SQLite file"),
        ("other.db", "of another program"),
        ("workspace", "directory"),
    ):
        done = kept.caller.art("-m", kept.workspace, "-d", place / name, "-i=false", "true")
        assert done.returncode == 125, done.stderr
        assert done.stderr.count(b"\n") == 1 and said in done.stderr.decode(), done.stderr
    moved = kept.caller.art("-m", kept.workspace, "-d", "workspace.db", "-i=false", "true", cwd=place)
    assert moved.returncode == 0
    other = place / "deeper/workspace"
    other.mkdir(parents=True)
    own(kept.caller, place / "deeper")
    done = kept.caller.art("-m", other, "-d", "workspace.db", "-i=false", "true", cwd=place)
    assert done.returncode == 125
    assert b"--name" in done.stderr


FULL = """
    cd ~
    for i in $(seq 60); do head -c 1M /dev/urandom >f$i || break; sleep 0.06; done 2>/dev/null
    ls | grep -c ^f; test ! -s f60 && echo full
    sha256sum f1 >/tmp/sum && sha256sum -c --status /tmp/sum && echo readable
    rm f2 f3 f4 f5 f6 f7 f8 && sleep 1 && echo again >small && sync small && echo wrote
"""


def test_a_full_disk_can_be_emptied_from_inside(root: Caller) -> None:
    """The disk of the database, a small tmpfs in a mount namespace of the test's."""
    with fresh_directory(root, "workspace") as workspace:
        small = workspace.parent / "small"
        small.mkdir()
        sides = f"-m {workspace} -d {small}/t.db -i=false -- sh -c"
        script = f"""
            mount -t tmpfs -o size=48M none {small}
            {root.art_program} {sides} "$1"
            {root.art_program} {sides} 'cat ~/small; sha256sum ~/f1 >/dev/null && ls ~ | grep -c ^f'
        """
        done = root.run(["unshare", "--mount", "sh", "-c", script, "sh", FULL])
    lines = done.stdout.decode().split()
    assert lines[1:4] == ["full", "readable", "wrote"], done
    assert lines[4] == "again" and int(lines[5]) == int(lines[0]) - 7


def test_real_work_is_the_same_in_a_home_that_is_kept(kept: Kept) -> None:
    """Programs that lean on locks, maps, sparse files and renames."""
    script = """
        set -e; cd ~
        python3 - <<'END'
import fcntl, mmap, os, sqlite3
for mode in ("wal", "delete"):
    with sqlite3.connect(f"{mode}.sqlite") as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("CREATE TABLE t(x)")
        database.executemany("INSERT INTO t VALUES(?)", [(n,) for n in range(1000)])
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
fd = os.open("mapped", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 100_000)
with mmap.mmap(fd, 100_000) as view:
    view[50_000:50_005] = b"hello"
    view.flush()
    assert os.pread(fd, 5, 50_000) == b"hello"
with open("lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    fcntl.lockf(lock, fcntl.LOCK_EX)
END
        cp -a /usr/share/zoneinfo tree 2>/dev/null || cp -a /usr/share/misc tree
        tar cf tree.tar tree && mkdir out && tar xf tree.tar -C out && diff -r --no-dereference tree out/tree
        find out -delete && test ! -e out
        printf 'all:\n\tgcc -o hello hello.c && ./hello\n' >Makefile
        printf '#include <stdio.h>\nint main(void) { puts("built"); }\n' >hello.c
        make -s
    """
    done = kept.shell(script)
    assert (done.returncode, done.stdout) == (0, b"built\n"), done.stderr
    assert kept.shell("cd ~ && ./hello && diff -r --no-dereference tree tree && ls out").returncode == 2


def test_two_workspaces_of_one_database_show_nothing_of_each_others_host(kept: Kept) -> None:
    other = kept.workspace.parent / "other"
    (other / "src").mkdir(parents=True)
    (other / "src/theirs.py").write_text("theirs\n")
    (other / "main.py").write_bytes(os.urandom(2 << 20))
    (other / "kept.txt").write_text("kept\n")
    os.utime(other / "main.py", (1_500_000_000, 1_500_000_000))
    own(kept.caller, other)

    def inside(workspace: str, script: str) -> subprocess.CompletedProcess[bytes]:
        sides = ["-m", workspace, "-d", "workspace.db", "-i=false", "--", "sh", "-c"]
        return kept.caller.art(*sides, script, cwd=kept.workspace.parent)

    before = (other / "main.py").read_bytes()
    done = inside(
        "other", "echo new >src/new.py; printf X | dd of=main.py conv=notrunc status=none; rm kept.txt"
    )
    assert done.returncode == 0, done.stderr
    listed = inside("workspace", "cd ~/other; ls . src; echo more >src/more.py; cat main.py >/dev/null")
    assert listed.stdout.split() == b".: main.py src src: new.py".split()
    assert b"No such device or address" in listed.stderr  # The rest of it is on the host, out of sight.
    again = inside("other", "ls . src ~/workspace; cat src/more.py; sha256sum <main.py")
    assert again.stdout.split() == [
        *b".: main.py src /home/agent/workspace: src: more.py new.py theirs.py more".split(),
        hashlib.sha256(b"X" + before[1:]).hexdigest().encode(),
        b"-",
    ], again.stderr
    pulled = kept.caller.art("pull", "-m", "workspace", "-d", "workspace.db", cwd=kept.workspace.parent)
    assert (pulled.returncode, pulled.stdout.count(b"\n")) == (0, 2), pulled.stderr
    assert (kept.workspace / "main.py").read_bytes() == b"x" * 1234
    assert kept.caller.art("db", "check", "-d", "workspace.db", cwd=kept.workspace.parent).returncode == 0
