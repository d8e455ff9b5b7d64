"""The process that serves a mounted home, and its supervisor's side."""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import trio

from art_core.errors import StoreError
from art_core.host.service import detach, start_process
from art_fusefs.connection import Connection
from art_fusefs.operations import Operations
from art_jar.backend import JarBackend

_LIMIT = 1 << 16


def serve(control_fd: int) -> NoReturn:
    """What `start_process` calls. The end of the socket is the end of the home."""
    try:
        detach(control_fd)
        trio.run(_serve, socket.socket(fileno=control_fd))
    finally:
        os._exit(0)


async def _serve(control: socket.socket) -> None:
    wish, (fuse_fd,), _, _ = socket.recv_fds(control, _LIMIT, 1)
    try:
        backend = pickle.loads(wish)()  # From the process that started this one.
    except (StoreError, OSError) as error:
        control.send(json.dumps({"failed": str(error)}).encode())
        return
    connection = Connection(fuse_fd)
    control.send(b"{}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve, Operations(backend))
        asked = "begin"
        while asked != "end":
            await trio.lowlevel.wait_readable(control)
            said = control.recv(_LIMIT)
            asked = json.loads(said)["ask"] if said else "end"
            answer = {}
            if asked in ("commit", "end"):
                try:
                    backend.save(ending=asked == "end")
                except OSError as error:
                    answer["failed"] = f"not everything reached the jar: {error.strerror}"
            if said:
                control.send(json.dumps(answer).encode())
        nursery.cancel_scope.cancel()
    connection.close()


class Server:
    """See `contracts.Worker`. `make` makes the backend, in the other process; `fuse_fd` is what it serves."""

    def __init__(self, make: Callable[[], JarBackend], fuse_fd: int) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._pid = start_process(__name__, theirs.fileno())
        self.pidfd = os.pidfd_open(self._pid)
        try:
            socket.send_fds(self._control, [pickle.dumps(make)], [fuse_fd])
            self._answer(30.0)
        except BaseException:
            self._forget()
            raise

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        try:
            self._control.send(json.dumps(request).encode())
        except OSError:
            raise StoreError(_KILLED) from None
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> Mapping[str, object]:
        self._control.settimeout(timeout_s)
        try:
            said = self._control.recv(_LIMIT)
        except OSError:
            said = b""
        if not said:
            raise StoreError(_KILLED)
        answer: dict[str, Any] = json.loads(said)
        if "failed" in answer:
            raise StoreError(str(answer["failed"]))
        return answer

    def kill(self) -> None:
        os.kill(self._pid, 9)

    def close(self) -> None:
        """Keep everything. Raises StoreError when something was lost."""
        try:
            self.ask({"ask": "end"}, 60.0)
        finally:
            self._forget()

    def _forget(self) -> None:
        self._control.close()
        os.waitpid(self._pid, 0)
        os.close(self.pidfd)


_KILLED = "the process that serves the home was killed; what was done since the last sync is lost"
