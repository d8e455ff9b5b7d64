"""Putting a part of a branch back to what another point has, by rows in a new layer.

A directory that both have is gone through name by name, and only what differs gets rows. What the other
point only shows of the host is shown again, not copied, where the branch has the host's directory there.
A host directory is shown at one place of a branch only: where the branch has moved it, what it would show
at the old place is copied.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import apsw

from art_cowfs.chain import Chain, Inode
from art_cowfs.contents import WHOLE
from art_cowfs.lower import Lower, joined
from art_cowfs.schema import CHUNK, DatabaseError
from art_fusefs.backend import ROOT

NO_ROW = 0
"""The number in a name that stands for no row at all: what the host has shows again."""


class Seen(NamedTuple):
    """What a path leads to: a number of the database, or else a path of the host; neither: nothing."""

    ino: int | None = None
    host: bytes | None = None


class Restoring:
    """One restore of paths. `there` is the chain that is put back, its top empty, and `wanted` the one with
    what is wanted, on a connection of its own."""

    def __init__(
        self,
        connection: apsw.Connection,
        there: Chain,
        wanted: Chain,
        lower: Lower,
        wrote: Callable[[int], None],
    ) -> None:
        """`wrote` is called after each row with its size, where others may have a turn."""
        self._connection = connection
        self._there = there
        self._wanted = wanted
        self._lower = lower
        self._top = there.top
        self._now = time.time_ns()
        self._wrote = wrote
        self._placed: dict[int, int] = {}
        """Files that got a name, by the number they have in `wanted`: their number in the branch."""
        self._in_top: set[int] = set()
        """Numbers that the new layer has a row of."""
        self._origins: dict[bytes, int] | None = None

    def put_back(self, path: bytes) -> None:
        """Put back one path, relative to the home. Raises DatabaseError, and OSError for what cannot be
        read on the host."""
        *above, name = path.split(b"/")
        wanted, there = self._seen(self._wanted, path), self._seen(self._there, path)
        shows_below = self._shows_below(above, name)
        if wanted == there == Seen() and not shows_below:
            raise DatabaseError(f"{os.fsdecode(path)}: neither of the two has that")
        directory = self._directory(above, wanted == Seen())
        if directory is None:
            return
        before = self._there.name(directory, name)
        links = self._is_directory(self._there, there)
        mine = self._row(self._there, directory)
        assert mine is not None
        natural = None if mine.origin is None else joined(mine.origin, name)
        if shows_below or (wanted.host is not None and natural == wanted.host):
            self._show_again(directory, name, there)
        else:
            self._place(directory, name, wanted, there)
        if self._there.name(directory, name) != before:
            gained = self._is_directory(self._there, self._at(self._there, directory, name)) - links
            mine = mine._replace(nlink=mine.nlink + gained, mtime=self._now, ctime=self._now)
            self._put_row(directory, mine)

    def _shows_below(self, above: Sequence[bytes], name: bytes) -> bool:
        """Whether the branch has a name in a directory where the other point shows what is below it, whatever
        that is: it can be a seed."""
        path = b"/".join(above)
        theirs, mine = self._seen(self._wanted, path).ino, self._seen(self._there, path).ino
        rows = self._row(self._wanted, theirs), self._row(self._there, mine)
        if theirs is None or mine is None or None in rows:
            return False
        origins = {row.origin for row in rows if row is not None}
        if len(origins) != 1 or origins == {None}:
            return False
        return self._wanted.name(theirs, name) is None and self._there.name(mine, name) is not None

    # --- looking -------------------------------------------------------------------------------

    def _row(self, chain: Chain, ino: int | None) -> Inode | None:
        """The newest row of an inode that is not gone."""
        row = None if ino is None else chain.inode(ino)
        return None if row is None or row.nlink == 0 else row

    def _at(self, chain: Chain, directory: int, name: bytes) -> Seen:
        """What a name leads to in a directory of the database."""
        found = chain.name(directory, name)
        if found is not None:
            return Seen(found[0]) if self._row(chain, found[0]) is not None else Seen()
        row = self._row(chain, directory)
        return Seen() if row is None or row.origin is None else self._on_host(joined(row.origin, name))

    def _on_host(self, path: bytes) -> Seen:
        return Seen(host=path) if self._lower.stat(path) is not None else Seen()

    def _seen(self, chain: Chain, path: bytes) -> Seen:
        seen = Seen(ROOT)
        for name in path.split(b"/") if path else ():
            seen = self._below(chain, seen, name)
        return seen

    def _below(self, chain: Chain, seen: Seen, name: bytes) -> Seen:
        if not self._is_directory(chain, seen):
            return Seen()
        if seen.ino is not None:
            return self._at(chain, seen.ino, name)
        return Seen() if seen.host is None else self._on_host(joined(seen.host, name))

    def _is_directory(self, chain: Chain, seen: Seen) -> bool:
        if seen.ino is not None:
            row = self._row(chain, seen.ino)
            return row is not None and stat.S_ISDIR(row.mode)
        found = None if seen.host is None else self._lower.stat(seen.host)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def _directory(self, above: Sequence[bytes], only_removed: bool) -> int | None:
        """The number of a directory of the branch, which is made where there is none; None where that is
        not needed because something is `only_removed` from it."""
        ino = ROOT
        for depth, name in enumerate(above, 1):
            there = self._at(self._there, ino, name)
            path = b"/".join(above[:depth])
            if there == Seen():
                if only_removed:
                    return None
                there = Seen(self._made(ino, name, self._seen(self._wanted, path)))
            elif not self._is_directory(self._there, there):
                raise DatabaseError(f"{os.fsdecode(path)} is no directory any more; restore that one")
            elif there.host is not None:
                there = Seen(self._held(ino, name, there.host))
            assert there.ino is not None
            ino = there.ino
        return ino

    # --- directories above ---------------------------------------------------------------------

    def _held(self, directory: int, name: bytes, host: bytes) -> int:
        """The database has the host's directory from now on, and still shows what is in it."""
        ino = self._number()
        self._put_row(ino, self._row_of_host(ino, host)._replace(origin=host, nlink=2))
        self._put_xattrs(ino, self._lower.xattrs(host))
        self._name(directory, name, ino)
        return ino

    def _made(self, directory: int, name: bytes, wanted: Seen) -> int:
        """A directory with nothing in it, as the other point has it."""
        ino = self._number()
        row = self._row(self._wanted, wanted.ino)
        if row is None:
            assert wanted.host is not None
            row = self._row_of_host(ino, wanted.host)
        self._put_row(ino, row._replace(origin=None, nlink=2))
        self._name(directory, name, ino)
        above = self._row(self._there, directory)
        assert above is not None
        self._put_row(directory, above._replace(nlink=above.nlink + 1, mtime=self._now, ctime=self._now))
        return ino

    # --- placing -------------------------------------------------------------------------------

    def _show_again(self, directory: int, name: bytes, there: Seen) -> None:
        """Nothing stands in the way of the host's any more."""
        if there.ino is not None:
            self._drop(there.ino)
        if self._there.name(directory, name) is not None:
            self._name(directory, name, NO_ROW)

    def _place(self, directory: int, name: bytes, wanted: Seen, there: Seen) -> None:
        """Make a name lead to what the other point has."""
        if wanted.ino is not None and wanted.ino == there.ino:
            row = self._wanted.inode(wanted.ino)
            if row is not None and stat.S_ISDIR(row.mode):
                self._go_through(wanted.ino, row)
                return
            if self._is_same(wanted.ino):
                return
        if there.ino is not None:
            self._drop(there.ino)
        self._name(directory, name, None)
        if wanted.ino is not None:
            self._name(directory, name, self._copied(wanted.ino))
        elif wanted.host is not None:
            self._name(directory, name, self._copied_from_host(wanted.host))

    def _is_same(self, ino: int) -> bool:
        """Whether both have the same state of a file: any change of it makes a row."""
        if ino in self._placed:
            return False
        wanted, there = self._wanted.inode(ino), self._there.inode(ino)
        return wanted is not None and there is not None and wanted.layer == there.layer

    def _go_through(self, ino: int, row: Inode) -> None:
        """Put back what is in a directory that both have, or that the branch has no more."""
        there = self._there.inode(ino)
        if there is None or there.layer != row.layer:
            self._put_row(ino, row)
            self._put_xattrs(ino, self._wanted.xattrs(ino), self._there.xattrs(ino))
        known, mine = dict(self._wanted.names(ino)), dict(self._there.names(ino))
        for name in sorted(known.keys() | mine.keys()):
            if name in known:
                wanted, present = self._at(self._wanted, ino, name), self._at(self._there, ino, name)
                if wanted != Seen() or present != Seen() or name not in mine:
                    self._place(ino, name, wanted, present)
            else:
                self._drop(mine[name])
                self._name(ino, name, NO_ROW)

    def _copied(self, ino: int, *, whole: bool = False) -> int:
        """Something of the other point, with all that is in it; its number in the branch. `whole`: what it
        shows of the host is copied, too."""
        if ino in self._placed:
            return self._linked(ino)
        row = self._wanted.inode(ino)
        assert row is not None
        before = self._there.inode(ino)
        free = before is None or before.nlink == 0
        if stat.S_ISDIR(row.mode):
            if free and not whole and not (row.origin is not None and self._is_shown(row.origin)):
                self._go_through(ino, row)
                return ino
            return self._copied_whole(ino, row)
        # Where the host shows through, no older chunk may lie in between.
        number = ino if free and (before is None or row.host_clip == 0) else self._number()
        self._placed[ino] = number
        self._put_row(number, row._replace(nlink=1, clip=0))
        self._put_xattrs(number, self._wanted.xattrs(ino), self._there.xattrs(number))
        self._put_chunks(number, ino, row)
        return number

    def _linked(self, ino: int) -> int:
        number = self._placed[ino]
        row = self._there.inode(number)
        assert row is not None
        self._put_row(number, row._replace(nlink=row.nlink + 1))
        return number

    def _copied_whole(self, ino: int, row: Inode) -> int:
        number = self._number()
        self._put_row(number, row._replace(origin=None))
        self._put_xattrs(number, self._wanted.xattrs(ino))
        known, links = dict(self._wanted.names(ino)), 2
        for name, below in known.items():
            there = self._row(self._wanted, below)
            if below is not None and there is not None:
                self._name(number, name, self._copied(below, whole=True))
                links += stat.S_ISDIR(there.mode)
        if row.origin is not None:
            links += self._fill_from_host(number, row.origin, known)
        self._put_row(number, row._replace(origin=None, nlink=links))
        return number

    def _is_shown(self, host: bytes) -> bool:
        """Whether the branch shows the host's directory somewhere."""
        parts = host.split(b"/") if host else []
        for depth in range(len(parts), -1, -1):
            seen = Seen(self._of_host().get(b"/".join(parts[:depth])))
            for name in parts[depth:]:
                seen = self._below(self._there, seen, name)
            row = self._row(self._there, seen.ino)
            if seen.host == host or (row is not None and row.origin == host):
                return True
        return False

    def _of_host(self) -> dict[bytes, int]:
        """The directories that the branch has of the host, by their paths there."""
        if self._origins is None:
            rows = self._connection.execute(
                "SELECT DISTINCT origin, ino FROM inode WHERE origin IS NOT NULL AND mode & ? = ?",
                (0o170000, stat.S_IFDIR),
            )
            self._origins = {}
            for path, ino in cast("list[tuple[bytes, int]]", rows.fetchall()):
                shown = self._there.origins.shown(path)
                if shown is not None and self._row(self._there, ino) is not None:
                    self._origins[shown] = ino
        return self._origins

    def _drop(self, ino: int | None) -> None:
        """A name of it is gone from the branch; of a directory all that is in it."""
        row = self._row(self._there, ino)
        if row is None or ino is None:
            return
        if row.layer != self._top:
            row = row._replace(clip=row.size)
        nlink = 0 if stat.S_ISDIR(row.mode) else row.nlink - 1
        self._put_row(ino, row._replace(nlink=nlink, ctime=self._now))
        if stat.S_ISDIR(row.mode):
            for _, below in list(self._there.names(ino)):
                self._drop(below)

    # --- from the host -------------------------------------------------------------------------

    def _row_of_host(self, ino: int, path: bytes) -> Inode:
        found = self._lower.stat(path)
        if found is None:
            raise DatabaseError(f"{os.fsdecode(path)} was just removed on the host")
        times = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        return Inode(
            ino, self._top, found.st_mode, 1, 0, found.st_size, 0, 0, 0, *times, None, None, None, None
        )

    def _copied_from_host(self, path: bytes) -> int:
        """What the host has at a path; of a large file what the database has is where the rest is."""
        ino = self._number()
        row = self._row_of_host(ino, path)
        if stat.S_ISDIR(row.mode):
            self._put_row(ino, row)
            self._put_row(ino, row._replace(nlink=2 + self._fill_from_host(ino, path, {})))
        elif stat.S_ISLNK(row.mode):
            self._put_row(ino, row._replace(target=self._lower.readlink(path)))
        elif stat.S_ISREG(row.mode):
            large = row.size > WHOLE
            row = row._replace(origin=path, origin_size=row.size, origin_mtime=row.mtime)
            self._put_row(ino, row._replace(host_clip=row.size if large else 0))
            if not large:
                self._put_contents(ino, path)
        else:
            raise DatabaseError(f"{os.fsdecode(path)} is no file, directory or link on the host")
        self._put_xattrs(ino, self._lower.xattrs(path))
        return ino

    def _fill_from_host(self, ino: int, path: bytes, known: dict[bytes, int | None]) -> int:
        """Copy what a directory of the host shows beside what is known; how many directories there are."""
        entries = {name: found for name, found in self._lower.entries(path).items() if name not in known}
        for name in sorted(entries):
            self._name(ino, name, self._copied_from_host(joined(path, name)))
        return sum(stat.S_ISDIR(found.st_mode) for found in entries.values())

    def _put_contents(self, ino: int, path: bytes) -> None:
        with open(self._lower.open(path), "rb") as file:
            rows = [
                (ino, idx, self._top, data) for idx, data in enumerate(iter(lambda: file.read(CHUNK), b""))
            ]
        self._connection.executemany("INSERT INTO chunk(ino, idx, layer, data) VALUES(?, ?, ?, ?)", rows)

    # --- rows ----------------------------------------------------------------------------------

    def _number(self) -> int:
        taken = "UPDATE meta SET value = value + 1 WHERE key = 'next_ino' RETURNING value - 1"
        number: int = self._connection.execute(taken).get
        return number

    def _name(self, directory: int, name: bytes, ino: int | None) -> None:
        if directory not in self._in_top:
            row = self._there.inode(directory)
            assert row is not None
            self._put_row(directory, row)
        self._connection.execute(
            "INSERT OR REPLACE INTO dentry VALUES(?, ?, ?, ?)", (directory, name, self._top, ino)
        )
        self._wrote(len(name))

    def _put_row(self, ino: int, row: Inode) -> None:
        self._in_top.add(ino)
        places = ", ".join("?" * len(row))
        kept = row._replace(ino=ino, layer=self._top, origin=self._there.origins.kept(row.origin))
        self._connection.execute(f"INSERT OR REPLACE INTO inode VALUES({places})", kept)
        self._wrote(0)

    def _put_xattrs(
        self, ino: int, wanted: dict[bytes, bytes], there: dict[bytes, bytes] | None = None
    ) -> None:
        rows = [(ino, name, self._top, wanted.get(name)) for name in wanted.keys() | (there or {}).keys()]
        self._connection.executemany("INSERT OR REPLACE INTO xattr VALUES(?, ?, ?, ?)", rows)

    def _put_chunks(self, number: int, ino: int, row: Inode) -> None:
        """The contents that the other point's layers have of a file."""
        shown = row.clip if row.layer == self._wanted.top else row.size
        self._connection.execute("DELETE FROM chunk WHERE ino = ? AND layer = ?", (number, self._top))
        for idx in self._wanted.chunks(ino):
            found = self._wanted.chunk(ino, idx)
            if found is None:
                continue
            clip, data = found
            data = data or b""
            kept = data if clip < 0 else data[: max(0, min(clip, shown) - idx * CHUNK)]
            # A hole is told where the host would show.
            if kept or idx * CHUNK < row.host_clip:
                self._connection.execute(
                    "INSERT INTO chunk(ino, idx, layer, data) VALUES(?, ?, ?, ?)",
                    (number, idx, self._top, kept or None),
                )
                self._wrote(len(kept))
