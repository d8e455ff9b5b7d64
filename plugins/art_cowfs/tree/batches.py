"""What changed and is not in the database yet."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping

from art_cowfs.db.origins import OF_NONE, Origins
from art_cowfs.tree.changed_names import ChangedNames
from art_cowfs.tree.nodes import CowNode, row_of
from art_cowfs.tree.writer import Batch, BatchWriter


class Pending:
    """The present batch, and those that the writer has not finished. `wake` is called when there is
    something to hand over. Without a writer nothing can be changed."""

    def __init__(
        self,
        writer: BatchWriter | None,
        wake: Callable[[], None],
        free: Callable[[], int] = lambda: sys.maxsize,
        origins: Origins = OF_NONE,
    ) -> None:
        """`free` tells how many bytes the database can still grow by what is written."""
        self._origins = origins
        self.batch = Batch()
        self.inflight: list[Batch] = []
        self._writer = writer
        self._wake = wake
        self._free = free
        self._room = free()
        self.denied = 0
        """How often there was no room."""
        self.noticing: list[ChangedNames] = []
        """Those who want to know what changes."""

    @property
    def writes(self) -> bool:
        """Whether anything can be changed."""
        return self._writer is not None

    def dirty(self, node: CowNode) -> None:
        """The node's row is to be written, as it is when the batch is handed over."""
        self.batch.inodes[node.ino] = node
        self.grew(0)

    def named(self, directory: CowNode, name: bytes, there: bool) -> None:
        """A name was entered into a directory, or left it."""
        for changed in self.noticing:
            changed.named(directory.ino, name, there)

    def dead(self, node: CowNode) -> None:
        """All that the layer has of the node is to go."""
        self.batch.inodes.pop(node.ino, None)
        self.batch.chunks.pop(node.ino, None)
        for mark in [key for key in self.batch.xattrs if key[0] == node.ino]:
            del self.batch.xattrs[mark]
        if stat.S_ISDIR(node.mode):
            for name in [key for key in self.batch.names if key[0] == node.ino]:
                del self.batch.names[name]
        self.batch.dead.add(node.ino)
        self.grew(0)

    def xattrs(self, ino: int) -> dict[bytes, bytes | None]:
        """The extended attributes of an inode that were set, None for those that were removed."""
        return {
            name: value
            for batch in (*self.inflight, self.batch)
            for (owner, name), value in batch.xattrs.items()
            if owner == ino
        }

    def grew(self, size: int) -> None:
        if not self.batch.size:
            self._wake()
        self.batch.size += size + 1

    def reserve(self, size: int = 0) -> None:
        """See that `size` more bytes can be kept. Raises ENOSPC at once rather than at a later commit,
        and EROFS while nothing can be written. Removing asks for nothing: there is ballast for that."""
        if self._writer is None:
            raise OSError(errno.EROFS, "opened for reading")
        failure = self._writer.failure
        if failure is not None:
            raise OSError(errno.EROFS, str(failure))
        # What is written goes through the log before it reaches its place, so it is there twice.
        if 2 * (self.waiting + size) > self._room:
            self._room = self._free()
            if 2 * (self.waiting + size) > self._room:
                self.denied += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hand_over(self, done: Callable[[], None] = lambda: None) -> None:
        """Give what changed to the writer, as one transaction."""
        self.inflight = [batch for batch in self.inflight if not batch.done]
        if not self.batch or self._writer is None:
            return
        batch = self.batch
        self.notice()
        batch.inodes = {ino: row_of(node, self._origins) for ino, node in batch.inodes.items()}
        self.inflight.append(batch)
        self.batch = Batch()
        self._room = self._free()
        self._writer.take(batch, done)

    def notice(self) -> None:
        """Tell what was written to and not handed over yet."""
        for changed in self.noticing:
            changed.written(self.batch.inodes.values())

    def numbers(self) -> list[Mapping[int, object]]:
        """The inodes that are not in the database as they are, by number."""
        return [self.batch.inodes, *(batch.inodes for batch in self.inflight if not batch.done)]

    @property
    def waiting(self) -> int:
        """Bytes, about, that are not in the database yet."""
        return self.batch.size + sum(batch.size for batch in self.inflight if not batch.done)

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        if self._writer is None:
            done(None)
            return
        self.hand_over()
        self._writer.sync(done)

    def wait(self) -> None:
        """Until all of it is on the disk. Raises OSError."""
        assert self._writer is not None
        self.hand_over()
        self._writer.wait()
