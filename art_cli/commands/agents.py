"""`art agents`: the presets there are, and what one grants on this host."""

from __future__ import annotations

import os

import click

from art_cli.output.console import printable
from art_cli.run.explanation import of_rows
from art_cli.syntax.shared_options import CONTEXT, Command
from art_core.agents import presets
from art_core.agents.presets import Preset
from art_core.agents.provision import Provision
from art_core.config import settings as settings_module
from art_core.errors import SettingsError


@click.command(cls=Command, context_settings=CONTEXT)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def command(name: str | None, as_json: bool) -> None:
    """List the presets of agents; with NAME, show what that one grants on this host.

    A preset is a TOML table: one of ART's own, a file in /etc/art/agents or in the directory `agents` beside
    your settings, or [agents.NAME] in them. `art --agent NAME` uses it; nothing in a workspace makes one.
    """
    settings = settings_module.load(os.environ)
    if name is not None:
        preset = presets.find(name, settings, os.environ)
        preset.check()
        _show(preset, as_json=as_json)
        return
    found: dict[str, Preset | SettingsError] = {}
    for known in presets.names(settings, os.environ):
        try:
            found[known] = presets.find(known, settings, os.environ)
        except SettingsError as error:
            found[known] = error
    if as_json:
        _print_json({"agents": [_as_object(known, one) for known, one in found.items()]})
        return
    width = max(map(len, found), default=0)
    for known, one in found.items():
        what = f"wrong: {one}" if isinstance(one, SettingsError) else one.summary
        print(printable(f"{known:<{width}}  {what}"))


def _show(preset: Preset, *, as_json: bool) -> None:
    rows = Provision(preset, os.environ).rows
    if as_json:
        grants = [
            {
                "key": row.entry.key,
                "text": row.entry.text,
                "value": row.entry.value,
                "here": list(row.found),
                "from": str(row.entry.origin),
                "leaks": row.entry.leaks,
            }
            for row in rows
        ]
        _print_json({**_as_object(preset.name, preset), "grants": grants})
        return
    print(printable(f"{preset.name}: {preset.summary} ({preset.file})"))
    if preset.commands:
        print(printable(f"command: {', '.join(preset.commands)}"))
    for line in of_rows(rows):
        print(printable(line))


def _as_object(name: str, preset: Preset | SettingsError) -> dict[str, object]:
    if isinstance(preset, SettingsError):
        return {"name": name, "error": str(preset)}
    return {
        "name": name,
        "summary": preset.summary,
        "commands": list(preset.commands),
        "file": preset.file,
        "extends": list(preset.bases),
    }


def _print_json(found: object) -> None:
    import json

    print(json.dumps(found, indent=2))
