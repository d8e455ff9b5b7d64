"""Asking the kernel where an address leads: rtnetlink(7), RTM_GETROUTE."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

_RTM_GETROUTE, _NLM_F_REQUEST, _NLMSG_ERROR, _RTA_DST = 26, 1, 2, 1
_RTN_UNICAST = 1
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_TYPE_AT = _HEADER.size + 7
"""Offset of rtm_type in an answer."""


def leads_away(address: IPv4Address | IPv6Address) -> bool:
    """Whether packets to an address leave this machine for one other machine: not one of its own
    addresses, no broadcast, nothing that is refused. Also true where there is no route at all, which
    the connection will find out."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = _ROUTE.pack(family, len(address.packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    attribute = struct.pack("=HH", 4 + len(address.packed), _RTA_DST) + address.packed
    length = _HEADER.size + len(route) + len(attribute)
    request = _HEADER.pack(length, _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + route + attribute
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(request)
        answer = kernel.recv(1 << 14)
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    return kind == _NLMSG_ERROR or answer[_TYPE_AT] == _RTN_UNICAST
