"""Files of a workspace that programs of the host obey (`art_core.autorun.rules`), read-only in direct mode.

A directory on the way to one is mounted on itself, because renaming it away and putting a copy in its
place would go around the protection (rename(2), EBUSY). That is done at the top of the workspace, in git
directories there, and for what links and git's settings lead to. Deeper down mounts would be in the way of
ordinary work (EXDEV, EBUSY when a tree is removed): what appears there is told at the end
(`art_core.autorun.watch`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence
from typing import NamedTuple

from art_core.autorun.finder import Listing
from art_core.autorun.rules import DAILY, is_read
from art_core.contracts import Mount, Origin, Workspace
from art_core.host.tree import within

_PLACES_LIMIT = 256
"""Places that are made read-only, beside the ones that the patterns name themselves."""
_MODULES = ".git/modules"
_MODULES_LIMIT = 32
"""Submodules that have mounts of their own; of more nothing can be written."""


class Protected(NamedTuple):
    """A path to protect, relative to the workspace, and whether the directories above it stay in place."""

    path: str
    pinned: bool = True


def selected(
    patterns: Sequence[str], listing: Listing, given_up: Sequence[str], earlier: Collection[str] = ()
) -> list[Protected]:
    """What to protect of what was found, and what has to be held in place for it. `earlier` are paths that
    were obeyed before: they come first where there are too many."""
    literal = [pattern.strip("/") for pattern in patterns if "*" not in pattern]
    chosen = {path: True for path in literal if path and path not in DAILY}
    modules = [path for path in listing.repositories if within(path, _MODULES)]
    if len(modules) > _MODULES_LIMIT:
        chosen[_MODULES] = True
    for place, match in listing.led.items():
        if not is_read(match) and match.pattern not in DAILY:
            chosen.setdefault(place, match.pattern.startswith(".git/"))
    for found in sorted(listing.found.values(), key=lambda one: one.path not in earlier):
        if is_read(found.match) or found.match.leads or found.match.pattern in DAILY:
            continue
        place, pattern = found.match.place, found.match.pattern
        part = pattern.removeprefix(".git/")
        above = place.removesuffix(f"/{part}") if part != pattern else place
        if "/" not in above or above in modules:
            chosen.setdefault(place, True)
    kept = [Protected(path, pinned) for path, pinned in chosen.items() if not is_given_up(path, given_up)]
    if len(kept) > len(literal) + _PLACES_LIMIT:
        listing.miss(
            "", f"more than {_PLACES_LIMIT} places in it are obeyed, and not all are read-only inside"
        )
    return kept[: len(literal) + _PLACES_LIMIT]


def given_up(unprotected: Sequence[str], workspace: Workspace, listing: Listing) -> list[str]:
    """What `--no-protect` names, relative to the workspace; what it names in `.git` is meant where that
    leads, too."""
    paths = []
    for path in unprotected:
        full = os.path.normpath(os.path.join(workspace.path, os.path.expanduser(path)))
        relative = os.path.relpath(full, workspace.path)
        paths.append(relative)
        if relative == ".git" or relative.startswith(".git/"):
            paths += [
                place
                for place, match in listing.led.items()
                if match.place and within(match.pattern, relative)
            ]
    return paths


def is_given_up(path: str, given_up: Sequence[str]) -> bool:
    return any(one == "." or within(path, one) for one in given_up)


def protections(workspace: Workspace, protected: Sequence[Protected], tops: Sequence[str]) -> list[Mount]:
    """Read-only mounts of what exists of them, and of the directories that are held in place, for each guest
    directory in `tops` that shows the workspace.

    The descriptors in them pin what was found; they are the caller's to close. A path that is a
    symlink, or leads through one, is not mounted: it is only watched.
    """
    found: dict[str, Mount] = {}
    for path, pinned in sorted(protected, key=lambda one: one.path.count("/")):
        parts = path.split("/")
        steps = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        if any(step in found and not found[step].writable for step in steps):
            continue  # All that is in a protected directory is read-only.
        for relative in steps if pinned else steps[-1:]:
            if relative in found:
                continue
            fd = _pin(workspace.fd, relative.split("/"))
            if fd < 0:
                break
            directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            found[relative] = Mount(
                source=f"{workspace.real}/{relative}",
                guest="",
                writable=directory and relative != path,
                origin=Origin("protected"),
                fd=fd,
                directory=directory,
            )
    return [found[relative]._replace(guest=f"{top}/{relative}") for top in tops for relative in sorted(found)]


def _pin(top: int, parts: Sequence[str]) -> int:
    """An O_PATH descriptor of a file or directory below `top`, -1 when it is missing, a symlink,
    or something that is neither."""
    fd = top
    try:
        for part in parts:
            below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            if fd != top:
                os.close(fd)
            fd = below
    except OSError:
        if fd != top:
            os.close(fd)
        return -1
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return fd
    os.close(fd)
    return -1
