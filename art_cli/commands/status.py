"""`art status`: what changed in the workspace."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import click

from art_cli.diff.sides import Opened, Range, opened
from art_cli.output.console import printable
from art_cli.output.pager import Page, paged
from art_cli.output.quotes import readable
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.transfer.changes import Change
from art_core.trees import Entry

_COLOURS = {"added": "32", "deleted": "31", "renamed": "36"}
_CHANGED, _CONFLICT = "33", "1;31"
_SHOWN = 10
_LEFT_ALONE = {"conflict": "conflict", "protected": "left out by a pull"}


@click.command(cls=Command, context_settings=CONTEXT)
@shared("status")
@click.option("--since", metavar="NAME", help="compare with this snapshot or branch, not with the host")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("-v", "--verbose", is_flag=True, help="list all host files that changed since the push")
@click.argument("words", nargs=-1, metavar="[A..B] [PATH]...")
def command(since: str | None, as_json: bool, verbose: bool, words: Sequence[str], **options: Any) -> int:
    """Show what changed in the workspace: what `art pull` would carry to the host, and what it would leave
    alone because the host changed it, too.

    With --since NAME, or A..B, it is what changed from one snapshot or branch to another; the host
    is not asked then. PATHs narrow it down.

    \b
      art status -d workspace.db
      art status -d workspace.db --since before src/
      art status -d workspace.db agents/one..agents/two
    """
    with opened(options, words, since) as found, paged(wanted=not as_json) as page:
        if as_json:
            for line in _objects(found):
                page.line(json.dumps(line).encode())
        else:
            _write(page, found, verbose=verbose)
    return 0


def _objects(found: Opened) -> Iterator[dict[str, object]]:
    yield from map(_object, found.compared.changes)
    for one in found.compared.moved_on:
        yield {"change": "host", "path": os.fsdecode(one.path), "host": one.what}


def _object(change: Change) -> dict[str, object]:
    said: dict[str, object] = {"change": change.what[0], "path": os.fsdecode(change.path)}
    if len(change.what) > 1:
        said["also"] = list(change.what[1:])
    before, after = change.before, change.after
    if before is not None and after is not None and before.path != after.path:
        said["from"] = os.fsdecode(before.path)
    for entry, end in ((after, ""), (before, "_before")):
        if entry is not None:
            said |= {f"kind{end}": entry.kind, f"size{end}": entry.size, f"mode{end}": f"{entry.mode:04o}"}
        if entry is not None and entry.kind == "link":
            said[f"target{end}"] = os.fsdecode(entry.target)
    if change.verdict in _LEFT_ALONE:
        said[change.verdict] = change.why
    return said


def _write(page: Page, found: Opened, *, verbose: bool) -> None:
    moved_on = found.compared.moved_on
    totals = Counter[str]()
    page.line(printable(_heading(found.range, found.workspace.path)).encode("utf-8", "backslashreplace"))
    for change in found.compared.changes:
        totals["changed" if change.what[0] not in _COLOURS else change.what[0]] += 1
        totals[change.verdict] += 1
        colour = _COLOURS.get(change.what[0], _CHANGED)
        page.line(f"  {', '.join(change.what):<10} {_described(change)}".encode(), colour)
        if change.verdict in _LEFT_ALONE:
            page.line(f"             {_LEFT_ALONE[change.verdict]}: {change.why}".encode(), _CONFLICT)
    if len(moved_on):
        page.line(b"Changed on the host since both sides were the same, and not in the sandbox:")
        for moved in moved_on if verbose else islice(moved_on, _SHOWN):
            page.line(f"  {moved.what:<10} {readable(moved.path)}".encode(), _CHANGED)
        if len(moved_on) > _SHOWN and not verbose:
            page.line(f"  ... and {len(moved_on) - _SHOWN} more (-v lists them)".encode())
        page.line(b"  (it is seen in the sandbox after the next `art push`)")
    page.line(_totals(totals).encode())


def _heading(range: Range, host: str) -> str:
    if range.first is None:
        return f"Changes in {range.second}, against the host's {host}:"
    return f"Changes from {range.first} to {range.second}:"


def _described(change: Change) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        return _named(before or after) + _sized(before or after)
    shown = _named(after)
    if before.path != after.path:
        shown = f"{_named(before)} -> {shown}"
    details = []
    if "type" in change.what:
        details.append(f"{before.kind} -> {after.kind}")
    if "modified" in change.what and after.kind == "link":
        details.append(f"-> {readable(after.target)}")
    elif "modified" in change.what:
        details.append(
            f"{after.size} bytes" if before.size == after.size else f"{before.size} -> {after.size} bytes"
        )
    if "mode" in change.what:
        details.append(f"{before.mode:04o} -> {after.mode:04o}")
    return f"{shown} ({', '.join(details)})" if details else shown


def _named(entry: Entry | None) -> str:
    assert entry is not None
    return readable(entry.path) + "/" * (entry.kind == "dir")


def _sized(entry: Entry | None) -> str:
    if entry is None or entry.kind == "dir":
        return ""
    return f" -> {readable(entry.target)}" if entry.kind == "link" else f" ({entry.size} bytes)"


def _totals(number: Counter[str]) -> str:
    words = [f"{number[word]} {word}" for word in ("added", "changed", "renamed", "deleted") if number[word]]
    for verdict, shown in (("conflict", "in conflict"), ("protected", "left out by a pull")):
        if number[verdict]:
            words.append(f"{number[verdict]} {shown}")
    return ", ".join(words) or "nothing changed"
