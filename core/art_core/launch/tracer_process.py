"""The process that traces: the parent of the launched one, and a child of the launcher.

It holds nothing but the record, the socket to the launcher and what the tracer opens. When the
launcher ends, however that is, it ends the sandbox and completes the record. When it ends itself the
kernel kills what it traces (PTRACE_O_EXITKILL, ptrace(2)), and the launcher the rest.

It is started with the launcher, and loads the tracer while the run is still planned. On the socket it
says the pid of the launched process, is told a `Plan`, then how many programs come before the command and,
as a descriptor, where the record goes; at the end it says the wait status, or what went wrong. All are
marshalled.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from art_core.contracts import Context, Provider, Tracer, TraceRequest
from art_core.host.messages import MESSAGE_LIMIT, Socket, receive
from art_core.loader.recipe import Plan

PATIENCE_S = 5.0
"""How long a killed sandbox may take to end before the tracer stops waiting for it."""


class _Forked:
    """See `contracts.Child`."""

    out_fd = -1
    execs = 0

    def __init__(self, connection: Socket, become: Callable[[int, int], NoReturn]) -> None:
        ready, ready_child = os.pipe()
        gate_child, gate = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            connection.close()
            os.close(ready)
            os.close(gate)
            become(ready_child, gate_child)
        self._connection = connection
        self._ready = ready
        self._gate = gate
        self._pidfd = os.pidfd_open(self.pid)
        _close_all_but(ready, gate, self._pidfd, connection.fileno())
        connection.send(marshal.dumps(("pid", self.pid)))

    def arrive(self) -> _Forked:
        """Wait until it has its order and can be seized."""
        ordered = receive(self._connection)
        if ordered is None:
            os._exit(0)
        self.execs = marshal.loads(ordered[0])
        (self.out_fd,) = ordered[1]
        os.read(self._ready, 1)  # At its end the child failed, and told the launcher.
        os.close(self._ready)
        self._tie()
        return self

    def release(self) -> None:
        os.write(self._gate, b".")
        os.close(self._gate)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _tie(self) -> None:
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


def trace(connection: Socket, become: Callable[[int, int], NoReturn]) -> NoReturn:
    """Be the tracing process. `become(ready, gate)` is the launched process, in a child of this one: it
    writes to `ready` when it can be seized and reads `gate` before it executes. Never returns."""
    try:
        import sys

        # The other thread only waits for the launcher's end: it need not be asked so often.
        sys.setswitchinterval(1)
        child = _Forked(connection, become)
        planned = connection.recv(MESSAGE_LIMIT)
        if not planned:
            os._exit(0)
        plan = Plan(*marshal.loads(planned))
        status = create(plan).run(child.arrive, TraceRequest(*plan.request))
        connection.send(marshal.dumps(("ended", status)))
    except BaseException as error:
        with contextlib.suppress(OSError):
            connection.send(marshal.dumps(("failed", *_words(error))))
        if os.environ.get("ART_DEBUG"):
            import traceback

            traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _close_all_but(*fds: int) -> None:
    """Close all other descriptors from 3 upwards: the command's streams must end with the command."""
    last = 2
    for fd in sorted(fds):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, 1 << 20)


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


def _words(error: BaseException) -> tuple[str, bool]:
    from art_core.errors import ArtError

    if isinstance(error, ArtError):
        return str(error), False
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return f"{where}{error.strerror}", False
    return f"{type(error).__name__}: {' '.join(str(error).split())}", True
