"""Open directories: what is listed, as it was when the reading began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

DOTS = (b".", b"..")


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
