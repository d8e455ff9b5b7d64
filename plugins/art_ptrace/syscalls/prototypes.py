"""The arguments of each system call, by its name.

Calls that do not stand here are written by python-ptrace's prototypes, or, where it has none, as raw numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from art_ptrace.syscalls.dependent import open_mode
from art_ptrace.syscalls.kinds import KINDS
from art_ptrace.syscalls.table import TABLE
from art_ptrace.values.arguments import Argument

NEVER_RETURN = frozenset({"exit", "exit_group"})


def _compiled(words: list[str]) -> tuple[Argument, ...]:
    return tuple(open_mode(at - 1) if word == "mode?" else KINDS[word] for at, word in enumerate(words))


ARGUMENTS: Mapping[str, tuple[Argument, ...]] = {
    words[0]: _compiled(words[1:]) for line in TABLE.strip().splitlines() if (words := line.split())
}
