"""A run, as the command line asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from art_cli import console
from art_cli.argv import Split, Value
from art_core.attach import wants_terminal
from art_core.sandbox import Sandbox
from art_core.spawn import Launcher

TRACE_OPTIONS = ("trace_log", "trace_syscalls", "trace_format", "trace_summary")
_AS_THEY_ARE = (
    *(
        "name",
        "database",
        "branch",
        "snapshot",
        "moved",
        "store",
        "isolation",
        "tracer",
        "binds",
        "expose",
        "path",
        "masks",
    ),
    *(
        "env",
        "env_files",
        "nested",
        "alias",
        "network",
        "allow_domains",
        "gateway",
        *("memory", "pids", "cpus", "timeout", "disk"),
        "unprotected",
        "allow_home",
        "no_plugins",
        "overrides",
    ),
)


def run(chosen: Split, launcher: Launcher) -> int:
    """Run the command, or print what would be run; return the exit status for the shell."""
    options = chosen.options
    asking = console.can_ask()
    with Sandbox(
        launcher=launcher,
        ask=console.ask if asking else None,
        trust="trust" if options.get("trust_binds") else "ask" if asking else "refuse",
        **sandbox_options(options),
    ) as box:
        argv: Sequence[str | bytes] = chosen.words or box.shell_command()
        interactive = options.get("interactive")
        assert interactive is None or isinstance(interactive, bool)
        if options.get("print_command"):
            launch = box.plan(argv, terminal=wants_terminal(interactive))
            _print_words(launch.shown or launch.argv)
            return 0
        for line in box.greetings():
            console.note(line)
        ended = box.execute(argv, interactive=interactive, tell=console.note)
        if ended.by not in ("command", "signal"):
            console.complain(ended.why)
        elif ended.code and (difference := box.resolution_note(argv)) is not None:
            console.note(difference)
        for line in box.notices(ended):
            console.note(line)
    return ended.code


def sandbox_options(options: Mapping[str, Value]) -> dict[str, Any]:
    """The options of a command line as `Sandbox` takes them."""
    asked: dict[str, Any] = {dest: options[dest] for dest in _AS_THEY_ARE if dest in options}
    if "mount" in options:
        asked["workspace"] = options["mount"]
    for dest in ("trace_log", "trace_format", "trace_summary"):
        if dest in options:
            asked[dest] = options[dest]
    calls = str(options.get("trace_syscalls", ""))
    asked["trace_syscalls"] = [name for part in calls.split(",") if (name := part.strip())]
    asked["trace"] = bool(options.get("trace", any(options.get(dest) for dest in TRACE_OPTIONS)))
    return asked


def quoted(word: str) -> str:
    """`word` as a shell reads it, on one line that a terminal only shows."""
    if word.isprintable():
        import shlex

        return shlex.quote(word)
    plain = frozenset(range(0x20, 0x7F)) - frozenset(b"'\\")
    return "$'" + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in os.fsencode(word)) + "'"


def _print_words(words: Sequence[str]) -> None:
    sys.stdout.buffer.write(os.fsencode(" ".join(map(quoted, words))) + b"\n")
