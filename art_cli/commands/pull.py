"""`art pull`: carry the workspace back from the database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from art_cli.diff.choice import ChangeChooser
from art_cli.diff.patterns import both, chooser
from art_cli.diff.sides import selection
from art_cli.stores.transfer import TransferPrinter, both_sides
from art_cli.syntax.shared_options import CONTEXT, Command, settings_with, shared
from art_core.autorun import planted_links
from art_core.contracts import Workspace
from art_core.errors import TransferError, UsageError
from art_core.host.tree import within
from art_core.transfer.export import export
from art_core.transfer.pull import pull
from art_core.transfer.transfer import Wishes
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
@click.option("--include", metavar="PATTERN", multiple=True, help="only what it matches (as in .gitignore)")
@click.option("--exclude", metavar="PATTERN", multiple=True, help="all but what it matches")
@click.option("-p", "--patch", is_flag=True, help="show each change and ask whether to carry it")
@click.option("--into", metavar="DIR", help="write the whole workspace into this new or empty directory")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object a line")
@click.option("-v", "--verbose", is_flag=True, help="print what is unchanged, too")
@click.option("-q", "--quiet", is_flag=True, help="print only the totals")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def command(
    force: bool,
    dry_run: bool,
    protected: bool,
    setuid: bool,
    accept_host: bool,
    include: Sequence[str],
    exclude: Sequence[str],
    patch: bool,
    into: str | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    paths: Sequence[str],
    **options: Any,
) -> int:
    """Carry what runs with --db changed in the workspace back to the host.

    Each file appears whole or not at all. What the sandbox removed is removed where the host left
    it as it was pushed. What both sides changed is a conflict: it is printed and left alone, and
    the status is 1. Files that programs of the host run by themselves (.git/hooks, .envrc, ...) are
    named and left out.

    With PATHs, patterns or -p only what they choose is carried, and a later pull offers the rest again.
    With --into DIR nothing is compared: all that the branch or snapshot shows of the workspace is written
    there, and neither your workspace nor the database changes.

    \b
      art pull -m workspace/ -d workspace.db
      art pull -d workspace.db src/ README.md --exclude '*.log'
      art pull -d workspace.db -b agents/two --into ../two
    """
    if patch and (as_json or quiet or into is not None):
        raise UsageError("-p asks on the terminal: leave out --json, -q and --into")
    typed = into or options["mount"] or os.environ.get("ART_MOUNT") or "."

    def line(path: str, entry: Entry | None, action: str) -> str:
        shown = os.path.join(typed, path)
        sized = entry is not None and entry.kind == "file" and action != "SAME"
        return f"{shown} ({entry.size} bytes)" if sized and entry is not None else shown

    telling = TransferPrinter("pulling", line, verbose=verbose, quiet=quiet, as_json=as_json)
    patterns = () if protected else settings_with(options["overrides"]).protect
    wishes = Wishes(
        force=force, dry_run=dry_run, keep_setuid=setuid, protect=patterns, accept_host=accept_host
    )
    matched = chooser(include, exclude)

    with both_sides(options, telling, "Exporting from", mode="write", make=into is None) as found:
        store, at, opened, anew = found
        named = selection(store, [at], paths, opened)
        wishes = wishes._replace(anew=anew, chosen=both(named, matched))
        report, moved = telling.report, telling.moved
        if into is None:
            totals = pull(store, at, opened, wishes, report, moved, ChangeChooser(telling) if patch else None)
        else:
            planted_links.refuse("--into", into, [opened.real])
            with empty_directory(into, opened, make=not dry_run) as fd:
                totals = export(store, at, opened, fd, wishes, report, moved)
    return telling.ended("pulled", totals, dry_run=dry_run)


@contextmanager
def empty_directory(path: str, workspace: Workspace, *, make: bool) -> Iterator[int | None]:
    """A descriptor of a directory that is new or empty; None for a new one that is not to be made. Raises
    TransferError."""
    full = os.path.realpath(os.path.expanduser(path))
    if within(full, workspace.real):
        raise TransferError(f"--into {path!r} lies in the workspace itself; name a directory outside of it")
    if not make and not os.path.lexists(full):
        yield None
        return
    try:
        os.makedirs(full, exist_ok=True)
        fd = os.open(full, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TransferError(f"--into {path!r}: {error.strerror}") from None
    try:
        if os.listdir(fd):
            raise TransferError(f"--into {path!r} is not empty; name a new or an empty directory")
        yield fd
    finally:
        os.close(fd)
