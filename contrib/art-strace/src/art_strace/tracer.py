"""The tracer: strace(1), attached to the process that waits to become the sandbox."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress

from art_core.contracts import Child, Reason, TraceRequest
from art_core.errors import ArtError
from art_strace import calls, filters
from art_strace.lines import Lines

INSTALL = "apt install strace (dnf, pacman, apk: the same name)"
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_SETPRIV = "/usr/bin/setpriv"
_CHUNK = 1 << 16


class Strace:
    """See `contracts.Tracer`."""

    def __init__(self, program: str) -> None:
        self._program = program

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        calls.check(request.syscalls)
        return [filters.program()]

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        child = spawn()
        lines = Lines(child.execs, calls.execs_wanted(request.syscalls))
        record, messages = _start(self._program, child.pid, calls.for_strace(request.syscalls))
        said = _attached(messages)
        if said is not None:
            child.end()
            raise ArtError(f"{self._program} could not attach: {said}")
        child.release()
        failure: OSError | None = None
        waiting = select.poll()
        waiting.register(record, select.POLLIN)
        waiting.register(messages, select.POLLIN)
        rest = b""
        ended = False
        while not ended:
            for fd, _ in waiting.poll():
                content = os.read(fd, _CHUNK)
                if fd == messages:
                    if not content:  # It tells of every thread it attaches to; nobody asked.
                        waiting.unregister(fd)
                    continue
                ended = not content
                *whole, rest = (rest + content).split(b"\n")
                if failure is None:
                    failure = _written(child.out_fd, lines, whole)
                    if failure is not None:
                        child.end()
        # Had strace died, the sandbox would go on; when all has ended this does nothing.
        child.end()
        _, status = os.waitpid(child.pid, 0)
        if failure is not None:
            raise ArtError(f"the trace log cannot be written: {failure.strerror}")
        return status


def _start(program: str, pid: int, traced: str) -> tuple[int, int]:
    """Start strace on a process; where its record and its messages can be read.

    It is killed when this process dies: told by SIGPIPE that nobody reads any more, it would wait for
    the first process of a sandbox that cannot end before its others are let go.
    """
    record, record_end = os.pipe()
    messages, messages_end = os.pipe()
    argv = [_SETPRIV, "--pdeathsig", "KILL", program, "-f", "-p", str(pid)]
    argv += ["-o", "/dev/fd/3", "-e", f"trace={traced}"]
    actions = [(os.POSIX_SPAWN_DUP2, record_end, 3), (os.POSIX_SPAWN_DUP2, messages_end, 2)]
    os.posix_spawn(_SETPRIV, argv, {}, file_actions=actions)
    os.close(record_end)
    os.close(messages_end)
    return record, messages


def _attached(messages: int) -> str | None:
    """Wait until strace is attached; what it says instead when it fails."""
    said = b""
    while content := os.read(messages, _CHUNK):
        said += content
        if b" attached\n" in said:
            return None
    return " ".join(said.decode(errors="replace").removeprefix("strace: ").split())


def _written(fd: int, lines: Lines, whole: list[bytes]) -> OSError | None:
    """Put what these lines of strace's come to into the record; why that failed."""
    told = [text for line in whole for text in lines.take(line.decode("ascii", "backslashreplace"))]
    content = memoryview("".join(f"{text}\n" for text in told).encode())
    try:
        while content:
            content = content[os.write(fd, content) :]
    except OSError as error:
        return error
    return None


def find(program: str) -> str | None:
    """The strace of the settings, or of PATH."""
    return shutil.which(program or "strace", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")


def reasons(program: str) -> list[Reason]:
    """Why a sandbox cannot be traced here."""
    found = []
    if find(program) is None:
        found.append(Reason(f"there is no {program}" if program else "strace is not installed", INSTALL))
    if not os.access(_SETPRIV, os.X_OK):
        found.append(Reason(f"there is no {_SETPRIV}", "apt install util-linux"))
    if os.uname().machine not in ("x86_64", "aarch64"):
        found.append(
            Reason(f"the ways out of a trace on {os.uname().machine} are not known", "another machine")
        )
    scope = "0"
    with suppress(OSError), open(_YAMA) as file:
        scope = file.read().strip()
    if scope in ("2", "3"):
        found.append(
            Reason(f"Yama forbids tracing ({_YAMA} is {scope})", "sysctl kernel.yama.ptrace_scope=1")
        )
    return found


def create(program: str) -> Strace:
    """Raises ArtError with the cure where nothing can be traced."""
    for reason in reasons(program):
        raise ArtError(f"--tracer strace: {reason.what}; {reason.cure}")
    found = find(program)
    assert found is not None
    return Strace(found)
