"""What the kernel gets to see: attributes with how long they hold, and failures as an errno."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from art_fusefs.backend import Node
from art_fusefs.protocol import (
    ATTRIBUTES,
    ATTRIBUTES_HOLD,
    DIRECT_IO,
    ENTRY,
    ENTRY_HOLDS,
    KEEP_CACHE,
    OPENED,
)

CHANGING_S = 0.8
"""How long the kernel may believe what it knows of a host file that can change unnoticed. With the time that
a backend may have believed it, it makes a second."""
STEADY_S = 86400.0
BLOCK = 4096
NAME_LIMIT = 255
_S = 10**9


class Refused(OSError):
    """A request is answered with a number of errno(3)."""

    def __init__(self, number: int) -> None:
        super().__init__(number, os.strerror(number))


class _Holds(NamedTuple):
    """How long the kernel may believe an entry, and attributes that it asked for."""

    entry: bytes
    attributes: bytes


@functools.cache
def _seconds(seconds: float) -> _Holds:
    whole = int(seconds)
    rest = round((seconds - whole) * _S)
    return _Holds(ENTRY_HOLDS.pack(whole, whole, rest, rest), ATTRIBUTES_HOLD.pack(whole, rest))


_MISSING = ENTRY.pack(0)
_NOTHING = bytes(ATTRIBUTES.size)


def _holds(node: Node) -> _Holds:
    return _seconds(0.0 if node.direct else CHANGING_S if node.changing else STEADY_S)


def _attributes(node: Node, uid: int, gid: int) -> bytes:
    ino, size, atime, mtime, ctime = node.ino, node.size, node.atime, node.mtime, node.ctime
    return ATTRIBUTES.pack(
        ino,
        size,
        (size - node.holes + 511) >> 9 if node.holes < size else 0,
        atime // _S,
        mtime // _S,
        ctime // _S,
        atime % _S,
        mtime % _S,
        ctime % _S,
        node.mode,
        node.nlink,
        uid,
        gid,
        node.rdev,
        BLOCK,
    )


def entry(node: Node, uid: int, gid: int) -> bytes:
    """A node as the kernel gets to know it."""
    return ENTRY.pack(node.ino) + _holds(node).entry + _attributes(node, uid, gid)


def attributes(node: Node, uid: int, gid: int) -> bytes:
    """A node as stat(2) shows it."""
    return _holds(node).attributes + _attributes(node, uid, gid)


def missing(directory: Node) -> bytes:
    """That a directory has no such name, for the kernel to remember."""
    changing = directory.changing or directory.names_changing
    return _MISSING + _seconds(CHANGING_S if changing else STEADY_S).entry + _NOTHING


def opened(node: Node, keep: bool) -> bytes:
    """A descriptor of a file; `keep` says that what the kernel has cached of it is right."""
    return OPENED.pack(node.ino, KEEP_CACHE * keep | DIRECT_IO * node.direct, 0)
