"""`art x NAME`: the commands that plugins bring."""

from __future__ import annotations

from typing import Any

import click

from art_cli.plugin_commands.loader import PluginCommand, commands, load_commands
from art_cli.syntax.argv import nearest
from art_cli.syntax.shared_options import CONTEXT, respelled, settings_with, shared
from art_core.errors import ArtError, PluginError


class PluginGroup(click.Group):
    """A group whose commands are found when they are asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, respelled(args, self.params, until_word=True))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._brought(ctx))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        brought = self._brought(ctx)
        if name not in brought:
            near = nearest(name, brought)
            hint = f"did you mean {near}?" if near else f"there is: {', '.join(sorted(brought)) or 'none'}"
            raise PluginError(f"no plugin brings the command {name!r}; {hint}")
        return brought[name].command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ArtError, OSError, click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            brought = self._brought(ctx).get(ctx.invoked_subcommand or "")
            plugin = brought.plugin if brought else "?"
            raise PluginError(f"plugin {plugin} failed: {type(error).__name__}: {error}") from error

    def _brought(self, ctx: click.Context) -> dict[str, PluginCommand]:
        if ctx.obj is None:
            settings = settings_with(ctx.params.get("overrides", ()))
            ctx.obj = dict(commands(load_commands(settings, disabled=ctx.params.get("no_plugins", ()))))
        brought: dict[str, PluginCommand] = ctx.obj
        return brought


@click.group(cls=PluginGroup, context_settings=CONTEXT, no_args_is_help=False)
@shared("x")
def command(overrides: tuple[str, ...], no_plugins: tuple[str, ...]) -> None:
    """Commands that plugins bring."""
