"""Which system calls to record, from what the user wrote after --trace-syscalls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from art_core.errors import UsageError
from art_ptrace.syscalls import numbers
from art_ptrace.syscalls.classes import AGENT, CLASSES

PRESET = "agent"
_EVERYTHING = frozenset({"all", "%all"})


class Selection(NamedTuple):
    """The calls by name; None for all. Those in `partly` are recorded when they do what the preset
    `agent` is about."""

    names: frozenset[str] | None
    partly: frozenset[str] = frozenset()

    def holds(self, name: str) -> bool:
        return self.names is None or name in self.names


PARTLY = frozenset({"open", "openat", "openat2", "sendto", "sendmsg", "sendmmsg"})


def select(words: Sequence[str]) -> Selection:
    """Take names, classes and `agent`. Raises UsageError with the nearest known names."""
    if not words:
        return Selection(None)
    chosen: set[str] = set()
    agent = False
    for word in words:
        if word in _EVERYTHING:
            return Selection(None)
        if word == PRESET:
            agent = True
        elif word.startswith("%"):
            found = CLASSES.get(word) or CLASSES.get(word[1:])
            if found is None:
                raise UsageError(_unknown("class", word, [f"%{name}" for name in CLASSES if name[0] != "%"]))
            chosen |= found
        elif word in _known():
            chosen.add(word)
        else:
            raise UsageError(_unknown("system call", word, [*_known(), PRESET]))
    if not agent:
        return Selection(frozenset(chosen))
    return Selection(frozenset(chosen | AGENT), PARTLY - chosen)


def _known() -> frozenset[str]:
    every = (numbers.X86_64, numbers.AARCH64, numbers.I386)
    return frozenset(name for architecture in every for name in numbers.names(architecture).values())


def _unknown(what: str, word: str, known: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, known, 3, 0.6)
    if near:
        more = f"did you mean {', '.join(near)}?"
    elif what == "class":
        more = f"there are {', '.join(sorted(known))}"
    else:
        more = (
            "`strace` and syscalls(2) list the names; %file, %process, %network and agent are groups of them"
        )
    return f"--trace-syscalls: there is no {what} {word!r}; {more}"
