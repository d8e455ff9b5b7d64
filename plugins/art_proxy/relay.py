"""Sockets in trio, and moving bytes between two of them, both ways, until both are done.

They are copied, in large pieces: splice(2) saves half of the copies, but hands out pages that are in no
processor's cache, and was slower where two processors have to do for server, proxy and client.
"""

from __future__ import annotations

import socket

import trio

_SMALL, _LARGE = 1 << 16, 1 << 20
"""Sizes of a buffer, at first and when a stream has filled it."""
_TURNS = 8
"""How often in a row a stream that is never short of data may go on before others have their turn."""


async def receive(source: socket.socket, most: int) -> bytes:
    """What comes next, empty at the end. The socket, like all here, is in non-blocking mode."""
    while True:
        try:
            return source.recv(most)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)


async def send_all(sink: socket.socket, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[sink.send(view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sink)


async def both_ways(one: socket.socket, other: socket.socket) -> None:
    """Returns when both directions have ended; an error of one ends both."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one_way, one, other, nursery.cancel_scope)
        nursery.start_soon(one_way, other, one, nursery.cancel_scope)


async def one_way(source: socket.socket, sink: socket.socket, running: trio.CancelScope) -> None:
    """Until the end of `source`, which is passed on; an error cancels `running`."""
    buffer = bytearray(_SMALL)
    turns = 0
    try:
        while True:
            try:
                count = source.recv_into(buffer)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(source)
                turns = 0
                continue
            if not count:
                break
            await send_all(sink, memoryview(buffer)[:count])
            if count == len(buffer) < _LARGE:
                buffer = bytearray(_LARGE)
            turns += 1
            if turns == _TURNS:
                await trio.lowlevel.checkpoint()
                turns = 0
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        running.cancel()
