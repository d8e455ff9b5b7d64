"""What runs out inside: who is ended, what the user is told, and that nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from art_core.host import cgroups
from tests.support.callers import Caller
from tests.support.installed_copies import Installed
from tests.support.limited_callers import Limited

PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")
HOG = "kept = bytearray(300 << 20); print(len(kept))"
MANY = (
    "import os, time\n"
    "made = 0\n"
    "try:\n"
    "    for n in range(100):\n"
    "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
    "        made += 1\n"
    "except BlockingIOError: pass\n"
    "print(made)\n"
)


# --- time --------------------------------------------------------------------------------------


def test_time_that_runs_out_ends_the_command_with_124(limited: Limited) -> None:
    done = limited.art("--timeout", "0.3s", "--", "sleep", "100")
    assert done.returncode == 124
    assert done.stderr == b"art: error: --timeout 0.3s: time ran out, and the command was ended\n"


def test_a_command_has_a_grace_to_end(limited: Limited) -> None:
    script = 'trap "echo saved; exit 3" TERM; while :; do sleep 0.05; done'
    done = limited.art("--timeout", "0.3", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (124, b"saved\n")


@pytest.mark.slow
def test_a_command_that_does_not_end_is_ended(limited: Limited) -> None:
    script = 'trap "" TERM; (trap "" TERM; while :; do sleep 0.1; done) & while :; do sleep 0.1; done'
    assert limited.art("--timeout", "0.3", "--", "sh", "-c", script).returncode == 124


def test_time_that_is_left_changes_nothing(limited: Limited) -> None:
    done = limited.art("--timeout", "1h", "--", "sh", "-c", "exit 7")
    assert (done.returncode, done.stderr) == (7, b"")


def test_time_is_held_for_python_programs_too(
    plain: Caller, installed: Installed, ungrouped: Limited
) -> None:
    source = (
        "import sys\n"
        "from art_core import Sandbox\n"
        "with Sandbox(sys.argv[1], timeout='0.3') as box:\n"
        "    print(box.run(['sleep', '100']).exit[:2])\n"
        "    with box.start(['sleep', '100']) as process: print(process.wait()[:2])\n"
    )
    done = plain.run([installed.python, "-I", "-c", source, ungrouped.workspace])
    assert done.stdout.splitlines() == [b"(124, 'limit')"] * 2, done.stderr.decode()


# --- memory ------------------------------------------------------------------------------------


def test_a_command_that_takes_too_much_memory_is_ended(grouped: Limited) -> None:
    done = grouped.art("--memory", "100M", "--", *PYTHON, HOG)
    assert (done.returncode, done.stdout) == (137, b"")
    assert done.stderr == b"art: error: --memory 100M: memory ran out, and the command was ended\n"


def test_a_process_that_takes_too_much_memory_is_ended_and_the_command_goes_on(grouped: Limited) -> None:
    done = grouped.art(
        "--memory", "100M", "--", "sh", "-c", '"$@"; echo "it ended with $?"', "sh", *PYTHON, HOG
    )
    assert (done.returncode, done.stdout) == (0, b"it ended with 137\n")
    assert b"art: note: --memory 100M: memory ran out, and the kernel ended a process\n" in done.stderr


def test_memory_is_counted_together(grouped: Limited) -> None:
    each = "import time; kept = bytearray(40 << 20); print(1, flush=True); time.sleep(3)"
    script = 'for n in 1 2 3; do "$@" & done; wait'
    done = grouped.art("--memory", "100M", "--", "sh", "-c", script, "sh", *PYTHON, each)
    assert b"memory ran out, and the kernel ended" in done.stderr
    files = 'head -c 300M /dev/zero >/tmp/file; echo "it ended with $?"'
    done = grouped.art("--memory", "100M", "--", "sh", "-c", files)
    assert b"memory ran out" in done.stderr


def test_without_groups_memory_is_limited_for_each_process_and_that_is_said(ungrouped: Limited) -> None:
    done = ungrouped.art("--memory", "100M", "--", *PYTHON, HOG)
    assert b"MemoryError" in done.stderr
    note = (
        b"art: note: --memory 100M: no control group can be made here, so it holds for each process, "
        b"not for all together\n"
    )
    assert done.stderr.startswith(note)


# --- processes ---------------------------------------------------------------------------------


def test_more_processes_than_allowed_are_not_made(grouped: Limited) -> None:
    done = grouped.art("--pids", "30", "--", *PYTHON, MANY)
    assert 20 < int(done.stdout) < 30
    assert (
        b"art: note: --pids 30: there were as many processes as that, and 1 more could not be made"
        in done.stderr
    )


def test_without_groups_processes_are_limited_by_the_sandbox_alone(ungrouped: Limited) -> None:
    waits = [ungrouped.start("--", "sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do sleep 60 & done; echo; wait")]
    try:
        done = ungrouped.art("--pids", "30", "--", *PYTHON, MANY)
        assert 20 < int(done.stdout) < 30
    finally:
        for process in waits:
            process.kill()
            process.communicate()


BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"


def hold_a_bomb(limited: Limited) -> None:
    """Meanwhile the host does its work: it starts programs, and other sandboxes of the same user."""
    words = ["--pids", "50", "--timeout", "3", "--", "sh", "-c", 'echo; exec "$@"', "sh", *PYTHON, BOMB]
    bomb = limited.start(*words)
    for _ in range(5):
        subprocess.run(["true"], check=True)
        assert limited.art("--", "echo", "fine").stdout == b"fine\n"
    assert bomb.wait(30) == 124
    bomb.communicate()
    assert limited.made() == []


@pytest.mark.slow
def test_a_fork_bomb_is_held_and_ended(grouped: Limited) -> None:
    hold_a_bomb(grouped)


@pytest.mark.slow
def test_a_fork_bomb_is_held_without_groups_too(ungrouped: Limited) -> None:
    hold_a_bomb(ungrouped)


# --- processors --------------------------------------------------------------------------------


def test_processors_are_limited(grouped: Limited) -> None:
    spin = "import os, sys\nprint(flush=True)\nos.fork()\nwhile True: pass\n"
    with grouped.start("--cpus", "0.25", "--", *PYTHON, spin) as process:
        (stat,) = [group / "cpu.stat" for group in grouped.made() if (group / "cpu.stat").exists()]
        deadline = time.monotonic() + 20
        while not (found := re.search(r"^nr_throttled ([1-9]\d*)$", stat.read_text(), re.MULTILINE)):
            assert time.monotonic() < deadline, "the kernel never held it back"
            time.sleep(0.05)
        assert found
        process.kill()


def test_without_groups_a_limit_of_processors_is_refused(ungrouped: Limited) -> None:
    done = ungrouped.art("--cpus", "2", "--", "true")
    assert done.returncode == 125
    assert b"--cpus 2: no control group can be made here, and nothing else holds it" in done.stderr


def test_limits_cannot_be_changed_from_inside(grouped: Limited) -> None:
    """Not even where control groups can be mounted: a nested user namespace may."""
    source = (
        "import ctypes, glob, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "uid = os.getuid()\n"
        "assert libc.unshare(0x10000000 | 0x20000 | 0x2000000) == 0\n"
        "open('/proc/self/uid_map', 'w').write(f'0 {uid} 1')\n"
        "for kind, options in ((b'cgroup2', None), (b'cgroup', b'pids')):\n"
        "    libc.mount(b'none', b'/tmp', kind, 0, options)\n"
        "for top in ('/sys/fs/cgroup', '/tmp'):\n"
        "    for path in glob.glob(f'{top}/**/pids.max', recursive=True):\n"
        "        try: open(path, 'w').write('max')\n"
        "        except OSError: pass\n"
        "made = 0\n"
        "try:\n"
        "    while made < 100:\n"
        "        if os.fork() == 0: os.execvp('sleep', ['sleep', '60'])\n"
        "        made += 1\n"
        "except BlockingIOError: pass\n"
        "print(made)\n"
    )
    done = grouped.art("--nested", "--pids", "30", "--", *PYTHON, source)
    assert done.returncode == 0, done.stderr.decode()
    assert 20 < int(done.stdout) < 30


# --- nothing stays behind ----------------------------------------------------------------------


def test_no_group_stays_behind(grouped: Limited) -> None:
    limits = ("--memory", "200M", "--pids", "100", "--cpus", "2")
    for words, status in ((["true"], 0), (["no-such-program"], 127), (["sh", "-c", "kill -9 $$"], 137)):
        assert grouped.art(*limits, "--", *words).returncode == status
        assert grouped.made() == []
    with grouped.start(*limits, "--", "sh", "-c", "sleep 60 & echo; wait") as process:
        assert len(grouped.made()) == len(grouped.above)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while grouped.made():
        assert time.monotonic() < deadline, grouped.made()
        time.sleep(0.05)


def test_a_group_whose_launcher_was_killed_is_removed_by_the_next_run(grouped: Limited) -> None:
    with grouped.start("--memory", "200M", "--", "sh", "-c", "echo; exec sleep 60") as process:
        left = grouped.made()
        os.kill(int(left[0].name.removeprefix("art-")), signal.SIGKILL)
    assert process.returncode == 125
    assert grouped.made() == left
    deadline = time.monotonic() + 10
    while any((group / cgroups.LEAF / "cgroup.procs").read_text() for group in left):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert grouped.art("--memory", "200M", "--", "true").returncode == 0
    assert grouped.made() == []


# --- disk --------------------------------------------------------------------------------------


def test_a_database_grows_by_no_more_than_allowed(limited: Limited) -> None:
    database = limited.workspace.parent / "home.db"
    script = (
        "head -c 30M /dev/zero >$HOME/big; echo $?; rm $HOME/big; sync $HOME; sleep 0.3\n"
        "head -c 4M /dev/zero >$HOME/small; echo $?\n"
    )
    for _ in range(2):
        done = limited.art("-d", database, "--disk", "16M", "--", "sh", "-c", script)
        assert done.stdout.split() == [b"1", b"0"], done.stderr.decode()
        assert b"No space left on device" in done.stderr
        said = b"art: note: --disk 16M: the database grew by as much as that, and writing failed\n"
        assert done.stderr.endswith(said)
        assert database.stat().st_size < 40 << 20
    done = limited.art("-d", database, "--disk", "16M", "--", "sh", "-c", "head -c 4M /dev/zero >$HOME/small")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_disk_limit_without_a_database_is_refused(limited: Limited) -> None:
    done = limited.art("--disk", "10G", "--", "true")
    assert done.returncode == 2
    assert b"in direct mode the workspace is the host's own; add --db FILE" in done.stderr


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values", "said"),
    [
        ("--memory", ["x", "0", "-1", "4X", "1e9", "4 G", ""], "this is not a size; write 512M, 4G or 1.5G"),
        ("--disk", ["x", "0G", "ten"], "this is not a size; write 512M, 10G or 1.5G"),
        ("--pids", ["0", "1.5", "-3", "many"], "this is not a number of processes; write 512"),
        ("--cpus", ["0", "0.001", "two", "nan", "inf"], "this is not a number of processors; write 2 or 0.5"),
        ("--timeout", ["0", "1w", "1h30m", "-5", "s"], "this is not a time; write 90, 30s, 10m or 1h"),
    ],
)
def test_a_wrong_value_is_a_usage_error(plain: Caller, option: str, values: list[str], said: str) -> None:
    for value in values:
        done = plain.art(f"{option}={value}", "--", "true")
        assert done.returncode == 2
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"art: error: {option}")
        assert said in line or "has an empty value" in line


def test_limits_come_from_the_settings_too(limited: Limited) -> None:
    config = limited.workspace.parent / "config/art/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[limits]\ntimeout = 0.3\ndisk = "10G"\n')
    env = {"XDG_CONFIG_HOME": str(config.parent.parent)}
    art: list[str | Path] = ["-m", limited.workspace, "-i=false"]
    assert limited.caller.art(*art, "--", "sleep", "60", env=env).returncode == 124
    assert limited.caller.art(*art, "--timeout", "1h", "--", "sleep", "1", env=env).returncode == 0
    for text, said in (
        ('timeout = "soon"', "limits.timeout soon: this is not a time"),
        ("pids = true", "limits.pids: must be a text"),
        ("pid = 3", "limits.pid: unknown key; did you mean pids?"),
    ):
        config.write_text(f"[limits]\n{text}\n")
        done = limited.caller.art(*art, "--", "true", env=env)
        assert (done.returncode, said in done.stderr.decode()) == (125, True), done.stderr.decode()
