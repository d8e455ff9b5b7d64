"""Changes as patches that git-apply(1) and patch(1) take: git-diff(1), "Generating patch text with -p"."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b85encode
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from art_cli.diff.line_diff import Block, Compared, compared
from art_cli.output.pager import Page
from art_cli.output.quotes import quoted
from art_core.store.blocks import Blocks, contiguous
from art_core.transfer.changes import Change, Side, Sides
from art_core.trees import Entry

TEXT_LIMIT = 32 << 20
"""A file of more bytes is not compared by lines."""
HASHED_LIMIT = 1 << 30
"""A file of more bytes gets no id, which is a sum over all of them, holes too, and is not printed whole."""
_SHORT = 7
_BOLD, _HUNK, _GONE, _NEW = "1", "36", "31", "32"
_LINE = 52
"""Bytes in a line of a binary patch."""


class Half(NamedTuple):
    """One side of a file that is no directory."""

    entry: Entry
    side: Side

    @property
    def mode(self) -> str:
        """Git knows three of them."""
        if self.entry.kind == "link":
            return "120000"
        return "100755" if self.entry.mode & 0o100 else "100644"

    @property
    def size(self) -> int:
        return len(self.entry.target) if self.entry.kind == "link" else self.entry.size

    def contents(self) -> Iterator[bytes]:
        """Raises OSError."""
        if self.entry.kind == "link":
            return iter((self.entry.target,))
        blocks: Blocks = self.side.blocks(self.entry)
        return contiguous(blocks, self.entry.size)


class Pair(NamedTuple):
    """What one patch is about: `before` or `after` is None for what is new or deleted. `differ`: the
    contents do."""

    before: Half | None
    after: Half | None
    differ: bool


def pairs(change: Change, sides: Sides) -> list[Pair]:
    """The patches that a change takes: none for a directory, two where a file became a link."""
    before = _half(change.before, sides.before)
    after = _half(change.after, sides.after)
    if before is not None and after is not None and before.entry.kind != after.entry.kind:
        return [Pair(before, None, True), Pair(None, after, True)]
    if before is None and after is None:
        return []
    if before is not None and after is not None:
        differ = "modified" in change.what
        alike = before.entry.path == after.entry.path and before.mode == after.mode and not differ
        return [] if alike else [Pair(before, after, differ)]
    return [Pair(before, after, True)]


def _half(entry: Entry | None, side: Side) -> Half | None:
    return None if entry is None or entry.kind == "dir" else Half(entry, side)


class Text(NamedTuple):
    """What differs by lines, None where it is not text; and the ids of both contents as git has them, empty
    where one is too large."""

    lines: Compared | None
    before: str
    after: str

    @property
    def too_large(self) -> bool:
        return not self.after

    @property
    def added(self) -> int:
        return 0 if self.lines is None else sum(one.new_end - one.new_start for one in self.lines.blocks)

    @property
    def deleted(self) -> int:
        return 0 if self.lines is None else sum(one.old_end - one.old_start for one in self.lines.blocks)


def text_of(pair: Pair, around: int = 3) -> Text:
    """Compare the contents. Raises OSError when they cannot be read."""
    before, after = pair.before, pair.after
    largest = max(0 if half is None else half.size for half in (before, after))
    if largest > HASHED_LIMIT:
        return Text(None, "", "")
    if largest > TEXT_LIMIT:
        return Text(None, _streamed_id(before), _streamed_id(after))
    old = b"" if before is None else b"".join(before.contents())
    new = b"" if after is None else b"".join(after.contents())
    ids = _id(before, [old]), _id(after, [new])
    is_binary = b"\0" in old or b"\0" in new
    return Text(None if is_binary else compared(old, new, around), *ids)


def _streamed_id(half: Half | None) -> str:
    return _id(half, () if half is None else half.contents())


def _id(half: Half | None, contents: Iterable[bytes]) -> str:
    if half is None:
        return "0" * 40
    digest = hashlib.sha1(b"blob %d\0" % half.size, usedforsecurity=False)
    for data in contents:
        digest.update(data)
    return digest.hexdigest()


class Patches:
    """Writes patches on a page."""

    def __init__(self, page: Page, *, binary: bool = False, around: int = 3) -> None:
        self._page = page
        self._binary = binary
        self._around = around

    def write(self, pair: Pair, text: Text | None) -> None:
        """`text` is what `text_of` says of a pair that differs."""
        one, other = _paths(pair)
        # Where no line below names the file, neither git-apply(1) nor patch(1) can read every space here.
        names = f"{quoted(b'a/' + one, spaces=True)} {quoted(b'b/' + other, spaces=True)}"
        self._bold(f"diff --git {names}")
        self._modes(pair)
        if one != other:
            same = 100 if text is None else _similarity(pair, text)
            self._bold(f"similarity index {same}%")
            self._bold(f"rename from {quoted(one)}")
            self._bold(f"rename to {quoted(other)}")
        if text is not None:
            self._contents(pair, text, one, other)

    def _bold(self, line: str) -> None:
        self._page.line(line.encode(), _BOLD)

    def _modes(self, pair: Pair) -> None:
        if pair.before is None or pair.after is None:
            word, half = ("new", pair.after) if pair.before is None else ("deleted", pair.before)
            assert half is not None
            self._bold(f"{word} file mode {half.mode}")
        elif pair.before.mode != pair.after.mode:
            self._bold(f"old mode {pair.before.mode}")
            self._bold(f"new mode {pair.after.mode}")

    def _contents(self, pair: Pair, text: Text, one: bytes, other: bytes) -> None:
        before, after = pair.before, pair.after
        length = 40 if self._binary and text.lines is None else _SHORT
        line = f"index {text.before[:length]}..{text.after[:length]}"
        if before is not None and after is not None and before.mode == after.mode:
            line += f" {after.mode}"
        if not text.too_large:
            self._bold(line)
        from_name = "/dev/null" if before is None else quoted(b"a/" + one)
        to_name = "/dev/null" if after is None else quoted(b"b/" + other)
        if text.lines is not None:
            if text.lines.blocks:
                self._bold(f"--- {_marked(from_name)}")
                self._bold(f"+++ {_marked(to_name)}")
                self._hunks(text.lines)
        elif self._binary and not text.too_large:
            self._page.line(b"GIT binary patch")
            for half in (after, before):
                self._literal(half)
        else:
            self._page.line(f"Binary files {from_name} and {to_name} differ".encode())

    def _literal(self, half: Half | None) -> None:
        self._page.line(b"literal %d" % (0 if half is None else half.size))
        packing = zlib.compressobj()
        waiting = b""
        for data in () if half is None else half.contents():
            waiting = self._packed(waiting + packing.compress(data))
        self._packed(waiting + packing.flush(), whole=True)
        self._page.line(b"")

    def _packed(self, data: bytes, *, whole: bool = False) -> bytes:
        """Write full lines, with `whole` also one that is not full; return what is left."""
        end = len(data) if whole else len(data) - len(data) % _LINE
        for start in range(0, end, _LINE):
            piece = data[start : min(start + _LINE, end)]
            length = len(piece) + (64 if len(piece) <= 26 else 70)
            self._page.line(b"%c%s" % (length, b85encode(piece, pad=True)))
        return data[end:]

    def _hunks(self, found: Compared) -> None:
        for group in _groups(found.blocks, self._around):
            start = max(0, group[0].old_start - self._around)
            end = min(len(found.old), group[-1].old_end + self._around)
            new_start = start + group[0].new_start - group[0].old_start
            new_end = end + group[-1].new_end - group[-1].old_end
            old_range = _range(found.before + start, end - start)
            new_range = _range(found.before + new_start, new_end - new_start)
            self._page.line(f"@@ -{old_range} +{new_range} @@".encode(), _HUNK)
            at = start
            for block in group:
                self._lines(b" ", found.old[at : block.old_start], "")
                self._lines(b"-", found.old[block.old_start : block.old_end], _GONE)
                self._lines(b"+", found.new[block.new_start : block.new_end], _NEW)
                at = block.old_end
            self._lines(b" ", found.old[at:end], "")

    def _lines(self, sign: bytes, lines: Iterable[bytes], colour: str) -> None:
        for line in lines:
            if line.endswith(b"\n"):
                self._page.line(sign + line[:-1], colour)
            else:
                self._page.line(sign + line, colour)
                self._page.line(b"\\ No newline at end of file")


def _paths(pair: Pair) -> tuple[bytes, bytes]:
    one, other = pair.before or pair.after, pair.after or pair.before
    assert one is not None and other is not None
    return one.entry.path, other.entry.path


def _marked(name: str) -> str:
    """A name with spaces ends with a tab, for patch(1)."""
    return f"{name}\t" if " " in name else name


def _similarity(pair: Pair, text: Text) -> int:
    if text.lines is None or pair.before is None or pair.after is None:
        return 0
    return text.lines.same * 100 // max(pair.before.size, pair.after.size, 1)


def _range(start: int, length: int) -> str:
    """Of no lines the one before is named."""
    first = start + 1 if length else start
    return f"{first}" if length == 1 else f"{first},{length}"


def _groups(blocks: Iterable[Block], around: int) -> Iterator[list[Block]]:
    """Blocks whose surroundings touch are one hunk."""
    group: list[Block] = []
    for block in blocks:
        if group and block.old_start - group[-1].old_end > 2 * around:
            yield group
            group = []
        group.append(block)
    if group:
        yield group
