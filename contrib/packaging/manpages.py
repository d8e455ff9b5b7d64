#!/usr/bin/env python3
"""Write ART's manual pages, from the tables that `--help` is made of.

    python3 contrib/packaging/manpages.py man/

One page a command: art(1) with all options of a run, art-push(1) ...; art-config.toml(5) from the
keys of the settings and of the plugins that are installed; art-binds.json(5). Run it with ART
importable: from the tree PYTHONPATH=core:plugins:. does that.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from inspect import cleandoc
from pathlib import Path

import click

from art_cli.syntax import help as pages
from art_cli.syntax.options import GROUPS, RUN, SUBCOMMANDS, Option
from art_core.config import keys as settings_keys
from art_core.config import settings
from art_core.config.settings import Settings
from art_core.loader.plugin_settings import defaults_of
from art_core.loader.plugins import KINDS, Plugins

DATE = "2026-11-25"
_FILES = (
    ("/etc/art/config.toml", "the settings of the machine, art-config.toml(5)"),
    ("$XDG_CONFIG_HOME/art/config.toml", "those of the user, in ~/.config without the variable"),
    ("$XDG_STATE_HOME/art/", "what was approved, in ~/.local/state without the variable"),
    (".art/config/binds.json", "what a workspace wants mounted, art-binds.json(5)"),
)


# --- roff, as man(7) has it --------------------------------------------------------------------


def text(words: str) -> str:
    """Words as roff shows them: no escape, no ligature of hyphens, no request."""
    shown = words.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    shown = shown.replace("`", "\\(ga").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", shown, flags=re.MULTILINE)


def quoted(words: str) -> str:
    """An argument of a request."""
    return '"' + text(words).replace('"', "\\(dq") + '"'


def section(title: str, *lines: str) -> list[str]:
    return [f".SH {quoted(title.upper())}", *_opened(lines)]


def subsection(title: str, *lines: str) -> list[str]:
    return [f".SS {quoted(title)}", *_opened(lines)]


def _opened(lines: Sequence[str]) -> Sequence[str]:
    """A heading begins a paragraph already."""
    return lines[1:] if lines and lines[0] == ".PP" else lines


def terms(rows: Iterable[tuple[str, str]]) -> list[str]:
    """A list of terms, each with what it means."""
    lines = []
    for term, meaning in rows:
        lines += [".TP", f".B {quoted(term)}", text(meaning) or "\\&"]
    return lines


def literal(block: str) -> list[str]:
    """Lines as they are."""
    return [".PP", ".nf", ".RS", *(text(line) or "\\&" for line in block.splitlines()), ".RE", ".fi"]


def prose(words: str) -> list[str]:
    """Paragraphs; one that begins with click's \\b, or is indented, keeps its lines."""
    lines: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n", cleandoc(words)):
        block = paragraph.strip("\n")
        if block.startswith(("\b", "  ")):
            lines += literal(cleandoc("\n" + block.removeprefix("\b").strip("\n")))
        elif block:
            lines += [".PP", text(" ".join(block.split()))]
    return lines


def title(name: str, number: int, summary: str) -> list[str]:
    return [
        f".TH {quoted(name)} {number} {DATE} {quoted('ART')} {quoted('ART')}",
        *section("Name", f"{text(name)} \\- {text(summary)}"),
    ]


def see_also(*names: str) -> list[str]:
    shown = [f".BR {text(name[:-3])} {name[-3:]}" for name in names]
    return section("See also", *(f"{line} ," for line in shown[:-1]), shown[-1])


# --- the program and its commands --------------------------------------------------------------


def _rows(options: Iterable[Option]) -> list[tuple[str, str]]:
    return [(pages.names(option), option.help) for option in options]


def page_of_art() -> list[str]:
    """art(1): a run with all its options, and the list of commands."""
    usage = [line.removeprefix("Usage:").strip() for line in pages.USAGE.strip().splitlines()]
    lines = title("art", 1, "run a command, or an AI agent, in a sandbox")
    lines += section("Synopsis", "\n.br\n".join(f".B {quoted(line)}" for line in usage))
    lines += section("Description", *prose(pages.ABOUT), *prose(pages.NOTES.partition("\n\n")[0]))
    lines += section("Options")
    for heading, options in GROUPS.items():
        lines += subsection(heading, *terms(_rows(options)))
    lines += section("Commands", *terms((f"art {name}", SUBCOMMANDS[name].help) for name in SUBCOMMANDS))
    lines += section("Exit status", *prose(pages.NOTES.partition("\n\n")[2].removeprefix("Exit status: ")))
    lines += section("Environment", *terms(_variables()))
    lines += section("Files", *terms(_FILES))
    lines += section("Examples", *literal(cleandoc(pages.EXAMPLES.partition("Examples:")[2])))
    others = [f"art-{name}(1)" for name in SUBCOMMANDS]
    return lines + see_also(*others, "art-binds.json(5)", "art-config.toml(5)", "bwrap(1)")


def page_of(name: str) -> list[str]:
    """art-NAME(1), from the click command; a group has a section for each of its commands."""
    command: click.Command = import_module(f"art_cli.commands.{name}").command
    context = click.Context(command, info_name=f"art {name}")
    lines = title(f"art-{name}", 1, SUBCOMMANDS[name].help)
    lines += section("Synopsis", f".B {quoted(_usage(command, context))}")
    lines += section("Description", *prose(command.help or ""))
    lines += section("Options", *terms(_parameters(command, context)))
    if isinstance(command, click.Group):
        lines += _group(command, context)
    if command.epilog:
        lines += section("Notes", *prose(command.epilog))
    return lines + see_also("art(1)")


def _group(group: click.Group, context: click.Context) -> list[str]:
    """The commands of a group that has its own, and not those that plugins would bring."""
    lines = section("Commands") if group.commands else []
    for name in sorted(group.commands):
        inner = group.commands[name]
        below = click.Context(inner, parent=context, info_name=name)
        lines += subsection(_usage(inner, below), *prose(inner.help or ""))
        lines += terms(_parameters(inner, below))
    return lines


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _parameters(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    return [row for one in command.get_params(context) if (row := one.get_help_record(context)) is not None]


def _variables() -> list[tuple[str, str]]:
    return [(name, variable.help) for name, variable in settings_keys.VARIABLES.items()]


# --- the files ---------------------------------------------------------------------------------


def page_of_settings() -> list[str]:
    """art-config.toml(5): each table and key, and the settings of each plugin that is installed."""
    lines = title("art-config.toml", 5, "settings of art")
    lines += section("Synopsis", "/etc/art/config.toml", ".br", text("$XDG_CONFIG_HOME/art/config.toml"))
    lines += section(
        "Description",
        *prose(
            "Both files are TOML. What is set later wins, key by key: built in, the file in /etc, the user's "
            "file, the variables of art(1), the options of a run. An unknown table or key is an error that "
            "names the file and the key."
        ),
    )
    lines += section("Tables")
    for table, keys in settings_keys.KEYS.items():
        heading = '[workspace."/abs/path"]' if table == "workspace" else f"[{table}]"
        lines += subsection(heading, *terms((_key(key, entry) for key, entry in keys.items())))
    lines += section("Settings of plugins")
    for name, made in _plugin_settings():
        about = cleandoc(made.__doc__ or "").partition("\n\n")[2]
        lines += subsection(f"[plugins.{name}]", *prose(about))
        lines += terms((f"{key} = {_toml(value)}", "the default") for key, value in defaults_of(made).items())
    example = (settings.__doc__ or "").partition("\n\n")[2]
    return lines + section("Examples", *literal(example.strip())) + see_also("art(1)", "art-plugins(1)")


def _key(name: str, key: settings_keys.Key) -> tuple[str, str]:
    default = getattr(Settings(), key.field) if key.field else None
    said = f"; default: {_toml(default)}" if default else ""
    return f"{name} = {key.value}", f"{key.help}{said}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def _plugin_settings() -> list[tuple[str, type]]:
    plugins = Plugins.load(Settings(), env={})
    every = [provider for kind in KINDS for provider in plugins.providers(kind)]
    return sorted((one.name, one.settings) for one in every if one.settings is not None)


def page_of_binds() -> list[str]:
    """art-binds.json(5), from docs/binds.md: one source for both."""
    source = (Path(__file__).resolve().parents[2] / "docs/binds.md").read_text("utf-8")
    lines = title("art-binds.json", 5, "what a workspace wants mounted in its sandbox")
    lines += section("Synopsis", text(".art/config/binds.json"))
    for part in source.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        plain = heading.replace("`", "")
        lines += section(plain, *_of_markdown(body))
    return lines + see_also("art(1)", "art-trust(1)")


def _of_markdown(body: str) -> list[str]:
    """The little of Markdown that the page uses: fenced and indented blocks, tables, lists."""
    lines: list[str] = []
    for block in re.split(r"\n\s*\n", body.strip("\n")):
        plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", block).replace("`", "").replace("**", "")
        if block.startswith("```"):
            lines += literal("\n".join(block.splitlines()[1:-1]))
        elif block.startswith("    "):
            lines += literal(cleandoc("\n" + block))
        elif block.startswith("|"):
            rows = [[cell.strip() for cell in row.strip("|").split("|", 1)] for row in plain.splitlines()[2:]]
            lines += terms((row[0], row[1]) for row in rows)
        elif block.startswith("- "):
            for item in re.split(r"\n- ", plain.removeprefix("- ")):
                lines += [".IP \\(bu 2", text(" ".join(item.split()))]
        else:
            lines += [".PP", text(" ".join(plain.split()))]
    return lines


def all_pages() -> dict[str, list[str]]:
    """File name -> lines; art-run(1) is art(1)."""
    found = {"art.1": page_of_art()}
    found |= {f"art-{name}.1": page_of(name) for name in SUBCOMMANDS if name != RUN}
    return found | {"art-config.toml.5": page_of_settings(), "art-binds.json.5": page_of_binds()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write ART's manual pages.")
    parser.add_argument("out", type=Path, help="the folder for them")
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    for name, lines in all_pages().items():
        (out / name).write_text("\n".join([*lines, ""]), "utf-8")
    spelled_out = out / f"art-{RUN}.1"
    spelled_out.unlink(missing_ok=True)
    spelled_out.symlink_to("art.1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
