"""The process that traces: the parent of the launched one, and a child of the launcher.

It holds nothing but the record, the socket to the launcher and what the tracer opens. When the
launcher ends, however that is, it ends the sandbox and completes the record. When it ends itself the
kernel kills what it traces (PTRACE_O_EXITKILL, ptrace(2)), and the launcher the rest.

On the socket it says the pid of the launched process, waits for a byte, and at the end says its
wait status, or what went wrong. All are marshalled tuples.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from art_core.contracts import Context, Provider, Tracer, TraceRequest
from art_core.order import Socket

PATIENCE_S = 5.0
"""How long a killed sandbox may take to end before the tracer stops waiting for it."""


class Plan(NamedTuple):
    """How a tracing process makes its tracer, in values that marshal(3) knows."""

    module: str
    attribute: str
    provider: str
    settings: dict[str, Any] | None
    """What `Provider.settings` is made of; None when the provider has none."""
    state_dir: str
    cache_dir: str
    uid: int
    gid: int
    request: tuple[Any, ...]
    out: int
    """Place of the descriptor of the record."""


class TracerFailed(NamedTuple):
    """Why a tracer ended before its command; `plugin` when it was no error for the user."""

    message: str
    plugin: bool


class _Forked:
    """See `contracts.Child`."""

    def __init__(self, pid: int, gate: int, connection: Socket) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._gate = gate
        self._connection = connection

    def release(self) -> None:
        os.write(self._gate, b".")
        os.close(self._gate)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def tie(self) -> None:
        """End the sandbox as soon as the launcher is gone; leave it to itself only when it does not end."""
        import _thread

        def watch() -> None:
            with contextlib.suppress(OSError):
                self._connection.recv(1)
            self.end()
            import time

            time.sleep(PATIENCE_S)
            os._exit(1)

        _thread.start_new_thread(watch, ())


def trace(connection: Socket, plan: Plan, out_fd: int, become: Callable[[int, int], NoReturn]) -> NoReturn:
    """Be the tracing process. `become(ready, gate)` is the launched process, in a child of this one: it
    writes to `ready` when it can be seized and reads `gate` before it executes. Never returns."""
    try:
        import sys

        # The other thread only waits for the launcher's end: it need not be asked so often.
        sys.setswitchinterval(1)
        status = _traced(connection, plan, out_fd, become)
        connection.send(marshal.dumps(("ended", status)))
    except BaseException as error:
        with contextlib.suppress(OSError):
            connection.send(marshal.dumps(("failed", *_words(error))))
        if os.environ.get("ART_DEBUG"):
            import traceback

            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _traced(connection: Socket, plan: Plan, out_fd: int, become: Callable[[int, int], NoReturn]) -> int:
    def spawn() -> _Forked:
        ready, ready_child = os.pipe()
        gate_child, gate = os.pipe()
        pid = os.fork()
        if pid == 0:
            connection.close()
            os.close(ready)
            os.close(gate)
            become(ready_child, gate_child)
        child = _Forked(pid, gate, connection)
        os.close(ready_child)
        os.close(gate_child)
        kept = _only(ready, gate, child._pidfd, connection.fileno(), out_fd)
        assert kept
        connection.send(marshal.dumps(("pid", pid)))
        connection.recv(1)
        os.read(ready, 1)  # At its end the child failed, and told the launcher.
        os.close(ready)
        child.tie()
        return child

    tracer = create(plan)
    request = TraceRequest(*plan.request)._replace(out_fd=out_fd)
    return tracer.run(spawn, request)


def _only(*fds: int) -> bool:
    """Close all other descriptors from 3 upwards: the command's streams must end with the command."""
    last = 2
    for fd in sorted(fds):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, 1 << 20)
    return True


def create(plan: Plan) -> Tracer:
    """The tracer of a plan, as `Plugins.create` makes it in another process."""
    import importlib

    found: Any = importlib.import_module(plan.module)
    for attribute in filter(None, plan.attribute.split(".")):
        found = getattr(found, attribute)
    providers: list[Provider[Tracer]] = list(found.art_tracers())
    provider = next(provider for provider in providers if provider.name == plan.provider)
    settings = None
    if provider.settings is not None:
        settings = provider.settings(**(plan.settings or {}))
    return provider.create(Context(settings, plan.state_dir, plan.cache_dir, plan.uid, plan.gid))


def out_copy(fd: int) -> int:
    """A copy of the record's descriptor that no launched process inherits."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _words(error: BaseException) -> tuple[str, bool]:
    from art_core.errors import ArtError

    if isinstance(error, ArtError):
        return str(error), False
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror}", False
    return f"{type(error).__name__}: {' '.join(str(error).split())}", True
