"""Mounting a home at a directory of the host: by mount(2) as root, through fusermount3 as anybody else.

Sources: mount(2), umount(2), fusermount3(1), and libfuse's doc/fusermount protocol: the program sends
the descriptor over the socket whose number stands in _FUSE_COMMFD.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Sequence

from art_core.errors import IsolationError, UsageError
from art_core.host import kernel

_HELPER = "fusermount3"


def reason() -> str:
    """Why this user cannot mount anything; empty when nothing speaks against it."""
    if os.geteuid() != 0 and shutil.which(_HELPER) is None:
        return f"only root mounts without {_HELPER}, which is not installed; sudo apt install fuse3"
    return ""


class HostMount:
    """A directory of the host where a home is mounted. See `contracts.Namespace`: this one is the host's
    own, and nothing is run in it."""

    user_fd: int | None = None
    mnt_fd = -1

    def __init__(self, directory: str, *, read_only: bool, others: bool = False) -> None:
        """`others` of the host may look at it as well, and do what modes allow. Raises UsageError for what is
        no directory, IsolationError when this user cannot mount."""
        self.path = os.path.realpath(directory)
        self.owner = (os.geteuid(), os.getegid())
        self._read_only = read_only
        self._others = others
        try:
            is_directory = stat.S_ISDIR(os.stat(self.path).st_mode)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}; name a directory to mount at") from None
        if not is_directory:
            raise UsageError(f"{directory} is no directory; name one to mount at")
        if why := reason():
            raise IsolationError(f"{directory}: {why}")

    def run(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> int:
        return subprocess.run(argv, pass_fds=pass_fds).returncode

    def mount_fuse(self, name: str) -> tuple[str, int]:
        """Raises IsolationError."""
        return self.path, self._by_root(name) if os.geteuid() == 0 else self._by_helper(name)

    def _by_root(self, name: str) -> int:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        try:
            kernel.mount_fuse(
                fd, self.path, name, *self.owner, others=self._others, read_only=self._read_only
            )
        except OSError as error:
            os.close(fd)
            raise IsolationError(f"{self.path!r} cannot be mounted at: {error.strerror}") from None
        return fd

    def _by_helper(self, name: str) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        mode = "ro" if self._read_only else "rw"
        options = (
            f"{mode},nosuid,nodev,default_permissions,fsname={name},subtype={name}"
            + ",allow_other" * self._others
        )
        with ours, theirs:
            done = subprocess.run(
                [_HELPER, "-o", options, "--", self.path],
                env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                said = done.stderr.strip().splitlines()[-1:] or ["it does not say why"]
                raise IsolationError(f"{self.path!r} cannot be mounted at: {said[0]}")
            _, fds, _, _ = socket.recv_fds(ours, 16, 1)
        os.set_inheritable(fds[0], False)
        return fds[0]

    def is_mounted(self) -> bool:
        return is_mounted(self.path)

    def unmount(self) -> bool:
        """Take it away; False when somebody still uses it, and it goes with the last who does."""
        return unmount(self.path)


def is_mounted(path: str) -> bool:
    """Whether one of ART's file systems is mounted at a path (proc_pid_mountinfo(5))."""
    shown = path.encode("utf-8", "surrogateescape")
    for special in (b"\\", b" ", b"\t", b"\n"):
        shown = shown.replace(special, b"\\%03o" % special[0])
    with open("/proc/self/mountinfo", "rb") as file:
        lines = [line.split(b" - ") for line in file]
    return any(head.split()[4] == shown and tail.startswith(b"fuse.art") for head, tail in lines)


def unmount(path: str) -> bool:
    """See `HostMount.unmount`."""
    if not is_mounted(path):
        return True
    if os.geteuid() == 0:
        try:
            kernel.unmount(path)
        except OSError:
            with contextlib.suppress(OSError):
                kernel.unmount(path, lazy=True)
            return False
        return True
    if subprocess.run([_HELPER, "-u", "--", path], capture_output=True).returncode == 0:
        return True
    subprocess.run([_HELPER, "-u", "-z", "--", path], capture_output=True)
    return False
