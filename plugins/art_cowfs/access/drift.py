"""Whether the host has moved on since a push: what was pushed stays as it was pushed."""

from __future__ import annotations

import os
import stat
import time

from art_core.store import bounds
from art_cowfs.layers.chain import Chain
from art_cowfs.layers.sync_base import agreed

PATIENCE_S = 0.1
_FORMATS = {"file": stat.S_IFREG, "dir": stat.S_IFDIR, "link": stat.S_IFLNK}


def drift(chain: Chain, name: bytes, directory: int, patience_s: float = PATIENCE_S) -> str:
    """One line on how many host files changed or went since both sides agreed; empty when none did.

    `directory` is a descriptor of the workspace. A start must not wait for a large tree: after
    `patience_s` the line tells what was found so far.
    """
    until = time.monotonic() + patience_s
    changed = looked_at = 0
    for place, was in agreed(chain, name):
        if not looked_at & 0xFF and time.monotonic() > until:
            break
        looked_at += 1
        try:
            found = os.stat(place.replace(b"\0", b"/"), dir_fd=directory, follow_symlinks=False)
        except OSError:
            changed += 1
            continue
        if stat.S_IFMT(found.st_mode) != _FORMATS[was.kind] or (
            was.kind != "dir"
            and (bounds.size(found.st_size), bounds.time_ns(found.st_mtime_ns)) != (was.size, was.mtime_ns)
        ):
            changed += 1
    else:
        looked_at = 0
    if not changed:
        return ""
    number = f"at least {changed}" if looked_at else f"{changed}"
    return f"host files changed since the push: {number}; they are seen as pushed until the next `art push`"
