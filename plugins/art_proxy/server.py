"""The process of the proxy: it serves the listening sockets of one run, and ends with the supervisor."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, NoReturn

import trio

from art_core.contracts import Origin
from art_core.gateways import Destination, Refusal
from art_core.host.service import serve_apart
from art_core.network.destinations import LOOPBACK
from art_proxy import socks
from art_proxy.dialer import Dialer, Unreachable, first_of
from art_proxy.relay import both_ways, receive, send_all
from art_proxy.web import Exchange

REQUEST_S = 60.0
"""How long a client may take to say what it wants."""
MOST_CONNECTIONS = 1000
MOST_TOLD = 100
"""Refusals that are told one by one: what is inside cannot flood a terminal."""
_DESCRIPTORS_EACH, _DESCRIPTORS_OWN = 6, 64
_NOBODY = 65534


def serve(control_fd: int) -> NoReturn:
    """Be the proxy, on a socket to the supervisor. Never returns."""
    serve_apart(control_fd, _work)


def _work(control: socket.socket) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    data, fds, _, _ = socket.recv_fds(control, 1 << 20, 1)
    if data:
        order = json.loads(data)
        most = _room()
        _become_nobody(order["ids"])
        trio.run(_serve, control, socket.socket(fileno=fds[0]), order, most)


def _room() -> int:
    """How many connections the limit of descriptors allows at once, raised as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, min(MOST_CONNECTIONS, (hard - _DESCRIPTORS_OWN) // _DESCRIPTORS_EACH))


def _become_nobody(ids: list[int] | None) -> None:
    """A proxy parses what a stranger sends: it has none of root's rights."""
    if os.geteuid() == 0:
        uid, gid = ids or (_NOBODY, _NOBODY)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


class _Teller:
    """Tells the supervisor of refusals, each once, and counts what is too much."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._told: set[Refusal] = set()
        self._more = 0

    def say(self, event: dict[str, object]) -> bool:
        """False when nobody took it."""
        try:
            self._control.send(json.dumps(event).encode())
        except OSError:
            return False
        return True

    def refuse(self, refusal: Refusal) -> None:
        refusal = refusal._replace(host=refusal.host[:256])
        if refusal in self._told:
            return
        if len(self._told) < MOST_TOLD and self.say(refusal._asdict()):
            self._told.add(refusal)
        else:
            self._more += 1

    def last(self) -> None:
        self.say({"more": self._more})


async def _serve(control: socket.socket, door: socket.socket, order: dict[str, Any], most: int) -> None:
    control.setblocking(False)
    door.setblocking(False)
    origin = Origin("")
    rules = [Destination(host, below, tuple(ports), origin, "") for host, below, ports in order["rules"]]
    teller = _Teller(control)
    dialer = Dialer(rules, teller.refuse)
    clients = [partial(_serve_client, dialer), *(partial(_forward, port) for port in order["forwarded"])]
    limiter = trio.CapacityLimiter(most)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_end_with, control, nursery.cancel_scope)
        while True:
            listeners = await _taken(door)
            if not listeners:
                break
            teller.say({"served": True})
            for listener, client in zip(listeners, clients, strict=False):
                nursery.start_soon(_accept, listener, client, limiter, nursery)
    if _received(door):  # The run was over before there was time to serve it.
        teller.say({"served": True})
    teller.last()


async def _end_with(control: socket.socket, running: trio.CancelScope) -> None:
    """Cancel `running` when the supervisor closes its end."""
    while True:
        await trio.lowlevel.wait_readable(control)
        try:
            if control.recv(1):
                continue
        except OSError:
            pass
        running.cancel()
        return


async def _taken(door: socket.socket) -> list[socket.socket]:
    """The listening sockets of a run; none when no more will come."""
    await trio.lowlevel.wait_readable(door)
    return _received(door)


def _received(door: socket.socket) -> list[socket.socket]:
    """The listening sockets that were sent, if they were."""
    try:
        _, fds, _, _ = socket.recv_fds(door, 16, 253)
    except OSError:
        return []
    listeners = [socket.socket(fileno=fd) for fd in fds]
    for listener in listeners:
        listener.setblocking(False)
    return listeners


Client = Callable[[socket.socket], Coroutine[Any, Any, None]]


async def _accept(
    listener: socket.socket, client: Client, limiter: trio.CapacityLimiter, nursery: trio.Nursery
) -> None:
    async def one(connection: socket.socket, token: object) -> None:
        try:
            with connection, suppress(Exception):  # What goes wrong with one client ends that one.
                await client(connection)
        finally:
            limiter.release_on_behalf_of(token)

    with listener:
        while True:
            token = object()
            await limiter.acquire_on_behalf_of(token)
            await trio.lowlevel.wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                limiter.release_on_behalf_of(token)
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    await trio.sleep(0.1)
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nursery.start_soon(one, accepted, token)


async def _serve_client(dialer: Dialer, client: socket.socket) -> None:
    with trio.CancelScope(deadline=trio.current_time() + REQUEST_S) as patience:

        def met() -> None:
            patience.deadline = float("inf")

        begun = await receive(client, 1 << 16)
        if begun.startswith(socks.VERSION):
            try:
                tunnel = await socks.serve(client, begun, dialer)
            except socks.Malformed:
                return
        elif begun:
            tunnel = await Exchange(client, dialer).serve(begun, met)
        else:
            return
        met()
        if tunnel is not None:
            connection, rest = tunnel
            with connection:
                await send_all(connection, rest)
                await both_ways(client, connection)


async def _forward(port: int, client: socket.socket) -> None:
    """Pass a connection on to the host's own loopback."""
    try:
        connection = await first_of([ip_address(text) for text in LOOPBACK], port)
    except Unreachable:
        return
    with connection:
        await both_ways(client, connection)
