"""What numbers of files may be, wherever they come from: a request, the host, an archive, a database.

Everything that keeps files keeps times and sizes as signed 64 bit numbers. What lies beyond is brought to
the nearest that can be kept, as ext4 does with times (its kernel document, "inode timestamps"); a size that
somebody asks for is refused instead (EFBIG, truncate(2)).
"""

from __future__ import annotations

FIRST_NS, LAST_NS = -(1 << 63), (1 << 63) - 1
"""Times, in nanoseconds: from September 1677 to April 2262."""
LARGEST = (1 << 63) - (1 << 16)
"""Bytes of the largest file: to that much sizes can be rounded up."""
_NUMBERS = 1 << 64


def time_ns(value: int) -> int:
    """The nearest time that can be kept."""
    return max(FIRST_NS, min(value, LAST_NS))


def size(value: int) -> int:
    """The nearest size that can be kept."""
    return max(0, min(value, LARGEST))


def identity(number: int) -> int:
    """A device or inode number, which has no sign, as one that has."""
    number %= _NUMBERS
    return number - _NUMBERS if number > LAST_NS else number
