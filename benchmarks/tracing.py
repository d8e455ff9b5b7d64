"""What a trace costs: `art --trace-log` against `strace -f -o`, of the same commands in turn.

    python benchmarks/tracing.py [--pairs 5] [--art PROGRAM] [--only WORD] [--one-processor]

Each row is the ratio of two medians. The whole of a run counts, ART's start and sandbox too; where a row
says "after start-up", what tracing `true` takes is subtracted on both sides.

A tracer and what it traces never run at once. Whether the scheduler leaves them on one processor or on two
changes what a call costs by up to ten times, for either tracer and by chance; with `--one-processor` it has
no choice, and the ratio is that of the tracers.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from typing import NamedTuple

from installed import install

OPENS = "import os\nfor _ in range(20000): os.close(os.open('/usr/bin/env', os.O_RDONLY))"
COMMANDS: dict[str, list[str]] = {
    "true": ["true"],
    "dd": ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=20000", "status=none"],
    "find": ["find", "/usr/lib"],
    "git": ["git", "clone", "--quiet", "origin", "copy"],
    "python": ["sh", "-c", 'i=0; while [ $i -lt 20 ]; do /usr/bin/python3 -c ""; i=$((i+1)); done'],
    "opens": ["/usr/bin/python3", "-S", "-c", OPENS],
}
OPENAT = ["--seccomp-bpf", "-e", "trace=openat"]


class Row(NamedTuple):
    """A command, what ART and strace are told to record of it, and the bound on the ratio."""

    command: str
    ours: Sequence[str]
    theirs: Sequence[str]
    bound: float
    after_start: bool = False

    @property
    def title(self) -> str:
        ours = " ".join(self.ours[1:]) or "all"
        theirs = " ".join(self.theirs) or "all"
        recorded = "all calls" if ours == theirs else f"{ours} against {theirs}"
        return f"{self.command}: {recorded}{', after start-up' if self.after_start else ''}"


ROWS = [
    *(Row(command, (), (), 1.4) for command in ("dd", "find", "git", "python")),
    *(
        Row(command, ("--trace-syscalls", "openat"), OPENAT, 1.5, after_start=True)
        for command in ("find", "opens")
    ),
    Row("find", ("--trace-syscalls", "agent"), (), 0.1),
]


class Runs:
    """Runs commands in one workspace, traced by either."""

    def __init__(self, art: str, place: str) -> None:
        self._art = art
        self.workspace = f"{place}/ws"
        self._log = f"{place}/trace.log"

    def art(self, command: str, options: Sequence[str]) -> float:
        return self._seconds(
            [self._art, "-i=false", "--trace-log", self._log, *options, "--", *COMMANDS[command]]
        )

    def strace(self, command: str, options: Sequence[str]) -> float:
        return self._seconds(["strace", "-f", "-o", self._log, *options, *COMMANDS[command]])

    def _seconds(self, argv: Sequence[str]) -> float:
        for path in (self._log, f"{self.workspace}/copy"):
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.unlink(path)
        begin = time.perf_counter()
        null = subprocess.DEVNULL
        done = subprocess.run(argv, cwd=self.workspace, stdin=null, stdout=null, stderr=subprocess.PIPE)
        seconds = time.perf_counter() - begin
        if done.returncode or not os.path.getsize(self._log):
            sys.exit(f"{' '.join(argv)} ended with {done.returncode}: {os.fsdecode(done.stderr)}")
        return seconds


def pairs(count: int, first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """The medians of two that take turns; the first pair fills caches and does not count."""
    taken = [(first(), second()) for _ in range(count + 1)][1:]
    return statistics.median(one for one, _ in taken), statistics.median(other for _, other in taken)


def measure(runs: Runs, row: Row, count: int) -> bool:
    ours, theirs = pairs(
        count, lambda: runs.art(row.command, row.ours), lambda: runs.strace(row.command, row.theirs)
    )
    if row.after_start:
        our_start, their_start = pairs(
            count, lambda: runs.art("true", row.ours), lambda: runs.strace("true", row.theirs)
        )
        ours, theirs = ours - our_start, theirs - their_start
    ratio = ours / theirs
    verdict = "" if ratio <= row.bound else "   MISSED"
    figures = f"art {ours * 1000:7.0f} ms, strace {theirs * 1000:7.0f} ms"
    print(f"{row.title:73s} {figures}, ratio {ratio:5.2f} (at most {row.bound:g}){verdict}", flush=True)
    return ratio <= row.bound


def make_repository(path: str, files: int = 1000) -> None:
    for number in range(files):
        directory = f"{path}/{number // 50}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/{number}.txt", "w") as file:
            file.write(f"line {number}\n" * 40)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-C", path]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "files"]):
        subprocess.run([*git, *words], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--art", help="an installed art; without it the tree's wheel is installed")
    parser.add_argument("--only", default="", help="measure the rows whose title holds this")
    parser.add_argument("--one-processor", action="store_true", help="give either just one processor")
    options = parser.parse_args()
    if options.one_processor:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    version = subprocess.run(["strace", "-V"], capture_output=True, text=True).stdout.splitlines()[0]
    with TemporaryDirectory(prefix="art-bench-", dir="/var/tmp") as place:
        art = options.art or install(f"{place}/venv", "trace")
        runs = Runs(art, place)
        make_repository(f"{runs.workspace}/origin")
        print(f"{version}, Python {platform.python_version()}, Linux {platform.release()}, uid {os.getuid()}")
        print(f"medians of {options.pairs} pairs, in turn, on {len(os.sched_getaffinity(0))} processors")
        held = [measure(runs, row, options.pairs) for row in ROWS if options.only in row.title]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
