"""Where a workspace is: its entry in a home, and the path that the database knows it at."""

from __future__ import annotations

import os
from typing import NamedTuple

import apsw

from art_cowfs.db.schema import DatabaseError


class Place(NamedTuple):
    """A workspace: its name, its path on the host, a descriptor of it that becomes the session's, and
    whether it may be known at another path."""

    name: bytes
    path: bytes
    fd: int
    moved: bool = False


def know(connection: apsw.Connection, place: Place) -> None:
    """Remember where a workspace is. Raises DatabaseError when it is known at another path."""
    known = connection.execute("SELECT path FROM workspace WHERE name = ?", (place.name,)).get
    if known not in (None, place.path) and not place.moved:
        name, path = os.fsdecode(place.name), os.fsdecode(place.path)
        raise DatabaseError(
            f"the workspace {name!r} of this database is {os.fsdecode(known)!r}, not {path!r}; "
            "add --moved if it was moved here, or give this one another name with --name"
        )
    if known != place.path:
        connection.execute("INSERT OR REPLACE INTO workspace VALUES(?, ?)", (place.name, place.path))
