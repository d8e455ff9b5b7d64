"""`art diff`: the changes, line by line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import click

from art_cli.diff.patches import Pair, Patches, pairs, text_of
from art_cli.diff.sides import opened
from art_cli.output.console import complain, note
from art_cli.output.pager import Page, paged
from art_cli.output.quotes import quoted
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.store.walk_order import Spooled
from art_core.transfer.changes import Change, Sides

_GREEN, _RED = "\x1b[32m", "\x1b[31m"


@click.command(cls=Command, context_settings=CONTEXT)
@shared("diff")
@click.option("--since", metavar="NAME", help="compare with this snapshot or branch, not with the host")
@click.option("--stat", is_flag=True, help="print how many lines changed in each file")
@click.option("--name-only", is_flag=True, help="print the paths of changed files")
@click.option("--binary", is_flag=True, help="print binary files so that `git apply` can restore them")
@click.option(
    "-U", "--unified", metavar="N", type=click.IntRange(0, 1000), default=3, help="lines around; default: 3"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object for each file, with its counts")
@click.argument("words", nargs=-1, metavar="[A..B] [PATH]...")
def command(
    since: str | None,
    stat: bool,
    name_only: bool,
    binary: bool,
    unified: int,
    as_json: bool,
    words: Sequence[str],
    **options: Any,
) -> int:
    """Show the changes of the workspace line by line, from the host's files to the sandbox's, as a patch that
    `git apply` and `patch -p1` take.

    With --since NAME, or A..B, they are those from one snapshot or branch to another. PATHs narrow it
    down.

    \b
      art diff -d workspace.db
      art diff -d workspace.db --since before src/main.py
      art diff -d workspace.db --binary | git -C elsewhere apply
    """
    unread: list[str] = []
    with opened(options, words, since) as found, paged(wanted=not as_json) as page:
        sides, shown = found.compared.sides, _Shown(found.compared.changes, words)
        if name_only:
            for change in shown:
                if pairs(change, sides):
                    page.line(quoted(change.path).encode())
        elif as_json or stat:
            counts = _counted(shown, sides, unread)
            _write_objects(page, counts) if as_json else _write_stat(page, counts)
        else:
            patches = Patches(page, binary=binary, around=unified)
            for change, pair in in_order(shown, sides):
                try:
                    text = text_of(pair, unified) if pair.differ else None
                except OSError as error:
                    unread.append(_unreadable(change, error))
                else:
                    patches.write(pair, text)
                    if binary and text is not None and text.too_large:
                        unread.append(f"{os.fsdecode(change.path)}: it is too large for a patch")
    for line in unread:
        complain(line)
    if shown.left_out:
        note(
            f"{shown.left_out} changes in .git are left out: git applies no such patch; name .git to see them"
        )
    return 1 if unread else 0


class _Shown:
    """What git itself would show: not its own files, unless they are named."""

    def __init__(self, changes: Iterable[Change], words: Sequence[str]) -> None:
        self._changes = changes
        self._all = any(".git" in word.split("/") for word in words)
        self.left_out = 0

    def __iter__(self) -> Iterator[Change]:
        for change in self._changes:
            if self._all or b".git" not in change.path.split(b"/"):
                yield change
            else:
                self.left_out += 1


def in_order(changes: Iterable[Change], sides: Sides) -> Iterator[tuple[Change, Pair]]:
    """All patches; a file that takes the place of a directory comes after what was in it."""
    waiting: list[Change] = []
    for change in changes:
        while waiting and not change.path.startswith(waiting[-1].path + b"/"):
            done = waiting.pop()
            for pair in pairs(done, sides):
                yield done, pair
        if change.before is not None and change.before.kind == "dir":
            waiting.append(change)
            continue
        for pair in pairs(change, sides):
            yield change, pair
    for done in reversed(waiting):
        for pair in pairs(done, sides):
            yield done, pair


def _unreadable(change: Change, error: OSError) -> str:
    return f"{os.fsdecode(change.path)}: its contents cannot be read: {change.why or error.strerror}"


class Counts(NamedTuple):
    """Lines that were added and deleted; of a binary file its sizes."""

    change: Change
    added: int
    deleted: int
    binary: bool


def _counted(changes: Iterable[Change], sides: Sides, unread: list[str]) -> Iterator[Counts]:
    for change in changes:
        some = pairs(change, sides)
        try:
            texts = [text_of(pair, 0) for pair in some if pair.differ]
        except OSError as error:
            unread.append(_unreadable(change, error))
            continue
        if some:
            binary = any(text.lines is None for text in texts)
            added, deleted = sum(text.added for text in texts), sum(text.deleted for text in texts)
            yield Counts(change, added, deleted, binary)


def _write_objects(page: Page, counts: Iterator[Counts]) -> None:
    for change, added, deleted, binary in counts:
        said: dict[str, object] = {"change": change.what[0], "path": os.fsdecode(change.path)}
        if "renamed" in change.what and change.before is not None:
            said["from"] = os.fsdecode(change.before.path)
        said |= {"binary": True} if binary else {"added": added, "deleted": deleted}
        page.line(json.dumps(said).encode())


class _Line(NamedTuple):
    """What is printed of one file: how many lines were added and deleted, or `sizes` before and after."""

    name: str
    added: int
    deleted: int
    sizes: tuple[int, int] | None


def _write_stat(page: Page, counts: Iterator[Counts]) -> None:
    width = most = added = deleted = 0
    digits = 1
    with Spooled[_Line]() as lines:
        for one in counts:
            line = _Line(_stat_name(one.change), one.added, one.deleted, _sizes(one))
            lines.put(line)
            width = max(width, len(line.name))
            added, deleted = added + one.added, deleted + one.deleted
            if one.binary:
                digits = 3
            else:
                most = max(most, one.added + one.deleted)
        width, digits = min(width, 50), max(digits, len(str(most)))
        room = max(10, min(shutil.get_terminal_size().columns, 120) - width - digits - 5)
        scale = min(1.0, room / (most or 1))
        for line in lines:
            shown = line.name if len(line.name) <= width else "..." + line.name[3 - width :]
            page.line(f" {shown:<{width}} | {_stat(line, digits, scale, page.colour)}".encode())
        words = [f"{len(lines)} file{'s' * (len(lines) != 1)} changed"]
        words += [f"{added} insertion{'s' * (added != 1)}(+)"] * bool(added)
        words += [f"{deleted} deletion{'s' * (deleted != 1)}(-)"] * bool(deleted)
        if len(lines):
            page.line(f" {', '.join(words)}".encode())


def _stat_name(change: Change) -> str:
    if "renamed" in change.what and change.before is not None:
        return f"{quoted(change.before.path)} => {quoted(change.path)}"
    return quoted(change.path)


def _sizes(one: Counts) -> tuple[int, int] | None:
    """Of a binary file."""
    before, after = one.change.before, one.change.after
    return (before.size if before else 0, after.size if after else 0) if one.binary else None


def _stat(one: _Line, digits: int, scale: float, colour: bool) -> str:
    if one.sizes is not None:
        return f"{'Bin':>{digits}} {one.sizes[0]} -> {one.sizes[1]} bytes"
    plus, minus = (
        "" if not number else sign * max(1, round(number * scale))
        for sign, number in (("+", one.added), ("-", one.deleted))
    )
    if colour:
        plus, minus = f"{_GREEN}{plus}\x1b[m", f"{_RED}{minus}\x1b[m"
    return f"{one.added + one.deleted:>{digits}} {plus}{minus}".rstrip()
