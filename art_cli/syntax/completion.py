"""What a shell offers next on a command line of `art`, from the tables of options; but for the names of
presets it is pure.

The shells' scripts are thin; they ask `art completion --answer -- WORDS`, the words after `art` up
to the one at the cursor. The first line of the answer says what to offer: `words` (they follow, one a
line, with a description after a tab), `dirs`, `files`, `command N` (what a shell offers for a
command of its own that begins at word N, counted from 0), or `nothing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from art_cli.syntax.argv import is_option
from art_cli.syntax.options import BY_NAME, OPTIONS, RUN, SUBCOMMANDS, Option

SHELLS = ("bash", "zsh", "fish")
OWN_OPTIONS = {
    "trust": (
        ("--list", "list what is approved"),
        ("--forget", "approve it no longer"),
        ("--yes", "do not ask"),
    ),
    "agents": (("--json", "print JSON"),),
    "plugins": (("--json", "print JSON"),),
    "snapshot": (
        ("--list", "list the snapshots"),
        ("--delete", "remove a snapshot"),
        ("--json", "print JSON"),
    ),
    "branch": (
        ("--from", "the branch or snapshot to go on from"),
        ("--delete", "remove a branch"),
        ("--json", "print JSON"),
    ),
    "restore": (("--json", "print JSON"),),
    "log": (("--json", "print JSON"),),
    "doctor": (("--json", "print JSON"),),
}
"""Options that a command does not share with a run."""
GROUPS = {
    "db": {
        "check": "look at everything, and mend it",
        "export": "write a home as a tar archive",
        "gc": "let go of what no name needs",
        "import": "read a tar archive into a new branch",
        "info": "what it holds, in figures",
        "squash": "merge layers that have no name",
    },
    "fs": {
        "cat": "print files",
        "cp": "copy files out of the home or into it",
        "ls": "list directories",
        "mount": "mount the home at a directory",
    },
}
"""Commands that have commands of their own."""


class Answer(NamedTuple):
    """What to offer: a `kind` as the module says, and the words with their descriptions."""

    kind: str
    words: Sequence[tuple[str, str]] = ()

    def __str__(self) -> str:
        lines = [f"{word}\t{help}" if help else word for word, help in self.words]
        return "\n".join([self.kind, *lines]) + "\n"


def rejoined(words: Sequence[str]) -> list[str]:
    """Bash takes `--mount=ws` and `a:b` for three words each; this joins them, as `art` will see them."""
    joined: list[str] = []
    after_break = False
    for word in words:
        is_break = bool(word) and set(word) <= set("=:")
        if joined and (is_break or after_break):
            joined[-1] += word
        else:
            joined.append(word)
        after_break = is_break
    return joined


def answer(words: Sequence[str], *, split_at_breaks: bool = False) -> Answer:
    """What to offer for the last of `words`, which is the one at the cursor and may be empty.

    With `split_at_breaks` the words are bash's own, and so is the answer.
    """
    if not split_at_breaks:
        return _answer(words)
    own = rejoined(words)
    found = _answer(own)
    kind, _, start = found.kind.partition(" ")
    if start:
        kind = f"{kind} {_place(words, own, int(start))}"
    if own[-1:] != words[-1:]:
        return Answer(kind, [(word.partition("=")[2] or word, help) for word, help in found.words])
    return Answer(kind, found.words)


def _place(words: Sequence[str], own: Sequence[str], start: int) -> int:
    """Where the joined word number `start` begins among the words as they came."""
    place = 0
    for word in own[:start]:
        text = ""
        while text != word:
            text += words[place]
            place += 1
    return place


def _answer(words: Sequence[str]) -> Answer:
    if not words:
        return Answer("nothing")
    *before, current = words
    subcommand = None
    at = 0
    while at < len(before):
        word = before[at]
        runs = subcommand in (None, RUN)
        if runs and word == "--":
            return Answer(f"command {at + 1}")
        if is_option(word):
            option = _separate_value(word)
            if option is not None and at + 1 == len(before):
                return _value(option, "", current)
            at += 1 if option is None else 2
            continue
        if subcommand is None and word in SUBCOMMANDS:
            subcommand = word
        elif runs:
            return Answer(f"command {at}")
        at += 1
    if current.startswith("-"):
        return _option(current, subcommand)
    if subcommand == "completion":
        return _fitting(current, [(shell, "") for shell in SHELLS])
    if subcommand == "agents":
        return _fitting(current, _presets())
    if subcommand == RUN:
        return Answer(f"command {len(before)}")
    if subcommand is not None:
        groups = GROUPS.get(subcommand)
        return Answer("nothing") if not groups or groups.keys() & set(before) else _second(current, groups)
    ready = [(command.name, command.help) for command in SUBCOMMANDS.values()]
    return _fitting(current, ready, kind=f"command {len(before)}" if current else "words")


def _second(current: str, commands: Mapping[str, str]) -> Answer:
    return _fitting(current, commands.items())


def _fitting(current: str, words: Iterable[tuple[str, str]], *, kind: str = "words") -> Answer:
    return Answer(kind, [pair for pair in words if pair[0].startswith(current)])


def _separate_value(word: str) -> Option | None:
    """The option whose value is the next word."""
    option = BY_NAME.get(word)
    return None if option is None or option.flag else option


def _value(option: Option, prefix: str, current: str) -> Answer:
    """Values of an option; `prefix` is what stands before them in the word at the cursor."""
    if option.path:
        return Answer(f"{option.path}s")
    if option.dest == "agent":
        return _fitting(current, [(f"{prefix}{name}", help) for name, help in _presets()])
    return _fitting(current, [(f"{prefix}{choice}", "") for choice in option.choices])


def _presets() -> list[tuple[str, str]]:
    """The names of presets, without reading one."""
    import os

    from art_core.agents import presets
    from art_core.config import settings
    from art_core.errors import SettingsError

    try:
        return [(name, "") for name in presets.names(settings.load(os.environ), os.environ)]
    except SettingsError:
        return []


def _option(current: str, subcommand: str | None) -> Answer:
    name, equals, _ = current.partition("=")
    if equals:
        option = BY_NAME.get(name)
        if option is None:
            return Answer("nothing")
        if option.flag:
            return _fitting(current, [(f"{name}=true", ""), (f"{name}=false", "")])
        return _value(option, f"{name}=", current)
    known = OPTIONS
    if subcommand not in (None, RUN):
        known = tuple(one for one in OPTIONS if one.dest in {"help", *SUBCOMMANDS[subcommand].shared})
    offered = [(name, option.help) for option in known for name in (*option.names, *option.off)]
    return _fitting(current, [*offered, *OWN_OPTIONS.get(subcommand or "", ())])
