"""What is in memory of a branch, and letting go of it: a million files are more than a server should hold.

The kernel asks by number for anything it ever was shown, so what is let go of has to be found again:
a file of the database by its row, one that only the host has by the name that is put aside here.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

import apsw

from art_cowfs.tree.nodes import CowNode

NODES = 60_000
"""How many are kept; one costs about 500 bytes. A server always keeps directories."""
NAMES = 200_000
_FEW_NODES, _FEW_NAMES = 4_000, 50_000
_HOST_NAME = 4
"""How many names of the database a name of the host, which comes with its attributes, counts for."""


class Resident:
    """The nodes in memory by number, and the directories whose names are in memory."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._nodes: dict[int, CowNode] = {}
        self._most = self._limit = NODES
        self._most_names = NAMES
        self._listed: dict[int, CowNode] = {}
        self._names = 0
        self._keeps_directories = True
        self.complete = True
        """Whether nothing was let go of yet."""
        self._connection = connection
        connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS shown(ino INTEGER PRIMARY KEY, parent INTEGER, name BLOB)"
        )

    def keep_little(self) -> None:
        """Nobody will ask by number for what was let go of: directories can be let go of, too."""
        self._keeps_directories = False
        self._most, self._most_names = min(NODES, _FEW_NODES), min(NAMES, _FEW_NAMES)
        self._limit = self._most

    def get(self, ino: int) -> CowNode | None:
        return self._nodes.get(ino)

    def nodes(self) -> Iterable[CowNode]:
        return self._nodes.values()

    def keep(self, node: CowNode) -> None:
        self._nodes[node.ino] = node

    def drop(self, ino: int) -> None:
        """The node is gone for good."""
        self._nodes.pop(ino, None)
        self._listed.pop(ino, None)

    def named(self, directory: CowNode, names: int, host_names: int = 0) -> None:
        """So many names of the directory came into memory."""
        self._listed[directory.ino] = directory
        self._names += names + _HOST_NAME * host_names

    def put_aside(self, ino: int) -> tuple[int, bytes] | None:
        """Where a node that only the host has was found: the directory's number, and the name."""
        row: tuple[int, bytes] | None = self._connection.execute(
            "SELECT parent, name FROM temp.shown WHERE ino = ?", (ino,)
        ).get
        return row

    def shown(self) -> list[CowNode]:
        """The nodes in memory that only the host has."""
        return [node for node in self._nodes.values() if not node.held]

    def places(self) -> list[tuple[int, int, bytes]]:
        """All that only the host has and that was looked at: number, number of the directory, name."""
        rows: Any = self._connection.execute("SELECT ino, parent, name FROM temp.shown").fetchall()
        return [*rows, *((node.ino, node.parent.ino, node.name) for node in self.shown() if node.parent)]

    @property
    def crowded(self) -> bool:
        return len(self._nodes) > self._limit or self._names > self._most_names

    def settle(self, waiting: Collection[Mapping[int, object]]) -> None:
        """Let go of the oldest that nobody needs. `waiting` is what is not in the database yet, by
        number. Nobody may be working with a node meanwhile."""
        self.complete = False
        if len(self._nodes) > self._limit:
            self._let_go_of_nodes(waiting)
        if self._names > self._most_names:
            self._let_go_of_names(waiting)

    def _let_go_of_nodes(self, waiting: Collection[Mapping[int, object]]) -> None:
        aside = []
        for ino in list(islice(self._nodes, len(self._nodes) - self._most // 2)):
            node = self._nodes.pop(ino)
            if self._is_needed(node) or any(ino in numbers for numbers in waiting):
                self._nodes[ino] = node
            elif not node.held and node.parent is not None:
                aside.append((ino, node.parent.ino, node.name))
        self._connection.executemany("INSERT OR REPLACE INTO temp.shown VALUES(?, ?, ?)", aside)
        # Where most are needed, the next pass comes when there are some more.
        self._limit = max(self._most, len(self._nodes) + self._most // 4)

    def _let_go_of_names(self, waiting: Collection[Mapping[int, object]]) -> None:
        for ino, directory in list(self._listed.items()):
            if not any(ino in numbers for numbers in waiting):
                directory.names.clear()
                directory.complete = False
                directory.host_names = {}
                directory.host_time = 0.0
                del self._listed[ino]
        kept = self._listed.values()
        self._names = sum(len(one.names) + _HOST_NAME * len(one.host_names) for one in kept)

    def _is_needed(self, node: CowNode) -> bool:
        return bool(
            (stat.S_ISDIR(node.mode) and (self._keeps_directories or not node.held))
            or node.opens
            or node.nlink == 0
            or node.fd >= 0
            or not (node.held or node.parent)
        )
