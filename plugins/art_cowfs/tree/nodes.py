"""Inodes of a branch in memory, and as rows."""

from __future__ import annotations

import os
import stat

from art_core.store import bounds
from art_cowfs.db.origins import Origins
from art_cowfs.db.schema import HOST_NUMBERS, CorruptError
from art_cowfs.layers.chain import Inode
from art_fusefs.backend import Node

_LINKS, _MODES = 1 << 31, 0o177777


class CowNode(Node):
    """An inode of a branch. `held` says that the database has (or gets) a row of it; `origin` is the
    host path that shows through, None when none does."""

    __slots__ = (
        "base_mtime",
        "base_size",
        "clip",
        "complete",
        "fd",
        "held",
        "host_clip",
        "host_names",
        "host_time",
        "many",
        "name",
        "names",
        "origin",
        "parent",
        "seen",
        "stale",
        "tried",
    )

    def __init__(self, ino: int, mode: int, now: int) -> None:
        super().__init__(ino, mode, now)
        self.held = True
        self.origin: bytes | None = None
        self.base_size = self.base_mtime = 0
        self.clip = self.host_clip = 0
        self.parent: CowNode | None = None
        self.name = b""
        self.names: dict[bytes, int | None] = {}
        """Of a directory: what the database says, None for a whiteout."""
        self.complete = True
        """Whether `names` holds all of them."""
        self.many = False
        """Whether the database has more names of it than are read for the sake of one."""
        self.host_names: dict[bytes, os.stat_result | None] = {}
        """Of a directory: what was seen on the host, None where it has to be looked at again."""
        self.host_time = 0.0
        """When the host's directory was listed: what is neither in `names` nor in `host_names` is not there
        then; 0.0 when it was not."""
        self.tried = 0.0
        """When it was tried to watch the host's directory."""
        self.fd = -1
        self.seen: tuple[int, int] | None = None
        """Size and time of the host's file when the kernel last cached it."""
        self.stale = False
        """Whether the host has other attributes than the node."""

    def show(self, found: os.stat_result) -> None:
        """Take the attributes of the host's file."""
        self.mode, self.nlink, self.size = found.st_mode, found.st_nlink, found.st_size
        self.holes = max(0, found.st_size - found.st_blocks * 512)
        self.atime, self.mtime, self.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns


def from_row(row: Inode, top: int) -> CowNode:
    """The node of a row; `top` is the layer that is written. Raises CorruptError for sizes and counts that
    no file has: what is calculated with them would not fit into a row again."""
    if not (
        0 <= row.size <= bounds.LARGEST
        and 0 <= row.clip <= bounds.LARGEST
        and 0 <= row.host_clip <= bounds.LARGEST
        and 0 <= row.holes <= bounds.LARGEST
        and 0 <= row.nlink <= _LINKS
        and 0 <= row.mode <= _MODES
    ):
        raise CorruptError(
            f"inode {row.ino} has a size or a count that no file has; `art db check` says more"
        )
    node = CowNode(row.ino, row.mode, row.ctime)
    node.nlink, node.rdev, node.size, node.holes = row.nlink, row.rdev, row.size, row.holes
    node.atime, node.mtime, node.ctime = row.atime, row.mtime, row.ctime
    node.target = row.target or b""
    node.origin = row.origin
    node.base_size, node.base_mtime = row.origin_size or 0, row.origin_mtime or 0
    node.host_clip = row.host_clip
    node.clip = row.clip if row.layer == top else row.size
    node.complete = False
    node.names_changing = stat.S_ISDIR(row.mode) and row.origin is not None
    return node


def derived(found: os.stat_result) -> int:
    """A number for a host file, from its device and inode."""
    device = (found.st_dev ^ (found.st_dev >> 14)) & 0x3FFF
    return HOST_NUMBERS | device << 48 | (found.st_ino & 0xFFFF_FFFF_FFFF)


def row_of(node: CowNode, origins: Origins) -> tuple[object, ...]:
    """The columns of `inode` after its number and layer."""
    seen = node.origin is not None or node.base_mtime
    return (
        node.mode,
        node.nlink,
        node.rdev,
        node.size,
        node.holes,
        node.clip,
        node.host_clip,
        node.atime,
        node.mtime,
        node.ctime,
        node.target or None,
        origins.kept(node.origin),
        node.base_size if seen else None,
        node.base_mtime if seen else None,
    )
