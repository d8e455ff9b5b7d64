"""Copy-up: what only the host has becomes the branch's own, with its name and all directories above it.

The contents of a file come from the host still, until they are written to (`contents`).
"""

from __future__ import annotations

import stat

from art_cowfs.db.schema import HOST_NUMBERS
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower
from art_cowfs.tree.batches import Pending
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.racy_files import RacyFiles
from art_cowfs.tree.resident import Resident


class CopyUp:
    """Copies nodes of one branch up."""

    def __init__(
        self, chain: Chain, pending: Pending, lower: Lower | None, resident: Resident, racy: RacyFiles
    ) -> None:
        self._chain = chain
        self._pending = pending
        self._lower = lower
        self._resident = resident
        self._racy = racy
        self._numbers: set[int] = set()
        """Numbers of host files that were copied up in this session."""
        self._before = chain.has_host_number()

    def has(self, ino: int) -> bool:
        """Whether the host's file of this number was copied up."""
        return ino in self._numbers or (self._before and self._chain.has_host_number(ino))

    def forget(self, ino: int) -> None:
        """The database has nothing of the number any more."""
        self._numbers.discard(ino)

    def up(self, node: CowNode) -> None:
        """See that the database has the node and its name, and all directories above it."""
        above = []
        one: CowNode | None = node
        while one is not None and not one.held:
            above.append(one)
            one = one.parent
        for one in reversed(above):
            self.take(one)
            if one.parent is not None:
                self.enter(one.parent, one.name, one.ino)

    def take(self, node: CowNode) -> None:
        """From now on the database has the node; its contents still come from the host."""
        node.held = True
        node.changing = False
        if node.ino >= HOST_NUMBERS:
            self._numbers.add(node.ino)
        if stat.S_ISREG(node.mode):
            # The attributes of the node may be those that are just being set.
            found = self._lower.stat(node.origin) if self._lower and node.origin else None
            if found is not None:
                node.size, node.base_mtime = found.st_size, found.st_mtime_ns
                if found.st_nlink > 1:
                    self._pending.batch.origins[found.st_dev, found.st_ino] = node.ino
            node.base_size = node.clip = node.host_clip = node.size
            node.holes = 0  # A host that allocates late may not know yet.
            self._racy.notice(node)
            self._take_xattrs(node)
        elif stat.S_ISDIR(node.mode):
            self._take_xattrs(node)
        self._pending.dirty(node)

    def _take_xattrs(self, node: CowNode) -> None:
        if self._lower is not None and node.origin is not None:
            for name, value in self._lower.xattrs(node.origin).items():
                self._pending.batch.xattrs[node.ino, name] = value

    def enter(self, directory: CowNode, name: bytes, ino: int | None) -> None:
        """Put a name of a directory into the batch; None for one that is there no more."""
        directory.names[name] = ino
        self._resident.named(directory, 1)
        self._pending.batch.names[directory.ino, name] = ino
        self._pending.dirty(directory)
        self._pending.grew(64)
