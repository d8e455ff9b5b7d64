"""What a path leads to in a branch: something of its layers, or of the host; and where it shows the host's.

A directory of the host is shown at one place of a branch only, and a file of the host that was copied up is
shown under that number at each of its names: the files of the host have one number each.
"""

from __future__ import annotations

import stat
from bisect import bisect_left, insort
from typing import NamedTuple

from art_cowfs.layers.chain import Chain, Inode
from art_cowfs.lower.lower import Lower, joined
from art_fusefs.backend import ROOT


class Seen(NamedTuple):
    """What a path leads to: a number of the database, or else a path of the host; neither: nothing."""

    ino: int | None = None
    host: bytes | None = None


NOTHING = Seen()


class ChainView:
    """One chain over the host's directory."""

    def __init__(self, chain: Chain, lower: Lower) -> None:
        self.chain = chain
        self._lower = lower

    def row(self, ino: int | None) -> Inode | None:
        """The newest row of an inode that is not gone."""
        row = None if ino is None else self.chain.inode(ino)
        return None if row is None or row.nlink == 0 else row

    def names(self, ino: int) -> dict[bytes, int | None]:
        """The names of a directory that the layers have, None for a whiteout. One that is gone has none,
        whatever its layers still say: those rows are whiteouts, too."""
        names = dict(self.chain.names(ino))
        return names if self.row(ino) is not None else dict.fromkeys(names)

    def at(self, directory: int, name: bytes) -> Seen:
        """What a name leads to in a directory of the database."""
        row = self.row(directory)
        if row is None:
            return NOTHING
        found = self.chain.name(directory, name)
        if found is not None:
            return Seen(found[0]) if self.row(found[0]) is not None else NOTHING
        return NOTHING if row.origin is None else self.on_host(joined(row.origin, name))

    def on_host(self, path: bytes) -> Seen:
        """What shows where the host's directory does."""
        found = self._lower.stat(path)
        if found is None:
            return NOTHING
        linked = None
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            linked = self.chain.linked(found.st_dev, found.st_ino)
        return Seen(linked) if self.row(linked) is not None else Seen(host=path)

    def was_linked(self, path: bytes) -> bool:
        """Whether the links are counted of the host's file there, also when none is left."""
        found = self._lower.stat(path)
        if found is None or found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
            return False
        return self.chain.linked(found.st_dev, found.st_ino) is not None

    def seen(self, path: bytes) -> Seen:
        seen = Seen(ROOT)
        for name in path.split(b"/") if path else ():
            seen = self.below(seen, name)
        return seen

    def below(self, seen: Seen, name: bytes) -> Seen:
        if not self.is_directory(seen):
            return NOTHING
        if seen.ino is not None:
            return self.at(seen.ino, name)
        return NOTHING if seen.host is None else self.on_host(joined(seen.host, name))

    def is_directory(self, seen: Seen) -> bool:
        if seen.ino is not None:
            row = self.row(seen.ino)
            return row is not None and stat.S_ISDIR(row.mode)
        found = None if seen.host is None else self._lower.stat(seen.host)
        return found is not None and stat.S_ISDIR(found.st_mode)


class ShownPaths:
    """Where a branch shows what is the host's; `links` are the views whose files of several names on the
    host are looked for."""

    def __init__(self, branch: ChainView, lower: Lower, links: tuple[ChainView, ...]) -> None:
        self._branch = branch
        self._lower = lower
        self._views = links
        self._links = {link for view in links for link in view.chain.links()}
        self._walked: set[bytes] = set()
        self._linked: list[bytes] = []
        """Names on the host, in what was walked, of files that were copied up under any of their names."""
        self._at: dict[bytes, set[int]] = {}
        """The directories of the branch that show, or showed, one of the host's, by its path; without those
        that are gone."""
        self._of: dict[int, set[bytes]] = {}
        """The paths of each, also of those that are gone."""
        for path, ino in self._branch.chain.shown_directories():
            self._of.setdefault(ino, set()).add(path)
        for ino, paths in self._of.items():
            if self._branch.row(ino) is not None:
                for path in paths:
                    self._at.setdefault(path, set()).add(ino)
        self._paths = sorted(self._at)

    def note(self, path: bytes | None, ino: int, *, gone: bool) -> None:
        """A directory of the branch has a new row: it shows the host's at `path`, or is gone."""
        if path is not None:
            self._of.setdefault(ino, set()).add(path)
        for one in self._of.get(ino, ()):
            at = self._at.setdefault(one, set())
            if gone:
                at.discard(ino)
            else:
                if not at:
                    insort(self._paths, one)
                at.add(ino)
            if not at:
                del self._at[one]
                place = bisect_left(self._paths, one)
                if self._paths[place : place + 1] == [one]:
                    del self._paths[place]

    def shows(self, host: bytes) -> bool:
        """Whether the branch shows the host's directory somewhere."""
        above, rest = host, b""
        while True:
            for ino in self._at.get(above, ()):
                row = self._branch.row(ino)
                if row is None or row.origin != above:
                    continue
                if not rest:
                    return True
                # That is shown once, so what is not below it here is nowhere.
                name = rest.partition(b"/")[0]
                seen = self._branch.at(ino, name)
                return seen.host == joined(above, name) and self._lower.stat(host) is not None
            if not above:
                return False
            above, _, _ = above.rpartition(b"/")
            rest = host[len(above) + 1 :] if above else host

    def apart(self, host: bytes) -> set[bytes]:
        """The names in a directory of the host with which it cannot show as it is: what is at or below
        them is shown elsewhere in the branch, or was copied up under another name."""
        found = set()
        start = host + b"/" if host else b""
        place = bisect_left(self._paths, start)
        while place < len(self._paths) and self._paths[place].startswith(start):
            name, below, _ = self._paths[place][len(start) :].partition(b"/")
            if name:  # Without one it is the host's top directory itself.
                found.add(name)
            # All that is below the name says the same.
            place = bisect_left(self._paths, start + name + b"0", place) if below else place + 1
        for path in self._from(self._linked_below(host), start):
            copied = (view.on_host(path).ino is not None for view in self._views)
            if self._branch.was_linked(path) or any(copied):
                found.add(path[len(start) :].split(b"/")[0])
        return found

    def linked(self, link: tuple[int, int]) -> None:
        """The links of one more file of the host are counted, by device and number."""
        self._links.add(link)
        self._walked.clear()
        self._linked = []

    @staticmethod
    def _from(paths: list[bytes], start: bytes) -> list[bytes]:
        first = bisect_left(paths, start)
        last = first
        while last < len(paths) and paths[last].startswith(start):
            last += 1
        return paths[first:last]

    def _linked_below(self, host: bytes) -> list[bytes]:
        if not self._links or host.startswith(b"/"):
            return []
        above = host.split(b"/")
        if not any(b"/".join(above[:depth]) in self._walked for depth in range(len(above) + 1)):
            self._walked.add(host)
            self._linked = sorted({*self._linked, *self._walk(host)})
        return self._linked

    def _walk(self, host: bytes) -> list[bytes]:
        found, todo = [], [host]
        while todo:
            directory = todo.pop()
            for name, status in self._lower.entries(directory).items():
                path = joined(directory, name)
                if stat.S_ISDIR(status.st_mode):
                    todo.append(path)
                elif status.st_nlink > 1 and (status.st_dev, status.st_ino) in self._links:
                    found.append(path)
        return found
