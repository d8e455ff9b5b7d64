"""Other views of the workspace: guests that show it, a part of it, or a directory that holds it.

What is mounted there is the host's own, so each view has the rights that the workspace has at its own place:
what is protected there is read-only here, and what lies above it stays in place. A bind mount of the host may
show the workspace under another path: it is found by the file system and the directory in it that each mount
shows (proc(5), mountinfo).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from art_core.contracts import Mount, Origin, Workspace
from art_core.errors import MountError
from art_core.host import openat
from art_core.host.tree import within
from art_core.view.masks import MountLine, host_mounts


class View(NamedTuple):
    """A mount that shows the workspace's directory `below` (empty: all of it) at `inside`, a path relative to
    its guest."""

    mount: Mount
    below: str
    inside: str

    @property
    def guest(self) -> str:
        return f"{self.mount.guest}/{self.inside}".rstrip("/")


def views(mounts: Sequence[Mount], workspace: Workspace) -> list[View]:
    """Those among some mounts that are writable: what cannot be written needs no protection."""
    writable = [mount for mount in mounts if mount.writable and not mount.device]
    if not writable:
        return []
    found = []
    for place, below in _places(workspace.real, host_mounts()):
        for mount in writable:
            if within(mount.source, place):
                found.append(View(mount, _joined(below, _rest(mount.source, place)), ""))
            elif within(place, mount.source):
                found.append(View(mount, below, _rest(place, mount.source)))
    return list(dict.fromkeys(found))


def _rest(path: str, top: str) -> str:
    return path[len(top.rstrip("/")) :].strip("/")


def _joined(one: str, other: str) -> str:
    return f"{one}/{other}".strip("/")


def _places(real: str, lines: Sequence[MountLine]) -> list[tuple[str, str]]:
    """The host's paths at which the workspace is, or a part of it: each with the part."""
    points = {line.point: line for line in lines}  # The last mount on a point hides the others.
    point = real
    while point not in points and point != "/":
        point = os.path.dirname(point)
    places = [(real, "")]
    holder = points.get(point)
    if holder is None:
        return places
    top = f"{holder.root.rstrip('/')}/{_rest(real, point)}".rstrip("/") or "/"
    for line in points.values():
        if line.device == holder.device and within(top, line.root):
            places.append((f"{line.point.rstrip('/')}/{_rest(top, line.root)}".rstrip("/") or "/", ""))
        elif line.device == holder.device and within(line.root, top):
            places.append((line.point, _rest(line.root, top)))
    return list(dict.fromkeys(places))


def refuse_protected(views: Sequence[View], protected: Sequence[Mount]) -> None:
    """Refuse a writable mount of what is read-only in the workspace itself. Raises MountError."""
    for view in views:
        for one in protected:
            path = one.guest.strip("/")
            if view.below and within(view.below, path) and not one.writable:
                raise MountError(
                    f"{view.mount.origin}: {view.mount.source} is protected in the workspace ({path}), so it "
                    f"is not written from elsewhere either; mount it read-only, or add --no-protect {path}"
                )


def placed(
    protected: Sequence[Mount], tops: Sequence[str], views: Sequence[View], explicit: Sequence[Mount]
) -> list[Mount]:
    """What protects the workspace, in all places that show it: `tops` are its own, and the guests of
    `protected` are relative to them. What is mounted over a part of a place has that part for itself."""
    covers = [mount.guest for mount in explicit]
    found = []
    for holder, one, guest in _targets(protected, tops, views):
        over = (cover for cover in covers if cover != holder and within(cover, holder))
        if not any(within(guest, cover) for cover in over):
            found.append(one._replace(guest=guest))
    return found


def _targets(
    protected: Sequence[Mount], tops: Sequence[str], views: Sequence[View]
) -> Iterable[tuple[str, Mount, str]]:
    for one in protected:
        path = one.guest.strip("/")
        for top in tops:
            yield top, one, f"{top}/{path}"
        for view in views:
            if not view.below:
                yield view.mount.guest, one, f"{view.guest}/{path}"
            elif within(path, view.below) and path != view.below:
                yield view.mount.guest, one, f"{view.guest}/{_rest(path, view.below)}"


def held_in_place(views: Sequence[View]) -> list[Mount]:
    """Directories between a guest and the workspace in it, each mounted on itself: renaming one would go
    around what is protected (rename(2), EBUSY). The descriptors are the caller's. Raises MountError."""
    found: dict[str, Mount] = {}
    try:
        for view in views:
            parts = openat.parts_of(view.inside)
            for depth in range(1, len(parts) + 1):
                guest = "/".join((view.mount.guest, *parts[:depth]))
                if guest not in found:
                    found[guest] = Mount(
                        source="/".join((view.mount.source.rstrip("/"), *parts[:depth])),
                        guest=guest,
                        origin=Origin("above the workspace"),
                        writable=True,
                        fd=openat.pin_beneath(view.mount.fd, parts[:depth]),
                    )
    except OSError as error:
        for mount in found.values():
            os.close(mount.fd)
        raise MountError(f"{view.mount.origin}: {view.mount.source}: {error.strerror}") from None
    return list(found.values())


def refuse_database(mounts: Sequence[Mount], database: Sequence[str], workspace: Workspace) -> None:
    """Refuse a mount that lets the sandbox write to the database that keeps its home, and a view of the
    workspace that shows it: the workspace itself does not. Raises MountError."""
    for mount in mounts:
        seen = mount.writable or within(mount.source, workspace.real)
        for path in map(_resolved, database) if seen and not mount.device else ():
            if within(path, mount.source):
                raise MountError(
                    f"{mount.origin}: {mount.source} holds the database {path}, which is not shown inside; "
                    "keep it elsewhere, or mount what does not hold it"
                )


def _resolved(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(os.path.realpath(directory), name)
