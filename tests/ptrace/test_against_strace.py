"""The record, held against strace's own of the same programs."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.traced_runs import Tracing

PROGRAMS = ("files", "failing", "forks", "threads", "network", "system_wide", "signals", "thread_exec")
AGREE = ("openat", "unlink", "rename", "mkdir", "execve", "connect", "clone", "exit", "exit_group")
"""Calls that agree one for one; so do nearly all others."""
OTHERWISE = re.compile(
    r"getrandom\(|readlink\(.*/proc/self/exe|statfs\(|rt_sigreturn\(|prlimit64\("
    r"|futex\(|--- SIGCHLD|<\.\.\. |= \? ERESTARTNOINTR"
)
"""What differs from run to run or in a sandbox (free space, limits, when the end of a child is told, whether
a thread had ended before it was waited for)."""


def comparable(line: str) -> str:
    """A line without its process, its column and what is another number in every run."""
    line = re.sub(r"^[\d/]+ +", "", line)
    line = re.sub(r" += ", " = ", line)
    line = re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", line)
    line = re.sub(r"\d+ vars", "N vars", line)
    line = re.sub(r" <pid changed to \d+ \.\.\.>", ") = 0", line)
    line = re.sub(r"(si_uid|si_pid|si_utime|si_stime)=\d+", r"\1=N", line)
    line = re.sub(r"(ru_[us]time)=\{[^}]*\}", r"\1", line)
    line = re.sub(r"superseded by execve in pid \d+", "superseded", line)
    line = re.sub(r" /\* 1970-[^*]* \*/", "", line)
    line = re.sub(r"(parent_tid=\[|FUTEX_CLOCK_REALTIME, )\d+", r"\1N", line)
    name = line.partition("(")[0]
    if name in ("clone", "fork", "vfork", "wait4", "waitid", "getpid", "gettid", "set_tid_address"):
        line = re.sub(r"= [1-9]\d*$", "= PID", line)
    return re.sub(r"^(wait4|kill|tgkill)\(\d+(, \d+(?=,))?", r"\1(PID", line)


def by_strace(caller: Caller, program: Path, word: str) -> Counter[str]:
    """strace's record, a file for each thread, so that no call is torn apart."""
    place = program.parent
    (place / "strace").mkdir()
    shutil.chown(place / "strace", caller.uid, caller.gid)
    done = caller.run(["strace", "-ff", "-o", place / "strace/t", f"./{program.name}", word], cwd=place)
    assert done.returncode == 3, done.stderr
    return counted(line for log in (place / "strace").iterdir() for line in log.read_text().splitlines())


def counted(lines: object) -> Counter[str]:
    return Counter(comparable(line) for line in lines if not OTHERWISE.search(line))  # type: ignore[attr-defined]


@pytest.fixture
def program(traced: Tracing, exerciser: Path) -> Path:
    copy = traced.workspace / exerciser.name
    shutil.copy(exerciser, copy)
    return copy


@pytest.mark.parametrize("word", PROGRAMS)
def test_the_record_is_what_strace_prints(traced: Tracing, program: Path, word: str) -> None:
    theirs = by_strace(traced.caller, program, word)
    shutil.rmtree(program.parent / "strace")
    ran = traced(f"./{program.name}", word, options=["-c", "plugins.bwrap.set_ids=true"])
    assert ran.done.returncode == 3, ran.done.stderr
    ours = counted(ran.lines)
    assert ours - theirs == Counter()
    assert theirs - ours == Counter()


@pytest.mark.parametrize("word", PROGRAMS)
def test_chosen_calls_are_recorded_as_in_a_whole_record(
    traced_plain: Tracing, exerciser: Path, word: str
) -> None:
    shutil.copy(exerciser, traced_plain.workspace)
    whole = traced_plain(f"./{exerciser.name}", word)
    chosen = traced_plain(f"./{exerciser.name}", word, options=["--trace-syscalls", ",".join(AGREE)])
    wanted = [line for line in whole.lines if line.partition(" ")[2].partition("(")[0] in AGREE]
    found = [line for line in chosen.lines if "(" in line.partition(" ")[2].partition(" ")[0]]
    assert wanted
    assert counted(found) == counted(wanted)
