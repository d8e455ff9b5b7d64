"""Listings of workspaces (`art_core.autorun.finder`) that are kept from run to run, outside of all sandboxes.

For each workspace there is the one of the last run whose end was told, and one for each run that has begun:
when its supervisor is killed, the next run tells what it would have told.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from art_core.autorun.finder import Listing, ObeyedPath
from art_core.autorun.rules import Match
from art_core.config import regular_file
from art_core.contracts import Workspace

_MOST = 5_000
"""Lines of one kind that are kept of a listing."""
_SIZE_LIMIT = 4 << 20
"""Bytes of a record, which is written no larger than it is read."""
_SHARES = {"found": 2, "repository": 4, "led": 8, "top": 16}
"""What part of that each kind may have: a half, a quarter and so on. The first lines have what is left."""
_WORKSPACES_LIMIT = 200
_OLD_S = 30 * 86_400
"""When what a run left that never told its end is forgotten."""
_UNTOLD = "untold"
_counter = itertools.count()


def is_known(directory: str, path: str) -> bool:
    """Whether a listing is kept of the directory at a path, or of one above it."""
    while True:
        # A directory that is no more may have had the inode: the path has to be the same, too.
        with (
            contextlib.suppress(OSError, ValueError, RecursionError),
            regular_file.reading(os.path.join(directory, _key(os.stat(path)))) as file,
        ):
            if json.loads(file.readline(_SIZE_LIMIT)) == path:
                return True
        if path == "/":
            return False
        path = os.path.dirname(path)


def _key(found: os.stat_result) -> str:
    return f"{found.st_dev:x}-{found.st_ino:x}"


class Before(NamedTuple):
    """What was there at a time, by CLOCK_REALTIME_COARSE (clock_gettime(2))."""

    since_ns: int
    listing: Listing


class Remembered:
    """The listings of one workspace, in a directory that belongs to the caller alone."""

    def __init__(self, directory: str, workspace: Workspace) -> None:
        self._directory = directory
        self._root = workspace.real
        self._key = _key(os.fstat(workspace.fd))
        self._own = f"{self._key}.{os.getpid()}-{_born(os.getpid())}-{next(_counter)}"

    def told(self) -> Listing | None:
        """What there was at the end of the last run."""
        with contextlib.suppress(ValueError):
            found = self._read(self._key)
            return None if found is None else found.listing
        return None

    def untold(self) -> Before | None:
        """What there was before a run whose end was not told, of several the first. All counts as new where
        that cannot be read."""
        for name in self._ended():
            self._leave(name)
        try:
            return self._read(f"{self._key}.{_UNTOLD}")
        except ValueError:
            nothing = Listing(self._root)
            nothing.complete = False
            return Before(0, nothing)

    def begin(self, before: Before) -> None:
        """A run starts."""
        self._write(self._own, before)

    def end(self, after: Before) -> None:
        """What is there now was told."""
        self._write(self._key, after)
        for name in (self._own, f"{self._key}.{_UNTOLD}"):
            with contextlib.suppress(OSError):
                os.unlink(self._path(name))
        self._prune()

    def leave(self) -> None:
        """The run is over, and its end was not told."""
        self._leave(self._own)

    def _leave(self, name: str) -> None:
        """An earlier run that was not told has what there was before this one, too."""
        untold = f"{self._key}.{_UNTOLD}"
        with contextlib.suppress(OSError):
            try:
                is_first = self._read(untold) is None
            except ValueError:
                is_first = False
            if is_first:
                os.rename(self._path(name), self._path(untold))
            else:
                os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _ended(self) -> Iterator[str]:
        """Files of runs whose process is no more, in the order in which they began."""
        begun = []
        with contextlib.suppress(OSError):
            for name in os.listdir(self._directory):
                pid, _, rest = name.removeprefix(f"{self._key}.").partition("-")
                if not name.startswith(f"{self._key}.") or not pid.isdigit():
                    continue
                if _born(int(pid)) != rest.partition("-")[0]:
                    begun.append((os.lstat(self._path(name)).st_mtime_ns, name))
        yield from (name for _, name in sorted(begun))

    def _read(self, name: str) -> Before | None:
        """A record; None where there is none of this workspace. Raises ValueError where it is spoilt."""
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(fd, encoding="ascii") as file:
                root, first, *lines = map(json.loads, file.read(_SIZE_LIMIT).splitlines())
        except OSError:
            return None
        except RecursionError as error:
            raise ValueError(str(error)) from None
        if root != self._root:
            return None
        listing = Listing(self._root)
        try:
            since_ns, complete = first
            listing.complete = bool(complete)
            for kind, *fields in lines:
                _keep(listing, str(kind), fields)
            return Before(int(since_ns), listing)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def _write(self, name: str, before: Before) -> None:
        """Write a file whole; where that fails nothing is kept. Its first line alone says of which
        workspace it is."""
        listing = before.listing
        kinds: dict[str, Iterator[Sequence[object]]] = {
            "found": iter(listing.found.values()),
            "repository": ([path] for path in listing.repositories),
            "led": iter(listing.led.items()),
            "top": iter(listing.top.items()),
        }
        lines, complete = [], listing.complete
        for kind, entries in kinds.items():
            room = _SIZE_LIMIT // _SHARES[kind]
            for line in (json.dumps([kind, *entry]) for entry in itertools.islice(entries, _MOST)):
                room -= len(line) + 1
                if room < 0:
                    complete = False
                    break
                lines.append(line)
            complete = complete and next(entries, None) is None
        temporary = self._path(f".{self._own}")
        with contextlib.suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
                first = json.dumps([before.since_ns, complete])
                file.writelines(f"{line}\n" for line in (json.dumps(self._root), first, *lines))
            os.rename(temporary, self._path(name))

    def _prune(self) -> None:
        """Forget the workspaces that were used least recently."""
        with contextlib.suppress(OSError):
            names = os.listdir(self._directory)
            if len(names) > _WORKSPACES_LIMIT:
                ages = sorted((os.lstat(self._path(name)).st_mtime, name) for name in names)
                for age, name in ages[: len(names) - _WORKSPACES_LIMIT]:
                    if "." not in name or time.time() - age > _OLD_S:
                        os.unlink(self._path(name))


def _keep(listing: Listing, kind: str, fields: Sequence[Any]) -> None:
    """Put a line of a record into a listing."""
    if kind == "found":
        path, match, mode, number, ctime_ns = fields
        listing.found[str(path)] = ObeyedPath(str(path), _match(match), int(mode), int(number), int(ctime_ns))
    elif kind == "repository":
        listing.repositories += map(str, fields)
    elif kind == "led":
        listing.led[str(fields[0])] = _match(fields[1])
    elif kind == "top":
        listing.top[str(fields[0])] = int(fields[1])


def _match(kept: Sequence[object]) -> Match:
    place, pattern, by, does, leads = kept
    return Match(str(place), str(pattern), str(by), str(does), bool(leads))


def _born(pid: int) -> str:
    """When a process started, in ticks since the boot (proc(5)); empty when it is no more. The number of one
    that has ended is given to another."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        return ""
