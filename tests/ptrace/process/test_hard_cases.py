"""Programs that die, end and multiply at bad moments leave a record that is whole."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.places import Places
from tests.support.traced_runs import PEAK, Tracing, compiled, gone, settled


@pytest.fixture(scope="session")
def crowd(places: Places) -> Path:
    return compiled(places, "crowd", "-static", "-pthread")


ENDINGS = {
    "exit 0": 0,
    "exit 7": 7,
    "exit 255": 255,
    "kill -TERM $$": 143,
    "kill -KILL $$": 137,
    "kill -SEGV $$": 139,
    "kill -PIPE $$": 141,
    "(sleep 0.2; kill -CONT $$) & kill -STOP $$; exit 9": 9,
    "exec no-such-program": 127,
    "exec /etc/passwd": 126,
    "(exit 3) | exit 4": 4,
    "exec 2>/dev/null; sleep 5 & kill -9 $!; wait $!; exit $?": 137,
}


@pytest.mark.parametrize("calls", ["all", "%process"])
def test_a_command_ends_as_it_does_untraced(traced_plain: Tracing, calls: str) -> None:
    for script, status in ENDINGS.items():
        ran = traced_plain("sh", "-c", script, options=["--trace-syscalls", calls])
        untraced = traced_plain.caller.art("-m", traced_plain.workspace, "-i=false", "--", "sh", "-c", script)
        assert (ran.done.returncode, untraced.returncode) == (status, status), script
        assert ran.done.stderr == untraced.stderr
        assert ran.lines[-1].endswith("+++")


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["all", "clone,vfork,execve"])
def test_a_crowd_that_is_killed_at_random_is_recorded_to_its_end(
    traced_plain: Tracing, crowd: Path, calls: str
) -> None:
    """Each thread that was made has one end in the record, and the command ends."""
    program = traced_plain.workspace / crowd.name
    program.write_bytes(crowd.read_bytes())
    program.chmod(0o755)
    ran = traced_plain(f"./{crowd.name}", options=["--trace-syscalls", calls])
    assert (ran.done.returncode, ran.done.stderr) == (0, b"")
    ends = Counter(line.split()[0] for line in ran.lines if line.endswith("+++"))
    assert len(ends) > 1000 and set(ends.values()) == {1}
    assert {line.split()[0] for line in ran.lines} == set(ends)
    inside = {ids.partition("/")[2] for ids in ends}
    made = re.findall(r" v?(?:clone|fork)\(.*\) += ([1-9]\d*)$", ran.record, re.M)
    assert len(made) > 1000 and set(made) <= inside


@pytest.mark.slow
def test_processes_that_ended_are_forgotten(traced_plain: Tracing, crowd: Path) -> None:
    program = traced_plain.workspace / crowd.name
    program.write_bytes(crowd.read_bytes())
    program.chmod(0o755)
    caller = traced_plain.caller
    words: list[str | Path] = [caller.art_program, "-m", traced_plain.workspace, "-i=false"]
    words += ["--trace-log", traced_plain.log, "--trace-syscalls", "execve", "--", f"./{crowd.name}"]
    peaks = []
    for count in ("10", "8000"):
        done = caller.run(["/usr/bin/python3", "-c", PEAK, *words, count], timeout=100)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    few, many = peaks
    assert traced_plain.log.read_text().count("+++ exited with 0 +++") == 8012
    assert 0 < many < few + 2048


def test_a_record_that_nobody_reads_any_more_ends_the_command(traced_plain: Tracing) -> None:
    os.mkfifo(traced_plain.log)
    os.chown(traced_plain.log, traced_plain.caller.uid, traced_plain.caller.gid)
    reader = os.open(traced_plain.log, os.O_RDONLY | os.O_NONBLOCK)
    words: list[str | bytes | Path] = [traced_plain.caller.art_program, "-m", traced_plain.workspace]
    words += [
        "-i=false",
        "--trace-log",
        traced_plain.log,
        "--",
        "sh",
        "-c",
        "sleep 1; true; sleep 1; touch late; sleep 30",
    ]
    with traced_plain.caller.popen(words, stderr=subprocess.PIPE) as process:
        assert select.select([reader], [], [], 20)[0]
        assert b"execve(" in os.read(reader, 4096)
        os.close(reader)
        assert process.wait(20) == 125
        assert process.stderr is not None
        assert process.stderr.read() == (
            b"art: error: the trace log cannot be written: nobody reads it any more; the command was ended "
            b"with it, nothing runs untraced\n"
        )
    assert not (traced_plain.workspace / "late").exists()


def test_a_pipe_that_is_read_is_a_log(traced_plain: Tracing) -> None:
    os.mkfifo(traced_plain.log)
    os.chown(traced_plain.log, traced_plain.caller.uid, traced_plain.caller.gid)
    with subprocess.Popen(["cat", traced_plain.log], stdout=subprocess.PIPE) as reader:
        time.sleep(0.2)
        words = ("-m", traced_plain.workspace, "-i=false", "--trace-log", traced_plain.log)
        assert traced_plain.caller.art(*words, "--", "true").returncode == 0
        assert reader.stdout is not None
        record = reader.stdout.read()
    assert b"execve(" in record and record.endswith(b"+++ exited with 0 +++\n")


@pytest.mark.slow
def test_whoever_is_killed_at_any_moment_the_log_holds_whole_lines(traced_plain: Tracing) -> None:
    """ART, its launcher or the tracer, from the first moments on; nothing of the sandbox is left."""
    chance = random.Random(5)
    source = "import os\nwhile True: os.stat('.')"
    for attempt in range(9):
        traced_plain.log.unlink(missing_ok=True)
        words: list[str | bytes | Path] = [traced_plain.caller.art_program, "-m", traced_plain.workspace]
        words += ["-i=false", "--trace-log", traced_plain.log, "--", "/usr/bin/python3", "-c", source]
        process = traced_plain.caller.popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with process:
            time.sleep(chance.random() * 0.7)
            family = descendants(process.pid)
            victim = ([process.pid, *family] * 3)[attempt % 3]
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            time.sleep(0.1)
            process.kill()
            process.wait(20)
        if traced_plain.log.exists():
            record = settled(traced_plain.log)
            assert record.endswith(b"\n") or not record
        deadline = time.monotonic() + 20
        while not all(map(gone, family)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [pid for pid in family if not gone(pid)] == []


def descendants(pid: int) -> list[int]:
    """What a process has started, the children of each after it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *descendants(child))]
