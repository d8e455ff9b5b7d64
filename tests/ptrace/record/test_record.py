"""Where a record goes, what is in it and what is not, and that it is whole however a run ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.traced_runs import Tracing, gone, settled

STATUSES = {
    "exit 7": 7,
    "kill -9 $$": 137,
    "kill -SEGV $$": 139,
    "no-such-program": 127,
    "./not-executable": 126,
    "trap 'exit 4' TERM; kill $$; wait": 4,
}


@pytest.mark.parametrize("script", STATUSES)
def test_exit_statuses_are_the_same(traced: Tracing, script: str) -> None:
    (traced.workspace / "not-executable").write_text("text")
    assert traced("sh", "-c", script).done.returncode == STATUSES[script]


@pytest.mark.parametrize(("name", "status"), [("no-such-program", 127), ("./not-executable", 126)])
def test_a_command_that_cannot_be_executed_is_in_the_record(traced: Tracing, name: str, status: int) -> None:
    (traced.workspace / "not-executable").write_text("text")
    ran = traced(name)
    assert ran.done.returncode == status
    assert all(call.startswith('execve("') and " = -1 E" in call for call in ran.calls("execve"))
    assert ran.calls("execve")
    assert ran.lines[-1].endswith(f"+++ exited with {status} +++")


def test_the_record_begins_with_the_command(traced: Tracing) -> None:
    """Neither bwrap, nor the first process inside, nor what becomes the command is in it."""
    first, *_ = lines = traced("true").lines
    assert re.match(r'\d+/2 execve\("/usr/bin/true", \["true"\], 0x[0-9a-f]+ /\* \d+ vars \*/\) = 0$', first)
    assert lines[-2].endswith("= ?") and "exit_group(0)" in lines[-2]
    assert lines[-1].endswith("+++ exited with 0 +++")
    assert len({line.split()[0] for line in lines}) == 1


def test_streams_stay_as_they_are(traced: Tracing) -> None:
    ran = traced("sh", "-c", "cat; echo error >&2", input=b"some input")
    assert (ran.done.stdout, ran.done.stderr) == (b"some input", b"error\n")


def test_without_a_log_the_record_goes_to_standard_error(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, "--trace-syscalls", "mkdir", "--", "mkdir", "one")
    assert (done.returncode, done.stdout) == (0, b"")
    assert re.fullmatch(rb'\d+/2 mkdir\("one", 0777\) += 0\n\d+/2 \+{3} exited with 0 \+{3}\n', done.stderr)


def test_overlay_mode_is_traced_too(traced: Tracing) -> None:
    database = traced.workspace.parent / "o.db"
    ran = traced("sh", "-c", "echo text > new; mv new newer", options=["-d", database])
    assert ran.done.returncode == 0, ran.done.stderr
    assert any('"new", O_WRONLY|O_CREAT|O_TRUNC, 0666' in call for call in ran.calls("openat"))
    assert not (traced.workspace / "newer").exists()


def test_a_log_is_appended_to_and_not_seen_inside(traced: Tracing) -> None:
    traced("true")
    words: list[str | Path] = ["-m", traced.workspace, "-i=false", "--trace-log", traced.log]
    done = traced.caller.art(*words, "--trace-syscalls", "mkdir", "--", "cat", traced.log)
    assert done.returncode == 1 and b"No such file" in done.stderr
    assert len(re.findall(r"\+\+\+ exited with", traced.log.read_text())) == 2
    assert traced.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", ["workspace", "link", "bind", "database"])
def test_a_log_that_the_command_could_change_is_refused(traced: Tracing, place: str) -> None:
    workspace, options = traced.workspace, []
    log = workspace / "trace.log"
    if place == "link":
        log = workspace.parent / "link.log"
        log.symlink_to(workspace / "trace.log")
    elif place == "bind":
        shared = workspace.parent / "shared"
        shared.mkdir()
        os.chown(shared, traced.caller.uid, traced.caller.gid)
        log = shared / "trace.log"
        options = ["--bind", f"{shared}:/data:rw", "--trust-binds"]
    elif place == "database":
        options = ["-d", str(workspace.parent / "o.db")]
    done = traced.caller.art("-m", workspace, *options, "--trace-log", log, "--", "touch", "ran")
    message = done.stderr.decode()
    assert message.startswith("art: error: --trace-log ") and message.count("\n") == 1
    assert not (workspace / "ran").exists() and not (workspace / "trace.log").exists()
    if place == "link":
        assert done.returncode == 2 and f"{log} is a link to " in message
        return
    assert done.returncode == 125
    offered = Path(re.search(r"--trace-log (\S+)$", message.strip())[1])  # type: ignore[index]
    assert not offered.is_relative_to(workspace) and offered.name == "trace.log"


def test_a_log_that_cannot_be_opened_is_one_line(traced: Tracing) -> None:
    done = traced.caller.art("-m", traced.workspace, "--trace-log", "/proc/nothing/x", "--", "touch", "ran")
    assert done.returncode == 125
    assert (
        done.stderr
        == b"art: error: --trace-log /proc/nothing/x: it cannot be opened: No such file or directory\n"
    )
    assert not (traced.workspace / "ran").exists()


def test_a_log_on_a_full_disk_ends_the_command(traced: Tracing) -> None:
    """Nothing goes on unseen."""
    done = traced.caller.art(
        "-m",
        traced.workspace,
        "-i=false",
        "--trace-log",
        "/dev/full",
        "--",
        "sh",
        "-c",
        "sleep 30; touch late",
    )
    assert done.returncode == 125
    assert b"the trace log cannot be written: No space left on device" in done.stderr
    assert not (traced.workspace / "late").exists()


def running(traced: Tracing, *options: str) -> subprocess.Popen[bytes]:
    """A traced command that works without an end, once its record has begun."""
    words: list[str | bytes | Path] = [traced.caller.art_program, "-m", traced.workspace, "-i=false"]
    words += ["--trace-log", traced.log, *options]
    process = traced.caller.popen(
        [*words, "--", "/usr/bin/python3", "-c", "import os\nwhile True: os.stat('.')"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while not (traced.log.exists() and b"stat" in traced.log.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_record_is_whole_when_art_is_ended(traced: Tracing, number: signal.Signals) -> None:
    with running(traced) as process:
        process.send_signal(number)
        process.wait(20)
    record = settled(traced.log)
    assert record.endswith(b"+++\n")
    name = b"SIGTERM" if number == signal.SIGTERM else b"SIGKILL"
    assert record.splitlines()[-1].endswith(b"+++ killed by " + name + b" +++")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_dead_tracer_ends_the_sandbox(traced: Tracing) -> None:
    with running(traced) as process:
        (launcher,) = children(process.pid)
        (tracer,) = children(launcher)
        (isolation,) = children(tracer)
        os.kill(tracer, signal.SIGKILL)
        assert process.wait(20) == 125
        assert process.stderr is not None
        message = process.stderr.read()
    assert message == (
        b"art: error: the tracer was killed; the command was ended with it, nothing runs untraced\n"
    )
    assert gone(isolation)
    assert settled(traced.log).endswith(b"\n")


def test_a_dead_launcher_ends_the_sandbox_and_the_record_is_whole(traced: Tracing) -> None:
    with running(traced) as process:
        (launcher,) = children(process.pid)
        os.kill(launcher, signal.SIGKILL)
        assert process.wait(20) == 125
    assert settled(traced.log).splitlines()[-1].endswith(b"+++ killed by SIGKILL +++")


def test_json_has_an_object_a_line(traced: Tracing) -> None:
    before = time.time_ns()
    ran = traced("sh", "-c", "mkdir d; rmdir none", options=["--trace-format", "jsonl"])
    objects = [json.loads(line) for line in ran.lines]
    (made,) = [entry for entry in objects if entry.get("syscall") == "mkdir"]
    assert made["args"] == ['"d"', "0777"] and (made["ret"], made["errno"]) == (0, None)
    assert made["comm"] == "mkdir" and made["pid"] == made["tid"] != made["host_pid"]
    assert before < made["ts"] < time.time_ns() and 0 < made["duration"] < 10**9
    (failed,) = [entry for entry in objects if entry.get("syscall") == "rmdir"]
    assert (failed["ret"], failed["errno"]) == (-1, "ENOENT")
    assert objects[-1]["exited"] == 1


def test_a_summary_tells_what_came_of_it(traced: Tracing) -> None:
    script = "cd /tmp; echo a > one; mv one two; mkdir d; rm two; rmdir d none"
    ran = traced("sh", "-c", script, options=["--trace-summary"])
    assert ran.record.splitlines()[0].split() == [
        "%",
        "time",
        "seconds",
        "usecs/call",
        "calls",
        "errors",
        "syscall",
    ]
    rows = {row[-1]: row for line in ran.lines if len(row := line.split()) in (5, 6)}
    assert rows["rmdir"][3:5] == ["2", "1"]
    tail = ran.record.partition("files written:")[2]
    assert '"/tmp/one"' in tail.partition("deleted:")[0]
    assert '"/tmp/one" -> "/tmp/two"' in tail
    assert '"/usr/bin/mv"' in tail.partition("programs run:")[2]
    as_json = traced("sh", "-c", script, options=["--trace-summary", "--trace-format", "jsonl"])
    (line,) = as_json.lines
    told = json.loads(line)
    assert told["calls"]["rmdir"]["errors"] == 1 and '"/tmp/two"' in told["deleted"]


def test_what_an_agent_changes_and_reaches(traced: Tracing) -> None:
    source = """
import os, socket
open("/etc/hostname").close()
open("written", "w").close()
os.rename("written", "renamed"); os.chmod("renamed", 0o600); os.unlink("renamed")
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.connect_ex(("127.0.0.1", 9))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(b"x", ("127.0.0.1", 9))
"""
    (traced.workspace / "agent.py").write_text(source)
    ran = traced("/usr/bin/python3", "agent.py", options=["--trace-syscalls", "agent"])
    assert ran.done.returncode == 0, ran.done.stderr
    names = [line.split(maxsplit=1)[1].partition("(")[0] for line in ran.lines if "(" in line]
    assert names == ["execve", "openat", "rename", "chmod", "unlink", "connect", "connect", "sendto"]
    assert '"written", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC' in ran.calls("openat")[0]


def test_the_command_line_is_shown_with_the_filter_and_nothing_is_made(traced: Tracing) -> None:
    done = traced.caller.art(
        "-m", traced.workspace, "--trace-log", traced.log, "--print-command", "--", "true"
    )
    assert done.returncode == 0 and done.stdout.count(b"--add-seccomp-fd") == 2
    assert not traced.log.exists()
