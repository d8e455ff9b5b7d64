"""What a name leads to: the layer of a branch or a snapshot, and those below it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import apsw

from art_cowfs.db.schema import CorruptError, DatabaseError


class NamedLayer(NamedTuple):
    """What a name leads to: a layer, which is the top of a branch or a snapshot's."""

    kind: Literal["branch", "snapshot"]
    layer: int
    branch: str


def found(connection: apsw.Connection, name: str) -> NamedLayer:
    """The point of a name. Raises DatabaseError when there is none."""
    point = _found(connection, name)
    if point is None:
        raise DatabaseError(
            f"there is no branch or snapshot {name!r} in this database; `art branch` and "
            "`art snapshot --list` list those there are"
        )
    return point


def _found(connection: apsw.Connection, name: str) -> NamedLayer | None:
    row = connection.execute("SELECT kind, layer, branch FROM point WHERE name = ?", (name,)).fetchone()
    return None if row is None else NamedLayer(*row)


def chain_of(connection: apsw.Connection, branch: str) -> list[int]:
    """The layers of a branch, the top first. Raises DatabaseError when there is none."""
    point = _found(connection, branch)
    if point is None:
        raise DatabaseError(
            f"there is no branch {branch!r} in this database; "
            f"`art branch {branch} -d {connection.filename}` makes it"
        )
    if point.kind != "branch":
        raise DatabaseError(
            f"{branch!r} is a snapshot, which stays as it is; "
            f"`art branch NAME --from {branch} -d {connection.filename}` makes a branch of it"
        )
    return layers_from(connection, point.layer)


def layers_from(connection: apsw.Connection, top: int) -> list[int]:
    """A layer and all those below it, the highest first."""
    rows = connection.execute(
        "WITH RECURSIVE up(id, parent) AS (SELECT id, parent FROM layer WHERE id = ? UNION "
        "SELECT layer.id, layer.parent FROM layer JOIN up ON layer.id = up.parent) SELECT id FROM up",
        (top,),
    )
    chain = sorted((row[0] for row in rows), reverse=True)
    if not chain:
        raise CorruptError(f"layer {top} is not in the database; `art db check` says more")
    return chain
