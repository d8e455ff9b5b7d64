"""`art db`: care for a database."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from art_cli.output.console import note, printable
from art_cli.output.progress import sized
from art_cli.stores.opener import OpenedStore, opened, workspace_of, workspaces
from art_cli.syntax.command_group import Group, all_given
from art_cli.syntax.shared_options import CONTEXT, Command, shared
from art_core.autorun import planted_links
from art_core.contracts import MAIN
from art_core.errors import UsageError
from art_core.store.files import Files
from art_core.store.maintenance import Finding, Info, Maintenance
from art_core.transfer import archive


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
def _cared_for(options: dict[str, Any]) -> Iterator[tuple[Maintenance, OpenedStore]]:
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
        if backup is not None:
            planted_links.refuse("--backup", backup, workspaces(found.directory), last=True)
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


tar = click.option("--tar", is_flag=True, required=True, help="as a tar archive (POSIX pax)")


@command.command("export", cls=Command)
@shared("db")
@tar
@as_json
@click.option("--workspace", "only", is_flag=True, help="only the workspace, not the rest of the home")
def export(tar: bool, as_json: bool, only: bool, **options: Any) -> int:
    """Write a branch or a snapshot (-b NAME) to standard output.

    What the workspace shows of its host directory is written, too, where -m DIR names that; without it
    only what the database has.

    \b
      art db export --tar -d ws.db -b before-tests | tar tv
    """
    chosen = all_given(options)
    if os.isatty(1):
        raise UsageError("a tar archive is not for a terminal; redirect standard output")
    with opened(chosen, "files") as found:
        files: Files = found.store  # type: ignore[assignment]
        with workspace_of(found, files) as workspace:
            top = b""
            if only:
                top = os.fsencode(found.named or os.path.basename(os.path.abspath(found.directory)))
            with files.home(chosen.get("branch") or MAIN, workspace) as home:
                if only and home.find(top) is None:
                    raise UsageError(
                        f"the database has no workspace {os.fsdecode(top)!r}; name it with -m DIR"
                    )
                done = archive.write(home, top, sys.stdout.buffer, _skipped)
    sys.stdout.flush()
    _carried(done, "exported", as_json, sys.stderr)
    return 1 if done.skipped else 0


@command.command("import", cls=Command)
@shared("db")
@tar
@as_json
def import_(tar: bool, as_json: bool, **options: Any) -> int:
    """Read a tar archive from standard input into a new branch (-b NAME), or a new database.

    Either all of it is there at the end, or nothing. Names that lead out of the archive are refused.

    \b
      art db import --tar -d new.db < home.tar
      art db import --tar -d ws.db -b other < home.tar
    """
    chosen = all_given(options)
    with opened(chosen, "files", "create") as found:
        files: Files = found.store  # type: ignore[assignment]
        with files.new_home(chosen.get("branch") or MAIN) as home:
            done = archive.read(home, sys.stdin.buffer, _skipped)
    _carried(done, "imported", as_json, sys.stdout)
    return 0


def _skipped(path: bytes, why: str) -> None:
    print(printable(f"SKIP {os.fsdecode(path)}: {why}"), file=sys.stderr)


def _carried(done: archive.Carried, verb: str, as_json: bool, out: TextIO) -> None:
    if as_json:
        print(json.dumps(done._asdict()), file=out)
    else:
        skipped = f", {done.skipped} skipped" if done.skipped else ""
        print(f"art: {done.entries} {verb} ({done.size} bytes){skipped}", file=sys.stderr)
