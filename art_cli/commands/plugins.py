"""`art plugins`: which plugins there are, what each provides, and why one is not there."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from art_cli.commands.sharing import CONTEXT, Command, settings_with, shared
from art_cli.console import printable
from art_core.plugins import PluginRow, Plugins


@click.command(cls=Command, context_settings=CONTEXT)
@shared("plugins")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def command(as_json: bool, overrides: tuple[str, ...], no_plugins: tuple[str, ...]) -> None:
    """List the plugins: what each provides, and why one is not there."""
    settings = settings_with(overrides)
    rows = Plugins.load(settings, disabled=no_plugins, env=os.environ).rows()
    from art_cli.extending import load_commands

    rows = [*rows, *load_commands(settings, disabled=no_plugins).rows()]
    if as_json:
        import json

        print(json.dumps({"plugins": [as_object(row) for row in rows]}, indent=2))
    else:
        for line in table(rows):
            print(printable(line))


def as_object(row: PluginRow) -> dict[str, object]:
    """A row for programs to read."""
    provides = [{"kind": kind, "name": name} for kind, name in row.provides]
    return {
        "name": row.name,
        "state": row.state,
        "provides": provides,
        "distribution": row.distribution,
        "version": row.version,
        "location": row.location,
        "reason": row.reason,
        "cure": row.cure,
    }


def table(rows: Sequence[PluginRow]) -> list[str]:
    """The rows for people to read, with a second line where something is wrong."""
    if not rows:
        return ["no plugin is installed"]
    cells = [
        (
            row.name,
            row.state,
            ", ".join(f"{kind.replace('_', ' ')} {name}" for kind, name in row.provides),
            f"{row.distribution} {row.version}",
        )
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    lines = []
    for row, cell in zip(rows, cells, strict=True):
        padded = [text.ljust(width) for text, width in zip(cell, [*widths, 0], strict=True)]
        lines.append("  ".join(padded).rstrip())
        if row.reason:
            lines.append("    " + "; ".join(filter(None, (row.reason, row.cure))))
    return lines
