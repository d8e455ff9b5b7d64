"""The tracer: what it needs of this host, its filter, and its run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from art_core.contracts import Child, Reason, TraceRequest
from art_core.errors import ArtError
from art_core.loader import channel

_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_MACHINES = ("x86_64", "aarch64")


class Ptrace:
    """See `contracts.Tracer`."""

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        from art_ptrace.syscalls.filters import program
        from art_ptrace.syscalls.selection import select

        return [program(os.uname().machine, select(request.syscalls))]

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        from art_ptrace.loop import Loop
        from art_ptrace.record.output import Output, RecordFailed
        from art_ptrace.record.writers import load
        from art_ptrace.syscalls.selection import select

        machine, selection, written_by = os.uname().machine, select(request.syscalls), load(request)
        child = spawn()
        output = Output(child.out_fd)
        loop = Loop(child, selection, written_by(output), output, machine)
        try:
            return loop.run()
        except RecordFailed as error:
            child.end()
            raise ArtError(str(error.strerror)) from None


def reasons(yama: str = _YAMA, status: str = "/proc/self/status") -> list[Reason]:
    """Why a sandbox cannot be traced here."""
    found = []
    if find_spec("ptrace") is None:
        found.append(Reason("python-ptrace is not installed", channel.cure("library", "ptrace")))
    machine = os.uname().machine
    if machine not in _MACHINES:
        found.append(Reason(f"the system calls of {machine} are not known", "another machine"))
    try:
        with open(yama) as file:
            scope = int(file.read())
    except (OSError, ValueError):
        scope = 0
    if scope >= 2:
        cure = (
            "sysctl kernel.yama.ptrace_scope=1" if scope == 2 else "restart the machine with ptrace_scope 1"
        )
        found.append(Reason(f"Yama forbids tracing (ptrace_scope is {scope})", cure))
    if _brought_filters(status):
        found.append(
            Reason(
                "ART itself runs under a system call filter, by which calls can be answered unseen",
                "start it without one (docker run --security-opt seccomp=unconfined)",
            )
        )
    return found


def _brought_filters(status: str) -> bool:
    """Whether a filter holds for this process already (proc_pid_status(5))."""
    try:
        with open(status) as file:
            return any(line.startswith("Seccomp:") and int(line.split()[1]) == 2 for line in file)
    except (OSError, ValueError):
        return False


def create() -> Ptrace:
    """Raises ArtError with the cure where nothing can be traced."""
    for reason in reasons():
        raise ArtError(f"--trace: {reason.what}; {reason.cure}")
    return Ptrace()
