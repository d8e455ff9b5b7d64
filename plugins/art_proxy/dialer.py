"""From what a sandbox asks for to a connection: the rules first, then one look-up, then only addresses
that were judged."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import trio

from art_core.gateways import Destination, Refusal
from art_core.network import destinations
from art_core.network.destinations import Address
from art_proxy.routes import leads_away

LOOK_UP_S = 20.0
CONNECT_S = 10.0
"""For each address."""
MOST_ADDRESSES = 6


class Unreachable(Exception):
    """There is no connection: it is not allowed, the name is not known, or nobody answers."""

    def __init__(self, why: Literal["refused", "unknown", "unanswered"], text: str) -> None:
        super().__init__(text)
        self.why = why


class Dialer(NamedTuple):
    """Connects to what `rules` allow, and tells `refuse` what they do not."""

    rules: Sequence[Destination]
    refuse: Callable[[Refusal], None]

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connection to what was asked for. Raises Unreachable."""
        wanted = destinations.target(host)
        if not 0 < port < 1 << 16 or wanted is None:
            raise self._refused(Refusal(host, port))
        if isinstance(wanted, str):
            if not destinations.names(self.rules, wanted, port):
                raise self._refused(Refusal(wanted, port))
            found = await _look_up(wanted, port)
            judged = [address for address in found if self._may_be_found(address, port)]
            if not judged:
                raise self._refused(Refusal(wanted, port, str(found[0])))
        else:
            if not self._may_be_asked_for(wanted, port):
                raise self._refused(Refusal(str(wanted), port))
            judged = [wanted]
        return await first_of(judged[:MOST_ADDRESSES], port)

    def _refused(self, refusal: Refusal) -> Unreachable:
        self.refuse(refusal)
        return Unreachable("refused", f"{refusal.host}:{refusal.port} is not allowed in this sandbox")

    def _may_be_asked_for(self, address: Address, port: int) -> bool:
        if destinations.addresses(self.rules, address, port):
            return True
        return destinations.anywhere(self.rules, port) and _outside(address)

    def _may_be_found(self, address: Address, port: int) -> bool:
        return _outside(address) or destinations.addresses(self.rules, address, port)


def _outside(address: Address) -> bool:
    return destinations.is_public(address) and leads_away(address)


async def _look_up(name: str, port: int) -> list[Address]:
    """The addresses of a name, asked for once. Raises Unreachable."""
    found: list[Address] = []
    with trio.move_on_after(LOOK_UP_S):
        try:
            answers = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        for _, _, _, _, where in answers:
            address = destinations.plain(ipaddress.ip_address(str(where[0])))
            if address not in found:
                found.append(address)
    if not found:
        raise Unreachable("unknown", f"{name} has no address")
    return found


async def first_of(addresses: Sequence[Address], port: int) -> socket.socket:
    """A connection to the first that answers. Raises Unreachable."""
    failure = "nobody answers"
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        connection = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            with trio.fail_after(CONNECT_S):
                await connection.connect((str(address), port))
        except (OSError, trio.TooSlowError) as error:
            connection.close()
            if isinstance(error, OSError):
                failure = error.strerror or errno.errorcode.get(error.errno or 0, "failed")
        except BaseException:
            connection.close()
            raise
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _detached(connection)
    raise Unreachable("unanswered", f"{addresses[0]} port {port}: {failure}")


def _detached(connection: trio.socket.SocketType) -> socket.socket:
    """The socket itself, whose calls do not pass through trio's scheduler one by one."""
    below = socket.socket(fileno=connection.detach())
    below.setblocking(False)
    return below
