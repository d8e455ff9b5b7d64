"""Contents as streams of blocks: offsets and bytes in order, where what is left out is zeros."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import zip_longest

Blocks = Iterable[tuple[int, bytes]]

BLOCK = 1 << 20
_PIECE = 1 << 16
_ZEROS = bytes(_PIECE)
_SECTOR = 4096


def segments(fd: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Where a file has data, from a place on: first and last byte, the last not included. Holes are known
    to the kernel (lseek(2), SEEK_DATA); where a file system knows of none, all is data."""
    while True:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
        start = end


def of_file(fd: int) -> Iterator[tuple[int, bytes]]:
    """What is in an open file of the host; holes are not read, and blocks of zeros are left out. Raises
    OSError."""
    for offset, end in segments(fd):
        while offset < end:
            data = os.pread(fd, min(BLOCK - offset % BLOCK, end - offset), offset)
            if not data:
                return
            if data.count(0) != len(data):
                yield offset, data
            offset += len(data)


def equal(one: Blocks, other: Blocks) -> bool:
    """Whether two files of one size hold the same. Raises what reading them raises."""
    return all(mine == theirs for mine, theirs in zip_longest(_pieces(one), _pieces(other)))


class Digest:
    """What a file's contents come to (blake2b, RFC 7693), by what is not zeros in them: the same however a
    store or a file system divides them, at multiples of 4 KiB, and whatever of the zeros it leaves out."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def of(self, blocks: Blocks) -> Iterator[tuple[int, bytes]]:
        """The same blocks; they count when they are taken."""
        for block in blocks:
            self._add(*block)
            yield block

    def _add(self, offset: int, data: bytes) -> None:
        view, at = memoryview(data), 0
        while at < len(data):
            end = at + _SECTOR - (offset + at) % _SECTOR
            if data.count(0, at, end) != min(end, len(data)) - at:
                self._hash.update((offset + at).to_bytes(8, "big"))
                self._hash.update(view[at:end])
            at = end

    def taken(self) -> str:
        """Of the blocks that were taken."""
        return self._hash.hexdigest()


def digest_of(blocks: Blocks) -> str:
    """Raises what reading them raises."""
    digest = Digest()
    for _ in digest.of(blocks):
        pass
    return digest.taken()


def _pieces(blocks: Blocks) -> Iterator[tuple[int, bytes]]:
    """The same contents in pieces that begin at multiples of one size, none of zeros alone."""
    at, piece = -1, bytearray()
    for offset, data in blocks:
        view = memoryview(data)
        while view:
            number, inside = divmod(offset, _PIECE)
            if number != at:
                yield from _filled(at, piece)
                at, piece = number, bytearray(_PIECE)
            length = min(len(view), _PIECE - inside)
            piece[inside : inside + length] = view[:length]
            view = view[length:]
            offset += length
    yield from _filled(at, piece)


def _filled(at: int, piece: bytearray) -> Iterator[tuple[int, bytes]]:
    if at >= 0 and piece != _ZEROS:
        yield at, bytes(piece)


def contiguous(blocks: Blocks, size: int) -> Iterator[bytes]:
    """All of a file's bytes, the zeros too."""
    at = 0
    for offset, data in blocks:
        yield from _zeros(offset - at)
        yield data
        at = offset + len(data)
    yield from _zeros(size - at)


def _zeros(size: int) -> Iterator[bytes]:
    while size > 0:
        yield _ZEROS[:size]
        size -= _PIECE
