"""What goes through pipes arrives, byte for byte, and statuses are what a shell expects."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory


def test_input_comes_out_again(caller: Caller, workspace: Path) -> None:
    everything = bytes(range(256)) * 300 + b"\r\n\x04\x03\x1a\n"
    done = caller.art("-m", workspace, "--", "cat", input=everything)
    assert (done.returncode, done.stdout, done.stderr) == (0, everything, b"")


def test_the_three_streams_stay_apart(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, "--", "sh", "-c", "cat >&2; echo out", input=b"in\n")
    assert (done.stdout, done.stderr) == (b"out\n", b"in\n")


def test_a_pipeline_as_it_is_typed(caller: Caller, workspace: Path) -> None:
    line = f"echo hi | {caller.art_program} -- cat | tr a-z A-Z"
    assert caller.run(["bash", "-c", line], cwd=workspace).stdout == b"HI\n"


def test_a_reader_that_goes_away_ends_the_command(caller: Caller, workspace: Path) -> None:
    line = f"{caller.art_program} -m {workspace} -- yes | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = caller.run(["bash", "-c", line], timeout=30)
    assert done.stdout == b"y\ny\n141\n"


def test_the_end_of_the_input_is_seen_although_art_lives(caller: Caller, workspace: Path) -> None:
    done = caller.art("-m", workspace, "--", "sh", "-c", "wc -c; sleep 0.3; echo after", input=b"12345")
    assert done.stdout == b"5\nafter\n"


def test_output_comes_when_it_is_written(caller: Caller, workspace: Path) -> None:
    process = caller.popen(
        [caller.art_program, "-m", workspace, "--", "sh", "-c", "echo first; read line; echo $line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    assert process.stdout.readline() == b"first\n"
    process.stdin.write(b"second\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"second\n"
    process.communicate()
    assert process.returncode == 0


def test_a_background_process_inside_does_not_hold_the_output(caller: Caller, workspace: Path) -> None:
    started = time.monotonic()
    done = caller.art("-m", workspace, "--", "sh", "-c", "sleep 1000 & echo done")
    assert (done.returncode, done.stdout) == (0, b"done\n")
    assert time.monotonic() - started < 20


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gigabyte_in_both_directions_with_a_slow_reader(plain: Caller) -> None:
    """1 GiB of random blocks through `cat`; whoever reads stops now and then, so all buffers fill."""
    block = os.urandom(1 << 20)
    with fresh_directory(plain) as workspace:
        (workspace / "block").write_bytes(block)
        writer = plain.popen(["python3", "-c", _WRITES, workspace / "block"], stdout=subprocess.PIPE)
        argv: list[str | bytes | Path] = [plain.art_program, "-m", workspace, "--", "cat"]
        with writer, plain.popen(argv, stdin=writer.stdout, stdout=subprocess.PIPE) as process:
            assert writer.stdout and process.stdout
            writer.stdout.close()
            found, size = hashlib.sha256(), 0
            while chunk := process.stdout.read(1 << 20):
                found.update(chunk)
                if size >> 27 != (size + len(chunk)) >> 27:
                    time.sleep(0.2)
                size += len(chunk)
    expected = hashlib.sha256()
    for number in range(1024):
        expected.update(number.to_bytes(8, "big") + block[8:])
    assert (process.returncode, writer.returncode, size) == (0, 0, 1 << 30)
    assert found.digest() == expected.digest()


_WRITES = """
import sys
block = open(sys.argv[1], "rb").read()
for number in range(1024):
    sys.stdout.buffer.write(number.to_bytes(8, "big") + block[8:])
"""


# --- statuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-i=false", "-i=true", "--no-interactive", "--interactive=false"])
def test_the_status_is_the_commands_own(caller: Caller, workspace: Path, option: str) -> None:
    for status in (0, 1, 7, 125, 126, 127, 130, 255):
        done = caller.art(option, "-m", workspace, "--", "sh", "-c", f"exit {status}")
        assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGABRT", "SIGPIPE", "SIGRTMAX"])
def test_a_signal_is_128_and_its_number(caller: Caller, workspace: Path, name: str) -> None:
    number = int(getattr(signal, name))
    done = caller.art("-m", workspace, "--", "sh", "-c", f"kill -{number} $$")
    assert done.returncode == 128 + number


def test_what_cannot_be_executed_is_told_apart(caller: Caller, workspace: Path) -> None:
    script = workspace / "script"
    script.write_text("#!/no/such/interpreter\n")
    plain_file = workspace / "plain"
    plain_file.write_text("text")
    for path in (script, plain_file):
        os.chown(path, caller.uid, caller.gid)
    script.chmod(0o755)
    for command, status in (
        ("/no/such/program", 127),
        ("no-such-program", 127),
        ("./plain", 126),
        ("/etc", 126),
        ("./script", 126),
        ("/etc/passwd/x", 127),
    ):
        done = caller.art("-m", workspace, "--", command)
        assert done.returncode == status, (command, done.stderr)
        assert done.stderr.startswith(b"art: error: ") and done.stderr.count(b"\n") == 1


def test_timeout_ends_everything(caller: Caller, workspace: Path) -> None:
    mark = f"100.{os.getpid():07d}"
    done = caller.run(["timeout", "1", caller.art_program, "-m", workspace, "--", "sleep", mark], timeout=30)
    assert done.returncode == 124
    until = time.monotonic() + 5
    while (left := caller.run(["pgrep", "-f", mark]).stdout) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == b""
