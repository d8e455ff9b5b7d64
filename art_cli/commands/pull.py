"""`art pull`: carry the workspace back from the database."""

from __future__ import annotations

import os
from typing import Any

import click

from art_cli.commands.sharing import CONTEXT, Command, settings_with, shared
from art_cli.transferring import Telling, carry
from art_core.contracts import Store, Workspace
from art_core.pulling import pull
from art_core.transfer import Totals, Wishes
from art_core.trees import Entry


@click.command(cls=Command, context_settings=CONTEXT)
@shared("pull")
@click.option("--force", is_flag=True, help="let the sandbox win where both sides changed")
@click.option("--dry-run", is_flag=True, help="change nothing, and print what would be done")
@click.option("--protected", is_flag=True, help="carry what programs of the host run by themselves, too")
@click.option(
    "--accept-host",
    is_flag=True,
    help="take the host's contents for what the sandbox did not change of a file",
)
@click.option("--setuid", is_flag=True, help="keep set-user-ID and set-group-ID bits")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("-v", "--verbose", is_flag=True, help="print what is unchanged, too")
@click.option("-q", "--quiet", is_flag=True, help="print only the totals")
def command(
    force: bool,
    dry_run: bool,
    protected: bool,
    setuid: bool,
    accept_host: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Carry what runs with --db changed in the workspace back to the host.

    Each file appears whole or not at all. What the sandbox removed is removed where the host left
    it as it was pushed. What both sides changed is a conflict: it is printed and left alone, and
    the status is 1. Files that programs of the host run by themselves (.git/hooks, .envrc, ...) are
    named and left out.

    \b
      art pull -m workspace/ -d workspace.db
    """
    typed = options["mount"] or os.environ.get("ART_MOUNT") or "."

    def line(path: str, entry: Entry | None, action: str) -> str:
        shown = os.path.join(typed, path)
        sized = entry is not None and entry.kind == "file" and action != "SAME"
        return f"{shown} ({entry.size} bytes)" if sized and entry is not None else shown

    telling = Telling("pulling", line, verbose=verbose, quiet=quiet, as_json=as_json)
    patterns = () if protected else settings_with(options["overrides"]).protect
    wishes = Wishes(
        force=force, dry_run=dry_run, keep_setuid=setuid, protect=patterns, accept_host=accept_host
    )

    def move(store: Store, branch: str, opened: Workspace, wishes: Wishes, telling: Telling) -> Totals:
        return pull(store, branch, opened, wishes, telling.report, telling.moved)

    return carry(move, options, wishes, telling, make=True, heading="Exporting from", verb="pulled")
