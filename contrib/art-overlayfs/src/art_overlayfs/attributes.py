"""Extended attributes of files that the kernel's overlayfs keeps, or looks at.

In a user namespace it keeps its own notes as `user.overlay.*`; what a program inside sets under such a name
is kept with `overlay.` once more before it, and shown without that. As root its notes are `trusted.*`, which
no sandbox may set. See Documentation/filesystems/overlayfs.rst, "Nesting overlayfs mounts".
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_USERS = "user.overlay."
_ESCAPED = "user.overlay.overlay."


class Attributes:
    """`private`: the overlay is mounted in a user namespace."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._own = _USERS if private else "trusted.overlay."

    def is_opaque(self, path: str, names: Iterable[str]) -> bool:
        """Whether nothing of the directories below shows in this one."""
        return f"{self._own}opaque" in names and os.getxattr(path, f"{self._own}opaque") == b"y"

    def is_copied_up(self, names: Iterable[str]) -> bool:
        """Whether it was made from what a layer below has, and not by a program."""
        return f"{self._own}origin" in names

    def make_opaque(self, path: str) -> None:
        os.setxattr(path, f"{self._own}opaque", b"y")

    def of_programs(self, path: str, names: Iterable[str]) -> dict[bytes, bytes]:
        """Those that programs set and that the database keeps. `path` is a file or a directory, or a link of
        /proc that leads to one."""
        found = {}
        for name in names:
            shown = self._shown(name)
            if shown is not None:
                found[os.fsencode(shown)] = os.getxattr(path, name)
        return found

    def _shown(self, name: str) -> str | None:
        if not name.startswith("user."):
            return None
        if not self._private or not name.startswith(_USERS):
            return name
        return _USERS + name[len(_ESCAPED) :] if name.startswith(_ESCAPED) else None

    def kept(self, name: bytes) -> str:
        """The name under which an attribute of a program is kept."""
        shown = os.fsdecode(name)
        if self._private and shown.startswith(_USERS):
            return _ESCAPED + shown[len(_USERS) :]
        return shown
