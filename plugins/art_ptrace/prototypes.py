"""What is known of each system call, by its name.

Calls that do not stand here are written by python-ptrace's prototypes, or, where it has none, as raw numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from art_ptrace.arguments import Argument
from art_ptrace.dependent import open_mode
from art_ptrace.kinds import KINDS
from art_ptrace.table import TABLE

HEX_RESULT = frozenset({"mmap", "brk", "mremap", "shmat"})
"""Calls that return an address."""
NEVER_RETURN = frozenset({"exit", "exit_group"})


def _compiled(words: list[str]) -> tuple[Argument, ...]:
    found = []
    for at, word in enumerate(words):
        if word == "mode?":
            found.append(open_mode(at - 1))
        else:
            found.append(KINDS[word])
    return tuple(found)


ARGUMENTS: Mapping[str, tuple[Argument, ...]] = {
    words[0]: _compiled(words[1:]) for line in TABLE.strip().splitlines() if (words := line.split())
}
"""The arguments of each call that is known."""
NEW_PROCESS_FIELDS = (
    # argument on x86_64 and aarch64, name, flag it depends on
    ("parent_tid", 0x00100000 | 0x00001000),
    ("tls", 0x00080000),
    ("child_tidptr", 0x01000000 | 0x00200000),
)
CLONE_ORDER = {"x86_64": (2, 4, 3), "aarch64": (2, 3, 4)}
"""Where clone(2) has parent_tid, tls and child_tidptr."""
