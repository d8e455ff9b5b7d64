"""What the commands on points in time have in common: `-d NAME` beside `-d FILE`, an open history, and how
a point is told."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from art_cli.output.console import printable
from art_cli.output.pager import Page
from art_cli.stores import opener
from art_cli.syntax.argv import is_option, read_option
from art_cli.syntax.options import BY_NAME
from art_cli.syntax.shared_options import Command, settings_with
from art_core.loader.capabilities import history_of
from art_core.store.history import HistoryStore, Point, Session
from art_core.view.workspace import absolute

REMOVED = "what only it had stays in the database until `art db gc`"
_BOLD = "1"


class NamingCommand(Command):
    """A command where `-d` also removes a name, as git's does: the first `-d` is the database, unless that
    is known otherwise (--db, ART_DB, the settings) and no such file is there."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _told_apart(args))


def _told_apart(args: Sequence[str]) -> list[str]:
    """The arguments with `--db FILE` and `--delete NAME` in the place of `-d`."""
    short = [at for at in _places(args) if read_option(args, at).name == "-d"]
    if not short:
        return list(args)
    values = [str(read_option(args, at).value) for at in short]
    database = None if _knows_database(args) else values[0]
    if database is not None and len(values) > 1:
        database = next((value for value in values if os.path.exists(value)), database)
    if database is None and len(values) == 1 and os.path.exists(values[0]):
        database = values[0]
    words = list(args)
    for at, value in zip(reversed(short), reversed(values), strict=True):
        option = "--db" if value == database else "--delete"
        words[at : at + read_option(args, at).words] = [option, value]
    return words


def _places(args: Sequence[str]) -> Iterator[int]:
    """Where the options stand that a run has, too."""
    at = 0
    while at < len(args) and args[at] != "--":
        name = args[at].partition("=")[0]
        known = name in BY_NAME or (not name.startswith("--") and name[:2] in BY_NAME)
        if is_option(args[at]) and known:
            yield at
            at += read_option(args, at).words
        else:
            at += 1


def _knows_database(args: Sequence[str]) -> bool:
    given = {option.name: option.value for option in (read_option(args, at) for at in _places(args))}
    if "--db" in given:
        return True
    settings = settings_with(())
    mount = str(given.get("-m") or given.get("--mount") or settings.mount or ".")
    return bool(settings.for_workspace(absolute(mount)).database or settings.database)


@contextmanager
def opened(options: Mapping[str, Any]) -> Iterator[HistoryStore]:
    """The history of the database that was named. Raises ArtError."""
    with opener.opened(options) as found:
        yield history_of(found.plugins, found.provider, found.store)


def when(moment_ns: int) -> str:
    """A time of the log, in the local zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment_ns / 1e9))


def as_json(record: Point | Session, **more: object) -> bytes:
    return json.dumps({**record._asdict(), **more}).encode()


def table(
    page: Page,
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    colours: Sequence[str] = (),
) -> None:
    """Rows in columns, as wide as what is in them; `colours` are theirs."""
    shown = [[printable(cell) for cell in row] for row in (heading, *rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(heading))]
    for number, row in enumerate(shown):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        colour = _BOLD if not number else colours[number - 1] if colours else ""
        page.line(line.encode(), colour)
