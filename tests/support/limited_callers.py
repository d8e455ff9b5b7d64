"""Callers who run sandboxes with limits."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.callers import Caller


@dataclass(frozen=True)
class Limited:
    """Somebody who runs sandboxes with limits; `joins` are groups that a process of theirs starts in, and
    `above` the directories in which ART makes its own."""

    caller: Caller
    workspace: Path
    joins: Sequence[Path]
    above: Sequence[Path]

    def argv(self, *words: str | Path) -> list[str]:
        art = self.caller.command([self.caller.art_program, "-m", self.workspace, "-i=false", *words])
        join = (
            'for group; do [ "$group" = -- ] && break; echo $$ >"$group/cgroup.procs" || exit 99; shift; done'
        )
        return ["sh", "-c", f'{join}; shift; exec "$@"', "sh", *map(str, self.joins), "--", *art]

    def art(self, *words: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run `art` with these words after `-m` and `-i=false`."""
        return subprocess.run(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            cwd=self.caller.place,
        )

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start `art`, and return when its command printed a line."""
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        process = subprocess.Popen(self.argv(*words), cwd=self.caller.place, **pipes)
        assert process.stdout is not None
        assert process.stdout.readline(), process.stderr.read() if process.stderr else b""
        return process

    def made(self) -> list[Path]:
        """The groups of ART's that are there."""
        return [found for above in self.above for found in above.glob("art-*") if found.name[4:].isdigit()]


def remove_group(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            directory.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
