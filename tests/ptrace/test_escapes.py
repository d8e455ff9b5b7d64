"""A program cannot do anything unseen, forge the record or drive a terminal with it."""

from __future__ import annotations

import errno
import json
import platform
import shutil
from pathlib import Path

import pytest

from tests.support.traced_runs import PEAK, Tracing

MODES = {"all": (), "chosen": ("--trace-syscalls", "mkdir,clone")}


def attempt(traced: Tracing, escaper: Path, word: str, *options: str) -> tuple[int, list[str]]:
    """The errno of an attempt, and the lines of the record."""
    shutil.copy(escaper, traced.workspace)
    ran = traced(f"./{escaper.name}", word, options=options)
    assert ran.done.returncode == 0, ran.done.stderr
    return int(ran.done.stdout), ran.lines


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("clone", errno.EPERM),
        ("clone3", errno.ENOSYS),
        ("io_uring", errno.ENOSYS),
        ("listener", errno.EINVAL),
        ("debugger", errno.EPERM),
    ],
)
def test_a_way_out_is_closed(traced_plain: Tracing, escaper: Path, word: str, number: int, mode: str) -> None:
    assert attempt(traced_plain, escaper, word, *MODES[mode])[0] == number
    assert not (traced_plain.workspace / "unseen").exists()


@pytest.mark.parametrize("mode", MODES)
def test_a_filter_of_its_own_hides_nothing(traced_plain: Tracing, escaper: Path, mode: str) -> None:
    _, lines = attempt(traced_plain, escaper, "filter", *MODES[mode])
    assert any('mkdir("/proc/after"' in line for line in lines)


@pytest.mark.parametrize("word", ["int80", "x32"])
@pytest.mark.parametrize("mode", MODES)
def test_calls_of_another_architecture_are_recorded_or_refused(
    traced_plain: Tracing, escaper: Path, word: str, mode: str
) -> None:
    """The base filter refuses them; with `foreign_architectures` they run, and are recorded."""
    number, _ = attempt(traced_plain, escaper, word, *MODES[mode])
    assert number == errno.ENOSYS
    if platform.machine() != "x86_64":
        return
    allowed = ("-c", "plugins.bwrap.foreign_architectures=true", *MODES[mode])
    number, lines = attempt(traced_plain, escaper, word, *allowed)
    made = [line for line in lines if f'mkdir("/proc/by-{word}"' in line]
    assert number == errno.ENOSYS or made, "a kernel without that architecture says so itself"


def test_no_line_can_be_forged_and_no_control_character_passes(traced: Tracing) -> None:
    name = b'x\n1 unlink("passwd") = 0\r\x1b[2J\x9b\xe2\x80\xae\\'
    ran = traced("mkdir", name, options=["--trace-syscalls", "mkdir"])
    assert ran.done.returncode == 0
    (line,) = ran.calls("mkdir")
    assert line.startswith(r'mkdir("x\n1 unlink(\"passwd\") = 0\r\33[2J\233\342\200\256\\"')
    assert ran.record.replace("\n", "").isprintable() and ran.record.isascii()
    assert not any(line.startswith("1 ") for line in ran.lines)


def test_a_hostile_process_name_stays_inside_its_field(traced_plain: Tracing) -> None:
    source = 'import os; open("/proc/self/comm", "w").write("x\\"\\n{}\\x1b"); os.mkdir("d")'
    ran = traced_plain(
        "/usr/bin/python3", "-c", source, options=["--trace-format", "jsonl", "--trace-syscalls", "mkdir"]
    )
    assert ran.done.returncode == 0, ran.done.stderr
    objects = [json.loads(line) for line in ran.lines]
    assert [entry["syscall"] for entry in objects if "syscall" in entry] == ["mkdir"]
    assert ran.record.replace("\n", "").isprintable()


FLOOD = """
import os
name = "x" * 4000
for attempt in range(20000):
    try:
        os.rmdir(name)
    except OSError:
        pass
"""


@pytest.mark.slow
def test_the_record_of_a_flood_stays_out_of_the_tracers_memory(traced_plain: Tracing) -> None:
    """Twenty thousand calls with paths of 4 KB."""
    (traced_plain.workspace / "flood.py").write_text(FLOOD)
    caller = traced_plain.caller
    words: list[str | Path] = [caller.art_program, "-m", traced_plain.workspace, "-i=false"]
    words += ["--trace-log", traced_plain.log, "--", "/usr/bin/python3", "flood.py"]
    done = caller.run(["/usr/bin/python3", "-c", PEAK, *words], timeout=100)
    assert done.returncode == 0, done.stderr
    assert traced_plain.log.stat().st_size > 20000 * 4000
    assert 0 < int(done.stdout) < 80 * 1024
