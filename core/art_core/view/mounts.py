"""What is mounted besides the workspace: read from the command line and from mount sources,
checked together, and pinned."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from art_core.contracts import HOME, Mount, MountSource, Origin, Run, Workspace
from art_core.errors import MountError, UsageError
from art_core.host import openat
from art_core.host.tree import within

_KERNELS = ("/proc", "/sys", "/dev")
EXPOSE = Origin("--expose")


def parse_bind(text: str, *, cwd: str, home: str) -> Mount:
    """HOST:GUEST[:ro|rw], as `--bind` takes it. GUEST is absolute, so the last `:/` parts the two,
    and HOST may hold colons. Raises UsageError."""
    body, writable = text, False
    for suffix in (":ro", ":rw"):
        if text.endswith(suffix):
            body, writable = text.removesuffix(suffix), suffix == ":rw"
    host, parted, guest = body.rpartition(":/")
    if not parted or not host:
        raise UsageError(f"--bind {text}: write HOST:GUEST or HOST:GUEST:rw, with an absolute GUEST")
    return Mount(
        source=_absolute(host, cwd, home),
        guest=f"/{guest}",
        writable=writable,
        origin=Origin(f"--bind {text}"),
    )


def parse_expose(path: str, *, cwd: str, home: str) -> Mount:
    """A host path, shown read-only where it is. Raises UsageError."""
    if not path:
        raise UsageError("--expose: an empty path; name a file or directory of the host")
    absolute = _absolute(path, cwd, home)
    return Mount(source=absolute, guest=absolute, origin=EXPOSE)


def _absolute(path: str, cwd: str, home: str) -> str:
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return os.path.normpath(os.path.join(cwd, path))


class Gathered:
    """All mounts that were asked for, opened; `evidence` is what the mount sources read."""

    def __init__(self) -> None:
        self.mounts: list[Mount] = []
        self.evidence: dict[str, bytes] = {}

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        while self.mounts:
            if (fd := self.mounts.pop().fd) >= 0:
                os.close(fd)


def gather(
    workspace: Workspace,
    sources: Sequence[tuple[str, MountSource]],
    asked: Sequence[Mount],
    *,
    aliases: Sequence[str] = (),
) -> Gathered:
    """Ask every source, check all mounts together with those on the command line, and open them.

    `aliases` are further guest paths of the workspace. Raises MountError that names the origin of
    what is wrong; nothing stays open then.
    """
    gathered = Gathered()
    wanted = list(asked)
    try:
        for _, source in sources:
            found = source.load(workspace)
            # A device is given only to who typed it.
            wanted += [mount._replace(device=False) for mount in found.mounts]
            gathered.evidence.update(found.evidence)
        tops = [f"{HOME}/{workspace.name}", *aliases]
        wanted = [mount._replace(guest=_checked_guest(mount, tops)) for mount in wanted]
        _refuse_duplicates(wanted)
        for index, mount in enumerate(wanted):
            wanted[index] = opened(mount)
        shown = [*(of_workspace(workspace, top) for top in tops), *wanted]
        for mount in wanted:
            _check_mount_point(mount, shown)
    except BaseException:
        for mount in wanted:
            if mount.fd >= 0:
                os.close(mount.fd)
        raise
    gathered.mounts = wanted
    return gathered


def _checked_guest(mount: Mount, tops: Sequence[str]) -> str:
    guest = mount.guest
    if not guest.startswith("/") or "\0" in guest:
        raise MountError(f"{mount.origin}: guest {guest!r} is not an absolute path")
    if ".." in guest.split("/"):
        raise MountError(f"{mount.origin}: guest {guest!r} holds '..'; write the path without it")
    guest = "/" + "/".join(openat.parts_of(guest))
    if guest == "/" or (any(within(guest, top) for top in _KERNELS) and not mount.device):
        raise MountError(f"{mount.origin}: guest {guest!r} is the sandbox's own; choose another path")
    if mount.origin == EXPOSE:
        return guest
    for top in (HOME, *tops):
        if within(top, guest):
            what = "is" if top == guest else "holds"
            name = "the home" if top == HOME else "the workspace"
            raise MountError(f"{mount.origin}: guest {guest!r} {what} {name}; choose another path")
    return guest


def _refuse_duplicates(wanted: Sequence[Mount]) -> None:
    seen: dict[str, Mount] = {}
    for mount in wanted:
        other = seen.setdefault(mount.guest, mount)
        if other is not mount and (other.source, other.origin) != (mount.source, mount.origin):
            raise MountError(f"{mount.origin}: guest {mount.guest!r} is asked for by {other.origin} as well")


def opened(mount: Mount) -> Mount:
    """The mount with its source pinned and resolved. Raises MountError."""
    if mount.fd >= 0 or mount.device:
        return mount
    try:
        fd = openat.pin(mount.source)
    except OSError as error:
        raise MountError(f"{mount.origin}: host path {mount.source!r}: {error.strerror}") from None
    return pinned(mount, fd)


def pinned(mount: Mount, fd: int) -> Mount:
    """The mount with `fd` as its source; closes it when it is neither file nor directory."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        os.close(fd)
        raise MountError(f"{mount.origin}: host path {mount.source!r} is neither a file nor a directory")
    return mount._replace(fd=fd, source=openat.resolved(fd), directory=stat.S_ISDIR(mode))


def of_workspace(workspace: Workspace, guest: str) -> Mount:
    """The workspace itself, writable at a guest path."""
    return Mount(
        source=workspace.real, guest=guest, writable=True, origin=Origin("the workspace"), fd=workspace.fd
    )


def _check_mount_point(mount: Mount, shown: Sequence[Mount]) -> None:
    """A mount inside another one needs a mount point that exists: none is made on the host."""
    holders = [other for other in shown if other is not mount and within(mount.guest, other.guest)]
    holders = [other for other in holders if other.guest != mount.guest]
    if not holders:
        return
    holder = max(holders, key=lambda other: len(other.guest))
    below = openat.parts_of(mount.guest[len(holder.guest) :])
    place = f"{mount.origin}: guest {mount.guest!r}"
    try:
        fd = openat.pin_beneath(holder.fd, below)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise MountError(f"{place} leads through a symbolic link in {holder.source!r}") from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise MountError(
                f"{place} does not exist in {holder.source!r}, and no mount point is made on the host; "
                "make it there first"
            ) from None
        raise MountError(f"{place}: {error.strerror}") from None
    try:
        if openat.is_directory(fd) != mount.directory:
            kind = "a directory" if mount.directory else "a file"
            raise MountError(f"{place}: the mount point in {holder.source!r} is not {kind}")
    finally:
        os.close(fd)


# --- what needs approval -----------------------------------------------------------------------


_WRITES_KEPT = "writes to the host's workspace, which a database keeps as it is"


class Grant(NamedTuple):
    """A mount that gives more than the sandbox has, and what it gives."""

    mount: Mount
    why: str

    def __str__(self) -> str:
        mode = "read-write" if self.mount.writable else "read-only"
        return f"{self.mount.source} at {self.mount.guest}, {mode}: {self.why} ({self.mount.origin})"


def writes_to_host(run: Run) -> bool:
    """Whether files that the command makes are the host's at once, and not in a home that is kept."""
    kept = run.home.path if run.home is not None else None
    return any(
        mount.writable and not mount.device and (kept is None or not within(mount.source, kept))
        for mount in run.mounts
    )


def grants(
    mounts: Sequence[Mount],
    workspace: Workspace,
    hidden: Sequence[str],
    files: Sequence[str] = (),
    *,
    kept: bool = False,
) -> list[Grant]:
    """The mounts that write to the host outside the workspace, or show something that is hidden: what holds
    that, too, but for `files`, which are hidden in what holds them. With a home that is `kept`, writing to
    the host's workspace is more than the sandbox has, too.

    `--expose` is typed to show what is hidden, so it is its own approval.
    """
    found = []
    for mount in mounts:
        inside = within(mount.source, workspace.real)
        if mount.writable and (kept or not inside):
            found.append(Grant(mount, _WRITES_KEPT if inside else "writes to the host"))
        elif mount.origin == EXPOSE or inside:
            continue
        elif (
            any(within(mount.source, path) or within(path, mount.source) for path in hidden)
            or mount.source in files
        ):
            found.append(Grant(mount, "shows what is hidden"))
    return found
