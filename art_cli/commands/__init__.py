"""ART's own commands: one module each, with a click command called `command`."""

from __future__ import annotations

from collections.abc import Sequence


def call(name: str, words: Sequence[str]) -> int:
    """Run a command with its arguments; return the exit status. Raises ArtError."""
    from importlib import import_module

    import click

    from art_core.errors import UsageError

    command: click.Command = import_module(f"art_cli.commands.{name}").command
    try:
        status = command.main(list(words), f"art {name}", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else f"art {name}"
        said = error.format_message().rstrip(".")
        raise UsageError(f"{said[:1].lower()}{said[1:]}; see: {path} --help") from None
    except click.Abort:
        raise KeyboardInterrupt from None
    return status if isinstance(status, int) else 0
