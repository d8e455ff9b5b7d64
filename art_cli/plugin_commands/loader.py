"""Commands that plugins bring: the entry-point group `art.cli`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_cli.plugin_commands import hookspecs
from art_core.config.settings import Settings
from art_core.errors import PluginError
from art_core.loader.plugins import Plugins

if TYPE_CHECKING:
    import click

GROUP = "art.cli"


class PluginCommand(NamedTuple):
    """A command, and the plugin that brought it."""

    command: click.Command
    plugin: str


def load_commands(settings: Settings, *, disabled: Sequence[str] = ()) -> Plugins:
    """The plugins of the command line."""
    return Plugins.load(settings, disabled=disabled, env=os.environ, group=GROUP, hookspecs=[hookspecs])


def commands(plugins: Plugins) -> Mapping[str, PluginCommand]:
    """All commands by name. Raises PluginError on a name that is there twice, and when a plugin
    fails to answer."""
    found: dict[str, PluginCommand] = {}
    for implementation in plugins.hook.art_cli_commands.get_hookimpls():
        plugin = implementation.plugin_name
        try:
            answer = list(implementation.function())
        except Exception as error:
            raise PluginError(f"plugin {plugin} failed: {type(error).__name__}: {error}") from error
        for command in answer:
            name = command.name or ""
            if name in found:
                raise PluginError(
                    f"two plugins bring the command {name!r}: {found[name].plugin} and {plugin}; "
                    "leave one out with --no-plugin NAME"
                )
            found[name] = PluginCommand(command, plugin)
    return found
