"""Staging: the sources of a root caller's mounts, shown to an ordinary user.

Root's sandbox does not run as root: it runs as an unused uid, so that the kernel's own rules keep
it from every file that others cannot read. What it is given on purpose, its workspace first of
all, is cloned from a descriptor (nothing can be swapped for a symlink in between), id-mapped so
that root's files are its own, and attached below a small tmpfs, in a mount namespace that
ends with the run. See mount_setattr(2), "ID-mapped mounts".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from art_core.host import kernel, user_namespace
from art_core.host.stage import STAGE

_STAGE_SIZE = 1 << 20
_DEVICES, _SHARED = "/dev", "/dev/shm"


def stage(sources: Sequence[int], user_namespace: int, enter: Sequence[int] = ()) -> list[int]:
    """Move this process into a mount namespace that shows each source (an O_PATH descriptor) with ids as
    `user_namespace` maps them: a new one, or the one to `enter`. Returns O_PATH descriptors of the sources
    as they are there, in the same order. Needs root; raises OSError."""
    trees, staged = [], []
    for source in sources:
        tree = kernel.clone_tree(source)
        kernel.map_tree(tree, user_namespace)
        trees.append(tree)
    if enter:
        kernel.enter(enter[0], kernel.CLONE_NEWNS)
    else:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.make_mounts_private()
        kernel.mount_tmpfs(STAGE, size=_STAGE_SIZE, mode=0o755)
    for index, tree in enumerate(trees):
        path = f"{STAGE}/{index}"
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
        kernel.attach_tree(tree, path)
        os.close(tree)
        staged.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
    return staged


def seal_devices() -> None:
    """Move this process into a mount namespace in which /dev is read-only, so that a sandbox that keeps
    root's uid, which owns the nodes, changes neither mode nor times of any; opening one to write goes on.
    Only /dev/shm stays as it is: it holds files that may be given. Raises OSError."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
    except PermissionError:
        # Root of a container, without the right to mount there.
        user_namespace.enter_new(kernel.CLONE_NEWNS)
    kernel.make_mounts_private()
    shared = _cloned(_SHARED)
    devices = _cloned(_DEVICES)
    kernel.seal_tree(devices)
    kernel.attach_tree(devices, _DEVICES)
    os.close(devices)
    if shared >= 0:
        kernel.attach_tree(shared, _SHARED)
        os.close(shared)


def _cloned(path: str) -> int:
    """A detached copy of the mounts at and below a directory, -1 where it is none."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        return kernel.clone_tree(fd)
    finally:
        os.close(fd)
