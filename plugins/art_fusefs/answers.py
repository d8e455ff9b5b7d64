"""What the kernel gets to see: attributes with how long they hold, and failures as an errno."""

from __future__ import annotations

import errno
import functools
import inspect
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from art_fusefs.backend import Node
from art_fusefs.protocol import ENTRY

CHANGING_S = 0.8
"""How long the kernel may believe what it knows of a host file that can change unnoticed. With the time that
a backend may have believed it, it makes a second."""
STEADY_S = 86400.0
BLOCK = 4096
NAME_LIMIT = 255
_S = 10**9
_log = logging.getLogger("art.fusefs")


class Refused(OSError):
    """A request is answered with a number of errno(3)."""

    def __init__(self, number: int) -> None:
        super().__init__(number, os.strerror(number))


def attributes(node: Node, uid: int, gid: int) -> bytes:
    """A node as stat(2) shows it, and as the kernel gets to know it."""
    atime, atime_ns = divmod(node.atime, _S)
    mtime, mtime_ns = divmod(node.mtime, _S)
    ctime, ctime_ns = divmod(node.ctime, _S)
    return ENTRY.pack(
        node.ino,
        0,
        *_holds(0.0 if node.direct else CHANGING_S if node.changing else STEADY_S),
        node.ino,
        node.size,
        (max(0, node.size - node.holes) + 511) >> 9,
        atime,
        mtime,
        ctime,
        atime_ns,
        mtime_ns,
        ctime_ns,
        node.mode,
        node.nlink,
        uid,
        gid,
        node.rdev,
        BLOCK,
        0,
    )


def missing(directory: Node) -> bytes:
    """That a directory has no such name, for the kernel to remember."""
    changing = directory.changing or directory.names_changing
    return ENTRY.pack(0, 0, *_holds(CHANGING_S if changing else STEADY_S), *[0] * 16)


@functools.cache
def _holds(seconds: float) -> tuple[int, int, int, int]:
    """Whole seconds and nanoseconds, for an entry and for its attributes."""
    whole = int(seconds)
    rest = round((seconds - whole) * _S)
    return whole, whole, rest, rest


def _for_the_kernel(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The handler with every failure as an errno: anything else would end the file system."""

    name = handler.__name__

    @functools.wraps(handler)
    async def guarded(operations: Any, *arguments: Any) -> Any:
        operations.requests[name] += 1
        try:
            return await handler(operations, *arguments)
        except OSError:
            raise
        except Exception:
            _log.exception("%s failed", name)
            raise Refused(errno.EIO) from None
        finally:
            operations.settle()

    return guarded


def answering(operations: type[Any]) -> type[Any]:
    """Give every handler of the class `_for_the_kernel`."""
    for name, handler in list(vars(operations).items()):
        if not name.startswith("_") and inspect.iscoroutinefunction(handler):
            setattr(operations, name, _for_the_kernel(handler))
    return operations
