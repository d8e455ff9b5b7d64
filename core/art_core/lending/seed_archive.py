"""Seeds of a home that is not kept: an archive of what it begins with, for the isolation to unpack.

The archive is a sequence of marshalled objects: `(path, kind, mode, mtime_ns, size, target)` with a path in
the home, and after a file its contents as `(offset, bytes)`, without its holes, up to None; a None in the
place of an entry ends it. Directories come before what is in them.
"""

from __future__ import annotations

import marshal
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from art_core.contracts import HOME, Mount
from art_core.errors import MountError
from art_core.host.tree import within
from art_core.transfer.host_files import HostTree, Unreadable

SIZE_LIMIT = 256 << 20
ENTRY_LIMIT = 20_000
_BLOCK = 1 << 20


class Archive:
    """The contents of seeds, in memory. `fd` is at its beginning; `left_out` counts what cannot be copied."""

    def __init__(self, seeds: Sequence[Mount], covered: Sequence[str]) -> None:
        """`covered` are guest paths at which something else is shown. Raises MountError where a seed is too
        large for being copied at each start."""
        self.left_out = 0
        self._room = SIZE_LIMIT
        self._entries = 0
        self._covered = covered
        self.fd = os.memfd_create("seeds", os.MFD_CLOEXEC)
        try:
            with open(os.dup(self.fd), "wb", buffering=_BLOCK) as out:
                for seed in seeds:
                    for part in self._of(seed):
                        marshal.dump(part, out)
                marshal.dump(None, out)
            os.lseek(self.fd, 0, os.SEEK_SET)
        except BaseException:
            os.close(self.fd)
            raise

    def _of(self, seed: Mount) -> Iterator[Any]:
        top = os.fsencode(seed.guest[len(HOME) + 1 :])
        steps = top.split(b"/")
        for depth in range(1, len(steps)):
            yield (b"/".join(steps[:depth]), "dir", 0o700, 0, 0, b"")
        found = os.fstat(seed.fd)
        mode, times = stat.S_IMODE(found.st_mode), found.st_mtime_ns
        if not seed.directory:
            if not self._is_covered(top):
                self._take(seed, found.st_size)
                yield (top, "file", mode, times, found.st_size, b"")
                yield from self._contents(_blocks(seed.fd))
            return
        yield (top, "dir", mode, times, 0, b"")
        with HostTree(seed.fd) as tree:
            for path, entry in tree.walk():
                where = top + b"/" + path
                if self._is_covered(where):
                    continue
                if isinstance(entry, Unreadable):
                    self.left_out += 1
                    continue
                self._take(seed, entry.size if entry.kind == "file" else 0)
                yield (where, entry.kind, entry.mode, entry.mtime_ns, entry.size, entry.target)
                if entry.kind == "file":
                    yield from self._contents(tree.blocks(entry))

    def _contents(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[Any]:
        """The blocks of a file and their end. One that is gone or closed is as much as was read."""
        try:
            yield from blocks
        except OSError:
            self.left_out += 1
        yield None

    def _is_covered(self, path: bytes) -> bool:
        guest = f"{HOME}/{os.fsdecode(path)}"
        return any(within(guest, top) for top in self._covered)

    def _take(self, seed: Mount, size: int) -> None:
        self._room -= size
        self._entries += 1
        if self._room < 0 or self._entries > ENTRY_LIMIT:
            bound = f"{SIZE_LIMIT >> 20} MiB" if self._room < 0 else f"{ENTRY_LIMIT} files"
            raise MountError(
                f"{seed.origin}: {seed.source} is too large: without a database all of a seed is copied at "
                f"each start, and all seeds together may have {bound}; add --db FILE, which copies nothing, "
                "or name only what is needed of it"
            )


def _blocks(pinned: int) -> Iterator[tuple[int, bytes]]:
    fd = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset = 0
        while data := os.pread(fd, _BLOCK, offset):
            yield offset, data
            offset += len(data)
    finally:
        os.close(fd)
