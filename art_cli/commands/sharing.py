"""Options that a command has in common with a run: made from the table, so that they stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from art_cli.argv import read_option, rewritten
from art_cli.options import BY_DEST, BY_NAME, OPTIONS, SUBCOMMANDS

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command that reads the shared options as a run does: `-m=ws` is `-m ws`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _respelled(args, self._shared()))

    def _shared(self) -> set[str]:
        return {option for parameter in self.params for option in parameter.opts if option in BY_NAME}


def _respelled(args: list[str], known: set[str]) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(args) and args[at] != "--":
        name = args[at].partition("=")[0]
        if name in known or (name[:2] in known and not name.startswith("--")):
            one = read_option(args, at)
            words += rewritten(one)
            at += one.words
        else:
            words.append(args[at])
            at += 1
    return [*words, *args[at:]]


def shared(name: str) -> Callable[[F], F]:
    """Adds the options that the command `name` shares with a run, passed by their `dest`."""

    def add(function: F) -> F:
        for option in reversed(OPTIONS):
            if option.dest in SUBCOMMANDS[name].shared:
                function = _as_click(option.dest)(function)
        return function

    return add


def _as_click(dest: str) -> Callable[[F], F]:
    option = BY_DEST[dest]
    if not option.flag:
        return click.option(
            *(*option.names, dest), metavar=option.metavar, help=option.help, multiple=option.many
        )
    if option.off:
        return click.option(
            *(*option.off, dest), is_flag=True, flag_value=False, default=True, help=option.help
        )
    return click.option(*(*option.names, dest), is_flag=True, help=option.help)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were given, as a `Split` has them."""
    return {
        dest: list(value) if isinstance(value, tuple) else value
        for dest, value in values.items()
        if value not in (None, ())
    }
