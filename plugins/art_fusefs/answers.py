"""What the kernel gets to see: attributes with how long they hold, and failures as an errno."""

from __future__ import annotations

import errno
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from pyfuse3 import EntryAttributes, FUSEError

from art_fusefs.backend import Node

CHANGING_S = 0.8
"""How long the kernel may believe what it knows of a host file that can change unnoticed. With the time that
a backend may have believed it, it makes a second."""
STEADY_S = 86400.0
BLOCK = 4096
NAME_LIMIT = 255
_log = logging.getLogger("art.fusefs")


def attributes(node: Node, uid: int, gid: int) -> EntryAttributes:
    """A node as stat(2) shows it."""
    found = EntryAttributes()
    found.st_ino = node.ino
    found.st_mode = node.mode
    found.st_nlink = node.nlink
    found.st_uid = uid
    found.st_gid = gid
    found.st_rdev = node.rdev
    found.st_size = node.size
    found.st_blksize = BLOCK
    found.st_blocks = (max(0, node.size - node.holes) + 511) >> 9
    found.st_atime_ns = node.atime
    found.st_mtime_ns = node.mtime
    found.st_ctime_ns = node.ctime
    found.entry_timeout = found.attr_timeout = CHANGING_S if node.changing else STEADY_S
    if node.direct:
        found.entry_timeout = found.attr_timeout = 0.0
    return found


def missing(directory: Node) -> EntryAttributes:
    """That a directory has no such name, for the kernel to remember."""
    found = EntryAttributes()
    found.st_ino = 0
    found.entry_timeout = CHANGING_S if directory.changing or directory.names_changing else STEADY_S
    return found


def _for_the_kernel(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The handler with every failure as an errno: anything else would end the file system."""

    name = handler.__name__

    @functools.wraps(handler)
    async def guarded(operations: Any, *arguments: Any) -> Any:
        operations.requests[name] += 1
        try:
            return await handler(operations, *arguments)
        except FUSEError:
            raise
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        except Exception:
            _log.exception("%s failed", name)
            raise FUSEError(errno.EIO) from None
        finally:
            operations.settle()

    return guarded


def answering(operations: type[Any]) -> type[Any]:
    """Give every handler of the class `_for_the_kernel`."""
    for name, handler in list(vars(operations).items()):
        if not name.startswith("_") and inspect.iscoroutinefunction(handler):
            setattr(operations, name, _for_the_kernel(handler))
    return operations
