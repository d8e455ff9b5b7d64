"""`art diff`: the changes, line by line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from art_cli.diff.patches import Pair, Patches, pairs, text_of
from art_cli.diff.sides import opened
from art_cli.output.console import complain, note
from art_cli.output.pager import Page, paged
from art_cli.output.quotes import quoted
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.transfer.changes import Change, Compared

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
        compared, left_out = _without_git(found.compared, words)
        if name_only:
            for change in compared.changes:
                if pairs(change, compared.sides):
                    page.line(quoted(change.path).encode())
        elif as_json or stat:
            counts = _counted(compared, unread)
            _write_objects(page, counts) if as_json else _write_stat(page, list(counts))
        else:
            patches = Patches(page, binary=binary, around=unified)
            for change, pair in in_order(compared):
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
    if left_out:
        note(f"{left_out} changes in .git are left out: git applies no such patch; name .git to see them")
    return 1 if unread else 0


def _without_git(found: Compared, words: Sequence[str]) -> tuple[Compared, int]:
    """What git itself would show, and how much that is less: not its own files, unless they are named."""
    if any(".git" in word.split("/") for word in words):
        return found, 0
    shown = [change for change in found.changes if b".git" not in change.path.split(b"/")]
    return found._replace(changes=shown), len(found.changes) - len(shown)


def in_order(found: Compared) -> Iterator[tuple[Change, Pair]]:
    """All patches; a file that takes the place of a directory comes after what was in it."""
    waiting: list[Change] = []
    for change in found.changes:
        while waiting and not change.path.startswith(waiting[-1].path + b"/"):
            done = waiting.pop()
            for pair in pairs(done, found.sides):
                yield done, pair
        if change.before is not None and change.before.kind == "dir":
            waiting.append(change)
            continue
        for pair in pairs(change, found.sides):
            yield change, pair
    for done in reversed(waiting):
        for pair in pairs(done, found.sides):
            yield done, pair


def _unreadable(change: Change, error: OSError) -> str:
    return f"{os.fsdecode(change.path)}: its contents cannot be read: {change.why or error.strerror}"


class Counts(NamedTuple):
    """Lines that were added and deleted; of a binary file its sizes."""

    change: Change
    added: int
    deleted: int
    binary: bool


def _counted(found: Compared, unread: list[str]) -> Iterator[Counts]:
    for change in found.changes:
        some = pairs(change, found.sides)
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


def _write_stat(page: Page, counts: Sequence[Counts]) -> None:
    names = [_stat_name(one.change) for one in counts]
    width = min(max(map(len, names), default=0), 50)
    most = max((one.added + one.deleted for one in counts if not one.binary), default=0)
    digits = len(str(most)) if not any(one.binary for one in counts) else max(3, len(str(most)))
    room = max(10, min(shutil.get_terminal_size().columns, 120) - width - digits - 5)
    scale = min(1.0, room / (most or 1))
    for name, one in zip(names, counts, strict=True):
        shown = name if len(name) <= width else "..." + name[3 - width :]
        page.line(f" {shown:<{width}} | {_stat(one, digits, scale, page.colour)}".encode())
    added, deleted = sum(one.added for one in counts), sum(one.deleted for one in counts)
    words = [f"{len(counts)} file{'s' * (len(counts) != 1)} changed"]
    words += [f"{added} insertion{'s' * (added != 1)}(+)"] * bool(added)
    words += [f"{deleted} deletion{'s' * (deleted != 1)}(-)"] * bool(deleted)
    if counts:
        page.line(f" {', '.join(words)}".encode())


def _stat_name(change: Change) -> str:
    if "renamed" in change.what and change.before is not None:
        return f"{quoted(change.before.path)} => {quoted(change.path)}"
    return quoted(change.path)


def _stat(one: Counts, digits: int, scale: float, colour: bool) -> str:
    if one.binary:
        before, after = one.change.before, one.change.after
        sizes = [0 if entry is None else entry.size for entry in (before, after)]
        return f"{'Bin':>{digits}} {sizes[0]} -> {sizes[1]} bytes"
    plus, minus = (
        "" if not number else sign * max(1, round(number * scale))
        for sign, number in (("+", one.added), ("-", one.deleted))
    )
    if colour:
        plus, minus = f"{_GREEN}{plus}\x1b[m", f"{_RED}{minus}\x1b[m"
    return f"{one.added + one.deleted:>{digits}} {plus}{minus}".rstrip()
