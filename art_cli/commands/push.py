"""`art push`: carry the workspace into the database."""

from __future__ import annotations

from typing import Any

import click

from art_cli.stores.transfer import TransferPrinter, both_sides
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.transfer.push import push
from art_core.transfer.transfer import Wishes
from art_core.trees import Entry


@click.command(cls=Command, context_settings=CONTEXT)
@shared("push")
@click.option("--force", is_flag=True, help="let the host win where both sides changed")
@click.option("--dry-run", is_flag=True, help="change nothing, and print what would be done")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("-v", "--verbose", is_flag=True, help="print what is unchanged, too")
@click.option("-q", "--quiet", is_flag=True, help="print only the totals")
def command(force: bool, dry_run: bool, as_json: bool, verbose: bool, quiet: bool, **options: Any) -> int:
    """Carry the workspace into the database, where runs with --db see it.

    Only what changed since the last push or pull is carried. What both sides changed is a conflict:
    it is printed and left alone, and the status is 1.

    \b
      art push -m workspace/ -d workspace.db
    """

    def line(path: str, entry: Entry | None, action: str) -> str:
        shown = f"/{telling.workspace}/{path}"
        if entry is None or action == "SAME":
            return shown
        size = f"{entry.size} bytes, " if entry.kind == "file" else ""
        number = f"ino {entry.ino}" if entry.ino else "new"
        return f"{shown} ({size}{number})"

    telling = TransferPrinter("pushing", line, verbose=verbose, quiet=quiet, as_json=as_json)

    wishes = Wishes(force=force, dry_run=dry_run)
    with both_sides(options, telling, "Files will be stored under", mode="create") as found:
        store, branch, opened, _ = found
        totals = push(store, branch, opened, wishes, telling.report, telling.moved)
    return telling.ended("pushed", totals, dry_run=dry_run)
