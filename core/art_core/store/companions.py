"""What in a directory belongs to a database of a store: the database, and the files beside it.

SQLite believes a journal or a log that lies beside a database, whoever put it there
(https://sqlite.org/howtocorrupt.html, section 1): so what comes out of a sandbox never has such a name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from art_core.contracts import Store
from art_core.trees import Entry, TreeReader

HEAD = 512
"""How many bytes of a file tell a database."""
UNFINISHED = re.compile(rb"\.art-pull-(\d{1,9})-")
"""How names begin that a transfer gives to what is not whole yet, with the number of its process. What has
such a name is no part of a workspace, and a later transfer removes it when that process is no more."""
_UNFINISHED_WITHIN = re.compile(rb"(?:.*?/)??" + UNFINISHED.pattern + rb"[^/]*", re.DOTALL)
Contents = Callable[[bytes], Iterable[tuple[int, bytes]]]
"""The contents of the file that would stand at a path, as offsets and bytes in order; nothing for no file."""


_Blocks = Callable[[Entry], Iterable[tuple[int, bytes]]]


@runtime_checkable
class Recognising(Protocol):
    """A part of a store's contract for one whose databases are files: it tells others of its kind, too."""

    def is_database(self, head: bytes) -> bool:
        """Whether a file is one that begins with these `HEAD` bytes, or is as short as they are."""

    def endings(self) -> Sequence[str]:
        """What is put after a database's name, and may go on, in the names of the files beside it."""


def _nothing(_: bytes) -> Iterable[tuple[int, bytes]]:
    return ()


class Databases:
    """Tells what belongs to the database in use, and to any other one of its store's kind."""

    def __init__(self, store: Store | None = None, contents: Contents = _nothing) -> None:
        """`contents` are of what may come out of the store: a database that is new to the host."""
        self.files: set[tuple[int, int]] = set()
        """(device, inode) of the files of the database in use. They are never opened: closing one drops
        SQLite's locks (fcntl(2))."""
        self._names: set[tuple[int, int, bytes]] = set()
        self._folded: set[bytes] = set()
        self._contents = contents
        self._recognising = store if isinstance(store, Recognising) else None
        endings: Sequence[str] = self._recognising.endings() if self._recognising is not None else ()
        joined = b"|".join(re.escape(os.fsencode(ending).lower()) for ending in endings)
        self._ending = re.compile(joined or b"(?!)")
        for path in store.hidden() if store is not None else ():
            self._take(path)

    def _take(self, path: str) -> None:
        try:
            found = os.lstat(path)
            self.files.add((found.st_dev, found.st_ino))
        except OSError:
            pass
        try:
            directory = os.stat(os.path.dirname(path))
        except OSError:
            return
        name = os.fsencode(os.path.basename(path)).lower()
        self._folded.add(name)
        self._names.add((directory.st_dev, directory.st_ino, name))

    def owner(self, parent: Callable[[bytes], tuple[int, bytes]], path: bytes) -> bytes | None:
        """The path of the database that a path belongs to, as itself, a file beside it, or what is in a
        directory of such a name; empty for the one in use, None for all others. What is named like something
        that a transfer has not finished counts as that. `parent` gives a descriptor of the directory on the
        host, and the name in it, or raises OSError where there is none."""
        if b".art-pull-" in path and (unfinished := _UNFINISHED_WITHIN.match(path)):
            return unfinished[0]
        last = path.count(b"/")
        start = first = 0
        folded = path.lower()
        if not self._ending.search(folded) and not any(name in folded for name in self._folded):
            start, first = path.rfind(b"/") + 1, last  # No name on the way can be of a database.
        for depth in range(first, last + 1):
            end = path.find(b"/", start)
            end = len(path) if end < 0 else end
            name = path[start:end].lower()
            endings = list(self._ending.finditer(name, 1))
            if depth == last or endings or name in self._folded:
                above = path[:start]
                found = self._owner(parent, above, path[start:end], endings, whole=depth == last)
                if found is not None:
                    return above + found if found else found
            start = end + 1
        return None

    def _owner(
        self,
        parent: Callable[[bytes], tuple[int, bytes]],
        above: bytes,
        name: bytes,
        endings: Iterable[re.Match[bytes]],
        *,
        whole: bool,
    ) -> bytes | None:
        """The name of the database that a name belongs to; empty for one in use."""
        try:
            directory, _ = parent(above + name)
        except OSError:
            directory = -1
        if directory >= 0 and name.lower() in self._folded:
            at = os.fstat(directory)
            if (at.st_dev, at.st_ino, name.lower()) in self._names:
                return b""
        for ending in endings:
            base = name[: ending.start()]
            if self._stands(directory, base) or self._comes(above + base):
                return base
        return name if whole and self._stands(directory, name) else None

    def _stands(self, directory: int, name: bytes) -> bool:
        """Whether the host has a database there; one that a link leads to counts."""
        if directory < 0 or self._recognising is None:
            return False
        try:
            found = os.stat(name, dir_fd=directory)
            if (found.st_dev, found.st_ino) in self.files:
                return True
            if not stat.S_ISREG(found.st_mode) or found.st_size < HEAD:
                return False
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory)
            try:
                return self._recognising.is_database(os.pread(fd, HEAD, 0))
            finally:
                os.close(fd)
        except OSError:
            return False

    def _comes(self, path: bytes) -> bool:
        if self._recognising is None:
            return False
        try:
            offset, data = next(iter(self._contents(path)), (0, b""))
        except OSError:
            return False
        return not offset and self._recognising.is_database(data[:HEAD])


def told(owner: bytes) -> str:
    """Why something is left out, in words."""
    if UNFINISHED.match(owner.rpartition(b"/")[2]):
        return "its name is one of what a pull has not finished, and the next pull removes that; rename it"
    which = f"{os.fsdecode(owner)}, a database of ART" if owner else "the database"
    return f"it belongs to {which}, and a transfer leaves that alone"


def databases_beside(store: Store, tree: TreeReader, shown: _Blocks = lambda _: ()) -> Databases:
    """For what is carried out of a tree; `shown` gives the contents of files that only the host has."""

    def contents(path: bytes) -> Iterable[tuple[int, bytes]]:
        entry = tree.shows(path)
        if entry is None or entry.kind != "file":
            return ()
        return shown(entry) if entry.shown else tree.blocks(entry)

    return Databases(store, contents)
