"""The pages of help about a run, made from the table of options."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

from art_cli.syntax.options import BY_DEST, GROUPS, SUBCOMMANDS, Option

_WIDTH = 100
_SHORT = ("mount", "database", "agent", "explain", "env", "binds", "expose", "network", "interactive")

USAGE = """\
Usage: art [OPTIONS] [--] [COMMAND [ARG...]]
       art SUBCOMMAND [OPTIONS]
"""
ABOUT = """
Runs COMMAND in a sandbox: it can read the host's programs and libraries and write only the
workspace; it does not see your home, keys and sockets. Without COMMAND it is a shell.
"""
EXAMPLES = """
Examples:
  art                                        a shell in the current directory
  art -m ws/ -- python3 script.py            a command in the directory ws
  art -m ws/ -i=false -- make build          the same without a terminal
  art -e 'AWS_*' -- terraform plan           a command that needs some of your variables
  art --agent claude -m ws/ -d ws.db         an agent, with what it needs; the host stays as it is
  art pull -m ws/ -d ws.db                   carry what it changed in ws/ back to the host
  art -- push                                a program that has the name of a subcommand
"""
NOTES = """
Options stand before COMMAND; everything from the first word that is no option, or after `--`,
belongs to COMMAND. Flags take a boolean: -i=false, --trace=true. A value may follow `=`: -m=ws.

Exit status: the command's own; 128+N when signal N ended it; 125 when ART itself failed, 126 when
the command cannot be executed, 127 when it is not found, 2 when the command line is wrong.
"""


def overview() -> str:
    """What `art --help` prints."""
    page = _page()
    with page.section("Options"):
        page.write_dl(_rows(BY_DEST[dest] for dest in _SHORT))
    with page.section("Subcommands"):
        page.write_dl([(command.name, command.help) for command in SUBCOMMANDS.values()])
    return USAGE + ABOUT + EXAMPLES + "\n" + page.getvalue() + "\nAll options: art run --help\n"


def page_of_run() -> str:
    """What `art run --help` prints: all options."""
    page = _page()
    for title, options in GROUPS.items():
        with page.section(title):
            page.write_dl(_rows(options))
    return "Usage: art run [OPTIONS] [--] [COMMAND [ARG...]]\n" + ABOUT + "\n" + page.getvalue() + NOTES


def _page() -> click.HelpFormatter:
    columns = int(os.environ.get("COLUMNS", "")) if os.environ.get("COLUMNS", "").isdigit() else _WIDTH
    return click.HelpFormatter(width=max(40, min(columns, _WIDTH)))


def _rows(options: Iterable[Option]) -> list[tuple[str, str]]:
    return [(names(option), option.help) for option in options]


def names(option: Option) -> str:
    """All names of an option, with its value."""
    written = ", ".join((*option.names, *option.off))
    return f"{written} {option.metavar}" if option.metavar else written
