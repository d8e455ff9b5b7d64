"""What a database holds, in figures."""

from __future__ import annotations

import os
from contextlib import suppress

from art_core.store.maintenance import BranchInfo, Info, SnapshotInfo
from art_cowfs.db.locks import Bystander
from art_cowfs.db.lookup import layers_from
from art_cowfs.db.schema import PAGE, UnwrittenError
from art_cowfs.db.transactions import all_rows
from art_cowfs.layers.garbage import unreached
from art_cowfs.opening.database import connect


def figures(path: str) -> Info:
    """As of now. Raises DatabaseError."""
    connection = connect(path, write=False)
    by = None
    with suppress(UnwrittenError):  # Where nothing can be written nobody holds anything.
        by = Bystander(path)
    try:
        held = by.holders() if by is not None else {}
        branches, snapshots = [], []
        points = connection.execute(
            "SELECT name, kind, layer, created_ns FROM point ORDER BY created_ns, name"
        )
        for name, kind, layer, created_ns in points:
            if kind == "branch":
                branches.append(BranchInfo(name, len(layers_from(connection, layer)), held.get(name, "")))
            else:
                snapshots.append(SnapshotInfo(name, created_ns))
        workspaces = all_rows(connection, "SELECT name, path FROM workspace ORDER BY name")
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM inode WHERE nlink > 0), count(*), coalesce(sum(length(data)), 0), "
            "(SELECT count(*) FROM layer) FROM chunk"
        ).fetchone()
        assert counts is not None
        files, chunks, contents, layers = counts
        return Info(
            path=path,
            format=connection.pragma("user_version"),
            size=os.stat(path).st_size,
            free=connection.pragma("freelist_count") * PAGE,
            log=_log(path),
            contents=contents,
            files=files,
            chunks=chunks,
            layers=layers,
            unreached=len(unreached(connection, by.is_read if by is not None else _by_nobody)),
            branches=branches,
            snapshots=snapshots,
            workspaces=[(os.fsdecode(name), os.fsdecode(place)) for name, place in workspaces],
        )
    finally:
        if by is not None:
            by.close()
        connection.close()


def _by_nobody(layer: int) -> bool:
    return False


def _log(path: str) -> int:
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0
