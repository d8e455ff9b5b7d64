"""Files of which a part is the host's, where the host has another file by now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack

import apsw

from art_cowfs.db.origins import divided
from art_cowfs.db.transactions import all_rows
from art_cowfs.integrity.problems import MOST, Problem
from art_cowfs.lower.lower import Lower

_PARTIAL = f"""
SELECT DISTINCT origin, origin_size, origin_mtime FROM inode
WHERE origin IS NOT NULL AND host_clip > 0 AND nlink > 0 AND (mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFREG}
"""


def changed_files(connection: apsw.Connection) -> Iterator[Problem]:
    """Told of each workspace whose directory is there; a seed's directory is not recorded."""
    with ExitStack() as opened:
        try:
            lowers = dict(_workspaces(connection, opened))
            told = 0
            for kept, size, mtime in all_rows(connection, _PARTIAL):
                name, path = divided(kept)
                lower = lowers.get(name)
                if lower is None or path.startswith(b"/"):
                    continue
                try:
                    found = lower.stat(path)
                except (OSError, ValueError):
                    continue
                if found is None or (found.st_size, found.st_mtime_ns) != (size, mtime):
                    told += 1
                    if told > MOST:
                        return
                    what = "is gone from the host" if found is None else "was changed on the host"
                    yield Problem(
                        "host",
                        f"{os.fsdecode(path)!r} {what} after a part of it was changed in the sandbox; "
                        "`art pull --accept-host` takes what the host has",
                    )
        except (apsw.Error, TypeError, AttributeError):  # What it holds is told by others.
            return


def _workspaces(connection: apsw.Connection, opened: ExitStack) -> Iterator[tuple[bytes, Lower]]:
    """The directories by the workspaces' names; by none where there is one that it must be."""
    rows = all_rows(connection, "SELECT name, path FROM workspace")
    for name, path in rows:
        try:
            lower = Lower(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except (OSError, ValueError):
            continue
        opened.callback(lower.close)
        yield name, lower
        if len(rows) == 1:
            yield b"", lower
