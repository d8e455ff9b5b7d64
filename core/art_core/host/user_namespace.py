"""A user namespace of our own in which the caller is one user (user_namespaces(7)).

Made where mounting needs one, and for a caller whose ids are too large for isolations, which keep ids in
a signed 32-bit number: in a namespace of ours such a caller has an ordinary id.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from art_core.host import kernel

MAPPED = 1000
"""The uid and gid inside of who cannot keep their own."""
_LARGEST = (1 << 31) - 1


def inside(number: int) -> int:
    """A uid or gid of the host as the sandbox has it."""
    return number if number <= _LARGEST else MAPPED


def keeps(uid: int, gid: int) -> bool:
    """Whether a caller has the same ids inside."""
    return (inside(uid), inside(gid)) == (uid, gid)


def enter_new(more: int = 0) -> None:
    """Move this process into a new one, with its ids as they are inside, and into the new namespaces that
    `more` asks for (unshare(2)). Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | more)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside(uid)} {uid} 1"),
        ("gid_map", f"{inside(gid)} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


class Mapping:
    """A user namespace in which root is somebody else outside, for id-mapped mounts.

    A process of its own makes it and holds it until it is closed, because this one must not enter.
    """

    def __init__(self) -> None:
        ready_read, ready_write = os.pipe()
        done_read, self._done = os.pipe()
        self._holder = os.fork()
        if self._holder == 0:
            try:
                os.close(self._done)
                os.close(ready_read)
                kernel.unshare(kernel.CLONE_NEWUSER)
                os.write(ready_write, b".")
                os.read(done_read, 1)
            finally:
                os._exit(0)
        os.close(ready_write)
        os.close(done_read)
        self._ready = ready_read

    @contextmanager
    def descriptor(self, uid: int, gid: int) -> Iterator[int]:
        """A descriptor of the namespace, with 0 in it as `uid` and `gid` outside. Once only."""
        if not os.read(self._ready, 1):
            raise OSError(errno.EPERM, "no user namespace can be made")
        for name, content in (("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/{self._holder}/{name}", "w") as file:
                file.write(content)
        fd = os.open(f"/proc/{self._holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        self._release()
        try:
            yield fd
        finally:
            os.close(fd)

    def close(self) -> None:
        """End the process that holds it."""
        self._release()
        os.waitpid(self._holder, 0)

    def _release(self) -> None:
        """Let the holder end; who has a descriptor of the namespace keeps it."""
        for fd in (self._ready, self._done):
            if fd >= 0:
                os.close(fd)
        self._ready = self._done = -1
