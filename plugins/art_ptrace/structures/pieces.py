"""Data in pieces (readv(2)), as strace(1) writes them."""

from __future__ import annotations

import struct

from art_ptrace.values.arguments import Argument, Read, Values
from art_ptrace.values.scalars import pointer
from art_ptrace.values.text_escapes import STRING_LIMIT, quoted


def fetch_pieces(
    read: Read, address: int, count: int, limit: int | None
) -> list[tuple[int, int, bytes]] | None:
    """Address, length and the first bytes of each piece; `limit` is how many bytes a call has filled."""
    if not address:
        return None
    found = read(address, 16 * min(count, STRING_LIMIT))
    if count and not found:
        return None
    pieces = []
    left = limit
    for start in range(0, len(found) - 15, 16):
        base, length = struct.unpack_from("QQ", found, start)
        size = length if left is None else min(length, left)
        pieces.append((base, length, read(base, min(size, STRING_LIMIT + 1)) if size else b""))
        if left is not None:
            left -= size
    return pieces


def show_pieces(pieces: list[tuple[int, int, bytes]], count: int) -> str:
    parts = [
        f"{{iov_base={quoted(content) if content or not length else pointer(base)}, iov_len={length}}}"
        for base, length, content in pieces
    ]
    return f"[{', '.join(parts)}{', ...' if count > len(parts) else ''}]"


def _render_pieces(
    raw: list[tuple[int, int, bytes]] | None, value: int, values: Values, result: int | None
) -> str:
    return pointer(value) if raw is None else show_pieces(raw, values[2])


PIECES = Argument(
    fetch=lambda read, value, values, result: fetch_pieces(read, value, values[2], None),
    render=_render_pieces,
)
PIECES_OUT = Argument(
    at="exit",
    fetch=lambda read, value, values, result: (
        fetch_pieces(read, value, values[2], result) if result >= 0 else None
    ),
    render=_render_pieces,
)
