"""Bytes of a traced program as text that cannot end a line, close a string or drive a terminal."""

from __future__ import annotations

from functools import lru_cache

STRING_LIMIT = 32
"""Bytes of data that are shown, as strace(1) has it; paths are shown whole."""

_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_NAMED = {0x22: '\\"', 0x5C: "\\\\", 0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r"}
_ESCAPES = [chr(byte) if byte in _PLAIN else _NAMED.get(byte, f"\\{byte:o}") for byte in range(256)]
_BEFORE_DIGIT = [chr(byte) if byte in _PLAIN else _NAMED.get(byte, f"\\{byte:03o}") for byte in range(256)]
_DIGITS = frozenset(b"01234567")


def escaped(data: bytes) -> str:
    """`data` in printable ASCII, as it stands between quotes in C."""
    if not data.translate(None, _PLAIN):
        return data.decode()
    return _escaped(data)


@lru_cache(1024)
def _escaped(data: bytes) -> str:
    following = data[1:] + b"."
    return "".join(
        [
            _BEFORE_DIGIT[byte] if after in _DIGITS else _ESCAPES[byte]
            for byte, after in zip(data, following, strict=True)
        ]
    )


def quoted(data: bytes, limit: int = STRING_LIMIT) -> str:
    """`data` between quotes, cut after `limit` bytes with three dots."""
    if len(data) > limit:
        return f'"{escaped(data[:limit])}"...'
    return f'"{escaped(data)}"'
