"""Host files that were very new when a part of them was copied up.

The host could change them once more within the same time stamp, and nothing would show it. So the
rest is copied, too, a little at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from art_cowfs.tree.nodes import CowNode

YOUNG_NS = 1_000_000_000
"""The coarsest time stamps of the file systems that are in use."""


class RacyFiles:
    """The files that are still to be copied."""

    def __init__(self) -> None:
        self._copied: dict[int, int] = {}
        """Number -> how far."""

    def notice(self, node: CowNode) -> None:
        """The node was just copied up."""
        if node.host_clip and abs(time.time_ns() - node.base_mtime) < YOUNG_NS:
            self._copied[node.ino] = 0

    def forget(self, node: CowNode) -> None:
        """The node is gone. The database may have it still, until the next commit."""
        self._copied.pop(node.ino, None)

    def complete_some(self, node: Callable[[int], CowNode], complete: Callable[[CowNode, int], int]) -> None:
        """Copy some more of one of them. `complete` copies some of a node from a place on, and gives the
        place to continue from, 0 at the end."""
        for ino, idx in list(self._copied.items())[:1]:
            try:
                self._copied[ino] = complete(node(ino), idx)
            except OSError:  # It is gone, has changed, or there is no room: reads see to that.
                self._copied[ino] = 0
            if not self._copied[ino]:
                del self._copied[ino]
