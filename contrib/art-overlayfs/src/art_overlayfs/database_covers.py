"""Files of databases, where they lie in the workspace: they are not seen there."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from art_cowfs.library import Place


def cover(session: str, place: Place, files: Sequence[str], owner: tuple[int, int]) -> list[str]:
    """The directory to have over the workspace, made in that of the session; none where nothing is to be
    hidden."""
    top = os.fsdecode(place.path)
    real = [os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in files]
    hidden = [path[len(top) + 1 :] for path in real if path.startswith(f"{top}/")]
    if not hidden:
        return []
    made = f"{session}/cover"
    directories = sorted({one for path in hidden for one in _above(path)}, key=len, reverse=True)
    for directory in reversed(directories):
        os.mkdir(os.path.join(made, directory), 0o700)
    for path in hidden:
        os.mknod(f"{made}/{path}", stat.S_IFCHR, 0)
    for directory in directories:  # The topmost directory says what attributes are shown.
        path, found = os.path.join(made, directory), os.lstat(os.path.join(top, directory))
        if os.geteuid() == 0:
            os.chown(path, *owner)
        os.chmod(path, stat.S_IMODE(found.st_mode))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return [made]


def _above(path: str) -> list[str]:
    """The directories above a relative path, the deepest first."""
    found = []
    while path:
        path = os.path.dirname(path)
        found.append(path)
    return found
