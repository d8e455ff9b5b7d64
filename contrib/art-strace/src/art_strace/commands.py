"""A command of the plugin: what may stand after --trace-syscalls."""

from __future__ import annotations

from collections.abc import Iterable

import click

from art_core.hookspecs import hookimpl


@click.command("calls")
@click.argument("word", default="")
def calls(word: str) -> None:
    """List the system calls and classes that strace can record, those with WORD in them."""
    from art_strace.calls import CLASSES, NAMES

    for name in sorted(CLASSES | NAMES):
        if word in name:
            click.echo(name)


@hookimpl
def art_cli_commands() -> Iterable[click.Command]:
    return [calls]
