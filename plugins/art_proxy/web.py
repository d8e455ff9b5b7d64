"""HTTP/1.1 as a proxy speaks it (RFC 9110 7.6, 9.3.6; RFC 9112 3.2.2), parsed and written by h11.

CONNECT makes a tunnel. A request with an absolute `http:` target is written anew for its server,
with the one Host that its target says, and the answer is passed on as it comes. A connection
carries one request, so nothing can hide behind the first.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import h11
import trio

from art_proxy.dialer import Dialer, Unreachable
from art_proxy.relay import one_way, receive, send_all

_LIMIT = 1 << 16
"""The most that a request's head may have, in bytes."""
_LINGER_S = 2.0
_HOP_BY_HOP = {
    *(b"connection", b"proxy-connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
    *(b"te", b"trailer", b"upgrade"),
}
_STATUS = {"refused": 403, "unknown": 502, "unanswered": 502}


class _Refused(Exception):
    """The request is answered with a status and a line, and nothing else."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Exchange:
    """One request of a client."""

    def __init__(self, client: socket.socket, dialer: Dialer) -> None:
        self._client = client
        self._dialer = dialer
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_LIMIT)

    async def serve(self, begun: bytes, met: Callable[[], None]) -> tuple[socket.socket, bytes] | None:
        """Answer a client whose first bytes are `begun`. The tunnel it asked for, with what it already
        sent into it; None when all was done. `met` is called when its request is known."""
        try:
            self._parser.receive_data(begun)
            request = await self._event()
            if not isinstance(request, h11.Request):
                return None
            if request.method == b"CONNECT":
                connection = await self._connect(*_authority(request.target, None))
                met()
                await self._send(h11.Response(status_code=200, reason=b"Connected", headers=[]))
                return connection, self._parser.trailing_data[0]
            await self._pass_on(request, met)
        except h11.RemoteProtocolError as error:
            await self._answer(error.error_status_hint, str(error))
        except _Refused as refused:
            await self._answer(refused.status, str(refused))
        return None

    async def _event(self) -> Any:
        while (event := self._parser.next_event()) is h11.NEED_DATA:
            self._parser.receive_data(await receive(self._client, _LIMIT))
        return event

    async def _send(self, event: Any) -> None:
        data = self._parser.send(event)
        if data:
            await send_all(self._client, data)

    async def _answer(self, status: int, text: str) -> None:
        if self._parser.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"art: {text}\n".encode("ascii", "backslashreplace")
        headers = [
            ("content-type", "text/plain"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        await self._send(h11.Response(status_code=status, reason=b"Refused", headers=headers))
        await self._send(h11.Data(data=body))
        await self._send(h11.EndOfMessage())
        # What the client still sends is read: closed at once, the connection would be reset under the answer.
        self._client.shutdown(socket.SHUT_WR)
        with trio.move_on_after(_LINGER_S):
            while await receive(self._client, _LIMIT):
                pass

    async def _connect(self, host: str, port: int) -> socket.socket:
        try:
            return await self._dialer.connect(host, port)
        except Unreachable as error:
            raise _Refused(_STATUS[error.why], str(error)) from None

    async def _pass_on(self, request: Any, met: Callable[[], None]) -> None:
        host, port, authority, path = _destination(request)
        connection = await self._connect(host, port)
        met()
        server = h11.Connection(h11.CLIENT)
        head = h11.Request(method=request.method, target=path, headers=_headers(request, authority))
        try:
            await send_all(connection, server.send(head) or b"")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_body, connection, server, nursery.cancel_scope)
                await one_way(connection, self._client, nursery.cancel_scope)
                nursery.cancel_scope.cancel()
        finally:
            connection.close()

    async def _send_body(self, connection: socket.socket, server: Any, running: trio.CancelScope) -> None:
        try:
            while True:
                event = await self._event()
                if not isinstance(event, h11.Data | h11.EndOfMessage):
                    break
                if data := server.send(event):
                    await send_all(connection, data)
                if isinstance(event, h11.EndOfMessage):
                    return
        except (OSError, h11.ProtocolError):
            pass
        running.cancel()


def _authority(text: bytes, otherwise: int | None) -> tuple[str, int]:
    """Host and port of `host:port`. Raises _Refused."""
    try:
        parts = urlsplit(b"//" + text)
        host = (parts.hostname or b"").decode("ascii")
        port = parts.port or otherwise
    except ValueError:
        host, port = "", None
    if not host or port is None or b"@" in text or b"/" in text:
        raise _Refused(400, "the target of the request is no host and port")
    return host, port


def _destination(request: Any) -> tuple[str, int, bytes, bytes]:
    """Host, port, Host header and path of a request to a proxy. Raises _Refused."""
    scheme, separator, rest = request.target.partition(b"://")
    if not separator or scheme.lower() != b"http":
        raise _Refused(400, "this is a proxy: the target of a request is http://HOST/..., or CONNECT is used")
    cut = min((at for mark in (b"/", b"?") if (at := rest.find(mark)) >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    host, port = _authority(authority, 80)
    for name, value in request.headers:
        if name == b"host" and value and _authority(value, 80) != (host, port):
            raise _Refused(400, "the Host of the request is not that of its target")
    if not path.startswith(b"/"):
        path = b"/" + path
    return host, port, authority, path


def _headers(request: Any, authority: bytes) -> list[tuple[bytes, bytes]]:
    """The headers for the server: one Host, nothing that is between the client and us alone."""
    named = {
        name.strip().lower()
        for header, value in request.headers
        if header == b"connection"
        for name in value.split(b",")
    }
    dropped = (named | _HOP_BY_HOP | {b"host"}) - {b"content-length", b"transfer-encoding"}
    kept = [(name, value) for name, value in request.headers if name not in dropped]
    return [(b"host", authority), *kept, (b"connection", b"close")]
