"""The supervisor's side of the proxy: start its process, hear of refusals, end it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

from art_core.contracts import Reason
from art_core.errors import PluginError
from art_core.gateways import Destination, Refusal
from art_core.host.service import forget, keep_private, start_process
from art_core.loader import channel

LIBRARIES = ("h11", "trio")
_END_S = 2.0
_MESSAGE = 1 << 16


def reasons() -> Sequence[Reason]:
    """Why no proxy can run here."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if not missing:
        return ()
    return [Reason(f"{', '.join(missing)} not installed", channel.cure("library", missing[0]))]


def create() -> Proxy:
    """Raises PluginError with the cure when a library is missing."""
    for reason in reasons():
        raise PluginError(f"--network filtered: {reason.what}: {reason.cure}")
    return Proxy()


class Proxy:
    """See `gateways.Gateway`."""

    def open(
        self, allowed: Sequence[Destination], forwarded: Sequence[int], ids: tuple[int, int] | None
    ) -> ProxyProcess:
        return ProxyProcess(allowed, forwarded, ids)


class ProxyProcess:
    """The proxy of one run. See `gateways.Passage`."""

    def __init__(
        self, allowed: Sequence[Destination], forwarded: Sequence[int], ids: tuple[int, int] | None
    ) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keep_private(self._control)
        self._door, their_door = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, their_door:
            self.pid = start_process("art_proxy.server", theirs.fileno())
            self.door_fd = self._door.fileno()
            self.events_fd = self._control.fileno()
            rules = [(rule.host, rule.subdomains, rule.ports) for rule in allowed]
            order = {"rules": rules, "forwarded": list(forwarded), "ids": ids}
            with suppress(OSError):  # A process that ended at once is seen by the command.
                socket.send_fds(self._control, [json.dumps(order).encode()], [their_door.fileno()])
        self._found: list[Refusal] = []
        self._served = False
        self._more = 0

    def refusals(self) -> Sequence[Refusal]:
        self._read()
        found, self._found = self._found, []
        return found

    def _read(self) -> None:
        """Take what has been told."""
        while self.events_fd >= 0 and select.select([self._control], [], [], 0)[0]:
            try:
                data = self._control.recv(_MESSAGE)
            except OSError:
                data = b""
            if not data:
                self.events_fd = -1
                break
            event = json.loads(data)
            self._served = self._served or "served" in event
            self._more = event.get("more", self._more)
            if "host" in event:
                self._found.append(Refusal(event["host"], event["port"], event["address"]))

    def served(self) -> bool:
        self._read()
        return self._served

    def close(self) -> int:
        if self.pid:
            self._door.close()
            # It tells what is left, and ends.
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
            pidfd = os.pidfd_open(self.pid)
            if not select.select([pidfd], [], [], _END_S)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self._read()
            forget(self._control)
            self._control.close()
        return self._more
