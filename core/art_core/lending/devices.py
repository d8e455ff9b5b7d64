"""Devices that a sandbox may be given: those that virtual machines and graphics need, and no other.

A device is more than a file: its driver runs in the kernel, with bugs of its own. Numbers are from the
kernel's Documentation/admin-guide/devices.txt.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from art_core.contracts import Mount, Origin
from art_core.errors import MountError, UsageError
from art_core.lending.loans import Granted, Lent

KNOWN = "/dev/kvm, /dev/dri, nvidia"
_DRI = "/dev/dri"
_KVM, _DRI_MAJOR = os.makedev(10, 232), 226
_NVIDIA = "/dev/nvidia*"


def lend(lent: Lent, text: str, origin: Origin, *, optional: bool, stand_in: bool) -> None:
    """Add a device. Raises UsageError and MountError. `stand_in`: see `lender.lend`."""
    for mount in find(text, origin, optional=optional):
        if any(mount.guest == other.guest for other in lent.mounts):
            continue
        _refuse_closed(mount, stand_in=stand_in)
        lent.mounts.append(mount)
        risk = "its driver in the kernel can be attacked"
        if mount.source.startswith(_DRI):
            risk += ", and what is on the screen may be read"
        lent.granted.append(Granted("the device", mount.guest, origin, risk))


def find(text: str, origin: Origin, *, optional: bool = False) -> Sequence[Mount]:
    """The mounts of a device as it is typed: a path, or `kvm`, `dri`, `nvidia` for all of a kind.

    Raises UsageError for any other device, and MountError for one that the machine does not have.
    """
    name = text.removeprefix("/dev/").rstrip("/")
    paths = [f"/dev/{name}"]
    if name == "nvidia":
        paths = sorted(glob.glob(_NVIDIA))
    elif ".." in name.split("/") or not _is_known(name):
        raise UsageError(f"{origin}: only {KNOWN} and nodes of these are given to a sandbox")
    paths = [path for path in paths if os.path.lexists(path)]
    if not paths and not optional:
        raise MountError(f"{origin}: this machine has no {_NVIDIA if name == 'nvidia' else f'/dev/{name}'}")
    return [_checked(path, origin) for path in paths]


def _is_known(name: str) -> bool:
    top, _, below = name.partition("/")
    return (
        name == "kvm"
        or (top == "dri" and "/" not in below)
        or (top.startswith("nvidia") and "/" not in below)
    )


def _checked(path: str, origin: Origin) -> Mount:
    found = os.lstat(path)
    directory = stat.S_ISDIR(found.st_mode)
    nodes = [path]
    if directory:
        nodes = [entry.path for entry in os.scandir(path) if not entry.is_dir(follow_symlinks=False)]
    for node in nodes:
        number = os.lstat(node)
        right = stat.S_ISCHR(number.st_mode)
        if path == "/dev/kvm":
            right = right and number.st_rdev == _KVM
        elif path.startswith(_DRI):
            right = right and os.major(number.st_rdev) == _DRI_MAJOR
        if not right:
            raise MountError(f"{origin}: {node} is not the device that it is named for")
    return Mount(source=path, guest=path, origin=origin, writable=True, directory=directory, device=True)


def _refuse_closed(mount: Mount, *, stand_in: bool) -> None:
    """Refuse a device that the sandbox's user may not open. Raises MountError with the cure."""
    if mount.directory:
        return
    if stand_in and os.lstat(mount.source).st_mode & 0o006 != 0o006:
        raise MountError(
            f"{mount.origin}: root's sandbox runs as an ordinary user, who may not open {mount.source}; "
            f'chmod 666 {mount.source}, or root_as = "root" in the settings (ART_ROOT_AS=root)'
        )
    if not os.access(mount.source, os.R_OK | os.W_OK):
        group = _group_of(mount.source)
        raise MountError(
            f"{mount.origin}: you may not open {mount.source}; "
            f"sudo usermod -aG {group} $USER, and log in again"
        )


def _group_of(path: str) -> str:
    import grp

    gid = os.lstat(path).st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
