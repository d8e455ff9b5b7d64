"""Where things are mounted in directories that a sandbox can write: looked at before each launch.

An isolation resolves a guest path while it builds the sandbox, and a link in it, planted by an earlier
command, would lead it out: bubblewrap made directories on the host where one led to `/oldroot`. So in a home
that is kept all mount points are made before, by descriptors and through no link; in the host's directories,
where none is made, they have to be there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from art_core.contracts import HOME, Mount
from art_core.errors import MountError
from art_core.host import openat
from art_core.host.tree import within


def in_home(mounts: Sequence[Mount], aliases: Mapping[str, str]) -> Iterator[tuple[Mount, str]]:
    """The mounts that stand in a home itself, each with its path there. `aliases`: guest paths of directories
    of the home elsewhere, and the paths of those there."""
    tops = {HOME: "", **aliases}
    for mount in mounts:
        holder = _holder(mount, [other.guest for other in mounts if other.guest not in tops])
        top = max((top for top in tops if within(mount.guest, top)), key=len, default="")
        if top and mount.guest != top and not holder:
            yield mount, f"{tops[top]}{mount.guest[len(top) :]}".strip("/")


def still_there(mounts: Sequence[Mount]) -> list[Mount]:
    """The mounts whose places are there in the host directories that hold them; what protects something that
    is gone is left out. Raises MountError for any other."""
    by_guest = {mount.guest: mount for mount in mounts if mount.fd >= 0 and mount.directory}
    kept = []
    for mount in mounts:
        holder = _holder(mount, by_guest)
        if holder:
            top = by_guest[holder]
            try:
                os.close(openat.pin_beneath(top.fd, openat.parts_of(mount.guest[len(holder) :])))
            except OSError as error:
                if error.errno == errno.ENOENT and mount.origin.where == "protected":
                    continue
                refuse(mount, error, top.source)
        kept.append(mount)
    return kept


def _holder(mount: Mount, guests: Sequence[str] | Mapping[str, Mount]) -> str:
    """The innermost of some guests that holds the mount's; empty for none."""
    above = (guest for guest in guests if guest != mount.guest and within(mount.guest, guest))
    return max(above, key=len, default="")


def refuse(mount: Mount, error: OSError, where: str) -> NoReturn:
    """Raises MountError that says why a mount cannot be made."""
    why = {
        errno.ELOOP: "leads through a symbolic link",
        errno.ENOTDIR: "leads through a file, or is one and should be a directory",
        errno.EISDIR: "is a directory, and should be a file",
        errno.ENOENT: "is gone",
    }.get(error.errno or 0, f"cannot be made ({error.strerror})")
    raise MountError(
        f"{mount.origin}: guest {mount.guest!r} {why} in {where}; remove that, or choose another path"
    ) from None
