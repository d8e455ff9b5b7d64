"""The databases that a user has: what one sandbox keeps is hidden from every other one.

A file in ART's state has a line for each: the paths that its store hides. It is bounded; one that is gone
makes room first.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from art_core.config import regular_file
from art_core.contracts import Mount, Origin
from art_core.host import openat
from art_core.host.tree import within

MOST = 256
ENTRIES, ALL_ENTRIES = 256, 2048
"""How many a directory may have, and all of them together, that are put together anew to leave some out."""
_NOTHING = "/dev/null"
_FILE = "databases"
_LIMIT = 1 << 20


class Database(NamedTuple):
    """One of them: the paths of its files, the database's own first, and the mode that was told of."""

    paths: tuple[str, ...]
    told: int = 0

    @property
    def is_there(self) -> bool:
        return os.path.lexists(self.paths[0])

    def wide(self) -> int:
        """Its mode, where others may read it; 0 where they may not. A group's is a use."""
        with suppress(OSError):
            mode = stat.S_IMODE(os.stat(self.paths[0]).st_mode)
            return mode if mode & 0o006 else 0
        return 0


def databases(state_dir: str) -> list[Database]:
    """Those that are there, the newest first."""
    try:
        with regular_file.reading(f"{state_dir}/{_FILE}") as file:
            return [one for one in reversed(_parsed(file.read(_LIMIT))) if one.is_there]
    except OSError:
        return []


def remember(state_dir: str, hidden: Sequence[str]) -> list[str]:
    """Remember a database by what its store hides. Returns what the user should know, once."""
    paths = _real(hidden)
    if not paths:
        return []
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        fd = os.open(f"{state_dir}/{_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return []  # Where nothing can be remembered.
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)  # A pipe is not read: nobody writes to it.
        return []
    with open(fd, "r+b") as file:
        fcntl.flock(fd, fcntl.LOCK_EX)
        found = _parsed(file.read(_LIMIT))
        known = next((one for one in found if one.paths == paths), None)
        database = known or Database(paths)
        wide = database.wide()
        if known is not None and wide == known.told:
            return []
        found = [one for one in found if one.paths != paths] + [database._replace(told=wide)]
        file.seek(0)
        file.write(b"".join(json.dumps(one).encode() + b"\n" for one in _kept(found)))
        file.truncate()
    if not wide:
        return []
    name = paths[0]
    return [
        f"{name} can be read by other users (mode {wide:04o}), and holds what is private inside; "
        f"`chmod 600 {name}` keeps it yours, `chmod 660` your group's"
    ]


def _real(paths: Sequence[str]) -> tuple[str, ...]:
    """With the directories that links lead to."""
    return tuple(os.path.join(os.path.realpath(os.path.dirname(one)), os.path.basename(one)) for one in paths)


def _parsed(data: bytes) -> list[Database]:
    found = []
    for line in data.splitlines():
        with suppress(ValueError, TypeError, OverflowError, RecursionError):
            paths, told = json.loads(line)
            if paths and all(isinstance(path, str) and path.startswith("/") for path in paths):
                found.append(Database(tuple(paths), int(told)))
    return found


def _kept(found: list[Database]) -> list[Database]:
    if len(found) > MOST:
        found = [one for one in found[:-1] if one.is_there] + found[-1:]
    return found[-MOST:]


def others(state_dir: str, own: Sequence[str]) -> list[Database]:
    """Those that are there, without the one that has these files."""
    real = _real(own)
    return [one for one in databases(state_dir) if not real or one.paths[0] != real[0]]


def masks(found: Sequence[Database], elsewhere: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is left out of the root that a sandbox sees, and what is covered where it stands, because its
    directory has too many entries to be put together anew. What lies `elsewhere` is in neither."""
    left_out, covered = [], []
    crowded: dict[str, bool] = {}
    left = ALL_ENTRIES
    for path in (path for one in found for path in one.paths):
        if any(within(path, top) for top in elsewhere):
            continue
        directory = os.path.dirname(path)
        if directory not in crowded:
            entries = _entries(directory)
            crowded[directory] = entries > min(ENTRIES, left)
            left -= 0 if crowded[directory] else entries
        if not crowded[directory]:
            left_out.append(path)
        elif _is_file(path):
            covered.append(path)
    return left_out, covered


def _entries(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(1 for _ in islice(entries, ENTRIES + 1))
    except OSError:
        return 0


def _is_file(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(os.lstat(path).st_mode)
    return False


def cover(guest: str) -> Mount:
    """A mount over a file: who opens it reads nothing."""
    return Mount(source=_NOTHING, guest=guest, origin=Origin("databases"), directory=False, device=True)


def covers(shown: Mount, found: Sequence[Database]) -> list[Mount]:
    """The same for those that lie in a host directory that is shown. What a link leads to is not in it."""
    made = []
    for path in (path for one in found for path in one.paths):
        if path != shown.source and within(path, shown.source):
            relative = os.path.relpath(path, shown.source)
            if openat.is_file(shown.fd, relative.split("/")):
                made.append(cover(f"{shown.guest}/{relative}"))
    return made
