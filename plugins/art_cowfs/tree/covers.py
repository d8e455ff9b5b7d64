"""What the host had where the sandbox put a file of its own, or took a directory away.

Programs save a file by renaming a new one over it. The new one shows nothing of the host's, but it was made
from what the host had: a pull may cover that, as long as the host still has it. And what a directory held
that was removed, or renamed, the sandbox removed as well; what the host put there later it never saw.
"""

from __future__ import annotations

import stat
import struct
import time
from collections.abc import Callable

from art_cowfs.lower.lower import joined
from art_cowfs.tree.nodes import CowNode

MARK = b"art.covers."
"""An attribute of a directory with this and a name tells what the host had at that name."""
DIRECTORY = -1
"""In the place of a size."""
Seen = tuple[int, int]
"""Size and time of the host's file; `DIRECTORY` and when it was removed."""
_MOST = 4096
"""Names that are remembered: between the removal of a file and the making of the next one there are few."""
_PACKED = struct.Struct("<qq")


def unpacked(value: bytes) -> Seen | None:
    """Out of an attribute; None for what is none."""
    if len(value) != _PACKED.size:
        return None
    size, time_ns = _PACKED.unpack(value)
    return size, time_ns


class Covers:
    """Remembers what names of host directories lost, until they get another file. What is not told by that
    file itself goes to `keep`, as an attribute of the directory."""

    def __init__(self, keep: Callable[[CowNode, bytes, bytes], None]) -> None:
        self._keep = keep
        self._lost: dict[tuple[int, bytes], Seen] = {}
        self.now: Callable[[], int] = time.time_ns
        """When a directory is removed that is being removed."""

    def left(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """A node left a name."""
        if directory.origin is None:
            return
        here = node.origin == joined(directory.origin, name)
        if stat.S_ISDIR(node.mode):
            if here:
                self.keep(directory, name, (DIRECTORY, self.now()))
            return
        seen = (node.base_size, node.base_mtime) if node.held else (node.size, node.mtime)
        of_files = stat.S_ISREG(node.mode) or stat.S_ISLNK(node.mode)
        if not of_files or not (here or node.origin is None) or not seen[1]:
            return
        if len(self._lost) >= _MOST:
            del self._lost[next(iter(self._lost))]
        self._lost[directory.ino, name] = seen

    def entered(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        """A node got a name: it stands for what was seen there."""
        seen = self._lost.pop((directory.ino, name), None)
        if seen is None or directory.origin is None:
            return
        if node.origin is None:
            node.base_size, node.base_mtime = seen
        elif node.origin != joined(directory.origin, name):
            self.keep(directory, name, seen)

    def keep(self, directory: CowNode, name: bytes, seen: Seen) -> None:
        self._keep(directory, MARK + name, _PACKED.pack(*seen))
