"""A store that is a distribution of its own keeps homes with the kernel's overlayfs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.conformance_kit import keeps_every_rule
from tests.support.journals import hot_journal
from tests.support.places import ROOT

QUIET = ["-i=false", "--"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_keeps_every_rule_and_its_own(overlaid: Caller, with_overlayfs: Path, workspace: Path) -> None:
    kit = ROOT / "contrib/art-overlayfs" / "tests/test_store_contract.py"
    skipped = {"growth", "live", "numbers", "renames", "seeds", "shares"}
    assert keeps_every_rule(overlaid, with_overlayfs / "python", kit, workspace, skipped) >= 30
    if overlaid.uid == 0:
        return  # What is its own is tried as a plain user: what root does otherwise is in the tests below.
    own = workspace / "own"
    shutil.copytree(
        ROOT / "contrib/art-overlayfs" / "tests", own, ignore=shutil.ignore_patterns("__pycache__", kit.name)
    )
    os.chown(own, overlaid.uid, overlaid.gid)
    argv: list[str | bytes | Path] = [
        with_overlayfs / "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = overlaid.run([*argv, "-W", "error", f"--basetemp={workspace}/base", own], cwd=own, timeout=200)
    assert done.returncode == 0, done.stdout.decode()


def run(caller: Caller, workspace: Path, *command: str, options: tuple[str, ...] = ()) -> bytes:
    """What a command prints that succeeds in an overlay."""
    words: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "x.db", *options, *QUIET]
    done = caller.art(*words, *command)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def sides(workspace: Path) -> list[str | Path]:
    return ["-m", workspace, "-d", workspace.parent / "x.db"]


def test_a_database_is_used_by_either_store_in_turn(overlaid: Caller, workspace: Path) -> None:
    """Push, run, status, diff, snapshot, branch, restore, log, pull."""
    (workspace / "main.py").write_text("one\n")
    (workspace / "only-host").write_text("host\n")
    os.chown(workspace / "main.py", overlaid.uid, overlaid.gid)
    art, both = overlaid.art, sides(workspace)
    stores = (("--store", "sqlite"), ("--store", "overlayfs"))
    assert art("push", *both, "--store", "sqlite").returncode == 0
    for number, (this, other) in enumerate((stores, stores[::-1])):
        script = f"cat main.py only-host; echo {number} >> main.py; mkdir d{number}; rm -f only-host"
        run(overlaid, workspace, "sh", "-c", script, options=this)
        status = art("status", *both, *other).stdout
        assert f"d{number}/".encode() in status and b"main.py" in status
        assert f"+{number}\n".encode() in art("diff", *both, *this, "main.py").stdout
        assert art("snapshot", f"s{number}", *both, *other).returncode == 0
        (workspace / "only-host").write_text("host\n")
        shown = run(overlaid, workspace, "ls", options=other).split()
        assert b"only-host" not in shown and f"d{number}".encode() in shown
        art("restore", "s0", *both, *this)
        run(overlaid, workspace, "sh", "-c", "echo back > only-host", options=other)
    assert art("branch", "side", "--from", "s0", *both).returncode == 0
    assert run(overlaid, workspace, "cat", "main.py", options=("-b", "side")) == b"one\n0\n"
    log = art("log", *both).stdout.decode()
    assert log.count("main") >= 4 and "killed" not in log
    pulled = art("pull", *both)
    assert pulled.stderr.count(b"CONFLICT") == pulled.stderr.count(b"CONFLICT only-host: ") == 1
    assert (workspace / "main.py").read_text() == "one\n0\n" and (workspace / "d0").is_dir()
    assert art("db", "check", *both[2:]).stdout == b"nothing is wrong\n"


ATTACKS = """
set -u
mknod hidden c 0 0 2>/dev/null && echo 'made a whiteout'
python3 - <<'X'
import os
for name in ("trusted.overlay.opaque", "trusted.overlay.redirect"):
    try:
        os.setxattr("d", name, b"y")
        print("set", name)
    except OSError:
        pass
os.setxattr("d", "user.overlay.opaque", b"y")
os.setxattr("d", "user.overlay.redirect", b"/secret")
os.setxattr("f", "user.overlay.metacopy", b"")
print("tried")
X
grep -c host d/below f
ln -s /etc/shadow link
rm -r e && ln -s / e
mkdir closed && echo inside > closed/in && echo inside > sealed
python3 -c 'import os; [os.setxattr(name, "user.k", b"v") for name in ("closed", "sealed")]'
chmod 000 closed sealed e2
"""


def test_what_a_sandbox_makes_confuses_no_capture(overlaid: Caller, workspace: Path) -> None:
    for name in ("d/below", "f", "e/below", "e2/below"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text("host\n")
    for path in (workspace / "d", workspace / "e", workspace / "f", workspace / "d/below", workspace / "e2"):
        os.chown(path, overlaid.uid, overlaid.gid)
    assert run(overlaid, workspace, "sh", "-c", ATTACKS) == b"tried\nd/below:1\nf:1\n"
    look = "grep -c host d/below f; readlink link e; ls -ld closed e2 sealed | cut -c1-10; "
    look += "chmod 700 closed e2; ls closed e2; chmod 000 closed e2; "
    look += """python3 -c 'import os; print({name: sorted(os.listxattr(name)) for name in "df"})'"""
    seen = [
        run(overlaid, workspace, "sh", "-c", look, options=("--store", s)) for s in ("overlayfs", "sqlite")
    ]
    assert seen[0] == seen[1]
    shown = b"d/below:1\nf:1\n/etc/shadow\n/\nd---------\nd---------\n----------\n"
    shown += b"closed:\nin\n\ne2:\nbelow\n"
    marks = {"d": ["user.overlay.opaque", "user.overlay.redirect"], "f": ["user.overlay.metacopy"]}
    assert seen[0] == shown + f"{marks}\n".encode()
    done = overlaid.art("fs", "ls", *sides(workspace), "ws")
    assert b"shadow" not in done.stdout.replace(b"-> /etc/shadow", b"")
    assert (workspace / "e/below").read_text() == "host\n"


def test_nothing_of_the_store_is_seen_inside(overlaid: Caller, workspace: Path) -> None:
    """The database too, where it lies in the workspace."""
    kept = workspace.parent / "kept"
    options = ["-c", f"plugins.overlayfs.directory={kept}"]
    for _ in range(2):
        words: list[str | Path] = ["-m", workspace, "-d", workspace / "x.db", *options, *QUIET]
        done = overlaid.art(*words, "sh", "-c", 'ls -RA . "$0"; grep " overlay " /proc/self/mountinfo', kept)
        assert done.returncode == 0, done.stderr.decode()
        listed, _, mounts = done.stdout.partition(b" / /home/agent")
        assert not any(word in listed for word in (b"x.db", b"upper", b"about", b"below"))
        assert mounts and os.fsencode(kept) not in mounts
    assert (workspace / "x.db").exists()
    for directory in (kept / "sessions", kept / "layers"):
        for made in directory.iterdir():
            assert made.stat().st_mode & 0o077 == 0


def test_mounts_give_no_privileges(overlaid: Caller, workspace: Path) -> None:
    mounts = run(overlaid, workspace, "grep", " overlay ", "/proc/self/mountinfo").decode().splitlines()
    assert mounts and all("nosuid,nodev" in line for line in mounts)


def test_a_second_run_on_the_branch_is_refused_and_readers_see_what_was_before(
    overlaid: Caller, workspace: Path
) -> None:
    run(overlaid, workspace, "sh", "-c", "echo one > f")
    words: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "x.db", *QUIET]
    first = overlaid.popen(
        [overlaid.art_program, *words, "sh", "-c", "echo two > f; echo ready; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert first.stdout is not None and first.stdout.readline() == b"ready\n"
    second = overlaid.art(*words, "true")
    assert second.returncode == 125 and b"is held by process" in second.stderr
    assert overlaid.art("fs", "cat", *words[:4], "ws/f").stdout == b"one\n"
    snapshot = overlaid.art("snapshot", "now", *words[:4])
    assert snapshot.returncode == 125 and b"in the database when it ends" in snapshot.stderr
    assert overlaid.art("branch", "side", *words[:4]).returncode == 0
    assert run(overlaid, workspace, "cat", "f", options=("-b", "side")) == b"one\n"
    first.communicate(b"")
    assert first.returncode == 0
    assert overlaid.art("fs", "cat", *words[:4], "ws/f").stdout == b"two\n"


@pytest.mark.parametrize("who", ["supervisor", "all"])
def test_a_killed_run_loses_nothing(overlaid: Caller, workspace: Path, who: str) -> None:
    words: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "x.db", *QUIET]
    process = overlaid.popen(
        [overlaid.art_program, *words, "sh", "-c", "echo kept > f; echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    if who == "all":
        (worker,) = [pid for pid in _children(process.pid) if _holds_a_session(pid)]
        os.kill(worker, signal.SIGKILL)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while (done := overlaid.art("fs", "cat", *words[:4], "ws/f")).stdout != b"kept\n":
        assert time.monotonic() < deadline, done.stderr.decode()
    assert overlaid.art("db", "check", *words[2:4]).stdout == b"nothing is wrong\n"


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def _holds_a_session(pid: int) -> bool:
    return any("/sessions/" in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())


def test_a_full_disk_at_the_end_keeps_what_was_changed(root: Caller, with_overlayfs: Path) -> None:
    with fresh_directory(root) as workspace:
        small = workspace.parent / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
        try:
            words: list[str | Path] = ["--store", "overlayfs", "-m", workspace, "-d", small / "x.db", *QUIET]
            art = with_overlayfs / "art"
            done = root.run([art, *words, "dd", "if=/dev/zero", "of=big", "bs=1M", "count=1"])
            assert done.returncode == 0, done.stderr
            done = root.run([art, *words, "sh", "-c", "head -c 20000000 /dev/urandom > big"])
            assert done.returncode == 125
            assert (
                b"could not be brought into the database: No space left on device; it is kept in"
                in done.stderr
            )
            done = root.run([art, *words, "wc", "-c", "big"])
            assert done.returncode == 125 and b"No space left on device" in done.stderr
            subprocess.run(["mount", "-o", "remount,size=90m", small], check=True)
            done = root.run([art, *words, "wc", "-c", "big"])
            assert done.stdout == b"20000000 big\n" and b"it was brought into the branch" in done.stderr
        finally:
            subprocess.run(["umount", small], check=True)


def test_a_place_that_cannot_hold_an_overlay_is_told_with_the_cure(
    root: Caller, with_overlayfs: Path
) -> None:
    with fresh_directory(root) as workspace:
        top = workspace.parent
        for name in ("low", "up", "work", "merged"):
            (top / name).mkdir()
        options = f"lowerdir={top}/low,upperdir={top}/up,workdir={top}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, top / "merged"], check=True)
        try:
            for directory, said in (
                (top / "merged", "cannot hold what changes in an overlay"),
                (workspace / "inside", "lies in the workspace"),
                (Path("/dev/shm/art"), "lies in /dev/shm"),
            ):
                words: list[str] = ["--store", "overlayfs", "-c", f"plugins.overlayfs.directory={directory}"]
                words += ["-m", str(workspace), "-d", str(top / "x.db"), *QUIET, "touch", "ran"]
                done = root.run([with_overlayfs / "art", *words])
                assert done.returncode == 125 and done.stderr.count(b"\n") == 1
                assert not list(directory.glob("sessions/*/*"))
                assert said in done.stderr.decode() and b"-c plugins.overlayfs.directory=DIR" in done.stderr
        finally:
            subprocess.run(["umount", top / "merged"], check=True)


def test_what_only_the_database_has_is_made_once_and_goes_with_a_collection(
    overlaid: Caller, workspace: Path
) -> None:
    (workspace / "pushed").write_text("pushed\n")
    os.chown(workspace / "pushed", overlaid.uid, overlaid.gid)
    kept = workspace.parent / "kept"
    options = ("-c", f"plugins.overlayfs.directory={kept}")
    art = overlaid.art
    assert art("push", *sides(workspace)).returncode == 0
    (workspace / "pushed").write_text("the host's\n")

    def made() -> set[tuple[str, int]]:
        return {(file.name, file.stat().st_ino) for file in kept.glob("layers/*/*/workspace/*")}

    assert run(overlaid, workspace, "cat", "pushed", options=options) == b"pushed\n"
    once = made()
    assert [name for name, _ in once] == ["pushed"]
    assert run(overlaid, workspace, "sh", "-c", "echo n > new; cat pushed", options=options) == b"pushed\n"
    for script in ("echo t > temporary", "rm temporary", "cat pushed new"):
        last = run(overlaid, workspace, "sh", "-c", script, options=options)
    assert last == b"pushed\nn\n"
    assert once < made() and {name for name, _ in made()} == {"pushed", "new", "temporary"}
    whole = [
        about for about in kept.glob("layers/*/*/about") if json.loads(about.read_text())["parent"] == ""
    ]
    assert len(whole) == 1
    assert art("db", "gc", *sides(workspace)[2:], *options).returncode == 0
    assert made() == set()
    other: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "y.db", *options, *QUIET, "true"]
    assert art(*other).returncode == 0 and len(list(kept.glob("layers/*"))) == 2
    (workspace.parent / "y.db").unlink()
    small = (*options, "-c", "plugins.overlayfs.cache_mb=0")
    assert run(overlaid, workspace, "cat", "pushed", "new", options=small) == b"pushed\nn\n"
    assert made() == set() and len(list(kept.glob("layers/*"))) == 1


def test_the_places_of_all_workspaces_are_busy(overlaid: Caller, workspace: Path) -> None:
    """Another workspace's is mounted on itself; what is put in a place that is free is not kept."""
    second = workspace.parent / "second"
    second.mkdir()
    os.chown(second, overlaid.uid, overlaid.gid)
    run(overlaid, second, "sh", "-c", "echo kept > file")
    script = (
        "cd ~; mkdir d; for n in ws second; do mv $n w2; mv -T d $n; rmdir $n; done; echo more >> second/file"
    )
    words: list[str | Path] = ["-m", workspace, "-d", workspace.parent / "x.db", *QUIET]
    done = overlaid.art(*words, "sh", "-c", script)
    assert done.returncode == 0 and done.stderr.count(b"Device or resource busy") == 6, done.stderr
    assert run(overlaid, second, "sh", "-c", "cat file; ls ~") == b"kept\nmore\nd\nsecond\nws\n"
    with closing(sqlite3.connect(workspace.parent / "x.db")) as connection, connection:
        connection.execute("INSERT INTO workspace VALUES(x'7468697264', x'2f7468697264')")  # third
    run(overlaid, workspace, "sh", "-c", "ln -s / ~/third; echo x > ~/other")
    assert run(overlaid, workspace, "sh", "-c", "ls ~") == b"d\nother\nsecond\nws\n"


def test_nothing_of_a_run_lands_beside_its_database(overlaid: Caller, workspace: Path) -> None:
    (workspace.parent / "journal").write_bytes(hot_journal())
    script = "cp $1 x.db-journal; echo work >work"
    argv = ["-m", str(workspace), "-d", str(workspace / "x.db")]
    done = overlaid.art(*argv, *QUIET, "sh", "-c", script, "sh", str(workspace.parent / "journal"))
    assert done.returncode == 0, done.stderr
    pulled = overlaid.art("pull", *argv)
    assert b"SKIP x.db-journal: it belongs to the database" in pulled.stderr
    assert {path.name for path in workspace.iterdir()} == {"x.db", "work"}
    assert overlaid.art("db", "check", *argv).stdout == b"nothing is wrong\n"


def test_what_no_file_system_holds_does_not_keep_the_next_run_from_starting(
    overlaid: Caller, workspace: Path
) -> None:
    """Of the other store such a file may come, or from a database that somebody made."""
    for name in ("big", "other"):
        (workspace / name).write_text("host\n")
        os.chown(workspace / name, overlaid.uid, overlaid.gid)
    script = """truncate -s 7E big new ~/home && ln new further && touch -d 2300-01-01 late && mkdir dir
    touch -d 2300-01-01 dir && ln -s x link && touch -h -d 1066-01-01 link && echo more >>other"""
    run(overlaid, workspace, "sh", "-c", script, options=("--store", "sqlite"))
    for again in ("", "dir/new"):
        done = overlaid.art(*sides(workspace), *QUIET, "sh", "-c", "ls; cat other; echo x >>dir/new")
        assert done.returncode == 0, done.stderr
        assert done.stdout == b"dir\nlate\nlink\nother\nhost\nmore\n", again
        if not again:
            for path in (b"big", b"new", b"further", b"home"):
                assert path + b" does not show: no file of 8070450532247928832 bytes" in done.stderr
    run(overlaid, workspace, "sh", "-c", "echo mine >new; truncate -s 15T wide; touch -d 2500-01-01 wide")
    shown = run(
        overlaid, workspace, "stat", "-c", "%n %s", "big", "new", "wide", options=("--store", "sqlite")
    )
    assert shown == b"big 8070450532247928832\nnew 5\nwide 16492674416640\n"
    checked = overlaid.art("db", "check", *sides(workspace)[2:])
    assert checked.returncode == 0, checked.stdout


WORK = """
sed -i.bak s/1/2/ f
chmod 600 one
rm -rf dist; mkdir dist; echo n >dist/new
mv d e; mkdir d; echo n >d/new
mv a t; mv b a; mv t b
mv x t; mv y x; mv t y
"""
PULLED = {
    "f": "v2",
    "f.bak": "v1",
    "one": "base",
    "two": "base",
    "dist/new": "n",
    "d/new": "n",
    "e/old": "o",
    "a": "bb",
    "b": "aa",
    "x/n": "y",
    "y/n": "x",
    "y/o": "o",
}


def test_a_pull_reads_nothing_from_a_place_that_it_changed(overlaid: Caller, workspace: Path) -> None:
    """And it prints what the status told before."""
    before = {"f": "v1", "one": "base", "dist/old": "o", "d/old": "o", "a": "aa", "b": "bb"}
    for name, text in {**before, "x/n": "x", "x/o": "o", "y/n": "y"}.items():
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(f"{text}\n")
    os.link(workspace / "one", workspace / "two")
    for path in workspace.rglob("*"):
        os.chown(path, overlaid.uid, overlaid.gid)
    assert overlaid.art("push", *sides(workspace)).returncode == 0
    run(overlaid, workspace, "sh", "-c", WORK)
    status = overlaid.art("status", "--json", *sides(workspace)).stdout
    told = [json.loads(line) for line in status.splitlines()]
    trial = overlaid.art("pull", "--dry-run", *sides(workspace))
    pulled = overlaid.art("pull", *sides(workspace))
    assert (pulled.returncode, pulled.stderr) == (0, trial.stderr.replace(b"would be ", b"")), pulled.stderr
    assert sorted(pulled.stdout.splitlines()) == sorted(trial.stdout.splitlines())
    printed = {line.split()[1].decode() for line in pulled.stdout.splitlines()[2:]}
    listed = {change[which] for change in told for which in ("path", "from") if which in change}
    assert {name.rpartition(f"{workspace.name}/")[2] for name in printed} == listed
    files = {path for path in workspace.rglob("*") if path.is_file()}
    assert {str(path.relative_to(workspace)): path.read_text().strip() for path in files} == PULLED
    shown = run(overlaid, workspace, "find", ".", "-type", "f").decode().split()
    assert {name.removeprefix("./") for name in shown} == set(PULLED)
    assert overlaid.art("pull", *sides(workspace)).stdout.splitlines()[2:] == []
