"""Git's index: what it lists (gitformat-index(5))."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

_HASH = 20
_ENTRY = struct.Struct(f">24xI12x{_HASH}sH")
_EXTENDED = 0x4000


class Listed(NamedTuple):
    """One entry of an index; `flags` are the two words of flags, without the length of the name."""

    path: bytes
    mode: int
    name: bytes
    flags: int


def listed(index: bytes) -> list[Listed] | None:
    """What an index lists, without what it remembers of files; None for one that is not whole, has hashes of
    another kind, or parts that change what it means (gitformat-index(5))."""
    if len(index) < 12 + _HASH or index[:4] != b"DIRC":
        return None
    body, mark = index[:-_HASH], index[-_HASH:]
    if mark not in (hashlib.sha1(body, usedforsecurity=False).digest(), bytes(_HASH)):
        return None
    version, count = struct.unpack_from(">II", body, 4)
    if version not in (2, 3, 4):
        return None
    try:
        found, at = _entries(body, version, count)
        return found if _knows_parts(body, at) else None
    except (struct.error, ValueError):
        return None


def _entries(body: bytes, version: int, count: int) -> tuple[list[Listed], int]:
    """The entries, and where they end. Raises ValueError and struct.error for what is none."""
    found: list[Listed] = []
    at, path = 12, b""
    for _ in range(count):
        start = at
        mode, name, flags = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        more = 0
        if flags & _EXTENDED:
            (more,) = struct.unpack_from(">H", body, at)
            at += 2
        kept = 0
        if version == 4:
            cut, at = _number(body, at)
            if cut > len(path):
                raise ValueError
            kept = len(path) - cut
        end = body.index(b"\0", at)
        path = path[:kept] + body[at:end]
        at = end + 1 if version == 4 else start + ((end - start) // 8 + 1) * 8
        found.append(Listed(path, mode, name, (flags & ~_EXTENDED & 0xF000) | more << 16))
    return found, at


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number of varying length, and where it ends. Raises ValueError."""
    value = 0
    for place in range(at, min(at + 5, len(body))):
        byte = body[place]
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, place + 1
        value += 1
    raise ValueError


def _knows_parts(body: bytes, at: int) -> bool:
    """Whether all that follows the entries may be left unread: its letters say so."""
    while at < len(body):
        name, size = struct.unpack_from(">4sI", body, at)
        if not name[:1].isupper():
            return False
        at += 8 + size
    return at == len(body)
