"""Which lines of two texts differ, in bounded time.

Few differences are found as Myers' algorithm does (An O(ND) Difference Algorithm, 1986); where there are
many, lines that occur once in both texts divide the work (patience diff), and where there are none either,
the lines in between are taken as replaced. The result is always right, and nearly always the shortest.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_CHUNK = 1 << 16
_MOST_LINES = 1_000_000
_MOST_DIFFERENCES = 150


class Block(NamedTuple):
    """Lines of the old text that became lines of the new one, half-open, counted from 0."""

    old_start: int
    old_end: int
    new_start: int
    new_end: int


class Compared(NamedTuple):
    """The part of two texts that holds all differences, and some lines around it. `before` lines come
    first in both; `same` are the bytes that both texts have in common."""

    before: int
    old: Sequence[bytes]
    new: Sequence[bytes]
    blocks: Sequence[Block]
    same: int


def compared(old: bytes, new: bytes, around: int) -> Compared | None:
    """Compare two texts; keep so many lines `around` the differences where there are that many. None when
    they differ in more than is sensibly compared by lines."""
    start = _start(old, new)
    tail = _tail(old, new, start)
    middles = old[start : len(old) - tail], new[start : len(new) - tail]
    if sum(middle.count(b"\n") for middle in middles) > _MOST_LINES:
        return None
    old_lines, new_lines = (io.BytesIO(middle).readlines() for middle in middles)
    blocks = _Comparing(old_lines, new_lines).blocks()
    gone = sum(len(line) for block in blocks for line in old_lines[block.old_start : block.old_end])
    before, after = _before(old, start, around), _after(old, len(old) - tail, around)
    shift = len(before)
    return Compared(
        before=old.count(b"\n", 0, start) - shift,
        old=[*before, *old_lines, *after],
        new=[*before, *new_lines, *after],
        blocks=[Block(*(number + shift for number in block)) for block in blocks],
        same=len(old) - gone,
    )


def _start(old: bytes, new: bytes) -> int:
    """Where the first line that differs begins."""
    at, limit = 0, min(len(old), len(new))
    while at < limit and old[at : at + _CHUNK] == new[at : at + _CHUNK]:
        at += _CHUNK
    at = min(at, limit)
    size = _CHUNK
    while size:
        if at + size <= limit and old[at : at + size] == new[at : at + size]:
            at += size
        size >>= 1
    return old.rfind(b"\n", 0, at) + 1


def _tail(old: bytes, new: bytes, start: int) -> int:
    """How many bytes of whole lines both have at the end."""
    limit = min(len(old), len(new)) - start
    tail = 0
    size = _CHUNK
    while size:
        end_old, end_new = len(old) - tail, len(new) - tail
        if tail + size <= limit and old[end_old - size : end_old] == new[end_new - size : end_new]:
            tail += size
        else:
            size >>= 1
    if all(text[len(text) - tail - 1 : len(text) - tail] in (b"\n", b"") for text in (old, new)):
        return tail
    end = old.find(b"\n", len(old) - tail)
    return 0 if end < 0 else len(old) - end - 1


def _before(text: bytes, at: int, around: int) -> list[bytes]:
    """The lines before the one that begins at a place."""
    start = at
    for _ in range(around):
        start = text.rfind(b"\n", 0, max(0, start - 1)) + 1
    return io.BytesIO(text[start:at]).readlines()


def _after(text: bytes, at: int, around: int) -> list[bytes]:
    """The lines from a place on."""
    lines: list[bytes] = []
    while at < len(text) and len(lines) < around:
        end = text.find(b"\n", at) + 1 or len(text)
        lines.append(text[at:end])
        at = end
    return lines


class _Comparing:
    """Finds the lines that two texts have in common, piece by piece."""

    def __init__(self, old: Sequence[bytes], new: Sequence[bytes]) -> None:
        numbers: dict[bytes, int] = {}
        self._old = [numbers.setdefault(line, len(numbers)) for line in old]
        self._new = [numbers.setdefault(line, len(numbers)) for line in new]
        self._matches: list[tuple[int, int, int]] = []
        """Runs of equal lines: where in each text, and how many."""
        self._patience = 30 * (len(old) + len(new)) + 1_000_000
        """How many steps more may be spent on it."""

    def blocks(self) -> list[Block]:
        waiting = [Block(0, len(self._old), 0, len(self._new))]
        while waiting:
            waiting += self._divided(waiting.pop())
        found = []
        old = new = 0
        for at_old, at_new, length in [*sorted(self._matches), (len(self._old), len(self._new), 0)]:
            if at_old > old or at_new > new:
                found.append(Block(old, at_old, new, at_new))
            old, new = at_old + length, at_new + length
        return found

    def _match(self, old: int, new: int, length: int) -> None:
        if length:
            self._matches.append((old, new, length))

    def _divided(self, part: Block) -> list[Block]:
        """Match what can be matched in a part at once; what is left to be looked at."""
        part = self._trimmed(part)
        if part.old_start == part.old_end or part.new_start == part.new_end or self._patience < 0:
            return []
        if self._few_differences(part):
            return []
        return self._between_anchors(part)

    def _trimmed(self, part: Block) -> Block:
        """Without the equal lines at both ends."""
        a, a_end, b, b_end = part
        old, new = self._old, self._new
        while a < a_end and b < b_end and old[a] == new[b]:
            a, b = a + 1, b + 1
        self._match(part.old_start, part.new_start, a - part.old_start)
        while a < a_end and b < b_end and old[a_end - 1] == new[b_end - 1]:
            a_end, b_end = a_end - 1, b_end - 1
        self._match(a_end, b_end, part.old_end - a_end)
        self._patience -= part.old_end - part.old_start - (a_end - a)
        return Block(a, a_end, b, b_end)

    def _few_differences(self, part: Block) -> bool:
        """Myers' way; False when there are too many differences, and nothing was matched then."""
        a, b = self._old[part.old_start : part.old_end], self._new[part.new_start : part.new_end]
        steps = 4 * (len(a) + len(b)) + 20_000
        reach = {1: 0}
        trail: list[dict[int, int]] = []
        for differences in range(min(_MOST_DIFFERENCES, len(a) + len(b)) + 1):
            trail.append(dict(reach))
            for k in range(-differences, differences + 1, 2):
                down = k == -differences or (k != differences and reach[k - 1] < reach[k + 1])
                x = reach[k + 1] if down else reach[k - 1] + 1
                y = x - k
                begun = x
                while x < len(a) and y < len(b) and a[x] == b[y]:
                    x, y = x + 1, y + 1
                steps -= x - begun + 1
                reach[k] = x
                if x >= len(a) and y >= len(b):
                    self._patience -= 4 * (len(a) + len(b)) + 20_000 - steps
                    self._follow(trail, part, len(a), len(b))
                    return True
            if steps < 0:
                break
        self._patience -= 4 * (len(a) + len(b)) + 20_000 - steps
        return False

    def _follow(self, trail: list[dict[int, int]], part: Block, x: int, y: int) -> None:
        """The way back from the end: what was gone along diagonally is equal."""
        for differences in range(len(trail) - 1, -1, -1):
            reach = trail[differences]
            k = x - y
            down = k == -differences or (k != differences and reach[k - 1] < reach[k + 1])
            before = k + 1 if down else k - 1
            from_x = reach[before] if differences else 0
            from_y = from_x - before if differences else 0
            begun = from_x + (0 if down or not differences else 1)
            length = x - begun
            self._match(part.old_start + begun, part.new_start + y - length, length)
            x, y = from_x, from_y

    def _between_anchors(self, part: Block) -> list[Block]:
        """The parts between the lines that occur once in both, and in the same order in both."""
        old = Counter(self._old[part.old_start : part.old_end])
        new = Counter(self._new[part.new_start : part.new_end])
        self._patience -= len(self._old[part.old_start : part.old_end]) + part.new_end - part.new_start
        places = {
            line: at
            for at, line in enumerate(self._new[part.new_start : part.new_end], part.new_start)
            if new[line] == 1 and old.get(line) == 1
        }
        pairs = [
            (at, places[line])
            for at, line in enumerate(self._old[part.old_start : part.old_end], part.old_start)
            if line in places
        ]
        parts = []
        a, b = part.old_start, part.new_start
        for old_at, new_at in _rising(pairs):
            self._match(old_at, new_at, 1)
            parts.append(Block(a, old_at, b, new_at))
            a, b = old_at + 1, new_at + 1
        if a == part.old_start:
            return []
        return [*parts, Block(a, part.old_end, b, part.new_end)]


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of the pairs in which the second numbers rise, too."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, value) in enumerate(pairs):
        at = bisect_left(ends, value)
        before.append(last[at - 1] if at else -1)
        ends[at : at + 1] = [value]
        last[at : at + 1] = [number]
    found = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
