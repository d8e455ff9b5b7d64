"""Listings of workspaces (`art_core.listing`) that are kept from run to run, outside of all sandboxes.

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
from typing import NamedTuple

from art_core.contracts import Workspace
from art_core.listing import Found, Listing
from art_core.obeyed import Match

_FOUND_LIMIT = 5_000
_SIZE_LIMIT = 4 << 20
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
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            open(os.path.join(directory, _key(os.stat(path))), encoding="ascii") as file,
        ):
            if json.load(file)["root"] == path:
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
        self._own = f"{self._key}.{os.getpid()}-{next(_counter)}"

    def told(self) -> Listing | None:
        """What there was at the end of the last run."""
        found = self._read(self._key)
        return None if found is None else found.listing

    def untold(self) -> Before | None:
        """What there was before a run whose end was not told."""
        for name in self._ended():
            untold = f"{self._key}.{_UNTOLD}"
            with contextlib.suppress(OSError):
                if self._read(untold) is not None:
                    os.unlink(self._path(name))
                else:
                    os.rename(self._path(name), self._path(untold))
        return self._read(f"{self._key}.{_UNTOLD}")

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
        with contextlib.suppress(OSError):
            untold = self._path(f"{self._key}.{_UNTOLD}")
            if self._read(f"{self._key}.{_UNTOLD}") is not None:
                os.unlink(self._path(self._own))
            else:
                os.rename(self._path(self._own), untold)

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _ended(self) -> Iterator[str]:
        """Files of runs whose process is no more."""
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self._directory)):
                pid = name.removeprefix(f"{self._key}.").partition("-")[0]
                if name.startswith(f"{self._key}.") and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                    yield name

    def _read(self, name: str) -> Before | None:
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, encoding="ascii") as file:
                kept = json.loads(file.read(_SIZE_LIMIT))
            if kept["root"] != self._root:
                return None
            listing = Listing(self._root)
            listing.complete = bool(kept["complete"])
            listing.repositories = [str(path) for path in kept["repositories"]]
            listing.top = {str(path): int(number) for path, number in kept["top"].items()}
            listing.led = {str(path): _match(match) for path, match in kept["led"].items()}
            for path, match, mode, number, ctime_ns in kept["found"]:
                found = Found(str(path), _match(match), int(mode), int(number), int(ctime_ns))
                listing.found[found.path] = found
            return Before(int(kept["since"]), listing)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _write(self, name: str, before: Before) -> None:
        """Write a file whole; where that fails nothing is kept."""
        listing = before.listing
        some = list(itertools.islice(listing.found.values(), _FOUND_LIMIT))
        kept = {
            "root": self._root,
            "since": before.since_ns,
            "complete": listing.complete
            and max(map(len, (listing.found, listing.repositories, listing.top, listing.led)))
            <= _FOUND_LIMIT,
            "repositories": listing.repositories[:_FOUND_LIMIT],
            "top": dict(itertools.islice(listing.top.items(), _FOUND_LIMIT)),
            "led": dict(itertools.islice(listing.led.items(), _FOUND_LIMIT)),
            "found": some,
        }
        temporary = self._path(f".{self._own}")
        with contextlib.suppress(OSError):
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
                file.write(json.dumps(kept))
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


def _match(kept: Sequence[object]) -> Match:
    place, pattern, by, does, leads = kept
    return Match(str(place), str(pattern), str(by), str(does), bool(leads))
