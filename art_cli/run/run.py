"""A run, as the command line asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from art_cli.output import console
from art_cli.syntax.argv import Split, Value, nearest
from art_cli.syntax.options import SUBCOMMANDS
from art_core.config import settings as settings_module
from art_core.config.options import Options
from art_core.config.settings import Settings
from art_core.contracts import Exit
from art_core.errors import NOT_FOUND
from art_core.launch.client import Launcher
from art_core.sandbox.attachment import wants_terminal
from art_core.sandbox.sandbox import Sandbox
from art_core.view.workspace import absolute


def run(chosen: Split, launcher: Launcher) -> int:
    """Run the command, or print what would be run; return the exit status for the shell."""
    try:
        settings = settings_module.load(os.environ)
        options = _with_implied(chosen, settings)
        if options.get("explain"):
            launcher.close()
            return _explain(options, settings, chosen.words)
    except BaseException:
        launcher.close()
        raise
    asking = console.can_ask()
    with Sandbox(
        settings=settings,
        launcher=launcher,
        ask=console.ask if asking else None,
        trust="trust" if options.get("trust_binds") else "ask" if asking else "refuse",
        **sandbox_options(options),
    ) as box:
        argv: Sequence[str | bytes] = chosen.words or box.default_command()
        interactive = options.get("interactive")
        assert interactive is None or isinstance(interactive, bool)
        if options.get("print_command"):
            launch = box.plan(argv, terminal=wants_terminal(interactive))
            _print_words(launch.shown or launch.argv)
            for grant in box.grants():
                _print_comment(str(grant))
            return 0
        for line in box.greetings():
            console.note(line)
        ended = box.execute(argv, interactive=interactive, tell=console.note)
        hint = None
        if ended.by not in ("command", "signal"):
            console.complain(ended.why + _meant(chosen, ended))
        elif ended.code and (failure := box.failure_note(argv)) is not None:
            console.note(failure)
        elif ended.code and (hint := box.hint(argv, ended)) is not None:
            console.note(hint)
        for line in box.notices(ended, explained=hint is not None):
            console.note(line)
    return ended.code


def _meant(chosen: Split, ended: Exit) -> str:
    """The command of ART that a program which does not exist was perhaps meant to be; nothing where the
    user said that it is a program (`art run`), or the line names another cure already."""
    word = chosen.words[0] if chosen.words and not chosen.subcommand else ""
    if ended.by != "exec" or ended.code != NOT_FOUND or len(word) < 3 or ";" in ended.why:
        return ""
    near = nearest(word, SUBCOMMANDS)
    return f"; did you mean art {near}?" if near else ""


def _with_implied(chosen: Split, settings: Settings) -> Mapping[str, Value]:
    """The options with the preset that the command's name stands for, where the settings say that it does;
    one that was typed, or that they name for the workspace, goes first."""
    options = chosen.options
    directory = str(options.get("mount") or settings.mount or ".")
    named = "agent" in options or settings.for_workspace(absolute(directory)).agent is not None
    if not settings.agents_implied or named or not chosen.words:
        return options
    from art_core.agents import presets

    preset = presets.of_command(chosen.words[0], settings, os.environ)
    return options if preset is None else {**options, "agent": preset.name}


def _explain(options: Mapping[str, Value], settings: Settings, words: Sequence[str]) -> int:
    from art_cli.run.explanation import explained
    from art_core.plan.preparation import Preparation

    asked = {**sandbox_options(options), "trace": False}
    preparation = Preparation(Options(**asked), settings, only_look=True)
    try:
        command = words[0] if words else os.fsdecode(preparation.default_command()[0])
        for line in explained(preparation, command):
            print(console.printable(line))
    finally:
        preparation.close()
    return 0


def sandbox_options(options: Mapping[str, Value]) -> dict[str, Any]:
    """The options of a command line as `Sandbox` takes them."""
    asked: dict[str, Any] = {dest: options[dest] for dest in Options._fields if dest in options}
    if "mount" in options:
        asked["workspace"] = options["mount"]
    calls = str(options.get("trace_syscalls", ""))
    asked["trace_syscalls"] = [name for part in calls.split(",") if (name := part.strip())]
    asked["trace"] = Split(options, ()).traced
    return asked


def quoted(word: str) -> str:
    """`word` as a shell reads it, on one line that a terminal only shows."""
    if word.isprintable():
        import shlex

        return shlex.quote(word)
    plain = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\")
    return "$'" + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in os.fsencode(word)) + "'"


def _print_comment(text: str) -> None:
    """A line that a shell skips and a terminal only shows."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    sys.stdout.buffer.write(os.fsencode(f"# {shown}\n"))


def _print_words(words: Sequence[str]) -> None:
    sys.stdout.buffer.write(os.fsencode(" ".join(map(quoted, words))) + b"\n")
