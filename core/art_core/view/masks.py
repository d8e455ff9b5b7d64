"""What of the host a sandbox must not see: homes, runtime directories, sockets, private files.

A mask on a directory shows it empty; a mask on a file leaves it out of a directory that the
isolation rebuilds. Both hold when the host renames or replaces what is masked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from art_core.contracts import GuestFile, Mount, Origin
from art_core.host import unix_sockets
from art_core.host.tree import within

SYSTEM_DIRECTORIES = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/media", "/mnt", "/opt"),
    *("/proc", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/games", "/usr/include", "/usr/lib"),
    *(
        "/usr/lib64",
        "/usr/libexec",
        "/usr/local",
        "/usr/sbin",
        "/usr/share",
        "/usr/src",
        "/var",
        "/var/cache",
    ),
    *("/var/lib", "/var/log", "/var/opt", "/var/spool", "/var/tmp", "/nix", "/nix/store", "/snap", "/gnu"),
)
"""Directories that are never masked as a whole, nor anything that holds one."""

REPLACED = ("/dev", "/proc", "/tmp")
"""Places where the sandbox has something of its own: the host's are not seen."""

OWN_INSIDE = (*REPLACED, "/sys")
"""Places in which nothing needs a mask."""

PRIVATE_TOPS = ("/etc", "/var/lib", "/var/log", "/var/cache", "/var/backups", "/var/spool")
"""Where files that others cannot read are masked when root keeps its own uid."""

_FIRST_USER, _NOBODY = 1000, 65534
_ESCAPE = re.compile(r"\\([0-7]{3})")
_PRIVATE_LIMIT = 50_000


def _is_system(path: str) -> bool:
    return path == "/" or any(within(directory, path) for directory in SYSTEM_DIRECTORIES)


def home_directories(home: str | None) -> list[str]:
    """The home directories of this machine, resolved: /root, /home, the caller's and those of
    ordinary users in /etc/passwd; never one that is or holds a system directory."""
    candidates = ["/root", "/home", *([home] if home else []), *_homes_of_users()]
    found = []
    for candidate in candidates:
        real = os.path.realpath(candidate)
        if real not in found and not _is_system(real) and os.path.isdir(real):
            found.append(real)
    return found


def _homes_of_users() -> Iterable[str]:
    try:
        with open("/etc/passwd", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(b":")
        if len(fields) >= 7 and fields[2].isdigit() and _FIRST_USER <= int(fields[2]) < _NOBODY:
            home = os.fsdecode(fields[5])
            if home.startswith("/"):
                yield home


def host_masks(homes: Sequence[str], extra: Sequence[str] = (), near: Sequence[str] = ()) -> list[str]:
    """Everything to mask on this host, as resolved paths, outermost only.

    `homes` as `home_directories` gives them; `extra` are more paths, files as well. Runtime
    directories, the directories of listening sockets, and every other place where a mount shows
    the same files are added. Sockets are looked for in `near` first.
    """
    masks = [*homes]
    for path in ("/run", "/var/run", *extra):
        real = os.path.realpath(path)
        if not _is_system(real) and os.path.lexists(real):
            masks.append(real)
    masks = _outermost(masks)
    masks += socket_masks(masks, near)
    found = _outermost([*masks, *mount_aliases(masks, host_mounts())])
    return [path for path in found if not any(within(path, top) for top in OWN_INSIDE)]


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(within(path, top) for top in kept):
            kept.append(path)
    return kept


def socket_masks(masked: Sequence[str], near: Sequence[str] = ()) -> list[str]:
    """What hides the unix sockets that exist elsewhere (unix(7): a read-only mount does not keep
    anyone from connecting): their directories, or they alone in a system directory."""
    hidden = (*masked, *OWN_INSIDE)
    late = unix_sockets.slow((mount.point, mount.type) for mount in host_mounts())
    found = {path for path in unix_sockets.listed() if not any(within(path, top) for top in hidden)}
    for tops, limit in zip(unix_sockets.groups(near), unix_sockets.ENTRIES_LIMITS, strict=True):
        found.update(unix_sockets.found(tops, (*hidden, *late), entries=limit))
    return [mask for path in found if (mask := _socket_mask(path)) is not None]


def _socket_mask(path: str) -> str | None:
    directory = os.path.realpath(os.path.dirname(path))
    real = os.path.join(directory, os.path.basename(path))
    try:
        if not stat.S_ISSOCK(os.lstat(real).st_mode):
            return None
    except OSError:
        return None
    return real if _is_system(directory) else directory


class MountLine(NamedTuple):
    """One line of /proc/self/mountinfo (proc(5)): what part of which file system is where."""

    device: str
    root: str
    point: str
    type: str = ""
    options: str = ""
    """Those of the file system, not of the mount."""


def parse_mountinfo(text: str) -> list[MountLine]:
    """The mounts of a namespace, in the order they were made."""
    mounts = []
    for line in text.splitlines():
        first, _, rest = line.partition(" - ")
        fields, more = first.split(" ", 5), [*rest.split(" "), "", "", ""]
        if len(fields) >= 5:
            root, point = map(_unescaped, fields[3:5])
            mounts.append(MountLine(fields[2], root, point, more[0], more[2]))
    return mounts


def _unescaped(path: str) -> str:
    if "\\" not in path:
        return path
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), path)


def host_mounts() -> list[MountLine]:
    """The mounts of this process."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            return parse_mountinfo(file.read())
    except OSError:
        return []


def mount_aliases(masks: Sequence[str], mounts: Sequence[MountLine]) -> list[str]:
    """Other paths under which bind mounts show what is masked."""
    found = []
    points = {mount.point: mount for mount in mounts}  # the last mount on a point hides the others
    for mask in masks:
        point = mask
        while point not in points and point != "/":
            point = os.path.dirname(point)
        holder = points.get(point)
        if holder is None:
            continue
        below = mask[len(point) :] if point != "/" else mask
        inside = _join(holder.root, below)
        for mount in points.values():
            if mount.device != holder.device or mount.point == holder.point:
                continue
            if within(mount.root, inside):
                alias = mount.point
            elif within(inside, mount.root):
                alias = _join(mount.point, inside[len(mount.root.rstrip("/")) :])
            else:
                continue
            if not within(alias, mask) and not _is_system(alias) and os.path.lexists(alias):
                found.append(alias)
    return found


def closed_mounts(uid: int, mounts: Sequence[MountLine] | None = None) -> list[str]:
    """Where FUSE file systems of other users are mounted that only those may look at (fuse(8), allow_other):
    nothing can be shown of them, and even asking what is there fails."""
    found = []
    for mount in host_mounts() if mounts is None else mounts:
        options = mount.options.split(",")
        if mount.type.startswith("fuse") and "allow_other" not in options and f"user_id={uid}" not in options:
            found.append(mount.point)
    return found


def _join(top: str, below: str) -> str:
    return (top.rstrip("/") + "/" + below.strip("/")).rstrip("/") or "/"


def private_paths(tops: Sequence[str] = PRIVATE_TOPS) -> list[str]:
    """Files and directories that others cannot read, below `tops`: a root caller that keeps its
    uid could read them inside."""
    found: list[str] = []
    todo = [top for top in tops if os.path.isdir(top)]
    seen = 0
    while todo and seen < _PRIVATE_LIMIT:
        try:
            with os.scandir(todo.pop()) as listing:
                entries = list(listing)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except OSError:
                continue  # it is gone
            if stat.S_ISLNK(mode):
                continue
            if stat.S_ISDIR(mode):
                if mode & 0o005 == 0o005:
                    todo.append(entry.path)
                else:
                    found.append(entry.path)
            elif not mode & 0o004:
                found.append(entry.path)
    return found


def needed_links(masks: Sequence[str]) -> tuple[list[Mount], list[GuestFile]]:
    """What must stay visible: the directories that /etc/resolv.conf and /etc/localtime link into.

    The directory is shown, not the file, because the file is replaced by renaming; sockets in it
    are covered. Where the file lies directly in a masked top, the file alone is shown.
    """
    mounts: list[Mount] = []
    covers: list[GuestFile] = []
    for link in ("/etc/resolv.conf", "/etc/localtime"):
        real = os.path.realpath(link)
        mask = next((mask for mask in masks if within(real, mask)), None)
        if mask is None or not os.path.isfile(real):
            continue
        directory = os.path.dirname(real)
        shown = real if directory == mask else directory
        if any(mount.guest == shown for mount in mounts):
            continue
        mounts.append(Mount(source=shown, guest=shown, origin=Origin(f"the target of {link}")))
        if shown == directory:
            covers += [GuestFile(guest=path, contents=b"") for path in _sockets_in(directory)]
    return mounts, covers


def _sockets_in(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as listing:
            return [e.path for e in listing if stat.S_ISSOCK(e.stat(follow_symlinks=False).st_mode)]
    except OSError:
        return []
