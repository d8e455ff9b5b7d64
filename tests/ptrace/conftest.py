"""A traced run, and the programs that are traced."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Caller, Places, checked, fresh_directory, locked

HERE = Path(__file__).parent


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


@pytest.fixture
def traced(caller: Caller, workspace: Path) -> Tracing:
    """Traced runs of root, then of a plain user."""
    return Tracing(caller, workspace)


@pytest.fixture
def traced_plain(plain: Caller) -> Iterator[Tracing]:
    """Traced runs of a plain user alone."""
    with fresh_directory(plain) as workspace:
        yield Tracing(plain, workspace)


def compiled(places: Places, name: str, *options: str) -> Path:
    """A C program of this folder, built once."""
    program = places.work / name
    with locked(places.install / f"lock-{name}"):
        if not program.exists():
            checked(["gcc", "-O1", "-w", *options, "-o", str(program), str(HERE / f"{name}.c")])
    return program


@pytest.fixture(scope="session")
def exerciser(places: Places) -> Path:
    return compiled(places, "exerciser", "-static", "-pthread")


@pytest.fixture(scope="session")
def escaper(places: Places) -> Path:
    return compiled(places, "escaper", "-static", "-pthread")
