"""`art branch`: lines of work that part and go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from art_cli.output.pager import paged
from art_cli.stores.points import REMOVED, NamingCommand, as_json, opened, table, when
from art_cli.syntax.shared_options import CONTEXT, shared
from art_core.contracts import MAIN
from art_core.errors import StoreError
from art_core.store.history import HistoryStore


@click.command(cls=NamingCommand, context_settings=CONTEXT)
@shared("branch")
@click.option("--from", "at", metavar="NAME", help="the branch or snapshot to go on from; default: main")
@click.option("--delete", "deleted", metavar="NAME", multiple=True, help="remove a branch; also: -d NAME")
@click.option("--json", "in_json", is_flag=True, help="print one JSON object a line")
@click.argument("point", required=False, metavar="[NAME]")
@click.pass_context
def command(
    context: click.Context,
    /,
    at: str | None,
    deleted: Sequence[str],
    in_json: bool,
    point: str | None,
    **options: Any,
) -> None:
    """Make the branch NAME; without one list the branches.

    It begins with what --from has now, a branch or a snapshot, and what is done in it (`art -b NAME`)
    is seen in no other one. Each branch can have a run of its own at the same time. `art pull -b NAME`
    carries it to the host.

    \b
      art branch -d workspace.db try-1
      art branch -d workspace.db try-2 --from before
      art branch --db workspace.db -d try-1
    """
    if bool(deleted) and point is not None:
        raise click.UsageError("choose one of NAME and --delete NAME", context)
    if at is not None and point is None:
        raise click.UsageError(
            f"--from {at} needs a name for the branch: art branch NAME --from {at}", context
        )
    with opened(options) as history:
        if deleted:
            for one in deleted:
                _remove(history, one, in_json=in_json)
        elif point is None:
            _list(history, in_json=in_json)
        else:
            made = history.make_branch(point, at or options["branch"] or MAIN)
            print(as_json(made).decode() if in_json else f"branch {made.name}: goes on from {made.parent}")


def _remove(history: HistoryStore, name: str, *, in_json: bool) -> None:
    kinds = {point.name: point.kind for point in history.points()}
    if kinds.get(name) == "snapshot":
        raise StoreError(f"{name!r} is a snapshot; `art snapshot --delete {name}` removes it")
    point = history.remove(name)
    print(as_json(point, removed=True).decode() if in_json else f"branch {name} is removed; {REMOVED}")


def _list(history: HistoryStore, *, in_json: bool) -> None:
    points = [point for point in history.points() if point.kind == "branch"]
    with paged(wanted=not in_json) as page:
        if in_json:
            for point in points:
                page.line(as_json(point))
        else:
            rows = [
                (one.name, one.parent, when(one.created_ns), f"held by {one.held}" if one.held else "")
                for one in points
            ]
            table(page, ("BRANCH", "FROM", "MADE", ""), rows)
