"""Push and pull beside what else goes on: a run, a host that changes, full disks, ends in the middle."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.kept_homes import Kept

LARGE = 3 << 20


@pytest.fixture
def kept(caller: Caller) -> Iterator[Kept]:
    with fresh_directory(caller, "workspace") as workspace:
        yield Kept(caller, workspace)


@pytest.fixture
def large(kept: Kept) -> Path:
    """A host file of which a part is copied up when it is changed."""
    path = kept.workspace / "large"
    path.write_bytes(os.urandom(LARGE))
    os.utime(path, (1_500_000_000, 1_500_000_000))
    own(kept.caller, kept.workspace)
    return path


def change(kept: Kept, letter: str, offset: int) -> subprocess.CompletedProcess[bytes]:
    script = f"printf {letter} | dd of=large bs=1 seek={offset} conv=notrunc status=none; sha256sum <large"
    return kept.shell(script)


def tree(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() else None for path in top.rglob("*")
    }


def test_a_pull_gets_what_a_running_sandbox_did_until_then(kept: Kept) -> None:
    kept.push()
    argv: list[str | Path] = [kept.caller.art_program, "-m", kept.workspace, "-d", kept.database, "-i=false"]
    script = "echo first >made; rm link; echo ready; read line; echo second >made; echo done; read line"
    running = kept.caller.popen(
        [*argv, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdout and running.stdin and running.stdout.readline() == b"ready\n"
    pulled = kept.pull()
    assert pulled.stdout.splitlines()[2:] == [b"FILE workspace/made (6 bytes)", b"DEL  workspace/link"]
    assert (pulled.returncode, (kept.workspace / "made").read_text()) == (0, "first\n")
    running.stdin.write(b"\n")
    running.stdin.flush()
    assert running.stdout.readline() == b"done\n"
    assert kept.pull().stdout.splitlines()[2:] == [b"FILE workspace/made (7 bytes)"]
    running.communicate(b"\n", timeout=30)
    assert running.returncode == 0
    assert kept.shell("cat made").stdout == b"second\n"
    assert sorted(os.listdir(kept.workspace.parent)) == ["workspace", "workspace.db"]


def test_a_file_of_which_a_part_was_pulled_stays_whole_inside(kept: Kept, large: Path) -> None:
    seen = change(kept, "A", 100).stdout
    assert kept.pull().returncode == 0
    assert kept.shell("sha256sum <large").stdout == seen
    again = change(kept, "B", 2_000_000)
    assert again.stdout != seen and again.stderr == b""
    assert kept.pull().returncode == 0
    assert large.read_bytes()[2_000_000:2_000_001] == b"B"
    assert kept.shell("sha256sum <large").stdout == again.stdout


def test_a_half_copied_file_that_the_host_changed_is_told_and_can_be_resolved(
    kept: Kept, large: Path
) -> None:
    change(kept, "A", 100)
    newer = os.urandom(LARGE)
    large.write_bytes(newer)
    run = kept.shell("cat large >/dev/null; echo also >also")
    assert run.stderr.count(b"art: note: ") == 1
    assert b"changed inside: large; reading the rest failed (ESTALE)" in run.stderr
    pulled = kept.pull()
    assert pulled.returncode == 1
    assert b"CONFLICT large: the host changed it" in pulled.stderr and b"--accept-host" in pulled.stderr
    assert (kept.workspace / "also").read_text() == "also\n", "the rest is carried"
    assert large.read_bytes() == newer
    assert b"large" in kept.pull("--accept-host", "--dry-run").stdout and large.read_bytes() == newer
    accepted = kept.pull("--accept-host")
    assert (accepted.returncode, accepted.stderr.count(b"CONFLICT")) == (0, 0), accepted.stderr
    merged = large.read_bytes()
    assert merged[:65536][100:101] == b"A" and merged[65536:] == newer[65536:]
    assert kept.shell("cmp large - <large && wc -c <large").stdout == b"%d\n" % LARGE
    assert kept.shell("tail -c 1000 large").stdout == newer[-1000:]


def test_accepting_works_while_the_sandbox_runs(kept: Kept, large: Path) -> None:
    change(kept, "A", 100)
    newer = os.urandom(LARGE)
    large.write_bytes(newer)
    argv: list[str | Path] = [kept.caller.art_program, "-m", kept.workspace, "-d", kept.database, "-i=false"]
    script = "exec 3<large; echo ready; read line; tail -c 1000 <&3 | cat; tail -c 1000 large"
    running = kept.caller.popen(
        [*argv, "--", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdout and running.stdout.readline() == b"ready\n"
    assert kept.pull("--accept-host").returncode == 0
    out, _ = running.communicate(b"\n", timeout=30)
    assert out == newer[-1000:] * 2


def test_further_names_of_host_files_are_no_business_of_a_pull(kept: Kept) -> None:
    os.link(kept.workspace / "main.py", kept.workspace / "other.py")
    own(kept.caller, kept.workspace)
    kept.shell("ls; cat main.py other.py >/dev/null; echo made >made")
    pulled = kept.pull()
    assert (pulled.returncode, pulled.stdout.splitlines()[2:]) == (0, [b"FILE workspace/made (5 bytes)"])


def test_an_unreadable_directory_of_the_host_removes_nothing(kept: Kept) -> None:
    kept.push()
    (kept.workspace / "src").rename(kept.workspace.parent / "aside")
    os.mkfifo(kept.workspace / "src")
    own(kept.caller, kept.workspace)
    pushed = kept.push()
    assert b"SKIP src" in pushed.stderr and b"0 removed" in pushed.stderr
    assert kept.shell("cat src/deep.py").stdout == b"deep\n"


def small_disk(size: str, place: Path, script: str) -> str:
    return f"mount -t tmpfs -o size={size} none {place} && {{ {script} }}"


def test_a_full_disk_of_the_host_is_told_and_the_rest_is_remembered(root: Caller) -> None:
    with fresh_directory(root, "workspace") as workspace:
        place = workspace.parent / "small"
        place.mkdir()
        for name, size in (("a", 1000), ("b", 6 << 20), ("c", 1000)):
            (workspace / name).write_bytes(os.urandom(size))
        art, database = root.art_program, workspace.parent / "t.db"
        pull = f"{art} pull -m {place}/out --name workspace -d {database}"
        script = f"""
            {art} push -q -m {workspace} -d {database} || exit 9
            {pull}; echo "status $?"; ls -A {place}/out
            mount -o remount,size=32M {place}
            {pull}; echo "status $?"; cmp {workspace}/b {place}/out/b && ls -A {place}/out
        """
        done = root.run(["unshare", "--mount", "sh", "-c", small_disk("4M", place, script)])
    lines = done.stdout.decode().replace(str(place), "").splitlines()
    first = lines.index("status 1")
    assert [line.split(" (")[0] for line in lines[2:first]] == ["FILE /out/a", "FILE /out/c"], done
    assert lines[first + 1 : first + 3] == ["a", "c"], "no temporary file is left"
    assert b"CONFLICT" not in done.stderr, done.stderr
    assert lines[-5:-3] == ["FILE /out/b (6291456 bytes)", "status 0"] and lines[-3:] == ["a", "b", "c"]
    assert "FAIL b: it cannot be written: No space left on device" in done.stderr.decode()


def test_a_full_disk_of_the_database_is_told_and_the_next_push_goes_on(root: Caller) -> None:
    with fresh_directory(root, "workspace") as workspace:
        place = workspace.parent / "small"
        place.mkdir()
        for number in range(40):
            (workspace / f"{number:02}").write_bytes(os.urandom(1 << 20))
        art, database = root.art_program, place / "t.db"
        sides = f"-m {workspace} -d {database}"
        script = f"""
            {art} push -q {sides}; echo "status $?"
            mount -o remount,size=256M {place}
            {art} push -q {sides}; echo "status $?"
            mkdir {place}/out && {art} pull -q -m {place}/out --name workspace -d {database} --force
            diff -r {workspace} {place}/out && echo same
        """
        done = root.run(["unshare", "--mount", "sh", "-c", small_disk("24M", place, script)])
    said = done.stderr.decode()
    assert done.stdout.split() == [b"status", b"125", b"status", b"0", b"same"], done
    assert "the database does not take it: No space left on device" in said
    assert "CONFLICT" not in said and "Traceback" not in said


def in_the_middle(kept: Kept, command: str, number: signal.Signals, delay: float) -> int:
    argv: list[str | Path] = [kept.caller.art_program, command, "-q"]
    argv += ["-m", kept.workspace, "-d", kept.database]
    running = kept.caller.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(delay)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    # Before the program's own first line an interrupt is the interpreter's to tell.
    assert b"/art_cli/" not in said and b"/art_core/" not in said, said
    return running.returncode


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_next_one_goes_on_where_one_was_ended(kept: Kept, number: signal.Signals) -> None:
    """At any moment, of a push and of a pull, until nothing is left to do."""
    moments = [0.08, 0.14, 0.18, 0.24, 0.3]
    for count in range(500):
        (kept.workspace / f"src/{count}").write_bytes(os.urandom(8000))
    (kept.workspace / "several transactions").write_bytes(os.urandom(12 << 20))
    own(kept.caller, kept.workspace)
    statuses = {in_the_middle(kept, "push", number, moment) for moment in moments}
    expected = tree(kept.workspace)
    done = kept.push()
    assert done.returncode == 0, done.stderr
    script = (
        "for f in src/*; do echo changed >>$f; done; echo changed >>'several transactions'; rm main.py link"
    )
    changed = kept.shell(script)
    assert changed.returncode == 0, changed.stderr
    before = dict(expected)
    for name, data in before.items():
        if data is not None and name.startswith(("src/", "several")):
            expected[name] = data + b"changed\n"
    del expected["main.py"], expected["link"]
    for moment in moments:
        statuses.add(in_the_middle(kept, "pull", number, moment))
        for path, data in tree(kept.workspace).items():
            left = path.rpartition("/")[2].startswith(".art-pull-")
            assert left or data in (before[path], expected.get(path)), path
    done = kept.pull()
    assert done.returncode == 0, done.stderr
    assert tree(kept.workspace) == expected
    assert kept.shell("true").returncode == 0
    assert sorted(os.listdir(kept.workspace.parent)) == ["workspace", "workspace.db"]
    assert statuses != {0}, "no end fell into the work"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_long_work_which_the_next_one_goes_on_with(kept: Kept, number: signal.Signals) -> None:
    """In the middle of it, as what is already there shows."""
    for count in range(60):
        (kept.workspace / f"{count:02}").write_bytes(os.urandom(1 << 20))
    own(kept.caller, kept.workspace)
    expected = tree(kept.workspace)
    log = kept.database.with_name(f"{kept.database.name}-wal")
    sides: list[str | Path] = ["-q", "-m", kept.workspace, "-d", kept.database]

    def ended(command: str, begun: Callable[[], bool]) -> int:
        running = kept.caller.popen([kept.caller.art_program, command, *sides], stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while not begun() and time.monotonic() < until:
            time.sleep(0.001)
        running.send_signal(number)
        _, said = running.communicate(timeout=30)
        assert b"Traceback" not in said
        return 128 - running.returncode if running.returncode < 0 else running.returncode

    assert ended("push", lambda: log.exists() and log.stat().st_size > 6 << 20) == 128 + number
    assert kept.push().returncode == 0
    assert kept.shell("for f in [0-9][0-9]; do echo changed >>$f; done").returncode == 0
    first = kept.workspace / "02"
    assert ended("pull", lambda: first.stat().st_size > 1 << 20) == 128 + number
    done = kept.pull()
    assert done.returncode == 0, done.stderr
    changed = {path: (data or b"") + b"changed\n" for path, data in expected.items() if path.isdigit()}
    assert tree(kept.workspace) == {**expected, **changed}


def test_what_was_pulled_is_on_the_disk_before_it_is_remembered(kept: Kept) -> None:
    """A power cut between the two must not leave a file that is empty and taken for agreed on."""
    kept.push()
    kept.shell("for n in 1 2 3; do echo $n >made$n; done; rm link")
    log = kept.workspace.parent / "calls"
    sides = ["-m", "workspace/", "-d", "workspace.db"]
    argv: list[str | bytes | Path] = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=/^(rename|unlink|syncfs|pwrite)",
        "-o",
        log,
    ]
    done = kept.caller.run([*argv, kept.caller.art_program, "pull", *sides], cwd=kept.workspace.parent)
    assert done.returncode == 0, done.stderr
    calls = log.read_text().splitlines()
    put = [at for at, line in enumerate(calls) if ("rename" in line and "made" in line) or '"link"' in line]
    synced = [at for at, line in enumerate(calls) if "syncfs(" in line and str(kept.workspace) in line]
    remembered = [at for at, line in enumerate(calls) if "pwrite64(" in line and ".db-wal>" in line]
    assert len(put) == 4 and put[-1] < synced[-1] < remembered[-1]
    assert not [at for at in remembered if put[0] < at < synced[-1]]


SAVED = {
    "renamed over": "sed -i s/old/new/ {0}",
    "twice": "sed -i s/old/mid/ {0}; sed -i s/mid/new/ {0}",
    "with a backup": "mv {0} {0}~; echo new >{0}; rm {0}~",
    "removed and made": "rm {0}; echo new >{0}",
    "in place": "echo new >{0}",
}
"""The ways in which programs save a file."""


def test_what_was_saved_over_a_host_file_is_pulled_where_the_host_still_has_that(kept: Kept) -> None:
    names = {how: how.replace(" ", "-") for how in SAVED}
    for name in names.values():
        (kept.workspace / name).write_text("old\n")
        (kept.workspace / f"{name}.host").write_text("old\n")
    own(kept.caller, kept.workspace)
    script = "; ".join(
        how.format(f"{names[one]}{end}") for one, how in SAVED.items() for end in ("", ".host")
    )
    assert kept.shell(f"{script}; ln -sfn src link").returncode == 0
    for name in names.values():
        (kept.workspace / f"{name}.host").write_text("the host's\n")
    done = kept.pull()
    assert done.returncode == 1 and done.stderr.count(b"CONFLICT ") == len(SAVED), done.stderr
    assert {(kept.workspace / name).read_text() for name in names.values()} == {"new\n"}
    assert {(kept.workspace / f"{name}.host").read_text() for name in names.values()} == {"the host's\n"}
    assert os.readlink(kept.workspace / "link") == "src"


def test_a_host_file_that_was_replaced_after_its_removal_inside_is_a_conflict(kept: Kept) -> None:
    """What the sandbox did not see it must not cover."""
    argv: list[str | Path] = [kept.caller.art_program, "-m", kept.workspace, "-d", kept.database, "-i=false"]
    script = "rm main.py; echo gone; read line; echo mine >main.py"
    with kept.caller.popen([*argv, "--", "sh", "-c", script], stdin=-1, stdout=-1) as running:
        assert running.stdin and running.stdout and running.stdout.readline() == b"gone\n"
        (kept.workspace / "main.py").write_text("theirs\n")
        running.communicate(b"\n", timeout=60)
    done = kept.pull()
    assert (done.returncode, (kept.workspace / "main.py").read_text()) == (1, "theirs\n"), done.stderr


def test_read_only_directories_are_written_with_all_that_is_in_them(plain: Caller) -> None:
    """As a cache of Go modules has them."""
    with fresh_directory(plain) as workspace:
        database = workspace.parent / "x.db"
        made = "mkdir -p cache/module; echo m >cache/module/m; chmod 555 cache/module cache"
        assert plain.art("-d", database, "--", "sh", "-c", made, cwd=workspace).returncode == 0
        into, copied = workspace.parent / "into", workspace.parent / "copied"
        for command in (
            ["pull", "-d", str(database), "--into", str(into)],
            ["fs", "cp", "-d", str(database), "-r", "guest:ws", str(copied)],
        ):
            done = plain.art(*command, cwd=workspace)
            assert done.returncode == 0 and b"FAIL" not in done.stderr, done.stderr
        for top in (into, copied):
            assert (top / "cache/module/m").read_text() == "m\n"
            assert [(top / name).stat().st_mode & 0o777 for name in ("cache", "cache/module")] == [
                0o555,
                0o555,
            ]


@pytest.mark.parametrize("source", ["guest:ws", "guest:", "guest:ws/below"])
@pytest.mark.parametrize("target", [".", "new"])
def test_a_directory_is_not_copied_into_itself(plain: Caller, source: str, target: str) -> None:
    with fresh_directory(plain) as workspace:
        below = workspace / "below"
        below.mkdir()
        os.chown(below, plain.uid, plain.gid)
        database = workspace.parent / "x.db"
        assert plain.art("push", "-d", database, cwd=workspace).returncode == 0
        done = plain.art("fs", "cp", "-m", workspace, "-d", database, "-r", source, target, cwd=below)
        assert done.returncode == 2 and b"would be copied into itself" in done.stderr
        assert list(below.iterdir()) == []


def test_directories_that_may_not_be_written_or_searched(kept: Kept) -> None:
    """Of a plain user, whom modes hold off: one's own are written and keep their modes, and what cannot be
    looked at is told while the rest is carried."""
    ro, shut = kept.workspace / "ro", kept.workspace / "shut"
    for directory in (ro, shut):
        directory.mkdir()
        (directory / "old").write_text("1")
    own(kept.caller, kept.workspace)
    ro.chmod(0o555)
    kept.push()
    kept.shell("chmod u+w ro; rm ro/old; mkdir -p ro/x; echo 2 >ro/x/new; chmod 555 ro/x ro")
    assert kept.pull().returncode == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in (ro, ro / "x")] == [0o555, 0o555]
    assert tree(ro) == {"x": None, "x/new": b"2\n"}
    shut.chmod(0)
    kept.shell("chmod 700 shut; echo 3 >shut/old; echo 4 >made")
    status = kept.art(command="status")
    pulled = kept.pull()
    assert (kept.workspace / "made").read_text() == "4\n"
    assert status.returncode in (0, 1) and b"error" not in status.stderr
    if kept.caller.uid:
        assert b"CONFLICT shut/old: it cannot be looked at" in pulled.stderr
        assert pulled.returncode == 1
    shut.chmod(0o755)
