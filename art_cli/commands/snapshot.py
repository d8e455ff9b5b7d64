"""`art snapshot`: keep a state under a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from art_cli.output.pager import paged
from art_cli.stores.points import REMOVED, NamingCommand, as_json, opened, table, when
from art_cli.syntax.shared_options import CONTEXT, shared
from art_core.contracts import MAIN
from art_core.errors import StoreError
from art_core.store.history import HistoryStore, NameTaken, Point, dated


@click.command(cls=NamingCommand, context_settings=CONTEXT)
@shared("snapshot")
@click.option("--list", "listing", is_flag=True, help="list the snapshots; with -b those of one branch")
@click.option("--delete", "deleted", metavar="NAME", multiple=True, help="remove a snapshot; also: -d NAME")
@click.option("--json", "in_json", is_flag=True, help="print one JSON object a line")
@click.argument("point", required=False, metavar="[NAME]")
@click.pass_context
def command(
    context: click.Context,
    /,
    listing: bool,
    deleted: Sequence[str],
    in_json: bool,
    point: str | None,
    **options: Any,
) -> None:
    """Keep the branch as it is now under NAME; without one it is named by the time.

    It costs nothing, whatever the workspace holds, and a run that is under way goes on: the snapshot
    has what it did until then. `art restore NAME` goes back to it, `art branch NEW --from NAME` goes on
    from it, and every command that takes a branch (-b) reads it.

    \b
      art snapshot -d workspace.db before
      art snapshot -d workspace.db --list
      art snapshot --db workspace.db -d before
    """
    if (point is not None) + listing + bool(deleted) > 1:
        raise click.UsageError("choose one of NAME, --list and --delete NAME", context)
    with opened(options) as history:
        if deleted:
            for one in deleted:
                _remove(history, one, in_json=in_json)
        elif listing:
            _list(history, options["branch"], in_json=in_json)
        else:
            taken = _taken(history, options["branch"] or MAIN, point)
            said = f"snapshot {taken.name}: {taken.branch} as it is now"
            print(as_json(taken).decode() if in_json else said)


def _taken(history: HistoryStore, branch: str, name: str | None) -> Point:
    if name is not None:
        return history.snapshot(branch, name)
    for made_up in dated("snapshot"):
        try:
            return history.snapshot(branch, made_up)
        except NameTaken:
            continue
    raise StoreError("a thousand snapshots were taken in this second; name this one")


def _remove(history: HistoryStore, name: str, *, in_json: bool) -> None:
    kinds = {point.name: point.kind for point in history.points()}
    if kinds.get(name) == "branch":
        raise StoreError(f"{name!r} is a branch; `art branch --delete {name}` removes it")
    point = history.remove(name)
    print(as_json(point, removed=True).decode() if in_json else f"snapshot {name} is removed; {REMOVED}")


def _list(history: HistoryStore, branch: str | None, *, in_json: bool) -> None:
    points = [point for point in reversed(history.points()) if point.kind == "snapshot"]
    points = [point for point in points if branch in (None, point.branch)]
    with paged(wanted=not in_json) as page:
        if in_json:
            for point in points:
                page.line(as_json(point))
        else:
            rows = [(one.name, one.branch, when(one.created_ns), one.note) for one in points]
            table(page, ("SNAPSHOT", "OF", "TAKEN", ""), rows)
