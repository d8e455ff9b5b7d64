"""Commands with commands of their own (`art db check`): the options of a store stand before or after the
second word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from art_cli.syntax.shared_options import given, respelled


class Group(click.Group):
    """A group that reads the shared options as a run does, up to the second word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, respelled(args, self.params, until_word=True))


def all_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The shared options that were given, those after the second word winning."""
    above = click.get_current_context().parent
    return {**given(above.params if above is not None else {}), **given(options)}
