"""Directories of what only the database has, for the kernel to mount a home over.

Each is named by the state of a branch that it belongs to, and is either all that the database has of it, or
what one session changed over another one, its `parent`: what the kernel wrote for a session is good for the
next one as it is. Directories that were not used for longest go when there are too many bytes; those that a
session is mounted over stay. A lock (flock(2)) lets one process at a time change anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import NamedTuple

from art_core.host import kernel
from art_overlayfs.uppers import PARTS, layers_in_use, own_directory, removed

_DATABASE = "database"
_WHOLE = "-whole"
"""What follows the name of a directory with all of a state, where there is one with a part of it."""
_MOST = 12
"""Directories over each other: the kernel looks into each of them for each name."""


class _Layer(NamedTuple):
    parent: str
    size: int


class Cache:
    """The directories of one database in LAYERS, used by the sessions in SESSIONS."""

    def __init__(self, layers: str, sessions: str, most_bytes: int, database: str) -> None:
        """`database` is remembered, for when it is gone."""
        self._path = layers
        self._sessions = sessions
        self._most = most_bytes
        self._database = database

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises StoreError for a place that cannot be used."""
        own_directory(self._path)
        fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _database(self._path) != self._database:
                with open(f"{self._path}/{_DATABASE}", "wb") as file:
                    file.write(os.fsencode(self._database))
            yield
        finally:
            os.close(fd)

    def stack(self, key: str) -> list[str]:
        """The names of the directories that show a state, the topmost first; none when it has to be made."""
        found: list[str] = []
        if self._layer(key + _WHOLE) is not None:
            key += _WHOLE
        while key:
            layer = self._layer(key)
            if layer is None or len(found) >= _MOST:
                return []
            found.append(key)
            key = layer.parent
        for name in found:
            os.utime(f"{self._path}/{name}")
        return found

    def paths(self, names: Sequence[str], part: str) -> list[str]:
        return [f"{self._path}/{name}/{part}" for name in names]

    def make(self, key: str, fill: Callable[[str], None]) -> None:
        """Have `fill` make all that a state has, in a directory that it is given."""
        path = self._underway()
        try:
            fill(path)
            self._sync(path)
            # One that is too deep stays: others may be mounted over it.
            name = key if self._layer(key) is None else key + _WHOLE
            self._take(path, name, "")
            self.trim({name})
        except BaseException:
            removed(path)
            raise

    def _sync(self, path: str) -> None:
        """After a crash of the machine it must not be there in half: nobody looks again."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            kernel.sync_file_system(fd)
        finally:
            os.close(fd)

    def adopt(self, key: str, parent: str, upper: Callable[[str], str]) -> None:
        """Take what a session changed over `parent`, as what the state `key` has over that one. The kernel
        has brought it to the disk, as it does when an overlay is unmounted."""
        if self._layer(parent) is None or self._layer(key) is not None:
            return
        path = self._underway()
        try:
            for part in PARTS:
                os.rename(upper(part), f"{path}/{part}")
        except OSError:  # They lie on different file systems: it is made anew when it is asked for.
            removed(path)
            return
        self._take(path, key, parent)

    def clear(self) -> int:
        """Remove what no session uses; how many bytes that were."""
        before = sum(layer.size for layer in self._all().values())
        self.trim(most=0)
        return before - sum(layer.size for layer in self._all().values())

    def _underway(self) -> str:
        path = f"{self._path}/new-{secrets.token_hex(8)}"
        os.mkdir(path, 0o700)
        return path

    def _take(self, path: str, name: str, parent: str) -> None:
        size = _size(path)
        with open(f"{path}/about", "w") as file:
            json.dump({"parent": parent, "size": size}, file)
        os.rename(path, f"{self._path}/{name}")

    def _layer(self, name: str) -> _Layer | None:
        try:
            with open(f"{self._path}/{name}/about") as file:
                found = json.load(file)
            return _Layer(str(found["parent"]), int(found["size"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _all(self) -> dict[str, _Layer]:
        """The oldest first. What was begun by a process that was killed, or has lost its parent, goes."""
        names = [name for name in os.listdir(self._path) if name != _DATABASE]
        found = {name: layer for name in names if (layer := self._layer(name)) is not None}
        whole = {name: layer for name, layer in found.items() if not layer.parent or layer.parent in found}
        for name in names:
            if name not in whole:
                removed(f"{self._path}/{name}")
        return dict(sorted(whole.items(), key=lambda one: os.stat(f"{self._path}/{one[0]}").st_mtime_ns))

    def trim(self, wanted: Set[str] = frozenset(), most: int | None = None) -> None:
        """Have no more bytes than there may be, as far as sessions let that be; what is `wanted` stays."""
        most = self._most if most is None else most
        layers = self._all()
        total = sum(layer.size for layer in layers.values())
        used = layers_in_use(self._sessions) | wanted
        while total > most:
            parents = {layer.parent for layer in layers.values()}
            oldest = next((name for name in layers if name not in parents and name not in used), None)
            if oldest is None:
                return
            total -= layers.pop(oldest).size
            removed(f"{self._path}/{oldest}")


def tidy(layers: str, sessions: str) -> None:
    """Remove what is cached of databases that are gone; what a session uses stays."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(layers):
            path = f"{layers}/{name}"
            database = _database(path)
            if database and not os.path.exists(database) and not layers_in_use(f"{sessions}/{name}"):
                removed(path)
                with contextlib.suppress(OSError):  # Changes that no database has are kept.
                    os.rmdir(f"{sessions}/{name}")


def _database(path: str) -> str:
    """Where the database is, or was; empty for what is just being made."""
    try:
        with open(f"{path}/{_DATABASE}", "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""


def _size(path: str) -> int:
    """Bytes on the disk."""
    done = subprocess.run(["du", "-s", "-B1", "--", path], stdin=subprocess.DEVNULL, capture_output=True)
    return int(done.stdout.split()[0]) if done.stdout else 0
