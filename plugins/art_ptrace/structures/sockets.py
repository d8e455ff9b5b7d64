"""Addresses, messages and options of sockets, as strace(1) writes them."""

from __future__ import annotations

# `socket` makes hundreds of enum members.
import _socket
import struct

from art_ptrace.structures.pieces import fetch_pieces, show_pieces
from art_ptrace.values import constants, network_constants, scalars
from art_ptrace.values.arguments import Argument, Read, Values
from art_ptrace.values.scalars import pointer
from art_ptrace.values.text_escapes import STRING_LIMIT, escaped, quoted

ADDRESS_LIMIT = 128


def address(raw: bytes) -> str:
    """A struct sockaddr."""
    if len(raw) < 2:
        return f"{{sa_data={quoted(raw)}}}"
    (family,) = struct.unpack_from("H", raw)
    name = network_constants.FAMILIES.get(family, f"{family:#x}")
    if family == 1:
        return f"{{sa_family=AF_UNIX{_unix_path(raw[2:])}}}"
    if family == 2 and len(raw) >= 8:
        (port,) = struct.unpack_from("!H", raw, 2)
        return (
            f"{{sa_family=AF_INET, sin_port=htons({port}), "
            f'sin_addr=inet_addr("{_socket.inet_ntop(_socket.AF_INET, raw[4:8])}")}}'
        )
    if family == 10 and len(raw) >= 24:
        port, flow = struct.unpack_from("!HI", raw, 2)
        scope = struct.unpack_from("I", raw, 24)[0] if len(raw) >= 28 else 0
        return (
            f"{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
            f'inet_pton(AF_INET6, "{_socket.inet_ntop(_socket.AF_INET6, raw[8:24])}", &sin6_addr), '
            f"sin6_scope_id={scope}}}"
        )
    if family == 16 and len(raw) >= 12:
        pid, groups = struct.unpack_from("II", raw, 4)
        return f"{{sa_family=AF_NETLINK, nl_pid={pid}, nl_groups={groups:08x}}}"
    return f"{{sa_family={name}, sa_data={quoted(raw[2:])}}}"


def _unix_path(path: bytes) -> str:
    if not path:
        return ""
    if path[0] == 0 and len(path) > 1:
        return f', sun_path=@"{escaped(path[1:])}"'
    return f', sun_path="{escaped(path.partition(bytes(1))[0])}"'


def _fetch_address(read: Read, value: int, values: Values, result: int) -> bytes | None:
    size = scalars.int32(values[2])
    return read(value, min(size, ADDRESS_LIMIT)) or None if value and size > 0 else None


def _render_address(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else address(raw)


ADDRESS = Argument(fetch=_fetch_address, render=_render_address, narrow=True)


def address_at(size: int) -> Argument:
    """An address whose length is argument number `size`."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        length = scalars.int32(values[size])
        return read(value, min(length, ADDRESS_LIMIT)) or None if value and length > 0 else None

    return Argument(fetch=fetch, render=_render_address, narrow=True)


def address_out(size: int) -> Argument:
    """An address that the call fills; argument number `size` points to its length."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        if not value or result < 0:
            return None
        length = read(values[size], 4)
        if len(length) < 4:
            return None
        return read(value, min(struct.unpack("I", length)[0], ADDRESS_LIMIT)) or None

    return Argument(at="exit", fetch=fetch, render=_render_address, narrow=True)


_MESSAGE_BITS = scalars.flags(network_constants.MESSAGE_FLAGS)


def _fetch_message(read: Read, value: int, filled: int | None) -> tuple[object, ...] | None:
    raw = read(value, 56) if value else b""
    if len(raw) < 56:
        return None
    name, length, pieces, count, control, size, flags = struct.unpack("QI4xQQQQi4x", raw)
    peer = read(name, min(length, ADDRESS_LIMIT)) if name and length else b""
    return (
        peer,
        name,
        length,
        fetch_pieces(read, pieces, count, filled),
        pieces,
        count,
        control,
        size,
        flags,
    )


def _render_message(raw: tuple[object, ...] | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    peer, name, length, pieces, at, count, control, size, flags = raw
    assert isinstance(peer, bytes) and isinstance(name, int) and isinstance(at, int)
    assert isinstance(count, int) and isinstance(control, int) and isinstance(flags, int)
    shown = show_pieces(pieces, count) if isinstance(pieces, list) else pointer(at)
    beside = f", msg_control={pointer(control)}" if control and size else ""
    return (
        f"{{msg_name={address(peer) if peer else pointer(name)}, msg_namelen={length}, msg_iov={shown}, "
        f"msg_iovlen={count}{beside}, msg_controllen={size}, msg_flags={_MESSAGE_BITS(flags)}}}"
    )


MESSAGE = Argument(
    fetch=lambda read, value, values, result: _fetch_message(read, value, None), render=_render_message
)
MESSAGE_OUT = Argument(
    at="exit",
    fetch=lambda read, value, values, result: _fetch_message(read, value, result) if result >= 0 else None,
    render=_render_message,
)


_SO_ERROR = (1, 4)
"""Level and name of the option whose value is an errno."""


def option_value(size: int, *, out: bool = False) -> Argument:
    """The value of a socket option; argument number `size` is its length, or points to it."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        if not value or (out and result < 0):
            return None
        if out:
            raw = read(values[size], 4)
            length = struct.unpack("i", raw)[0] if len(raw) == 4 else 0
        else:
            length = scalars.int32(values[size])
        return read(value, min(length, STRING_LIMIT + 1)) if length > 0 else None

    def render(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
        if not raw:
            return pointer(value)
        if len(raw) != 4:
            return quoted(raw)
        number = struct.unpack("i", raw)[0]
        failed = out and values[1:3] == _SO_ERROR
        return f"[{constants.ERRNO.get(number, number) if failed else number}]"

    return Argument(at="exit" if out else "entry", fetch=fetch, render=render, narrow=True)
