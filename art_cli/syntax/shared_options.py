"""Options that a command has in common with a run: made from the table, so that they stay the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import click

from art_cli.syntax.argv import is_option, read_option, rewritten
from art_cli.syntax.options import BY_NAME, OPTIONS, SUBCOMMANDS, Option
from art_core.config import settings as settings_module
from art_core.config.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 96}


class Command(click.Command):
    """A command that reads the shared options as a run does: `-m=ws` is `-m ws`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, respelled(args, self.params))


def respelled(
    args: Sequence[str], parameters: Sequence[click.Parameter], *, until_word: bool = False
) -> list[str]:
    """The arguments with those options that are a run's as well in a spelling click reads alike;
    `until_word` leaves what follows the first word alone."""
    known = {name for parameter in parameters for name in parameter.opts if name in BY_NAME}
    words: list[str] = []
    at = 0
    while at < len(args) and args[at] != "--":
        if _is_one(args[at], known):
            one = read_option(args, at)
            words += rewritten(one)
            at += one.words
        elif until_word and not is_option(args[at]):
            break
        else:
            words.append(args[at])
            at += 1
    return [*words, *args[at:]]


def _is_one(word: str, known: Collection[str]) -> bool:
    name = word.partition("=")[0]
    return name in known or (not word.startswith("--") and name[:2] in known)


def shared(name: str) -> Callable[[F], F]:
    """Adds the options that the command `name` shares with a run, passed by their `dest`."""

    def add(function: F) -> F:
        for option in reversed(OPTIONS):
            if option.dest in SUBCOMMANDS[name].shared:
                function = _as_click(option)(function)
        return function

    return add


def _as_click(option: Option) -> Callable[[F], F]:
    names = (*option.names, *option.off, option.dest)
    if option.flag:
        return click.option(
            *names, is_flag=True, flag_value=not option.off, default=bool(option.off), help=option.help
        )
    return click.option(*names, metavar=option.metavar, help=option.help, multiple=option.many)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The shared options that were given, as a `Split` has them."""
    return {
        dest: list(value) if isinstance(value, tuple) else value
        for dest, value in values.items()
        if value not in (None, ())
    }


def settings_with(overrides: Sequence[str]) -> Settings:
    """The caller's settings, with those of `-c` on top. Raises SettingsError."""
    settings = settings_module.load(os.environ)
    for override in overrides:
        settings = settings_module.with_override(settings, override)
    return settings
