"""`art fs mount`: serving a home at a directory of the host until somebody ends it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from art_cli.output.console import note
from art_core.contracts import Store, Workspace
from art_core.errors import UsageError
from art_core.host.fuse_mount import HostMount
from art_core.host.tree import within
from art_core.store.files import Files

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    files: Files,
    store: Store,
    at: str,
    workspace: Workspace | None,
    directory: str,
    *,
    read_only: bool,
    others: bool,
) -> int:
    """Mount, and wait for a signal or for umount(8). Everything is committed at the end. Raises ArtError."""
    mount = HostMount(directory, read_only=read_only, others=others)
    _refuse_own_places(mount.path, store, workspace)
    if mount.is_mounted():
        raise UsageError(f"{directory}: one of ART's file systems is mounted there already")
    with _signals() as woken, files.view(at, workspace, lambda: mount, read_only=read_only) as mounted:
        for line in mounted.notes:
            note(line)
        how = "read-only" if read_only else "read-write"
        note(f"{at!r} is at {mount.path}, {how}, until Ctrl-C or: umount {mount.path}")
        assert mounted.worker is not None
        _wait(mount, woken, mounted.worker.pidfd)
        if not mount.unmount():
            note(f"{mount.path} is in use: what is open there fails from now on")
    return 0


def _wait(mount: HostMount, woken: int, worker: int) -> None:
    """Until a signal, the worker's end, or umount(8). The last is not told by the worker: a mount namespace
    that was made meanwhile may have a copy of the mount. Changes of the table are (proc_pid_mounts(5))."""
    with open("/proc/self/mountinfo", "rb") as table:
        while mount.is_mounted():
            if select.select([woken, worker], [], [table])[0]:
                return


def _refuse_own_places(path: str, store: Store, workspace: Workspace | None) -> None:
    """The database must not vanish under its own mount."""
    for own in store.hidden():
        if within(os.path.realpath(os.path.dirname(own)), path):
            raise UsageError(f"{path} holds the database; name another directory to mount at")
    if workspace is not None and within(workspace.real, path):
        raise UsageError(f"{path} holds the workspace itself; name another directory to mount at")


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that can be read when one came that ends it."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def came(number: int, frame: FrameType | None) -> None:
        os.write(write_fd, b".")

    before = {number: signal.signal(number, came) for number in _ENDING}
    try:
        yield read_fd
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_fd)
        os.close(write_fd)
