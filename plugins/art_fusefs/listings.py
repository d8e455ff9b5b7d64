"""Open directories: what is listed, as it was when the reading began."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

from art_fusefs import protocol

DOTS = (b".", b"..")
_PADDING = bytes(8)


class Listings:
    """Handles of open directories. Entries that come and go do not move the others (readdir(3))."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[int, list[bytes]]] = {}
        self._next = 1

    def open(self, inode: int) -> int:
        """A new handle."""
        handle = self._next
        self._next += 1
        self._open[handle] = (inode, [])
        return handle

    def inode(self, handle: int) -> int:
        return self._open[handle][0]

    def read(self, handle: int, names: Iterable[bytes]) -> None:
        """Begin (again) with these names."""
        self._open[handle][1][:] = [*DOTS, *sorted(names)]

    def rest(self, handle: int, start: int) -> Iterator[tuple[int, bytes]]:
        """The names from place `start` on, each with the place after it."""
        names = self._open[handle][1]
        for place in range(start, len(names)):
            yield place + 1, names[place]

    def close(self, handle: int) -> int:
        """Forget the handle; the inode that it was of."""
        return self._open.pop(handle)[0]


class Page:
    """A part of a listing, of at most `size` bytes."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._parts: list[bytes] = []

    def add(self, name: bytes, after: int, entry: bytes, ino: int, mode: int) -> bool:
        """Add a name, with the place after it; False when it finds no room."""
        length = len(name)
        head = entry + protocol.DIRENT.pack(ino, after, length, stat.S_IFMT(mode) >> 12)
        padding = -length % 8
        self._left -= len(head) + length + padding
        if self._left < 0:
            return False
        self._parts += (head, name, _PADDING[:padding])
        return True

    def packed(self) -> bytes:
        return b"".join(self._parts)
