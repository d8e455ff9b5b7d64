"""Opening paths so that what was checked is what is used: O_PATH descriptors (open(2))."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

_PATH = os.O_PATH | os.O_CLOEXEC


def pin(path: str) -> int:
    """A descriptor of what `path` leads to, links followed. Raises OSError."""
    return os.open(path, _PATH)


def resolved(fd: int) -> str:
    """The path of what a descriptor refers to, without any link."""
    return os.readlink(f"/proc/self/fd/{fd}")


def is_directory(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def parts_of(relative: str) -> list[str]:
    return [part for part in relative.split("/") if part not in ("", ".")]


def pin_beneath(top: int, parts: Sequence[str]) -> int:
    """A descriptor of what lies below `top`, where no component may be a link.

    Raises OSError: ELOOP for a link, ENOENT, ENOTDIR, EINVAL for `..`.
    """
    fd = os.dup(top)
    try:
        for part in parts:
            if part == "..":
                raise OSError(22, os.strerror(22), part)
            below = os.open(part, _PATH | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                raise OSError(40, os.strerror(40), part)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_file(top: int, parts: Sequence[str]) -> bool:
    """Whether a regular file lies there, without a link on the way."""
    try:
        fd = pin_beneath(top, parts)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def pin_directory(top: int, path: str) -> int:
    """The same for a directory by its relative path. Raises OSError: ENOTDIR for what is none."""
    fd = pin_beneath(top, parts_of(path))
    if not is_directory(fd):
        os.close(fd)
        raise OSError(20, os.strerror(20), path)
    return fd


def make_beneath(top: int, path: str, owner: tuple[int, int], *, directory: bool) -> None:
    """See that an empty file or a directory stands at a relative path, and directories above it: what is
    missing is made, `owner`'s. Raises OSError: ELOOP for a link, ENOTDIR, EISDIR, EINVAL for `..`."""
    *above, name = parts_of(path)
    fd = os.dup(top)
    try:
        for part in above:
            below = _made_directory(fd, part, owner)
            os.close(fd)
            fd = below
        if directory:
            os.close(_made_directory(fd, name, owner))
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, 0o644, dir_fd=fd)
            _give(made, owner)
        except FileExistsError:
            made = pin_beneath(fd, [name])
            if is_directory(made):
                os.close(made)
                raise OSError(21, os.strerror(21), name) from None
        os.close(made)
    finally:
        os.close(fd)


def _made_directory(above: int, name: str, owner: tuple[int, int]) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=above)
        fd = pin_directory(above, name)
        _give(fd, owner)
        return fd
    except FileExistsError:
        return pin_directory(above, name)


def _give(fd: int, owner: tuple[int, int]) -> None:
    if os.geteuid() == 0 and owner != (0, 0):
        os.chown(f"/proc/self/fd/{fd}", *owner)


_LINE_LIMIT = 8192


def first_line(directory: int, name: str) -> str | None:
    """The first line of a small regular file in a directory; None without one."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        text = os.read(fd, _LINE_LIMIT)
    except OSError:
        return None
    finally:
        os.close(fd)
    return os.fsdecode(text.split(b"\n")[0]) or None
