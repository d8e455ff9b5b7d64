"""Callers who may make control groups, and callers who may not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from art_core.host import cgroups
from conftest import Caller, Places, fresh_directory, locked


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


@pytest.fixture(params=["root", "plain"])
def grouped(request: pytest.FixtureRequest, places: Places) -> Iterator[Limited]:
    """Root, and a plain user to whom groups were delegated: both may make control groups."""
    if os.geteuid() != 0:
        pytest.fail(
            "this test delegates control groups; run the tests as root: sudo make test", pytrace=False
        )
    found = cgroups.find()
    if not all(found.holds(limit) for limit in cgroups.CONTROLLERS):
        pytest.fail("this test needs control groups for memory, pids and cpu", pytrace=False)
    caller: Caller = request.getfixturevalue(request.param)
    with fresh_directory(caller) as workspace, contextlib.ExitStack() as removing:
        if request.param == "root":
            # Root's groups are made where those of the other workers' root are.
            removing.enter_context(locked(places.install / "groups"))
            yield Limited(caller, workspace, (), [*{Path(above) for above in found.groups.values()}])
            return
        joins, above = [], []
        for directory in sorted(set(found.groups.values())):
            delegated = Path(directory, f"test-{os.getpid()}")
            delegated.mkdir()
            removing.callback(_remove, delegated)
            above.append(delegated)
            joins.append(delegated)
            if found.version == 2:
                Path(directory, "cgroup.subtree_control").write_text("+memory +pids +cpu")
                joins[-1] = delegated / "session"
                joins[-1].mkdir()
                removing.callback(_remove, joins[-1])
            for path in (*delegated.rglob("*"), delegated):
                if path.is_dir() or path.name in ("cgroup.procs", "cgroup.subtree_control"):
                    os.chown(path, caller.uid, caller.gid)
        yield Limited(caller, workspace, joins, above)


def _remove(directory: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            directory.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def ungrouped(plain: Caller) -> Iterator[Limited]:
    """A plain user who may make no control group."""
    with fresh_directory(plain) as workspace:
        yield Limited(plain, workspace, (), ())


@pytest.fixture
def limited(caller: Caller, workspace: Path) -> Limited:
    """Every caller, for limits that need no group."""
    return Limited(caller, workspace, (), ())
