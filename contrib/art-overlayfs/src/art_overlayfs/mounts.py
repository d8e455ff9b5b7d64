"""The mounts of a run, made in its namespace by a process that goes into it for that.

Each directory is named by a descriptor: no path can be swapped for a symlink in between, needs quoting, or is
shown to the sandbox by its /proc/self/mountinfo. See Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from art_core.errors import StoreError
from art_core.host import kernel, messages, stage
from art_core.host.stage import HOME
from art_core.host.user_namespace import Mapping
from art_overlayfs.uppers import ELSEWHERE

_HOST = f"{stage.STAGE}/host"
_FIXED = "redirect_dir=nofollow,metacopy=off,index=off,nfs_export=off,xino=auto"
"""What a distribution's kernel may have otherwise: all is in the upper directory by its name, and whole."""


class Overlay(NamedTuple):
    """One mount at `target`, relative to the home. `lowers` are directories, the topmost first, `upper` is
    beside its `work`. With `host` the workspace is below them all."""

    target: str
    lowers: Sequence[str]
    upper: str
    host: bool = False


class Host(NamedTuple):
    """The workspace: its path and what stands there, or a `tree` that has its owners mapped, -1 for none."""

    path: str
    device: int
    inode: int
    tree: int = -1


def mapped(workspace_fd: int, owner: tuple[int, int]) -> int:
    """The workspace as a tree in which root's files are the owner's. Raises StoreError."""
    mapping = Mapping()
    try:
        with mapping.descriptor(*owner) as namespace:
            tree = kernel.clone_tree(workspace_fd)
            kernel.map_tree(tree, namespace)
            return tree
    except OSError as error:
        raise StoreError(
            f"the workspace cannot be shown with other owners: {error.strerror}; set "
            "ART_ROOT_AS=root, or use --store sqlite"
        ) from None
    finally:
        mapping.close()


class Mounter:
    """A process in the namespace. Made before this one has threads."""

    def __init__(self, namespaces: Sequence[int], host: Host) -> None:
        """`namespaces`: descriptors of the mount namespace, and of the user namespace where there is one."""
        self._control, theirs = messages.pair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._control.close()
                _serve(theirs, namespaces, host)
            finally:
                os._exit(0)
        theirs.close()

    def mount(self, name: str, overlays: Sequence[Overlay], fixed: Sequence[bytes] = ()) -> str:
        """Mount all, in that order; the path of the home. Directories in it that are `fixed` are mounted on
        themselves, so that nobody puts something else in their places. Raises StoreError."""
        about = [tuple(overlay) for overlay in overlays]
        self._ask(("mount", name, about, list(fixed)), overlays[0].upper)
        return HOME

    @contextmanager
    def unmounting(self, overlays: Sequence[Overlay]) -> Iterator[None]:
        """Nobody sees them any more. Meanwhile the kernel brings what was written to the disk; at the end it
        has done so. Raises StoreError."""
        self._send(("unmount", [overlay.target for overlay in reversed(overlays)]))
        yield
        self._answered("")

    def _ask(self, request: tuple[Any, ...], upper: str) -> None:
        self._send(request)
        self._answered(upper)

    def _send(self, request: tuple[Any, ...]) -> None:
        messages.send(self._control, marshal.dumps(request), [])

    def _answered(self, upper: str) -> None:
        received = messages.receive(self._control)
        if received is None:
            raise StoreError("the process that mounts the home was killed")
        number, what = marshal.loads(received[0])
        if number:
            raise StoreError(_explained(number, what, upper))

    def close(self) -> None:
        self._control.close()
        os.waitpid(self._pid, 0)


def _explained(number: int, what: str, upper: str) -> str:
    if what != "overlay":
        return f"{what}: {os.strerror(number)}"
    said = {
        errno.ENODEV: "the kernel has no overlayfs; sudo modprobe overlay",
        errno.EPERM: "the kernel does not let you mount an overlayfs (Linux 5.11 does, where nothing "
        "forbids it: `art doctor` tells more); use --store sqlite",
        errno.ELOOP: f"{upper} lies in the workspace; {ELSEWHERE}",
        errno.EINVAL: f"the file system of {upper} cannot hold what changes in an overlay (network file "
        f"systems, FUSE and overlays cannot); {ELSEWHERE}",
    }.get(number, os.strerror(number))
    return f"the home cannot be mounted: {said}"


def _serve(control: messages.Socket, namespaces: Sequence[int], host: Host) -> None:
    """Be the process in the namespace; until nobody asks any more."""
    failure = (0, "")
    try:
        if len(namespaces) > 1:
            kernel.enter(namespaces[1], kernel.CLONE_NEWUSER)
        kernel.enter(namespaces[0], kernel.CLONE_NEWNS)
    except OSError as error:
        failure = (error.errno or errno.EIO, "the namespace of the home")
    while (received := messages.receive(control)) is not None:
        what, *about = marshal.loads(received[0])
        answer = failure
        if not answer[0]:
            try:
                if what == "mount":
                    _mount_all(
                        about[0], [Overlay(*one) for one in about[1]], host, private=len(namespaces) > 1
                    )
                    for name in about[2]:
                        _fix(name)
                else:
                    for target in about[0]:
                        kernel.unmount(_below_home(target), lazy=True)
            except OSError as error:
                answer = (error.errno or errno.EIO, os.fsdecode(error.filename or "overlay"))
        messages.send(control, marshal.dumps(answer), [])


def _below_home(target: str) -> str:
    return f"{HOME}/{target}" if target else HOME


def _mount_all(name: str, overlays: Sequence[Overlay], host: Host, *, private: bool) -> None:
    os.mkdir(HOME, 0o755)
    for overlay in overlays:
        opened = [_directory(path) for path in overlay.lowers]
        if overlay.host:
            opened.append(_host(host))
        opened += [_directory(overlay.upper), _directory(f"{os.path.dirname(overlay.upper)}/work")]
        *lowers, upper, work = [f"/proc/self/fd/{fd}" for fd in opened]
        options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work},{_FIXED}"
        if private:  # In a user namespace the kernel may keep what it notes only as the user's attributes.
            options += ",userxattr"
        opened.append(_directory(_below_home(overlay.target)))
        kernel.mount_overlay(name, f"/proc/self/fd/{opened[-1]}", options)
        for fd in opened:
            os.close(fd)


def _fix(name: bytes) -> None:
    """Mount a directory of the home on itself: it cannot be renamed or removed then (rename(2), EBUSY)."""
    path = os.path.join(HOME, os.fsdecode(name))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        fd = _directory(path)
        tree = kernel.clone_tree(fd)
        kernel.attach_tree(tree, path)  # It does not follow a link (move_mount(2)).
        os.close(tree)
        os.close(fd)


def _directory(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _host(host: Host) -> int:
    """The workspace, as this namespace has it."""
    path = host.path
    if host.tree >= 0:
        os.mkdir(_HOST, 0o755)
        kernel.attach_tree(host.tree, _HOST)
        path = _HOST
    fd = _directory(path)
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != (host.device, host.inode):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
    return fd
