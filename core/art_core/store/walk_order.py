"""Streams of paths in the order of a walk, a directory before what is in it and names in byte order.

They are brought together without holding any of them; what has to be done last one first is put
aside in a file.
"""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from tempfile import SpooledTemporaryFile
from typing import Any, Generic, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
_IN_MEMORY = 1 << 20
_SIZE = 4
_FEW = 5000
"""Records that are held as they are."""


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


class Spooled(Generic[T]):
    """Records (anything pickle takes) that are read again in order; a file holds them where they are many."""

    def __init__(self) -> None:
        self._first: list[T] = []
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115

    def put(self, record: T) -> None:
        if len(self._first) < _FEW:
            self._first.append(record)
            return
        data = pickle.dumps(record, pickle.HIGHEST_PROTOCOL)
        self._file.write(len(data).to_bytes(_SIZE, "big") + data)

    def __iter__(self) -> Iterator[T]:
        yield from self._first
        end, at = self._file.tell(), 0
        while at < end:
            self._file.seek(at)
            size = int.from_bytes(self._file.read(_SIZE), "big")
            record: T = pickle.loads(self._file.read(size))
            at += _SIZE + size
            yield record
        self._file.seek(end)

    def __enter__(self) -> Spooled[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Backwards(Generic[T]):
    """Records (anything pickle takes) that are read last one first; a file holds them where they are many."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115

    def put(self, record: T) -> None:
        data = pickle.dumps(record)
        self._file.write(data + len(data).to_bytes(_SIZE, "big"))

    def __iter__(self) -> Iterator[T]:
        end = self._file.tell()
        while end:
            self._file.seek(end - _SIZE)
            size = int.from_bytes(self._file.read(_SIZE), "big")
            end -= _SIZE + size
            self._file.seek(end)
            record: T = pickle.loads(self._file.read(size))
            yield record

    def __enter__(self) -> Backwards[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
