"""Streams of paths in the order of a walk, a directory before what is in it and names in byte order.

They are brought together without holding any of them; what has to be done last one first, or in another
order, is put aside in a file.
"""

from __future__ import annotations

import heapq
import os
import pickle
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Generic, Self, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
_IN_MEMORY = 1 << 20
_FEW = 5000
"""Records that are held as they are."""
_AT_ONCE = 100
"""Records that go to a file, and come back, together."""


def place(path: bytes) -> bytes:
    """What sorts like the path in a walk: no name has a NUL, and nothing sorts before it."""
    return path.replace(b"/", b"\0")


def together(
    first: Iterable[tuple[bytes, A]], second: Iterable[tuple[bytes, B]], third: Iterable[tuple[bytes, C]]
) -> Iterator[tuple[bytes, A | None, B | None, C | None]]:
    """Each path that any of the streams has, with what each of them says of it. The streams are one
    item ahead of what is given."""
    streams: list[Iterable[tuple[bytes, Any]]] = [first, second, third]
    marked = [_marked(stream, number) for number, stream in enumerate(streams)]
    for key, items in groupby(heapq.merge(*marked, key=itemgetter(0)), key=itemgetter(0)):
        said: list[Any] = [None, None, None]
        for _, number, value in items:
            said[number] = value
        yield key.replace(b"\0", b"/"), said[0], said[1], said[2]


def _marked(stream: Iterable[tuple[bytes, T]], number: int) -> Iterator[tuple[bytes, int, T]]:
    for path, value in stream:
        yield place(path), number, value


class _Blocks(Generic[T]):
    """Lists of records (anything pickle takes) in a file, found again by the number that each got."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._ends = array("q", (0,))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def put(self, records: list[T]) -> None:
        if self._file is None:
            self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._file.seek(self._ends[-1])
        self._file.write(pickle.dumps(records, pickle.HIGHEST_PROTOCOL))
        self._ends.append(self._file.tell())

    def __getitem__(self, number: int) -> list[T]:
        assert self._file is not None
        self._file.seek(self._ends[number])
        records: list[T] = pickle.loads(self._file.read(self._ends[number + 1] - self._ends[number]))
        return records

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Spooled(Generic[T]):
    """Records (anything pickle takes) that are read again in order; a file holds them where they are many."""

    def __init__(self) -> None:
        self._first: list[T] = []
        self._last: list[T] = []
        self._blocks = _Blocks[T]()

    def __len__(self) -> int:
        return len(self._first) + len(self._blocks) * _AT_ONCE + len(self._last)

    def put(self, record: T) -> None:
        if len(self._first) < _FEW:
            self._first.append(record)
            return
        self._last.append(record)
        if len(self._last) == _AT_ONCE:
            self._blocks.put(self._last)
            self._last = []

    def __iter__(self) -> Iterator[T]:
        blocks, last = len(self._blocks), self._last.copy()
        yield from self._first
        for number in range(blocks):
            yield from self._blocks[number]
        yield from last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()


class Backwards(Generic[T]):
    """Records (anything pickle takes) that are read last one first; a file holds them where they are many."""

    def __init__(self) -> None:
        self._last: list[T] = []
        self._blocks = _Blocks[T]()

    def put(self, record: T) -> None:
        if len(self._last) == _FEW:
            for start in range(0, _FEW, _AT_ONCE):
                self._blocks.put(self._last[start : start + _AT_ONCE])
            self._last = []
        self._last.append(record)

    def __iter__(self) -> Iterator[T]:
        yield from reversed(self._last)
        for number in reversed(range(len(self._blocks))):
            yield from reversed(self._blocks[number])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()


class Sorted(Generic[T]):
    """Records (anything pickle takes) that are read in the order of a key, as often as one likes; those that
    have the same in the order in which they were put. A file holds them where they are many."""

    def __init__(self, key: Callable[[T], Any]) -> None:
        self._key = key
        self._last: list[T] = []
        self._blocks = _Blocks[T]()
        self._runs: list[int] = []
        """The first block of each part that is in order."""
        self._highest: Any = None

    def __len__(self) -> int:
        return len(self._blocks) * _AT_ONCE + len(self._last)

    def put(self, record: T) -> None:
        if len(self._last) == _FEW:
            self._put_last()
        self._last.append(record)

    def _put_last(self) -> None:
        self._last.sort(key=self._key)
        if not self._runs or self._key(self._last[0]) < self._highest:
            self._runs.append(len(self._blocks))
        self._highest = self._key(self._last[-1])
        for start in range(0, _FEW, _AT_ONCE):
            self._blocks.put(self._last[start : start + _AT_ONCE])
        self._last = []

    def __iter__(self) -> Iterator[T]:
        """Nothing is to be put meanwhile."""
        self._last.sort(key=self._key)
        runs = [self._run(*ends) for ends in pairwise([*self._runs, len(self._blocks)])]
        return heapq.merge(*runs, self._last, key=self._key) if runs else iter(self._last)

    def _run(self, first: int, end: int) -> Iterator[T]:
        for number in range(first, end):
            yield from self._blocks[number]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()


def names_in_order(fd: int) -> Iterator[bytes]:
    """The names in a directory, in byte order; all are read before the first is given. Raises OSError."""
    names = _names_in_order(fd)
    next(names)
    return names


def _names_in_order(fd: int) -> Iterator[bytes]:
    with Sorted[bytes](key=bytes) as names:
        with os.scandir(fd) as found:
            for one in found:
                names.put(os.fsencode(one.name))
        yield b""  # The descriptor is not needed any more.
        yield from names
