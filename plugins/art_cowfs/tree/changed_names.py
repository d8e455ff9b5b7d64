"""What a session changed, by name: a file that it wrote to and renamed over another one counts once, one
that it made and removed not at all."""

from __future__ import annotations

import stat
from collections.abc import Iterable

from art_cowfs.tree.nodes import CowNode

MOST = 1 << 16
"""How many names are told apart; it takes some 15 MiB."""


class ChangedNames:
    """The names that were made, removed or written to since it began."""

    def __init__(self) -> None:
        self._was_there: dict[tuple[int, bytes], bool] = {}
        """Of names that were entered or left: whether there was one at first."""
        self._is_there: dict[tuple[int, bytes], bool] = {}
        self._written: set[tuple[int, bytes]] = set()
        self.more = False
        """Whether there are more than were told apart."""

    def named(self, directory: int, name: bytes, there: bool) -> None:
        """A name was entered into a directory, or left it."""
        key = (directory, name)
        if len(self._was_there) < MOST or key in self._was_there:
            self._was_there.setdefault(key, not there)
            self._is_there[key] = there
        else:
            self.more = True

    def written(self, nodes: Iterable[CowNode]) -> None:
        """Files got other contents or attributes."""
        for node in nodes:
            if node.parent is None or stat.S_ISDIR(node.mode):
                continue
            if len(self._written) < MOST:
                self._written.add((node.parent.ino, node.name))
            else:
                self.more = True

    def count(self) -> int:
        """How many names show something else than at first."""
        named = sum(was or self._is_there[key] for key, was in self._was_there.items())
        return named + sum(key not in self._was_there for key in self._written)
