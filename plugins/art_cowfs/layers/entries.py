"""The entries of workspaces in the top directory of a home.

Each is a directory, and stays where it is, as a mount does: what a sandbox puts in its place, a link say,
would be taken for the workspace by the next run. No run lets that happen; a database of an older version, a
hostile one, an archive or a snapshot may have it all the same, and is refused until it is mended.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

import apsw

from art_cowfs.db.schema import DatabaseError
from art_cowfs.db.transactions import all_rows
from art_cowfs.integrity.problems import kind
from art_cowfs.layers.chain import Chain
from art_fusefs.backend import ROOT


def known(connection: apsw.Connection) -> frozenset[bytes]:
    """The names of all workspaces of a database."""
    return frozenset(row[0] for row in all_rows(connection, "SELECT name FROM workspace"))


def refuse_replaced(chain: Chain, names: Iterable[bytes], at: str = "") -> None:
    """Raises DatabaseError where something else than a directory has the place of a workspace; `at` is the
    snapshot that has it, or a branch."""
    for name in names:
        found = chain.name(ROOT, name)
        row = None if found is None or found[0] is None else chain.inode(found[0])
        if row is not None and not stat.S_ISDIR(row.mode):
            where = f"{os.fsdecode(name)!r} in the home{f' of {at!r}' if at else ''}"
            raise DatabaseError(
                f"{where}, the place of the workspace, is {kind(row.mode)}: something was put there inside; "
                "`art db check --repair` mends it"
            )
