"""Finds what a run left in the workspace that names its place inside, which the host does not have."""

from __future__ import annotations

import os
from collections.abc import Iterator

from art_core.autorun.finder import Listing

_READ_LIMIT = 1 << 16


def left(listing: Listing, guest: str, since_ns: int) -> list[str]:
    """The virtual environments, git worktrees and links that were made since a time (ns) and hold the path
    `guest`, by their paths in the workspace."""
    top = os.fsencode(guest)
    made = [(one, file) for one, file in _files(listing) if _is_new(listing, file, since_ns)]
    links = [link for link in listing.links if _is_new(listing, link, since_ns)]
    found = {one for one, file in made if _holds(listing, file, top)}
    return sorted(found.union(link for link in links if _target(listing, link).startswith(top)))


def _files(listing: Listing) -> Iterator[tuple[str, str]]:
    """What may hold such a path, and the file in it that tells."""
    for environment in listing.environments:
        yield environment or ".", f"{environment}/bin/activate"
    for repository in listing.repositories:
        place = f"{repository}/worktrees" if repository else "worktrees"
        try:
            names = os.listdir(f"{listing.root}/{place}")
        except OSError:
            continue
        for name in names:
            yield f"{place}/{name}", f"{place}/{name}/gitdir"


def _is_new(listing: Listing, path: str, since_ns: int) -> bool:
    try:
        return os.lstat(f"{listing.root}/{path}").st_ctime_ns >= since_ns
    except (OSError, ValueError):
        return False


def _holds(listing: Listing, path: str, top: bytes) -> bool:
    try:
        fd = os.open(f"{listing.root}/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return top in os.read(fd, _READ_LIMIT)
    except OSError:
        return False
    finally:
        os.close(fd)


def _target(listing: Listing, path: str) -> bytes:
    try:
        return os.fsencode(os.readlink(f"{listing.root}/{path}"))
    except OSError:
        return b""
