"""Staging: the sources of a root caller's mounts, shown to an ordinary user.

Root's sandbox does not run as root: it runs as an unused uid, so that the kernel's own rules keep
it from every file that others cannot read. What it is given on purpose, its workspace first of
all, is cloned from a descriptor (nothing can be swapped for a symlink in between), id-mapped so
that root's files are its own, and attached below a small tmpfs on /tmp, in a mount namespace that
ends with the run. See mount_setattr(2), "ID-mapped mounts".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

STAGE = "/tmp"
_STAGE_SIZE = 1 << 20


def staged_path(index: int) -> str:
    """Where the source number `index` appears in the namespace of the run."""
    return f"{STAGE}/{index}"


def stage(sources: Sequence[int], uid: int, gid: int) -> None:
    """Move this process into a mount namespace of its own that shows each source (an O_PATH
    descriptor) at `staged_path`, with root's ids as `uid` and `gid`. Needs root; raises OSError."""
    from art_core import kernel

    mapping = _mapping(uid, gid)
    trees = []
    for source in sources:
        tree = kernel.clone_tree(source)
        kernel.map_tree(tree, mapping)
        trees.append(tree)
    os.close(mapping)
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_mounts_private()
    kernel.mount_tmpfs(STAGE, size=_STAGE_SIZE, mode=0o755)
    for index, tree in enumerate(trees):
        path = staged_path(index)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644))
        kernel.attach_tree(tree, path)
        os.close(tree)


def _mapping(uid: int, gid: int) -> int:
    """A descriptor of a user namespace in which 0 is `uid` and `gid` outside."""
    from art_core import kernel

    ready_read, ready_write = os.pipe()
    done_read, done_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(done_write)
            kernel.unshare(kernel.CLONE_NEWUSER)
            os.write(ready_write, b".")
            os.read(done_read, 1)
        finally:
            os._exit(0)
    os.close(ready_write)
    os.close(done_read)
    try:
        if not os.read(ready_read, 1):
            raise OSError(1, "no user namespace can be made")
        for name, content in (("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/{child}/{name}", "w") as file:
                file.write(content)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready_read)
        os.close(done_write)
        os.waitpid(child, 0)
