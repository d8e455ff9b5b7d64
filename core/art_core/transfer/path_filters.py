"""Which paths of a workspace were meant: paths as they are typed, and what lies below them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from art_core.contracts import HOME, Workspace
from art_core.errors import TransferError
from art_core.host.tree import within


def typed_path(path: str, workspace: Workspace) -> bytes:
    """What a path that was typed means, relative to the top of the workspace; b"" for all of it.

    It is a path inside (`/home/agent/NAME/...`), or one from the current directory when that leads into the
    workspace, else one from the workspace's top. Raises TransferError for one that leads out of it.
    """
    if not path:
        raise TransferError("an empty path names nothing; name a path of the workspace")
    guest = f"{HOME}/{workspace.name}"
    tops = [workspace.path, workspace.real]
    if path.startswith("/"):
        full, tops = os.path.normpath(path), [guest, *tops]
    else:
        full = os.path.abspath(path)
        if not any(within(full, top) for top in tops):
            full = os.path.normpath(os.path.join(workspace.real, path))
    for top in tops:
        if within(full, top):
            relative = os.path.relpath(full, top)
            return b"" if relative == "." else os.fsencode(relative)
    raise TransferError(f"{path!r} lies outside of the workspace {workspace.path!r}")


class Paths:
    """Chosen are these paths and what lies below them."""

    def __init__(self, paths: Sequence[bytes]) -> None:
        self._paths = frozenset(paths)
        self._all = b"" in self._paths

    def __call__(self, path: bytes, directory: bool) -> bool:
        if self._all or path in self._paths:
            return True
        end = path.find(b"/")
        while end >= 0:
            if path[:end] in self._paths:
                return True
            end = path.find(b"/", end + 1)
        return False
