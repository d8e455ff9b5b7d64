"""What the host had where the sandbox put a file of its own.

Programs save a file by renaming a new one over it. The new one shows nothing of the host's, but it was made
from what the host had: a pull may cover that, as long as the host still has it.
"""

from __future__ import annotations

import stat

from art_cowfs.lower import joined
from art_cowfs.nodes import CowNode

_MOST = 4096
"""Names that are remembered: between the removal of a file and the making of the next one there are few."""


class Covers:
    """Remembers what names of host directories lost, until they get another file."""

    def __init__(self) -> None:
        self._lost: dict[tuple[int, bytes], tuple[int, int]] = {}
        """Size and time of the host's file that was seen there."""

    def left(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """A node left a name."""
        if directory.origin is None or not (stat.S_ISREG(node.mode) or stat.S_ISLNK(node.mode)):
            return
        seen = (node.base_size, node.base_mtime) if node.held else (node.size, node.mtime)
        here = node.origin is None or node.origin == joined(directory.origin, name)
        if not here or not seen[1]:
            return
        if len(self._lost) >= _MOST:
            del self._lost[next(iter(self._lost))]
        self._lost[directory.ino, name] = seen

    def entered(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """A node got a name: one of the sandbox's own stands for what was seen there."""
        seen = self._lost.pop((directory.ino, name), None)
        if seen is not None and node.origin is None:
            node.base_size, node.base_mtime = seen
