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
    from art_core.order import Socket

_SCM_CREDENTIALS = 2
_LIMIT = 64 * 1024


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
        self._parts[sender] = rest[:_LIMIT]
        return [Report(value, sender) for value in found]


def _whole(text: str) -> tuple[list[dict[str, Any]], str]:
    """The objects at the start of `text`, and what is left of it."""
    found = []
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        try:
            value, end = decoder.raw_decode(text)
        except ValueError:
            break
        text = text[end:]
        if isinstance(value, dict):
            found.append(value)
    return found, text
