"""Bytes of a traced program as text that cannot end a line, close a string or drive a terminal."""

from __future__ import annotations

import re

STRING_LIMIT = 32
"""Bytes of data that are shown, as strace(1) has it; paths are shown whole."""

_SPECIAL = re.compile(rb"[^ !#-\[\]-~]")
_NAMED = {0x22: '\\"', 0x5C: "\\\\", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r"}
_ESCAPES = [_NAMED.get(byte, f"\\{byte:o}") for byte in range(256)]
_BEFORE_DIGIT = [_NAMED.get(byte, f"\\{byte:03o}") for byte in range(256)]
_DIGITS = frozenset(b"01234567")


def escaped(data: bytes) -> str:
    """`data` in printable ASCII, as it stands between quotes in C."""
    if _SPECIAL.search(data) is None:
        return data.decode("ascii")
    parts = []
    last = len(data) - 1
    for at, byte in enumerate(data):
        if at < last and data[at + 1] in _DIGITS:
            parts.append(_BEFORE_DIGIT[byte] if not 0x20 <= byte < 0x7F or byte in _NAMED else chr(byte))
        else:
            parts.append(chr(byte) if 0x20 <= byte < 0x7F and byte not in _NAMED else _ESCAPES[byte])
    return "".join(parts)


def quoted(data: bytes, limit: int = STRING_LIMIT) -> str:
    """`data` between quotes, cut after `limit` bytes with three dots."""
    if len(data) > limit:
        return f'"{escaped(data[:limit])}"...'
    return f'"{escaped(data)}"'
