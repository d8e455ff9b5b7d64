"""Traced runs, their records, and the programs that are traced."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.callers import Caller
from tests.support.installed_copies import checked
from tests.support.places import Places, locked

PROGRAMS = Path(__file__).parent / "traced_programs"


@dataclass(frozen=True)
class Traced:
    """How a traced command ended, and its record."""

    done: subprocess.CompletedProcess[bytes]
    record: str

    @property
    def lines(self) -> list[str]:
        return self.record.splitlines()

    def calls(self, name: str) -> list[str]:
        """The lines of one call, without the ids in front."""
        return [rest for line in self.lines if (rest := line.partition(" ")[2]).startswith(f"{name}(")]


@dataclass(frozen=True)
class Tracing:
    """Traces commands of one caller in one workspace."""

    caller: Caller
    workspace: Path

    @property
    def log(self) -> Path:
        return self.workspace.parent / "trace.log"

    def __call__(
        self, *command: str | bytes | Path, options: Sequence[str | Path] = (), input: bytes | None = None
    ) -> Traced:
        self.log.unlink(missing_ok=True)
        words: list[str | bytes | Path] = ["-m", self.workspace, "-i=false", "--trace-log", self.log]
        done = self.caller.art(*words, *options, "--", *command, input=input)
        return Traced(done, self.log.read_text() if self.log.exists() else "")


def compiled(places: Places, name: str, *options: str) -> Path:
    """A C program of `traced_programs`, built once."""
    program = places.work / name
    with locked(places.install / f"lock-{name}"):
        if not program.exists():
            checked(["gcc", "-O1", "-w", *options, "-o", str(program), str(PROGRAMS / f"{name}.c")])
    return program


PEAK = """
import pathlib, subprocess, sys, time

def below(pid):
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [int(child) for child in children]

process, peak = subprocess.Popen(sys.argv[1:]), 0
while process.poll() is None:
    for tracer in [tracer for launcher in below(process.pid) for tracer in below(launcher)]:
        try:
            status = pathlib.Path(f"/proc/{tracer}/status").read_text()
        except OSError:
            continue
        peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)
    time.sleep(0.05)
print(peak)
"""
"""Runs ART, and prints the most memory, in KiB, that its tracer ever had."""


def settled(log: Path) -> bytes:
    """The log, once nobody writes to it any more."""
    before, deadline = b"?", time.monotonic() + 20
    while (now := log.read_bytes()) != before and time.monotonic() < deadline:
        before = now
        time.sleep(0.5)
    return now


def gone(pid: int) -> bool:
    """Whether a process has ended, though nobody may have waited for it yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
