"""Files of which a part is the host's, where the host has another file by now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import apsw

from art_cowfs.check import MOST, Problem
from art_cowfs.lower import Lower
from art_cowfs.schema import all_rows

_PARTIAL = f"""
SELECT DISTINCT origin, origin_size, origin_mtime FROM inode
WHERE origin IS NOT NULL AND host_clip > 0 AND nlink > 0 AND (mode & {stat.S_IFMT(0o170000)}) = {stat.S_IFREG}
"""


def changed_files(connection: apsw.Connection) -> Iterator[Problem]:
    """Told for the one workspace that a database has; which of several a file belongs to is not recorded.
    A directory that is not there says nothing."""
    try:
        workspaces = all_rows(connection, "SELECT path FROM workspace")
        if len(workspaces) != 1:
            return
        lower = Lower(os.open(workspaces[0][0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except (OSError, apsw.Error, TypeError, ValueError):
        return
    try:
        told = 0
        for origin, size, mtime in all_rows(connection, _PARTIAL):
            try:
                found = lower.stat(origin)
            except (OSError, TypeError, ValueError):
                continue
            if origin.startswith(b"/"):  # A seed's: which one it was is not recorded.
                continue
            if found is None or (found.st_size, found.st_mtime_ns) != (size, mtime):
                told += 1
                if told > MOST:
                    return
                what = "is gone from the host" if found is None else "was changed on the host"
                yield Problem(
                    "host",
                    f"{os.fsdecode(origin)!r} {what} after a part of it was changed in the sandbox; "
                    "`art pull --accept-host` takes what the host has",
                )
    except apsw.Error:
        return
    finally:
        lower.close()
