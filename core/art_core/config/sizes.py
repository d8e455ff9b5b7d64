"""Sizes as people write them: 512M, 4G, 1.5G, bytes without a unit; K is 1024."""

from __future__ import annotations

import re

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size_of(text: str) -> int | None:
    """The bytes that `text` says, at least one; None for what is not a size."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    return int(float(found[1]) * _UNITS[found[2].upper()]) or None if found else None
