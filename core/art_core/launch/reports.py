"""What an isolation reports to the launcher: JSON objects on a socket, and which process said each.

Who said it is the kernel's word (unix(7), SO_PASSCRED): a process inside can speak for itself, never
for the launched process.
"""

from __future__ import annotations

import _socket
import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from art_core.host.messages import Socket

_SCM_CREDENTIALS = 2
_LIMIT = 64 * 1024
_SENDERS_LIMIT = 64
"""Processes whose unfinished objects are kept."""


class Report(NamedTuple):
    """One object, and the pid of the process that reported it."""

    value: dict[str, Any]
    sender: int


class Reports:
    """Reads the objects, which may be spread over messages, each sender's by themselves."""

    def __init__(self, connection: Socket) -> None:
        self._connection = connection
        self._parts: dict[int, str] = {}

    def read(self) -> list[Report] | None:
        """The whole objects that one message completes; None when no more will come. Raises
        BlockingIOError when there is no message."""
        try:
            data, ancillary, _, _ = self._connection.recvmsg(4096, _socket.CMSG_SPACE(12))
        except BlockingIOError:
            raise
        except OSError:
            return None
        if not data:
            return None
        sender = 0
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _SCM_CREDENTIALS:
                sender = struct.unpack("iii", content[:12])[0]
        found, rest = _whole(self._parts.get(sender, "") + data.decode("utf-8", "replace"))
        self._parts.pop(sender, None)
        if rest and len(self._parts) < _SENDERS_LIMIT:
            self._parts[sender] = rest[:_LIMIT]
        return [Report(value, sender) for value in found]


def _whole(text: str) -> tuple[list[dict[str, Any]], str]:
    """The objects at the start of `text`, and what is left of it."""
    found, length = objects(text)
    return found, text[length:]


def objects(text: str) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects at the start of a text that a sandbox may have written, and where they end. Of what
    they hold only texts, truths and whole numbers of 32 bits are kept: whoever reads them hands them on to
    the system."""
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder()
    at = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError:
            return found, at
        except RecursionError:
            return found, len(text)
        if isinstance(value, dict):
            found.append({key: one for key, one in value.items() if _is_plain(one)})


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and -(1 << 31) <= value < 1 << 31)
