"""Contents as streams of blocks: offsets and bytes in order, where what is left out is zeros."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

Blocks = Iterable[tuple[int, bytes]]

_PIECE = 1 << 16
_ZEROS = bytes(_PIECE)


def equal(one: Blocks, other: Blocks) -> bool:
    """Whether two files of one size hold the same. Raises what reading them raises."""
    return all(mine == theirs for mine, theirs in zip_longest(_pieces(one), _pieces(other)))


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
