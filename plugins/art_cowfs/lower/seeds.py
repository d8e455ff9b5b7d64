"""Seeds: files and directories of the host that show through in the home, beside the workspace.

They are a second lower of the same layers. What comes from one has an origin of `SEEDS` and the path in
the home at which the seed is shown, so it belongs to that seed for good: in a run without it, what was
copied up stays and the rest is not there. Directories above a seed that nobody made are shown by
this module, with nothing but the seed in them.

Which seeds a branch has met, and where they were on the host, is kept in extended attributes of the top
directory, layer by layer as everything else; programs inside do not see them.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from art_cowfs.db.schema import SEEDS

KNOWN = b"art.seed."
"""Attributes of the top directory: the path of a seed in the home after this, its path on the host."""
_APART = 0x1555
"""What is seen through a seed is another file than what is seen through the workspace, also where the host
has one file with two names."""
_VIRTUAL = 0o40700


class Seed(NamedTuple):
    """One seed: where it is in the home, where on the host, and an O_PATH descriptor of it."""

    guest: bytes
    path: bytes
    fd: int


class Seeds:
    """All seeds of a session, by the paths of their origins. The descriptors become its own."""

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.all = list(seeds)
        self._at = {SEEDS + b"/" + seed.guest: seed for seed in seeds}
        self._attributes = dict.fromkeys(MORE, 0) | dict.fromkeys(MORE[:3], time.time_ns())
        self._above: dict[bytes, set[bytes]] = {SEEDS: set()}
        """Directories that nobody has, and the names in them."""
        for path in self._at:
            while path != SEEDS:
                above, _, name = path.rpartition(b"/")
                self._above.setdefault(above, set()).add(name)
                path = above

    def find(self, path: bytes) -> tuple[int, bytes]:
        """The descriptor of the seed that an origin is of, and the path below it. Raises OSError."""
        top = path
        while top != SEEDS:
            seed = self._at.get(top)
            if seed is not None:
                return seed.fd, path[len(top) + 1 :]
            top = top.rpartition(b"/")[0]
            if not top:
                break
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def names(self, path: bytes) -> set[bytes] | None:
        """The names in a directory that nobody has; None for any other."""
        return self._above.get(path)

    def virtual(self, path: bytes) -> os.stat_result | None:
        """A directory that nobody has, as it is shown; None for any other."""
        if path not in self._above:
            return None
        number = 1 + sorted(self._above).index(path)
        return os.stat_result((_VIRTUAL, number, _APART, 2, 0, 0, 0, 0, 0, 0), self._attributes)

    def close(self) -> None:
        while self.all:
            os.close(self.all.pop().fd)


MORE = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blocks", "st_rdev", "st_blksize")


def apart(found: os.stat_result) -> os.stat_result:
    """What was found through a seed: with a device of its own, and a link of its own, as a file has that is
    replaced on the host while it is shown."""
    basic = (*found[:2], found.st_dev ^ _APART, max(1, found.st_nlink), *found[4:10])
    return os.stat_result(basic, {name: getattr(found, name) for name in MORE})


# --- what a branch knows of its seeds ----------------------------------------------------------
