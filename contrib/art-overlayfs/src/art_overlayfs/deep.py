"""Directories at any depth: a program can make paths that are longer than the kernel takes at once."""

from __future__ import annotations

import os

_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES = 15
"""How many names of 255 bytes fit into a path (PATH_MAX, limits.h)."""


def directory(top: int, path: bytes, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the directory at a path below `top`; b"" is that one itself. Raises OSError."""
    names = path.split(b"/") if path else [b"."]
    fd = -1
    for start in range(0, len(names), _NAMES):
        part = b"/".join(names[start : start + _NAMES])
        last = start + _NAMES >= len(names)
        above = fd
        try:
            fd = os.open(part, _FLAGS | (flags if last else os.O_PATH), dir_fd=top if above < 0 else above)
        finally:
            if above >= 0:
                os.close(above)
    return fd
