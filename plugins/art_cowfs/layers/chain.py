"""Reading a branch: the newest row of each thing along its chain of layers."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import apsw

from art_cowfs.db.lookup import chain_of, layers_from
from art_cowfs.db.origins import Origins
from art_cowfs.db.schema import CHUNK, HOST_NUMBERS

_PAGE = 1000


class Inode(NamedTuple):
    """A row of `inode`."""

    ino: int
    layer: int
    mode: int
    nlink: int
    rdev: int
    size: int
    holes: int
    clip: int
    host_clip: int
    atime: int
    mtime: int
    ctime: int
    target: bytes | None
    origin: bytes | None
    origin_size: int | None
    origin_mtime: int | None


class Chain:
    """The layers of one branch, on one connection."""

    def __init__(
        self, connection: apsw.Connection, branch: str, frozen: int = 0, *, workspace: bytes = b""
    ) -> None:
        """`frozen` is a layer to read in the place of the branch's top; `workspace` the one whose host
        directory shows through."""
        self.connection = connection
        self.origins = Origins(workspace)
        self._branch = branch
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS chain(layer INTEGER PRIMARY KEY)")
        self._take(layers_from(connection, frozen) if frozen else chain_of(connection, branch))

    def renew(self) -> None:
        """The branch has a new top."""
        self._take(chain_of(self.connection, self._branch))

    def _take(self, layers: list[int]) -> None:
        self.layers = layers
        self.top = self.layers[0]
        self.single = len(self.layers) == 1
        # With one layer the key is found directly; the plus keeps SQLite from one search per layer.
        chosen = f"layer = {self.top}" if self.single else "+layer IN (SELECT layer FROM temp.chain)"
        self._newest = newest = f"AND {chosen} ORDER BY layer DESC LIMIT 1"
        self._inode = f"SELECT * FROM inode WHERE ino = ? {newest}"
        self._name = f"SELECT ino FROM dentry WHERE parent = ? AND name = ? {newest}"
        # In one statement: another branch may merge layers of this chain meanwhile.
        clip = f"SELECT min(clip) FROM inode i WHERE i.ino = c.ino AND i.layer > c.layer AND {chosen}"
        self._chunk = f"SELECT layer, data, ({clip}) FROM chunk c WHERE ino = ? AND idx = ? {newest}"
        self.chosen = chosen
        """The condition that a row is of the chain."""
        self.connection.execute("DELETE FROM temp.chain")
        self.connection.executemany("INSERT INTO temp.chain VALUES(?)", [(layer,) for layer in self.layers])

    def inode(self, ino: int) -> Inode | None:
        """The newest row of an inode; also of one that is gone (nlink 0)."""
        row = self._one(self._inode, (ino,))
        if not row:
            return None
        found = Inode(*row)
        return found if found.origin is None else found._replace(origin=self.origins.shown(found.origin))

    def name(self, parent: int, name: bytes) -> tuple[int | None] | None:
        """What a name leads to: (number,), (None,) for a whiteout, None when no layer has it."""
        row: tuple[int | None] | None = self._one(self._name, (parent, name))
        return None if row == (0,) else row

    def names(self, parent: int, limit: int = -1) -> Iterator[tuple[bytes, int | None]]:
        """All names of a directory that any layer has, whiteouts too."""
        return self.connection.execute(
            "SELECT name, ino FROM (SELECT name, ino, max(layer) FROM dentry "
            f"WHERE parent = ? AND {self.chosen} GROUP BY name) WHERE ino IS NOT 0 LIMIT ?",
            (parent, limit),
        )

    def names_in_order(self, parent: int) -> Iterator[tuple[bytes, int | None]]:
        """The same in byte order."""
        for name, ino, _ in self._in_pages(
            "SELECT name, ino, max(layer) FROM dentry "
            f"WHERE parent = ? AND name > ? AND {self.chosen} GROUP BY name ORDER BY name LIMIT ?",
            parent,
        ):
            if ino != 0:
                yield name, ino

    def gone(self, parent: int) -> Iterator[tuple[bytes, int | None, bytes | None]]:
        """The whiteouts of a directory, and its directories that show one of the host, with the path of
        that; names in order."""
        origin = (
            f"SELECT CASE WHEN (mode & {stat.S_IFDIR | stat.S_IFREG}) = {stat.S_IFDIR} THEN origin END "
            f"FROM inode WHERE inode.ino = d.ino {self._newest}"
        )
        for name, ino, shown in self._in_pages(
            f"SELECT name, ino, ({origin}) FROM (SELECT name, ino, max(layer) FROM dentry "
            f"WHERE parent = ? AND name > ? AND {self.chosen} GROUP BY name ORDER BY name LIMIT ?) d "
            "ORDER BY name",
            parent,
        ):
            if ino is None or shown is not None:
                yield name, ino, shown

    def _in_pages(self, statement: str, parent: int) -> Iterator[Any]:
        """The rows of a statement that takes a directory, the last name that is known, and how many. None
        stays open between two pages."""
        last: Any = 0  # A number is less than any name (sqlite.org/datatype3.html), also than an empty one.
        while rows := self.connection.execute(statement, (parent, last, _PAGE)).fetchall():
            yield from rows
            last = rows[-1][0]

    def chunk(self, ino: int, idx: int) -> tuple[int, bytes | None] | None:
        """The newest chunk at a place, with the size at which the layers above cut the file (-1 for
        the top's own); None when no layer has one. Bytes None are a hole."""
        row = self._one(self._chunk, (ino, idx))
        if row is None:
            return None
        layer, data, clip = row
        if layer == self.top:
            return -1, data
        return (sys.maxsize if clip is None else clip), data

    def chunks(self, ino: int) -> list[int]:
        """The places at which any layer has a chunk, in order."""
        rows = self.connection.execute(
            f"SELECT DISTINCT idx FROM chunk WHERE ino = ? AND {self.chosen} ORDER BY idx", (ino,)
        )
        return [row[0] for row in rows]

    def lengths(self, ino: int, first: int, clip: int) -> dict[int, int]:
        """How many bytes of each chunk show, from a place on; lower ones are cut at `clip`, too."""
        above = f"SELECT min(i.clip) FROM inode i WHERE i.ino = c.ino AND i.layer > c.layer AND {self.chosen}"
        rows = self.connection.execute(
            f"SELECT idx, layer, length, ({above}) FROM (SELECT ino, idx, max(layer) AS layer, "
            f"length(data) AS length FROM chunk WHERE ino = ? AND idx >= ? AND {self.chosen} GROUP BY idx) c",
            (ino, first),
        )
        found = {}
        for idx, layer, length, cut in rows:
            shown = length or 0
            if layer != self.top:
                shown = min(shown, (clip if cut is None else min(cut, clip)) - idx * CHUNK)
            found[idx] = max(0, shown)
        return found

    def xattrs(self, ino: int) -> dict[bytes, bytes]:
        rows = self.connection.execute(
            "SELECT name, value FROM (SELECT name, value, max(layer) FROM xattr "
            f"WHERE ino = ? AND {self.chosen} GROUP BY name)",
            (ino,),
        )
        return {name: value for name, value in rows if value is not None}

    def has_xattrs(self) -> bool:
        """Whether the database has any extended attribute of the user, but for those of the top directory."""
        return bool(
            self._one(
                "SELECT 1 FROM xattr WHERE ino > 1 AND name > ? AND name < ? LIMIT 1", (b"user.", b"user/")
            )
        )

    def has_marks(self, first: bytes) -> bool:
        """Whether the database has any attribute whose name begins so."""
        return bool(
            self._one("SELECT 1 FROM xattr WHERE substr(name, 1, ?) = ? LIMIT 1", (len(first), first))
        )

    def marks(self, ino: int, kind: bytes, first: bytes, last: bytes) -> dict[bytes, bytes]:
        """The attributes whose names begin with a kind, by the rest of their names; from one to another."""
        rows = self.connection.execute(
            "SELECT name, value FROM (SELECT name, value, max(layer) FROM xattr "
            f"WHERE ino = ? AND name >= ? AND name <= ? AND {self.chosen} GROUP BY name)",
            (ino, kind + first, kind + last),
        )
        return {name[len(kind) :]: value for name, value in rows if value is not None}

    def comes_from(self, origin: bytes) -> bool:
        """Whether a layer has anything that shows what is at or below a path of the host."""
        return bool(
            self._one(
                f"SELECT 1 FROM inode WHERE (origin = ?1 OR substr(origin, 1, ?2) = ?3) AND {self.chosen} "
                "LIMIT 1",
                (origin, len(origin) + 1, origin + b"/"),
            )
        )

    def below(self, ino: int) -> bool:
        """Whether a layer under the top knows the inode."""
        return not self.single and bool(
            self._one(f"SELECT 1 FROM inode WHERE ino = ? AND layer < ? AND {self.chosen}", (ino, self.top))
        )

    def has_host_number(self, ino: int = HOST_NUMBERS) -> bool:
        """Whether a file that was copied up, of any branch, has this number; without one, any such."""
        compared = ">=" if ino == HOST_NUMBERS else "="
        return bool(self._one(f"SELECT 1 FROM inode WHERE ino {compared} ? LIMIT 1", (ino,)))

    def linked(self, dev: int, host_ino: int) -> int | None:
        """The number under which a host file of several links was copied up."""
        row = self._one(
            f"SELECT ino FROM origin WHERE dev = ? AND host_ino = ? {self._newest}",
            (dev, host_ino),
        )
        return None if row is None else row[0]

    def links(self) -> list[tuple[int, int]]:
        """Device and number of the host files of several links that were copied up."""
        rows = self.connection.execute(f"SELECT DISTINCT dev, host_ino FROM origin WHERE {self.chosen}")
        found: list[Any] = rows.fetchall()
        return found

    def shown_directories(self) -> list[tuple[bytes, int]]:
        """The directories that show one of the host's: the path of that, and their number."""
        rows = self.connection.execute(
            "SELECT DISTINCT origin, ino FROM inode WHERE origin IS NOT NULL "
            f"AND (mode & {stat.S_IFDIR | stat.S_IFREG}) = {stat.S_IFDIR} AND {self.chosen}"
        )
        found: list[Any] = rows.fetchall()
        return [(self.origins.shown(path) or b"", ino) for path, ino in found]

    def _one(self, statement: str, bindings: tuple[Any, ...]) -> Any:
        for row in self.connection.execute(statement, bindings):
            return row
        return None
