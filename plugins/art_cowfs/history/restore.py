"""Putting a part of a branch back to what another point has, by rows in a new layer.

A directory that both have is gone through name by name, and only what differs gets rows. What the other
point only shows of the host is shown again, not copied, where the branch can show it: what of it the branch
shows elsewhere (`art_cowfs.history.shown_paths`) is copied.

A number comes back only as a whole: with each name, attribute and part of it in the new layer, so that
nothing shows of what older layers had under it when it was gone.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence

import apsw

from art_cowfs.db.schema import CHUNK, HOST_NUMBERS, DatabaseError
from art_cowfs.history.shown_paths import NOTHING, ChainView, Seen, ShownPaths
from art_cowfs.layers.chain import Chain, Inode
from art_cowfs.lower.lower import Lower, joined
from art_cowfs.tree.contents import WHOLE
from art_cowfs.tree.nodes import derived
from art_fusefs.backend import ROOT

NO_ROW = 0
"""The number in a name that stands for no row at all: what the host has shows again."""


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
        self._there = ChainView(there, lower)
        self._wanted = ChainView(wanted, lower)
        self._shown = ShownPaths(self._there, lower, (self._there, self._wanted))
        self._lower = lower
        self._top = there.top
        self._now = time.time_ns()
        self._wrote = wrote
        self._placed: dict[int, int] = {}
        """Files that got a name, by the number they have in `wanted`: their number in the branch."""
        self._from_host: dict[tuple[int, int], int] = {}
        """The same for files of several links, by their device and number on the host."""
        self._lost: list[bytes] = []
        """Files of the host that were dropped from one of their names."""
        self._in_top: set[int] = set()
        """Numbers that the new layer has a row of."""

    def put_back(self, path: bytes) -> None:
        """Put back one path, relative to the home. Raises DatabaseError, and OSError for what cannot be
        read on the host."""
        *above, name = path.split(b"/")
        wanted, there = self._wanted.seen(path), self._there.seen(path)
        shows_below = self._shows_below(above, name)
        if wanted == there == NOTHING and not shows_below:
            raise DatabaseError(f"{os.fsdecode(path)}: neither of the two has that")
        directory = self._directory(above, wanted == NOTHING)
        if directory is None:
            return
        before = self._there.chain.name(directory, name)
        links = self._there.is_directory(there)
        mine = self._there.row(directory)
        assert mine is not None
        natural = None if mine.origin is None else joined(mine.origin, name)
        shows = shows_below or (wanted.host is not None and natural == wanted.host)
        self._place(directory, name, wanted, there, shows=shows)
        if self._there.chain.name(directory, name) != before:
            gained = self._there.is_directory(self._there.at(directory, name)) - links
            mine = mine._replace(nlink=mine.nlink + gained, mtime=self._now, ctime=self._now)
            self._put_row(directory, mine)
        self._count_lost()

    def _shows_below(self, above: Sequence[bytes], name: bytes) -> bool:
        """Whether the branch has a name in a directory where the other point shows what is below it, whatever
        that is: it can be a seed."""
        path = b"/".join(above)
        theirs, mine = self._wanted.seen(path).ino, self._there.seen(path).ino
        rows = self._wanted.row(theirs), self._there.row(mine)
        if theirs is None or mine is None or None in rows:
            return False
        origins = {row.origin for row in rows if row is not None}
        if len(origins) != 1 or origins == {None}:
            return False
        return (
            self._wanted.chain.name(theirs, name) is None and self._there.chain.name(mine, name) is not None
        )

    # --- directories above ---------------------------------------------------------------------

    def _directory(self, above: Sequence[bytes], only_removed: bool) -> int | None:
        """The number of a directory of the branch, which is made where there is none; None where that is
        not needed because something is `only_removed` from it."""
        ino = ROOT
        for depth, name in enumerate(above, 1):
            there = self._there.at(ino, name)
            path = b"/".join(above[:depth])
            if there == NOTHING:
                if only_removed:
                    return None
                there = Seen(self._made(ino, name, self._wanted.seen(path)))
            elif not self._there.is_directory(there):
                raise DatabaseError(f"{os.fsdecode(path)} is no directory any more; restore that one")
            elif there.host is not None:
                there = Seen(self._held(ino, name, there.host))
            assert there.ino is not None
            ino = there.ino
        return ino

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
        row = self._wanted.row(wanted.ino)
        if row is None:
            assert wanted.host is not None
            row = self._row_of_host(ino, wanted.host)
        self._put_row(ino, row._replace(origin=None, nlink=2))
        self._name(directory, name, ino)
        above = self._there.row(directory)
        assert above is not None
        self._put_row(directory, above._replace(nlink=above.nlink + 1, mtime=self._now, ctime=self._now))
        return ino

    # --- placing -------------------------------------------------------------------------------

    def _place(self, directory: int, name: bytes, wanted: Seen, there: Seen, *, shows: bool) -> None:
        """Make a name lead to what the other point has. `shows` says that it has nothing of its own there
        and shows what is below, as the branch's directory does."""
        if self._wanted.is_directory(wanted) and self._there.is_directory(there):
            if self._gone_through(directory, name, wanted, there):
                return
        elif wanted == there != NOTHING and (wanted.ino is None or self._is_same(wanted.ino)):
            return
        self._drop(there)
        if self._wanted.is_directory(wanted):
            self._name(directory, name, None)  # What is looked for in the branch is elsewhere.
        if shows and self._show(directory, name, wanted):
            return
        ino = None
        if wanted.ino is not None:
            ino = self._copied(wanted.ino)
        elif wanted.host is not None:
            ino = self._copied_from_host(wanted.host)
        self._name(directory, name, ino)

    def _gone_through(self, directory: int, name: bytes, wanted: Seen, there: Seen) -> bool:
        """Put back what is in a directory that both have, so that what is the same stays; False where one of
        them has nothing of its own in it, or where the branch shows elsewhere what is to be shown there."""
        row = self._wanted.row(wanted.ino)
        origin = wanted.host if row is None else row.origin
        mine = self._there.row(there.ino)
        if mine is None or row is None:
            shown = there.host if mine is None else origin
            if shown is None or not self._shown.apart(shown):
                return wanted == there
        if mine is not None and origin not in (None, mine.origin) and self._shown.shows(origin):
            return False
        number = there.ino
        if number is None:
            assert there.host is not None
            if origin not in (None, there.host) and self._shown.shows(origin):
                return False
            number = self._held(directory, name, there.host)
        if row is None:
            row = self._row_of_host(number, wanted.host or b"")._replace(origin=wanted.host, nlink=2)
        self._go_through(number, wanted, row)
        return True

    def _is_same(self, ino: int) -> bool:
        """Whether both have the same state of a file: any change of it makes a row."""
        if ino in self._placed:
            return False
        wanted, there = self._wanted.chain.inode(ino), self._there.chain.inode(ino)
        return wanted is not None and there is not None and wanted.layer == there.layer

    def _show(self, directory: int, name: bytes, wanted: Seen) -> bool:
        """See that nothing stands in the way of the host's any more; False where it cannot show, because the
        branch shows it elsewhere or has it by another name."""
        if wanted.ino is not None:
            return False
        if wanted.host is not None:
            if self._there.is_directory(wanted):
                if self._shown.shows(wanted.host) or self._shown.apart(wanted.host):
                    return False
            elif self._there.was_linked(wanted.host) or self._link(wanted.host) in self._from_host:
                return False
        if self._there.chain.name(directory, name) is not None:
            self._name(directory, name, NO_ROW)
        return True

    def _go_through(self, number: int, wanted: Seen, row: Inode) -> None:
        """Put what the other point has in a directory, `row`, into one that the branch has, or that comes
        back."""
        there, mine = self._there.row(number), self._there.names(number)
        known = {} if wanted.ino is None else self._wanted.names(wanted.ino)
        apart: set[bytes] = set()
        for origin in {row.origin, None if there is None else there.origin} - {None}:
            apart |= self._shown.apart(origin or b"")
        found = (
            {} if there is None else {name: self._there.at(number, name) for name in {*known, *mine, *apart}}
        )
        if there is not None and there.origin not in (None, row.origin):
            for name in self._counted(there.origin or b"") - found.keys():
                self._drop(self._there.at(number, name))
        if there is None or number != wanted.ino or there.layer != row.layer:
            self._put_row(number, row)
            own = self._lower.xattrs(wanted.host or b"") if wanted.ino is None else None
            attributes = self._wanted.chain.xattrs(wanted.ino or 0) if own is None else own
            self._put_xattrs(number, attributes, self._there.chain.xattrs(number))
        for name in sorted({*known, *mine, *apart}):
            theirs, present = self._wanted.below(wanted, name), found.get(name, NOTHING)
            differ = (name in known) != (name in mine) or (there is None and name in mine)
            if theirs != NOTHING or present != NOTHING or differ:
                self._place(number, name, theirs, present, shows=name not in known)
                if theirs.ino is not None and self._there.at(number, name) == NOTHING:
                    self._name(number, name, theirs.ino)  # It had the host's name until now.

    def _copied(self, ino: int) -> int:
        """Something of the other point, with all that is in it; its number in the branch."""
        if ino in self._placed:
            return self._linked(self._placed[ino])
        row = self._wanted.row(ino)
        assert row is not None
        before = self._there.chain.inode(ino)
        free = before is None or before.nlink == 0
        if stat.S_ISDIR(row.mode):
            if free and not (row.origin is not None and self._shown.shows(row.origin)):
                self._go_through(ino, Seen(ino), row)
                return ino
            return self._copied_whole(ino, row)
        # Where the host shows through, no older chunk may lie in between; and a number of the host's that the
        # branch has not met would be taken for all names of the host's file.
        own = ino < HOST_NUMBERS if before is None else row.host_clip == 0
        number = ino if free and own else self._number()
        self._placed[ino] = number
        self._put_row(number, row._replace(nlink=1, clip=0))
        self._put_xattrs(number, self._wanted.chain.xattrs(ino), self._there.chain.xattrs(number))
        self._put_chunks(number, ino, row)
        return number

    def _linked(self, number: int) -> int:
        row = self._there.chain.inode(number)
        assert row is not None
        self._put_row(number, row._replace(nlink=row.nlink + 1))
        return number

    def _copied_whole(self, ino: int, row: Inode) -> int:
        """A directory under a new number, and what it shows of the host under new ones, too."""
        number = self._number()
        self._put_row(number, row._replace(origin=None))
        self._put_xattrs(number, self._wanted.chain.xattrs(ino))
        names = set(self._wanted.names(ino))
        if row.origin is not None:
            names |= self._lower.entries(row.origin).keys()
        links = 2
        for name in sorted(names):
            wanted = self._wanted.at(ino, name)
            if wanted != NOTHING:
                links += self._wanted.is_directory(wanted)
                self._place(number, name, wanted, NOTHING, shows=False)
        self._put_row(number, row._replace(origin=None, nlink=links))
        return number

    def _drop(self, seen: Seen) -> None:
        """A name of it is gone from the branch; of a directory all that is in it."""
        row = self._there.row(seen.ino)
        if row is None or seen.ino is None:
            if seen.host is not None:
                self._drop_of_host(seen, seen.host)
            return
        if row.layer != self._top:
            row = row._replace(clip=row.size)
        if not stat.S_ISDIR(row.mode):
            self._put_row(seen.ino, row._replace(nlink=row.nlink - 1, ctime=self._now))
            return
        names = set(self._there.names(seen.ino))
        if row.origin is not None:
            names |= self._counted(row.origin)
        below = [self._there.at(seen.ino, name) for name in names]
        self._put_row(seen.ino, row._replace(nlink=0, ctime=self._now))
        self._connection.execute("DELETE FROM dentry WHERE parent = ? AND layer = ?", (seen.ino, self._top))
        for one in below:
            self._drop(one)

    def _drop_of_host(self, seen: Seen, host: bytes) -> None:
        if self._there.is_directory(seen):
            for name in self._counted(host):
                self._drop(self._there.below(seen, name))
        else:
            self._lost.append(host)

    def _count_lost(self) -> None:
        """What was dropped of the host's, and does not show again, are links that its files have no more."""
        lost = [path for path in dict.fromkeys(self._lost) if not self._shown.shows(path)]
        self._lost.clear()
        for path in lost:
            seen = self._there.on_host(path)
            if seen.ino is not None:
                self._drop(seen)
            elif (found := self._several(path)) is not None:
                self._put_shown(path, found, found.st_nlink - 1)

    # --- from the host -------------------------------------------------------------------------

    def _several(self, path: bytes) -> os.stat_result | None:
        """A file that the host has at the path and at others."""
        found = self._lower.stat(path)
        several = found is not None and found.st_nlink > 1 and stat.S_ISREG(found.st_mode)
        return found if several else None

    def _counted(self, host: bytes) -> set[bytes]:
        """The names in a directory of the host that cannot go without a look: a file of several links may be
        at or below them, which has one link less then, or what is shown elsewhere."""
        found = self._lower.entries(host)
        several = {
            name for name, status in found.items() if stat.S_ISDIR(status.st_mode) or status.st_nlink > 1
        }
        return several | self._shown.apart(host)

    def _put_shown(self, path: bytes, found: os.stat_result, links: int) -> None:
        """A file of the host has so many links in the branch, and not as many as there; its contents still
        show. It has one number from now on at each name that shows the host's."""
        taken = self._there.chain.has_host_number(derived(found))
        ino = self._number() if taken else derived(found)
        row = self._row_of_host(ino, path)
        size, mtime = row.size, row.mtime
        row = row._replace(origin=path, origin_size=size, origin_mtime=mtime, clip=size, host_clip=size)
        self._put_row(ino, row._replace(nlink=links))
        self._put_xattrs(ino, self._lower.xattrs(path))
        place = found.st_dev, found.st_ino
        self._connection.execute("INSERT OR REPLACE INTO origin VALUES(?, ?, ?, ?)", (*place, self._top, ino))
        self._shown.linked(place)

    def _row_of_host(self, ino: int, path: bytes) -> Inode:
        found = self._lower.stat(path)
        if found is None:
            raise DatabaseError(f"{os.fsdecode(path)} was just removed on the host")
        times = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        return Inode(
            ino, self._top, found.st_mode, 1, 0, found.st_size, 0, 0, 0, *times, None, None, None, None
        )

    def _link(self, path: bytes) -> tuple[int, int] | None:
        """Device and number of a host file that has several links."""
        found = self._lower.stat(path)
        return None if found is None or found.st_nlink == 1 else (found.st_dev, found.st_ino)

    def _copied_from_host(self, path: bytes) -> int:
        """What the host has at a path: a directory shows what it can, of a large file what the database has
        is where the rest is."""
        link = self._link(path)
        if link is not None and link in self._from_host:
            return self._linked(self._from_host[link])
        ino = self._number()
        row = self._row_of_host(ino, path)
        if stat.S_ISDIR(row.mode):
            shown = self._shown.shows(path)
            names: Iterable[bytes] = self._lower.entries(path) if shown else self._shown.apart(path)
            self._put_row(ino, row._replace(origin=None if shown else path, nlink=2))
            self._fill(ino, path, names)
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
        if link is not None and not stat.S_ISDIR(row.mode):
            self._from_host[link] = ino
        return ino

    def _fill(self, ino: int, path: bytes, names: Iterable[bytes]) -> None:
        """Put what the other point shows of the host at some names of a directory there into a new one."""
        links = 2
        for name in sorted(names):
            wanted = self._wanted.on_host(joined(path, name))
            links += self._wanted.is_directory(wanted)
            if wanted != NOTHING:
                self._place(ino, name, wanted, NOTHING, shows=False)
        row = self._there.row(ino)
        assert row is not None
        self._put_row(ino, row._replace(nlink=links))

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
            row = self._there.row(directory)
            assert row is not None
            self._put_row(directory, row)
        self._connection.execute(
            "INSERT OR REPLACE INTO dentry VALUES(?, ?, ?, ?)", (directory, name, self._top, ino)
        )
        self._wrote(len(name))

    def _put_row(self, ino: int, row: Inode) -> None:
        self._in_top.add(ino)
        if stat.S_ISDIR(row.mode):
            self._shown.note(row.origin, ino, gone=row.nlink == 0)
        places = ", ".join("?" * len(row))
        kept = row._replace(ino=ino, layer=self._top, origin=self._there.chain.origins.kept(row.origin))
        self._connection.execute(f"INSERT OR REPLACE INTO inode VALUES({places})", kept)
        self._wrote(0)

    def _put_xattrs(
        self, ino: int, wanted: dict[bytes, bytes], there: dict[bytes, bytes] | None = None
    ) -> None:
        rows = [(ino, name, self._top, wanted.get(name)) for name in wanted.keys() | (there or {}).keys()]
        self._connection.executemany("INSERT OR REPLACE INTO xattr VALUES(?, ?, ?, ?)", rows)

    def _put_chunks(self, number: int, ino: int, row: Inode) -> None:
        """The contents that the other point's layers have of a file."""
        shown = row.clip if row.layer == self._wanted.chain.top else row.size
        self._connection.execute("DELETE FROM chunk WHERE ino = ? AND layer = ?", (number, self._top))
        for idx in self._wanted.chain.chunks(ino):
            found = self._wanted.chain.chunk(ino, idx)
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
