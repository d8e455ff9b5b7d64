"""Who holds a lock of a file: processes by their number and command (proc_locks(5), proc_pid_fdinfo(5)).

An open file description lock belongs to no process, so /proc/locks has none for it; the descriptors' own
pages tell, of processes that the caller may look at. No file is opened for it but those of /proc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile


def command(pid: int | str) -> str:
    """What a process runs, for a message: `art db check`, or the name of another program. Options are left
    out: they may hold a secret."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            argv = [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
            comm = file.read().strip()
    except OSError:
        return "ended"
    for place, word in enumerate(argv[:3]):
        if os.path.basename(word) == "art":
            return " ".join(["art", *takewhile(str.isalpha, argv[place + 1 : place + 3])])
    return comm


def named(pid: int | str) -> str:
    """A process as a message names it."""
    return f"process {pid} ({command(pid)})"


def _covers(words: Sequence[str], inode: int, first: int, last: int) -> bool:
    """Whether a line of locks is of this inode and one of these bytes."""
    start, end = words[-2], words[-1]
    return (
        words[-3].rpartition(":")[2] == str(inode)
        and int(start) <= last
        and (end == "EOF" or int(end) >= first)
    )


def _locks_of(pid: str) -> Iterator[list[str]]:
    """The locks that a process's descriptors have, as lines of words."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fdinfo"):
            with suppress(OSError), open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
                for line in file:
                    if line.startswith("lock:"):
                        yield line.split()[1:]


def _blocked(words: Sequence[str]) -> bool:
    """Whether a line is of one who waits for a lock."""
    return words[1] == "->"


def processes(inode: int, first: int, last: int) -> list[int]:
    """The processes that hold a lock on one of these bytes, as far as the caller may see them."""
    found = set()
    own = str(os.getpid())
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == own:
            continue
        for words in _locks_of(pid):
            if not _blocked(words) and _covers(words, inode, first, last):
                found.add(int(pid))
    return sorted(found)


def posix(inode: int, bytes_: range) -> list[int]:
    """The processes that hold a POSIX lock, which is a process's own, on one of these bytes."""
    found = set()
    with suppress(OSError), open("/proc/locks", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if _blocked(words) or words[1] != "POSIX":
                continue
            if _covers(words, inode, bytes_.start, bytes_.stop - 1) and words[-4] != str(os.getpid()):
                found.add(int(words[-4]))
    return sorted(found)


def said(inode: int, first: int, last: int) -> str:
    """Who holds these bytes, for a message."""
    found = processes(inode, first, last)
    return ", ".join(map(named, found)) if found else "a process of another user"
