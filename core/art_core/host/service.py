"""Processes that serve this one over a socket: how they start, and what they let go of."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from art_core.errors import ArtError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from art_core.host.messages import Socket


def _single_threaded() -> bool:
    """Threads that Python has not made count as well."""
    return len(os.listdir("/proc/self/task")) == 1


_private: list[Socket] = []


def keep_private(connection: Socket) -> None:
    """Close this end in whatever is forked from this process: our helpers end when its last holder does, and
    that is to be this process. `forget` it before it is closed."""
    _private.append(connection)


def forget(connection: Socket) -> None:
    """Idempotent."""
    with contextlib.suppress(ValueError):
        _private.remove(connection)


def _close_private() -> None:
    while _private:
        _private.pop().close()


os.register_at_fork(after_in_child=_close_private)


def start_process(module: str, control: int) -> int:
    """Start a process that calls `serve` of a module with a socket; return its pid.

    It is forked, which costs least; a process with threads must not fork and go on in Python, and
    starts a new interpreter.
    """
    if not _single_threaded():
        return _spawn_fresh(module, control)
    pid = os.fork()
    if pid == 0:
        try:
            import importlib

            importlib.import_module(module).serve(control)
        finally:
            os._exit(1)
    return pid


def detach(control_fd: int) -> None:
    """Leave the caller's session, signals and descriptors: only what comes on `control_fd` ends this
    process. With ART_DEBUG it can still write to standard error."""
    os.setsid()
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    for number in (*ending, signal.SIGWINCH, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1) if os.environ.get("ART_DEBUG") else (0, 1, 2):
        os.dup2(null, stream)
    os.closerange(3, control_fd)
    os.closerange(control_fd + 1, 1 << 20)


def serve_apart(
    control_fd: int,
    work: Callable[[socket.socket], None],
    failed: Callable[[socket.socket, BaseException], None] = lambda control, error: None,
) -> NoReturn:
    """The life of such a process: it detaches, does `work` with its end of the socket and ends, with status 1
    after an error, of which `failed` may tell on the socket. With ART_DEBUG an error that is not for the user
    leaves a traceback. Never returns."""
    import socket

    status = 1
    try:
        detach(control_fd)
        control = socket.socket(fileno=control_fd)
        try:
            work(control)
            status = 0
        except BaseException as error:
            if os.environ.get("ART_DEBUG") and not isinstance(error, ArtError):
                import traceback

                traceback.print_exc()
            failed(control, error)
    finally:
        os._exit(status)


def _spawn_fresh(module: str, control: int) -> int:
    source = "import sys; sys.path[:] = sys.argv[2:]; from importlib import import_module as load; "
    source += "load(sys.argv[1]).serve(3)"
    high = fcntl.fcntl(control, fcntl.F_DUPFD_CLOEXEC, 4)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", source, module, *sys.path],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, high, 3)],
            setsigdef=[signal.SIGPIPE],
        )
    finally:
        os.close(high)


def sealed(content: bytes) -> int:
    """A memfd that holds `content` and can no longer be changed (memfd_create(2))."""
    fd = os.memfd_create("art", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
