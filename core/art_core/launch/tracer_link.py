"""The launcher's end of a run that is traced: it meets the tracing process
(`art_core.launch.tracer_process`), and learns from it how the launched one ended."""

from __future__ import annotations

import _socket
import contextlib
import marshal
import os
import signal
from typing import Any

from art_core.host.messages import Socket, send


class TracerLink:
    """A tracing process, at the launcher's end of the socket to it."""

    def __init__(self, channel: Socket) -> None:
        self._channel = channel
        self.failure: tuple[str, bool] | None = None
        """Why the tracer ended before its command, and whether its plugin failed."""

    def prepare(self, plan: bytes) -> None:
        """Say how to trace, a marshalled `recipe.Plan`."""
        with contextlib.suppress(OSError):
            self._channel.send(plan)

    def abandon(self) -> None:
        """Nothing more will be said."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(_socket.SHUT_WR)

    def meet(self) -> tuple[int, int] | None:
        """The pid of the launched process, and a pidfd: it waits for `go`. None when there is none."""
        kind, *rest = self._message()
        if kind != "pid":
            self._note(kind, rest)
            return None
        return rest[0], os.pidfd_open(rest[0])

    def go(self, execs: int, record: int) -> None:
        """The launched process gets its order now; its record goes to the descriptor."""
        with contextlib.suppress(OSError):
            send(self._channel, marshal.dumps(execs), [record])

    def status(self) -> int:
        """The launched process's wait status; SIGKILL's when the tracer failed."""
        kind, *rest = self._message()
        if kind == "ended" and isinstance(rest[0], int):
            return rest[0]
        self._note(kind, rest)
        return int(signal.SIGKILL)

    def _note(self, kind: str, rest: list[Any]) -> None:
        if self.failure is None:
            self.failure = (rest[0], rest[1]) if kind == "failed" else ("the tracer was killed", False)

    def _message(self) -> list[Any]:
        """What the process says; `["gone"]` when it says nothing any more."""
        try:
            data = self._channel.recv(1 << 16)
        except OSError:
            data = b""
        return list(marshal.loads(data)) if data else ["gone"]
