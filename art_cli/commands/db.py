"""`art db`: care for a database."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from art_cli.commands.sharing import CONTEXT, Command, shared
from art_cli.console import note, printable
from art_cli.grouping import Group, all_given
from art_cli.opening import Opened, opened
from art_cli.progress import sized
from art_core.errors import UsageError
from art_core.history import MAIN
from art_core.maintenance import Finding, Info, Maintenance


@click.group(cls=Group, context_settings=CONTEXT)
@shared("db")
def command(**options: Any) -> None:
    """Care for a database. All of it works while a sandbox runs on it, save `check --repair`.

    \b
      art db info -d ws.db
      art db check -d ws.db
      art db export --tar -d ws.db > home.tar
    """


as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")


@contextmanager
def _cared_for(options: dict[str, Any]) -> Iterator[tuple[Maintenance, Opened]]:
    with opened(options, "maintenance") as found:
        yield found.store, found  # type: ignore[misc]


@command.command("info", cls=Command)
@shared("db")
@as_json
def info(as_json: bool, **options: Any) -> None:
    """What the database holds: its size, branches, snapshots and workspaces."""
    with _cared_for(all_given(options)) as (store, _):
        found = store.info()
    if as_json:
        said = found._asdict()
        said["branches"] = [branch._asdict() for branch in found.branches]
        said["snapshots"] = [snapshot._asdict() for snapshot in found.snapshots]
        said["workspaces"] = [{"name": name, "path": path} for name, path in found.workspaces]
        print(json.dumps(said, indent=2))
        return
    for line in _lines(found):
        print(printable(line))


def _lines(found: Info) -> Iterator[str]:
    yield f"{found.path}: format {found.format}, {sized(found.size)} on the disk"
    chunks = f"{sized(found.contents)} of contents in {found.chunks} chunks"
    yield f"  in it      {chunks}, {sized(found.free)} free"
    yield f"  log        {sized(found.log)}"
    more = f", {found.unreached} of them reached by no name (`art db gc`)" if found.unreached else ""
    yield f"  layers     {found.layers}{more}"
    yield f"  files      {found.files}, counted once for each layer that has them"
    for name, path in found.workspaces:
        yield f"  workspace  {name}, of {path}"
    for branch in found.branches:
        held = f", held by {branch.held_by}" if branch.held_by else ""
        yield f"  branch     {branch.name}, {branch.layers} layers{held}"
    for snapshot in found.snapshots:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot.created_ns // 10**9))
        yield f"  snapshot   {snapshot.name}, {when}"


@command.command("check", cls=Command)
@shared("db")
@as_json
@click.option("--repair", is_flag=True, help="mend what can be mended, after a backup")
@click.option("--backup", metavar="FILE", help="where the backup goes; default: beside the database")
def check(as_json: bool, repair: bool, backup: str | None, **options: Any) -> int:
    """Look at everything: SQLite's pages, layers, names, links, and the contents of files.

    Each thing that is wrong is printed, and the status is 1. With --repair the database is copied
    first, and then mended; what is left wrong afterwards makes the status 1.
    """
    if backup is not None and not repair:
        raise UsageError("--backup FILE says where --repair keeps a copy; add --repair")
    with _cared_for(all_given(options)) as (store, found):
        if not repair:
            number = _tell(store.check(), as_json)
            if not as_json:
                print(f"{number} found" if number else "nothing is wrong")
            return 1 if number else 0
        kept = backup or time.strftime(f"{found.locator}-backup-%Y-%m-%dT%H-%M-%S")
        number = _tell(store.repair(os.path.abspath(os.path.expanduser(kept))), as_json)
        left = list(store.check())
        if as_json:
            print(json.dumps({"backup": kept, "found": number, "left": [one._asdict() for one in left]}))
        else:
            for finding in left:
                print(f"left: {finding.kind}: {printable(finding.what)}")
            print(printable(f"{number} found, {len(left)} left; the database as it was: {kept}"))
        return 1 if left else 0


def _tell(findings: Iterator[Finding], as_json: bool) -> int:
    number = 0
    for finding in findings:
        number += 1
        if as_json:
            print(json.dumps(finding._asdict()))
        else:
            cure = "" if finding.mends else " (cannot be mended)"
            print(printable(f"{finding.kind}: {finding.what}{cure}"))
        sys.stdout.flush()
    return number


@command.command("gc", cls=Command)
@shared("db")
@as_json
def gc(as_json: bool, **options: Any) -> None:
    """Let go of what no branch and no snapshot needs, and give the space back to the disk."""
    with _cared_for(all_given(options)) as (store, _):
        found = store.collect()
    if as_json:
        print(json.dumps(found._asdict()))
        return
    print(
        f"{found.layers} layers removed, {found.merged} merged, {found.inodes} files without a name removed\n"
        f"{sized(found.freed)} freed, {sized(found.returned)} given back to the disk"
    )
    if found.why:
        note(f"{sized(found.kept)} stay in the file for what is written next: {found.why}")


@command.command("squash", cls=Command)
@shared("db")
@as_json
def squash(as_json: bool, **options: Any) -> None:
    """Merge the layers of a branch that have no name. What the branch and its snapshots show stays.

    Runs do this at their end, up to a limit; a snapshot that is deleted leaves such a layer.
    """
    chosen = all_given(options)
    with _cared_for(chosen) as (store, _):
        found = store.squash(chosen.get("branch") or MAIN)
    if as_json:
        print(json.dumps(found._asdict()))
        return
    print(printable(f"{found.branch}: {found.before} layers before, {found.after} now"))
    if found.why:
        note(found.why)
