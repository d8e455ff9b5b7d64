"""`art plugins`: which plugins there are, what each provides, and why one is not there."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from art_cli.output.console import printable
from art_cli.syntax.shared_options import CONTEXT, Command, settings_with, shared
from art_core.errors import ArtError
from art_core.loader.plugins import PluginRow, Plugins


@click.command(cls=Command, context_settings=CONTEXT)
@shared("plugins")
@click.option(
    "-v", "--verbose", is_flag=True, help="print all settings of each, not only those that were set"
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def command(verbose: bool, as_json: bool, overrides: tuple[str, ...], no_plugins: tuple[str, ...]) -> None:
    """List the plugins: what each provides, how it is set, and why one is not there."""
    settings = settings_with(overrides)
    plugins = Plugins.load(settings, disabled=no_plugins, env=os.environ)
    from art_cli.plugin_commands.loader import load_commands

    rows = [*plugins.rows(), *load_commands(settings, disabled=no_plugins).rows()]
    if as_json:
        import json

        print(json.dumps({"plugins": [as_object(row, plugins) for row in rows]}, indent=2))
    else:
        more = [settings_shown(row, plugins, verbose=verbose) for row in rows]
        unread = plugins.settings_of_nobody().items()
        lost = [f"[plugins.{name}] is read by no plugin here{near}" for name, near in unread]
        for line in (*table(rows, more), *lost):
            print(printable(line))


def settings_shown(row: PluginRow, plugins: Plugins, *, verbose: bool) -> list[str]:
    """A line for each setting, and for what is wrong with one."""
    lines = []
    for kind, name in row.provides:
        try:
            for key, value, source in plugins.settings_of(kind, name):
                if source or verbose:
                    lines.append(f"plugins.{name}.{key} = {toml(value)}  ({source or 'default'})")
        except ArtError as error:
            lines.append(str(error))
    return lines


def toml(value: object) -> str:
    """A value as it is written in config.toml."""
    import json

    return json.dumps(value, ensure_ascii=False)


def as_object(row: PluginRow, plugins: Plugins) -> dict[str, object]:
    """A row for programs to read."""
    provides: list[dict[str, object]] = []
    for kind, name in row.provides:
        found: dict[str, object] = {"kind": kind, "name": name}
        try:
            found["settings"] = [setting._asdict() for setting in plugins.settings_of(kind, name)]
        except ArtError as error:
            found["wrong"] = str(error)
        provides.append(found)
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


def table(rows: Sequence[PluginRow], more: Sequence[Sequence[str]] = ()) -> list[str]:
    """The rows for people to read, each with lines below it: what is wrong, and `more` of its own."""
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
    for row, cell, below in zip(rows, cells, more or [()] * len(rows), strict=True):
        padded = [text.ljust(width) for text, width in zip(cell, [*widths, 0], strict=True)]
        lines.append("  ".join(padded).rstrip())
        if row.reason:
            lines.append("    " + "; ".join(filter(None, (row.reason, row.cure))))
        lines += [f"    {line}" for line in below]
    return lines
