"""The hook of ART's command line. A plugin names its module in the entry-point group `art.cli`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from art_core.hookspecs import hookspec

if TYPE_CHECKING:
    import click


@hookspec
def art_cli_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Commands that a plugin adds; a user calls one as `art x NAME`."""
