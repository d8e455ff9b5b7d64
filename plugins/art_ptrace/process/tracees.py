"""The processes and threads that are traced."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Sequence

from art_ptrace.syscalls.calls import Call, Found

Attempt = tuple[Call, Sequence[int], Found | None, int, int]
"""A call that ended: what it was, its values, what was fetched, its result, and when it began."""


class TracedProcess:
    """What the threads of a process share: its memory and its name."""

    __slots__ = ("_memory", "comm", "inside", "pid", "threads")

    def __init__(self, pid: int, inside: int, comm: str) -> None:
        self.pid = pid
        self.inside = inside
        self.comm = comm
        self.threads = 0
        self._memory = -1

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of its memory, fewer or none where that cannot be read (proc(5))."""
        try:
            if self._memory < 0:
                self._memory = _open_memory(self.pid)
                _open.add(self)
            return os.pread(self._memory, size, address)
        except (OSError, OverflowError):
            return b""

    def executed(self) -> None:
        """It has other memory now, and another name."""
        self.close()
        self.comm = _status(self.pid).get("Name", "")

    def close(self) -> None:
        if self._memory >= 0:
            _open.discard(self)
            os.close(self._memory)
            self._memory = -1


_open: set[TracedProcess] = set()


def _open_memory(pid: int) -> int:
    path = f"/proc/{pid}/mem"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        if not _open:
            raise
        # Perhaps there are too many; those that are needed will be opened again.
        for process in list(_open):
            process.close()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return fd


class Tracee:
    """One thread. `call` is the system call that it is in, with its `values` and what was `found` in
    memory at its `began` (ns); `attempts` are execs that failed before the command began."""

    __slots__ = (
        "attempts",
        "began",
        "call",
        "found",
        "inside",
        "parent",
        "prefix",
        "process",
        "read",
        "recorded",
        "tid",
        "values",
    )

    def __init__(self, tid: int, inside: int, process: TracedProcess, *, recorded: bool, parent: int) -> None:
        self.tid = tid
        self.inside = inside
        self.process = process
        self.read = process.read
        self.recorded = recorded
        self.parent = parent
        self.prefix = prefix(tid, inside)
        self.call: Call | None = None
        self.values: Sequence[int] = ()
        self.found: Found | None = None
        self.began = 0
        self.attempts: list[Attempt] = []

    def becomes(self, tid: int) -> None:
        """A thread that executes gets the process's own id (ptrace(2), "execve(2) under ptrace")."""
        self.tid = tid
        self.inside = _inside(_status(tid), tid)
        self.prefix = prefix(tid, self.inside)


def prefix(tid: int, inside: int) -> str:
    """How a line begins: the host's id, and the sandbox's where it is another."""
    return f"{tid}/{inside} " if inside != tid else f"{tid} "


class Tracees:
    """All threads that are alive, by id."""

    def __init__(self) -> None:
        self.by_tid: dict[int, Tracee] = {}
        self._processes: dict[int, TracedProcess] = {}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))

    def add(self, tid: int, *, recorded: bool) -> Tracee:
        """A thread that is met for the first time."""
        status = _status(tid)
        pid = int(status.get("Tgid", tid))
        process = self._processes.get(pid)
        if process is None:
            process = self._processes[pid] = TracedProcess(
                pid, int(status.get("NStgid", str(pid)).split()[-1]), status.get("Name", "")
            )
        process.threads += 1
        tracee = self.by_tid[tid] = Tracee(
            tid, _inside(status, tid), process, recorded=recorded, parent=int(status.get("PPid", 0))
        )
        return tracee

    def remove(self, tracee: Tracee) -> None:
        self.by_tid.pop(tracee.tid, None)
        process = tracee.process
        process.threads -= 1
        if process.threads <= 0:
            process.close()
            self._processes.pop(process.pid, None)

    def execute(self, tid: int, former: int) -> tuple[Tracee, Tracee | None]:
        """The thread `former` has executed and is `tid` now; the one that was called so, if it is another."""
        superseded = self.by_tid.get(tid) if former != tid else None
        tracee = self.by_tid.pop(former, None)
        if tracee is None:
            tracee = superseded or self.add(tid, recorded=False)
            superseded = None
        elif former != tid:
            tracee.becomes(tid)
            if superseded is not None:
                superseded.process.threads -= 1
        self.by_tid[tid] = tracee
        tracee.process.executed()
        return tracee, superseded


def _status(tid: int) -> dict[str, str]:
    """The fields of /proc/TID/status; empty when it is gone."""
    try:
        with open(f"/proc/{tid}/status", encoding="utf-8", errors="surrogateescape") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def _inside(status: dict[str, str], tid: int) -> int:
    """The id in the innermost pid namespace."""
    return int(status.get("NSpid", str(tid)).split()[-1])
