"""Unix sockets of the host that have a place in a file system (unix(7)).

The kernel's list has those of one network namespace, by the path that was bound: a relative one, one that
was renamed since, and those of containers are found only by looking for them.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence

from art_core.host.tree import within

ENTRIES_LIMITS = (3000, 1000)
TIME_LIMIT_S = 0.1
"""How much is looked at in each group of places, at a start: a microsecond an entry on a quiet machine.
Directories near the tops come first, where services have theirs."""
_SLOW = ("nfs", "cifs", "smb", "fuse", "9p", "afs", "autofs", "ceph", "glusterfs")
"""How the names of file systems begin that may answer late, or mount something when they are looked at."""
_OF_SERVICES = ("/srv", "/opt", "/var")
_NO_SERVICES = ("/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sys", "/usr")


def listed() -> Iterator[str]:
    """Absolute paths that were bound in this network namespace (proc(5), /proc/net/unix)."""
    try:
        with open("/proc/net/unix", "rb") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[7].startswith(b"/"):
            yield os.fsdecode(fields[7])


def groups(near: Sequence[str]) -> list[list[str]]:
    """Where to look: `near` and where services are at home, and then each other directory of the root but
    those that programs come in."""
    try:
        names = sorted(os.listdir("/"))
    except OSError:
        names = []
    others = [f"/{name}" for name in names if not os.path.islink(f"/{name}")]
    first = [*near, *_OF_SERVICES]
    return [first, [path for path in others if path not in (*first, *_NO_SERVICES)]]


def slow(mounts: Iterable[tuple[str, str]]) -> list[str]:
    """The points of file systems that are not looked into, of `mounts` as points and types."""
    return [point for point, kind in mounts if kind.startswith(_SLOW)]


def found(
    tops: Sequence[str],
    left_out: Sequence[str],
    *,
    entries: int = ENTRIES_LIMITS[0],
    seconds: float = TIME_LIMIT_S,
) -> list[str]:
    """Sockets below the directories, but for what is in one of `left_out`; as far as the limits go, level by
    level."""
    sockets: list[str] = []
    until = time.monotonic() + seconds
    hidden = set(left_out)
    level = [top for top in dict.fromkeys(tops) if not any(within(top, path) for path in left_out)]
    seen: set[str] = set()
    while level:
        below: list[str] = []
        for directory in level:
            if directory in seen:
                continue
            seen.add(directory)
            if time.monotonic() > until:
                return sockets
            try:
                with os.scandir(directory) as listing:
                    for entry in listing:
                        entries -= 1
                        if entries < 0:
                            return sockets
                        if entry.is_dir(follow_symlinks=False):
                            if entry.path not in hidden:
                                below.append(entry.path)
                        elif not entry.is_file(follow_symlinks=False) and _is_socket(entry):
                            sockets.append(entry.path)
            except OSError:
                continue  # It is gone, or not for this caller.
        level = below
    return sockets


def _is_socket(entry: os.DirEntry[str]) -> bool:
    return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
