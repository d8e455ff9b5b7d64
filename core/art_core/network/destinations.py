"""What a sandbox with a filtered network may reach: rules of names, addresses and ports.

A rule is `HOST[:PORT]`. A name is matched as it was asked for, before anybody looks it up. An address,
asked for or found for a name, has to be public or to stand in a rule of its own: so a name that
leads to the inside of a network (DNS rebinding, or a record made for it) leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from art_core.contracts import Origin
from art_core.errors import ArtError, SettingsError, UsageError
from art_core.gateways import Destination

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

WEB_PORTS = (80, 443)
"""The ports of a rule that names none."""
LOOPBACK = ("127.0.0.1", "::1")
"""What `localhost` is, without a look-up (RFC 6761, section 6.3)."""
FIRST_FORWARDED = 1024
"""The lowest port that a process inside can listen on (ip(7), ip_unprivileged_port_start)."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")

_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
"""The only IPv6 addresses that are handed out to hosts of the internet (RFC 4291)."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        # IANA's registries of special-purpose addresses, less what is in no way special to reach.
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's own services for a virtual machine
        # Protocol assignments (Teredo among them), documentation, 6to4.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]


def parse(text: str, origin: Origin, error: type[ArtError] = UsageError) -> Destination:
    """The rule that stands in `text`. Raises `error`, which names its origin."""

    def wrong(what: str) -> ArtError:
        return error(
            f"{origin} {text}: {what}; write example.com, '*.example.com', example.com:8443 or [::1]:80"
        )

    host, ports = _without_port(text)
    if "/" in text:
        raise wrong("this is no name and no address")
    if ports is None:
        raise wrong("the port is no number from 1 to 65535, nor *")
    if host == "*":
        return Destination("", True, ports or WEB_PORTS, origin, text)
    name = host.removeprefix("*.")
    kind = target(name)
    if kind is None or (name != host and not isinstance(kind, str)):
        raise wrong("this is no name and no address")
    if is_loopback(kind) and (len(ports) != 1 or ports[0] < FIRST_FORWARDED):
        raise wrong(f"a service of this machine is named with its port, from {FIRST_FORWARDED} on")
    return Destination(str(kind), name != host, ports or WEB_PORTS, origin, text)


def _without_port(text: str) -> tuple[str, tuple[int, ...] | None]:
    """The host of a rule, and its ports: none named, one, or all of them for `*`; None when wrong."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return text, ()
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, None
    if port is None:
        return host, ()
    if port == "*":
        return host, ALL_PORTS
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        return host, None
    return host, (int(port),)


ALL_PORTS = (0,)
"""Stands for every port in a rule."""


def target(host: str) -> Address | str | None:
    """What a host that was asked for is: an address, a name in lower case, or None for neither.

    What only looks like an address to some resolvers (`127.1`, `0x7f000001`) is neither.
    """
    try:
        return None if "%" in host else plain(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.match, labels)) or re.match(r"[0-9]|0x", labels[-1]):
        return None
    if name == "localhost" or name.endswith(".localhost"):
        return ipaddress.ip_address(LOOPBACK[0])
    return name


def plain(address: Address) -> Address:
    """An IPv4 address that is written as IPv6 (RFC 4291 2.5.5.2), as what it is."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_loopback(what: Address | str | None) -> bool:
    return not isinstance(what, str | None) and what.is_loopback


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet at large, not of this machine, of a network that it
    is in, or of a cloud's own services."""
    address = plain(address)
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.scope_id is not None or address not in _GLOBAL_6:
            return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def names(rules: Sequence[Destination], name: str, port: int) -> bool:
    """Whether a rule allows to ask for a name (as `target` gives it) at a port."""
    return any(_matches(rule, name) and _at(rule, port) for rule in rules)


def _matches(rule: Destination, name: str) -> bool:
    if not rule.subdomains:
        return name == rule.host
    return not rule.host or name.endswith(f".{rule.host}")


def _at(rule: Destination, port: int) -> bool:
    return rule.ports == ALL_PORTS or port in rule.ports


def addresses(rules: Sequence[Destination], address: Address, port: int) -> bool:
    """Whether an address has a rule of its own at a port."""
    return any(rule.host == str(address) and _at(rule, port) for rule in rules)


def anywhere(rules: Sequence[Destination], port: int) -> bool:
    """Whether a rule allows whatever is public at a port."""
    return any(not rule.host and _at(rule, port) for rule in rules)


def from_settings(texts: Sequence[str], where: str) -> list[Destination]:
    """The rules of a settings file. Raises SettingsError."""
    return [parse(text, Origin(where, "network.allow"), SettingsError) for text in texts]


def option_for(host: str, port: int) -> str:
    """The option that would allow it, as typed in a shell; empty when none can."""
    kind = target(host)
    if kind is None or (is_loopback(kind) and port < FIRST_FORWARDED):
        return ""
    shown = f"[{kind}]" if not isinstance(kind, str) and kind.version == 6 else str(kind)
    return f"--allow-domain {shown if port in WEB_PORTS and not is_loopback(kind) else f'{shown}:{port}'}"
