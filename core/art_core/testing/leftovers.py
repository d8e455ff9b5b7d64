"""What a call left behind in this process: descriptors, children, files, and what it started."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STARTS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
)
_CHANGES = frozenset(
    {"os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}
    | {"os.truncate", "os.utime", "socket.bind", "socket.connect"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_events: list[str] | None = None
_hooked = False


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _events is None:
        return
    if event in _STARTS:
        _events.append(event)
    elif event in _CHANGES or (event == "open" and _writes(arguments)):
        # Python itself writes the byte code of a module that is imported for the first time.
        words = " ".join(str(argument) for argument in arguments)
        if "__pycache__" not in words:
            _events.append(f"{event} {words}")


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and bool(flags & _WRITING) and arguments[0] != os.devnull


@contextmanager
def actions() -> Iterator[list[str]]:
    """The programs started and the files changed by Python code of this process meanwhile."""
    global _events, _hooked
    if not _hooked:
        # An audit hook cannot be removed again (PEP 578), so there is one, and it mostly sleeps.
        sys.addaudithook(_note)
        _hooked = True
    noted: list[str] = []
    _events = noted
    try:
        yield noted
    finally:
        _events = None


def state() -> dict[str, object]:
    """What a call without side effects leaves as it was: open descriptors, child processes, the
    environment, the working directory, the umask."""
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "open descriptors": _descriptors(),
        "child processes": _children(),
        "environment": dict(os.environb),
        "working directory": os.getcwd(),
        "umask": umask,
    }


def differences(before: dict[str, object], after: dict[str, object]) -> str:
    """What changed between two `state`s, in words; empty when nothing did."""
    return "; ".join(
        f"{what} went from {before[what]!r} to {after[what]!r}"
        for what in before
        if before[what] != after[what]
    )


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
    return found


def _children() -> list[str]:
    found: list[str] = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            found += file.read().split()
    return sorted(found)


def tree(top: str) -> dict[str, tuple[object, ...]]:
    """Everything below `top`, with what a write to it changes (names, modes, owners, sizes, times)."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(top):
        for path in (directory, *(os.path.join(directory, name) for name in directories + files)):
            status = os.lstat(path)
            found[path] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_nlink,
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
            )
    return found


@contextmanager
def opened_files(top: str) -> Iterator[set[str]]:
    """The regular files below `top` that are opened meanwhile, by whatever call (inotify(7)).

    The set is filled at the end. O_PATH descriptors do not count: nothing is read through them.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    opened: set[str] = set()
    try:
        watched = {}
        for directory, _, _ in os.walk(top):
            watch = libc.inotify_add_watch(fd, os.fsencode(directory), ctypes.c_uint32(_IN_OPEN))
            if watch < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", directory)
            watched[watch] = directory
        yield opened
        opened.update(_opened(fd, watched))
    finally:
        os.close(fd)


_IN_OPEN = 0x20
_IN_ISDIR = 0x40000000


def _opened(fd: int, watched: dict[int, str]) -> Iterator[str]:
    while True:
        try:
            events = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        while events:
            watch, mask, _, length = struct.unpack_from("iIII", events)
            name = os.fsdecode(events[16 : 16 + length].rstrip(b"\0"))
            events = events[16 + length :]
            if not mask & _IN_ISDIR and name:
                yield os.path.join(watched[watch], name)
