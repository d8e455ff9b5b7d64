"""`art trust`: show what a workspace asks to have mounted beyond a sandbox's own, and approve it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from art_cli.output import console
from art_cli.output.console import printable
from art_cli.run.run import sandbox_options
from art_cli.syntax.shared_options import CONTEXT, Command, given, shared
from art_core.config import dirs
from art_core.config.options import Options
from art_core.contracts import Workspace
from art_core.errors import ApprovalNeeded
from art_core.plan.approval import Approvals
from art_core.plan.preparation import Preparation, approvals_of
from art_core.view.workspace import absolute


@click.command(cls=Command, context_settings=CONTEXT)
@shared("trust")
@click.option("--yes", is_flag=True, help="approve without asking")
@click.option("--list", "listing", is_flag=True, help="list what is approved, for all workspaces")
@click.option("--forget", is_flag=True, help="take the workspace's approval back")
@click.pass_context
def command(context: click.Context, /, yes: bool, listing: bool, forget: bool, **options: Any) -> None:
    """Show what the workspace asks to have mounted that a sandbox would not give it, and approve it.

    An approval holds for this workspace, this content of its files, and the places that the mounts
    lead to now. When one of them changes, ART asks again.
    """
    if yes + listing + forget > 1:
        raise click.UsageError("choose one of --yes, --list and --forget", context)
    if listing:
        _list()
    elif forget:
        _forget(options["mount"] or os.environ.get("ART_MOUNT") or ".")
    else:
        _approve(given(options), yes=yes)


def _approve(options: dict[str, Any], *, yes: bool) -> None:
    preparation = Preparation(Options(**sandbox_options(options), allow_home=True))
    try:
        workspace, grants = preparation.workspace, preparation.grants_when_kept
        approvals = approvals_of(preparation)
        agent = options.get("agent")
        where = printable(f"{workspace.path} with --agent {agent}" if agent else workspace.path)
        if not grants:
            print(f"{where} asks for nothing that needs approval")
            return
        if approvals.holds(workspace, preparation.evidence, grants):
            print(f"{where} is approved already:")
        else:
            print(f"{where} asks for more than a sandbox has:")
        for grant in grants:
            print(f"  {printable(str(grant))}")
        if approvals.holds(workspace, preparation.evidence, grants):
            return
        if not yes and not _agreed():
            raise ApprovalNeeded("nothing was approved")
        approvals.record(workspace, preparation.evidence, grants)
        print("approved, until one of this changes")
    finally:
        preparation.close()


def _agreed() -> bool:
    if not console.can_ask():
        raise ApprovalNeeded("nobody can be asked here; to approve without a question: add --yes")
    sys.stdout.flush()
    return console.ask("Approve, until this changes?")


def _list() -> None:
    import time

    for record in Approvals(dirs.state_dir(os.environ)).listing():
        day = time.strftime("%Y-%m-%d", time.localtime(record.get("approved_s", 0)))
        print(f"{printable(record['workspace'])}, approved {day}:")
        for grant in record.get("grants", ()):
            print(f"  {printable(str(grant))}")


def _forget(directory: str) -> None:
    path = absolute(directory)
    # The directory may be gone; its approval is to go too.
    workspace = Workspace(name=os.path.basename(path), path=path, real=os.path.realpath(path), fd=-1)
    found = Approvals(dirs.state_dir(os.environ)).forget(workspace)
    print(f"{printable(path)}: {'its approval is taken back' if found else 'there was no approval'}")
