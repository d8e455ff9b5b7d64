"""`art restore`: go back to an earlier state, with all or with a part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from art_cli.stores.opener import opened
from art_cli.stores.points import as_json
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.contracts import HOME, MAIN, Workspace
from art_core.host.tree import within
from art_core.loader.capabilities import history_of
from art_core.transfer.path_filters import typed_path
from art_core.view.workspace import open_workspace


@click.command(cls=Command, context_settings=CONTEXT)
@shared("restore")
@click.option("--json", "in_json", is_flag=True, help="print one JSON object")
@click.argument("point", metavar="NAME")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def command(in_json: bool, point: str, paths: Sequence[str], **options: Any) -> None:
    """Put the branch back to what NAME has, a snapshot or another branch; with PATHs only what they name.

    Nothing is lost: what the branch had until now is kept under a name that is printed, and
    `art restore` goes back to that as well. A PATH is one of the workspace, or one of the home if it
    begins with /home/agent; what NAME does not have there is removed. The host is not changed:
    `art pull` carries it there.

    \b
      art restore -d workspace.db before
      art restore -d workspace.db before src/main.py
    """
    branch = options.get("branch") or MAIN
    with opened(options) as found:
        history = history_of(found.plugins, found.provider, found.store)
        workspace = open_workspace(found.directory, name=found.named, moved=found.moved)
        try:
            wanted = [path for path in (_in_home(path, workspace) for path in paths) if path]
            kept = history.restore(branch, point, wanted if len(wanted) == len(paths) else (), workspace)
        finally:
            os.close(workspace.fd)
    if in_json:
        print(as_json(kept).decode())
        return
    what = branch if not paths else f"{', '.join(paths)} of {branch}"
    print(f"{what}: as in {point} now; what {branch} had before is the snapshot {kept.name}")


def _in_home(path: str, workspace: Workspace) -> bytes:
    """The path relative to the home; b"" for all of it."""
    full = os.path.normpath(path)
    if path.startswith("/") and within(full, HOME) and not within(full, f"{HOME}/{workspace.name}"):
        relative = os.path.relpath(full, HOME)
        return b"" if relative == "." else os.fsencode(relative)
    relative_to_top = typed_path(path, workspace)
    name = os.fsencode(workspace.name)
    return name + b"/" + relative_to_top if relative_to_top else name
