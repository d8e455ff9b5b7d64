"""What outlives a session of tests: processes, mounts and stubs of sandboxes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.places import TOKEN, Places


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _describe(process: Path) -> str:
    words = (process / "cmdline").read_bytes().split(b"\0")
    return f"process {process.name} ({b' '.join(words).decode(errors='replace').strip()[:200]})"


def processes_of(uid: int) -> dict[int, str]:
    found = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
            if str(uid) in status["Uid"].split() and not status["State"].startswith("Z"):
                found[int(process.name)] = _describe(process)
    return found


def _processes_with(places: Places) -> dict[int, str]:
    """Processes that carry the session's token, or see one of its workspaces mounted."""
    token = f"{TOKEN}={places.token}".encode()
    mounted = f"{places.work}/".encode()
    found = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            if int(process.name) == os.getpid():
                continue
            environ = (process / "environ").read_bytes().split(b"\0")
            if token in environ or mounted in (process / "mountinfo").read_bytes():
                found[int(process.name)] = _describe(process)
    return found


GUEST_ONLY = [Path(path) for path in ("/home/agent", "/run/art", "/opt/mydata")]
"""Paths that exist inside sandboxes of the tests and must never appear on the host."""


def leftovers(places: Places) -> list[str]:
    deadline = time.monotonic() + 3
    while (processes := _processes_with(places)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [*processes.values(), *(line for line in mounts if f"{places.work}/" in line)]
