"""SOCKS5, the server's side: CONNECT to a name or an address, without a password (RFC 1928).

It is a few fixed bytes, and the libraries of the field parse the client's side of them.
"""

from __future__ import annotations

import ipaddress
import socket

from art_proxy.dialer import Dialer, Unreachable
from art_proxy.relay import receive, send_all

VERSION = b"\x05"
_NO_PASSWORD, _NOTHING_ACCEPTABLE = b"\x00", b"\xff"
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DONE, _REFUSED, _UNKNOWN, _UNANSWERED, _NO_SUCH_COMMAND, _NO_SUCH_ADDRESS = 0, 2, 4, 5, 7, 8
_REPLIES = {"refused": _REFUSED, "unknown": _UNKNOWN, "unanswered": _UNANSWERED}


class Malformed(Exception):
    """What came is no SOCKS5."""


class _Reader:
    """Exact numbers of bytes of a connection."""

    def __init__(self, connection: socket.socket, begun: bytes) -> None:
        self._connection = connection
        self.rest = begun

    async def exactly(self, count: int) -> bytes:
        while len(self.rest) < count:
            data = await receive(self._connection, 4096)
            if not data:
                raise Malformed
            self.rest += data
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


async def serve(client: socket.socket, begun: bytes, dialer: Dialer) -> tuple[socket.socket, bytes] | None:
    """Answer a client whose first bytes are `begun`; the connection it asked for, with what it already
    sent into it. None when there is none. Raises Malformed."""
    reader = _Reader(client, begun)
    _, count = await reader.exactly(2)
    if 0 not in await reader.exactly(count):
        await send_all(client, VERSION + _NOTHING_ACCEPTABLE)
        return None
    await send_all(client, VERSION + _NO_PASSWORD)
    version, command, _, kind = await reader.exactly(4)
    if version != VERSION[0]:
        raise Malformed
    if kind not in (_IPV4, _NAME, _IPV6):
        await send_all(client, _reply(_NO_SUCH_ADDRESS))
        return None
    if kind == _NAME:
        length = (await reader.exactly(1))[0]
        host = (await reader.exactly(length)).decode("utf-8", "backslashreplace")
    else:
        packed = await reader.exactly(4 if kind == _IPV4 else 16)
        host = str(ipaddress.ip_address(packed))
    port = int.from_bytes(await reader.exactly(2), "big")
    if command != _CONNECT:  # BIND, and UDP ASSOCIATE: datagrams are not passed on.
        await send_all(client, _reply(_NO_SUCH_COMMAND))
        return None
    try:
        connection = await dialer.connect(host, port)
    except Unreachable as error:
        await send_all(client, _reply(_REPLIES[error.why]))
        return None
    await send_all(client, _reply(_DONE))
    return connection, reader.rest


def _reply(code: int) -> bytes:
    return VERSION + bytes((code, 0, _IPV4)) + bytes(6)
