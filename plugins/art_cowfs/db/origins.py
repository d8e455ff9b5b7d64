"""Host paths as a database keeps them: each says which workspace it is in.

In memory a path is relative to the workspace of the session, b"" its directory itself. A database can hold
several workspaces, so there it is `//NAME/path`. That of another workspace stays as it is in
memory, too: nothing of that host directory is shown (`Lower`). A seed's path is the same in both.
"""

from __future__ import annotations

OF_WORKSPACE = b"//"


class Origins:
    """The paths of the workspace `name`, b"" for a reader of none."""

    def __init__(self, name: bytes) -> None:
        self._top = OF_WORKSPACE + name if name else b""

    def shown(self, kept: bytes | None) -> bytes | None:
        """A path out of the database."""
        if kept is None or not self._top or not kept.startswith(self._top):
            return kept
        rest = kept[len(self._top) :]
        return rest[1:] if rest[:1] in (b"", b"/") else kept

    def kept(self, shown: bytes | None) -> bytes | None:
        """A path for the database."""
        if shown is None or not self._top or shown.startswith(b"/"):
            return shown
        return self._top + b"/" + shown if shown else self._top


OF_NONE = Origins(b"")


def divided(kept: bytes) -> tuple[bytes, bytes]:
    """The workspace's name and the path in it; no name for a path that does not say it."""
    if not kept.startswith(OF_WORKSPACE):
        return b"", kept
    name, _, path = kept[len(OF_WORKSPACE) :].partition(b"/")
    return name, path
