"""A private mount namespace in which a store mounts the home, and the sandbox is started.

A process of its own makes it (for a plain user inside a user namespace as well: unshare(2)) and
does what is asked in it; nothing that is mounted there is ever visible elsewhere, and all of it
goes with the last process that is in it. The descriptors of the namespaces outlive that process.
"""

from __future__ import annotations

import errno
import marshal
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from art_core.errors import IsolationError
from art_core.host import kernel, messages, openat, stage, user_namespace
from art_core.host.service import forget, keep_private, start_process

"""Where the home is mounted."""
_SIZE = 1 << 20


class PrivateNamespace:
    """See `contracts.Namespace`. Close it at the end."""

    def __init__(self, owner: tuple[int, int]) -> None:
        """`owner` is who files have to belong to, in the ids of here, to be the command's own."""
        self.owner = owner
        self._control, theirs = messages.pair()
        keep_private(self._control)
        self.pid = start_process("art_core.launch.namespace", theirs.fileno())
        theirs.close()
        self.user_fd: int | None = None
        _, fds = self._ask(("namespaces",))
        self.mnt_fd = fds[0]
        self.user_fd = fds[1] if len(fds) > 1 else None

    def _ask(self, request: tuple[Any, ...], descriptors: Sequence[int] = ()) -> tuple[Any, list[int]]:
        messages.send(self._control, marshal.dumps(request), list(descriptors))
        received = messages.receive(self._control)
        if received is None:
            raise IsolationError("the process that holds the mount namespace was killed")
        failure, answer = marshal.loads(received[0])
        if failure:
            raise IsolationError(f"{failure}; `art doctor` tells more")
        return answer, received[1]

    def mount_fuse(self, name: str) -> tuple[str, int]:
        """Mount a FUSE file system; return its path in here and the descriptor that serves it (fuse(4)),
        which is the caller's. Raises IsolationError."""
        _, fds = self._ask(("fuse", name))
        return stage.HOME, fds[0]

    def pin(self, path: str) -> int:
        """An O_PATH descriptor of a directory of the home, by its path in there, where no part may be a link:
        who wrote to the home may have put one in its place. Raises OSError."""
        number, fds = self._ask(("pin", path))
        if not fds:
            raise OSError(number, os.strerror(number), path)
        return fds[0]

    def make(self, path: str, *, directory: bool) -> None:
        """See that a file or a directory stands at a path of the home, through no link. Raises OSError."""
        number, _ = self._ask(("make", path, directory, self.owner))
        if number:
            raise OSError(number, os.strerror(number), path)

    def run(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> int:
        """Run a program in here, wait, and return its exit status."""
        status, _ = self._ask(("run", list(argv), list(pass_fds)), pass_fds)
        assert isinstance(status, int)
        return status

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self.pid:
            forget(self._control)
            self._control.close()
            os.waitpid(self.pid, 0)
            self.pid = 0
            os.close(self.mnt_fd)
            if self.user_fd is not None:
                os.close(self.user_fd)


def serve(control_fd: int) -> NoReturn:
    """Be the process that makes the namespace and works in it. Never returns."""
    try:
        control = messages.Socket(fileno=control_fd)
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, 1 << 16)
        failure = ""
        plain = os.geteuid() != 0
        try:
            _enter_new(plain)
        except OSError as error:
            failure = f"a private mount namespace cannot be made: {error.strerror}"
        while (received := messages.receive(control)) is not None:
            answer: Any = None
            fds: list[int] = []
            if not failure:
                try:
                    answer, fds = _do(marshal.loads(received[0]), received[1], plain)
                except OSError as error:
                    what = f"{error.filename}: " if error.filename else ""
                    messages.send(
                        control,
                        marshal.dumps((f"the home cannot be mounted: {what}{error.strerror}", None)),
                        [],
                    )
                    continue
            messages.send(control, marshal.dumps((failure, answer)), fds)
            for fd in fds:
                os.close(fd)
    finally:
        os._exit(0)


def _enter_new(plain: bool) -> None:
    if plain:
        user_namespace.enter_new(kernel.CLONE_NEWNS)
    else:
        kernel.unshare(kernel.CLONE_NEWNS)
    kernel.make_mounts_private()
    kernel.mount_tmpfs(stage.STAGE, size=_SIZE, mode=0o755)


def _do(request: tuple[Any, ...], descriptors: list[int], plain: bool) -> tuple[Any, list[int]]:
    what = request[0]
    if what == "namespaces":
        kinds = ("mnt", "user") if plain else ("mnt",)
        return None, [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    if what == "fuse":
        os.mkdir(stage.HOME, 0o755)
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        kernel.mount_fuse(fd, stage.HOME, str(request[1]), os.geteuid(), os.getegid())
        return None, [fd]
    if what == "pin":
        return _pinned(request[1])
    if what == "make":
        return _made(*request[1:]), []
    assert what == "run" and isinstance(request[1], list) and isinstance(request[2], list)
    pid = os.fork()
    if pid == 0:
        try:
            for fd, number in zip(descriptors, request[2], strict=True):
                os.dup2(fd, number, inheritable=True)
            os.execv(request[1][0], request[1])
        finally:
            os._exit(127)
    for fd in descriptors:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), []


def _pinned(path: str) -> tuple[int, list[int]]:
    """A descriptor of a directory of the home; an errno and none when it is something else."""
    try:
        home = os.open(stage.HOME, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = openat.pin_directory(home, path)
        finally:
            os.close(home)
    except OSError as error:
        return error.errno or errno.EIO, []
    return 0, [fd]


def _made(path: str, directory: bool, owner: tuple[int, int]) -> int:
    """An errno, 0 when it is there."""
    try:
        home = os.open(stage.HOME, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            openat.make_beneath(home, path, owner, directory=directory)
        finally:
            os.close(home)
    except OSError as error:
        return error.errno or errno.EIO
    return 0
