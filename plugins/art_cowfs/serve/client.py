"""The supervisor's side of a process that serves a mounted home: started, asked, and waited for."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from art_core.contracts import HOME, Mount, Workspace
from art_core.errors import StoreError
from art_core.host.service import forget, keep_private, start_process
from art_cowfs.serve.mount_request import ShownPath, ShownWorkspace

_READY_S = 60.0
_END_S = 600.0
"""How long it may take to commit everything."""
_SILENT_S = 20.0
"""The same of a server that once did not answer in time: it may never."""
_GONE_S = 10.0
"""How long a server that has nothing left to do may take to end."""


def shown_path(mount: Mount) -> ShownPath:
    """A seed or a share, as a server is told of it."""
    return ShownPath(os.fsencode(mount.guest[len(HOME) + 1 :]), os.fsencode(mount.source))


def shown_workspace(workspace: Workspace) -> ShownWorkspace:
    """The workspace, as a server is told of it."""
    return ShownWorkspace(os.fsencode(workspace.name), os.fsencode(workspace.real), workspace.moved)


def parent_of(share: Mount, held: ExitStack) -> int:
    """A descriptor of the directory that a shared file is in. Raises StoreError."""
    directory, name = os.path.split(share.source)
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, fd)
        found, pinned = os.lstat(name, dir_fd=fd), os.fstat(share.fd)
    except OSError as error:
        raise StoreError(f"{share.origin}: {share.source}: {error.strerror}") from None
    if (found.st_dev, found.st_ino) != (pinned.st_dev, pinned.st_ino):
        raise StoreError(f"{share.origin}: {share.source} was replaced at this moment; start again")
    if not os.access(f"/proc/self/fd/{fd}", os.W_OK):
        raise StoreError(
            f"{share.origin}: you may not write to {directory}, and programs replace such a file by renaming"
        )
    return fd


class Server:
    """The process that serves a mount. See `contracts.Worker`."""

    def __init__(
        self, module: str = "art_cowfs.serve.server", kept: str = "what it had answered is in the database"
    ) -> None:
        """`module` has its `serve`; `kept` says what there is of a run when it was killed."""
        self._kept = kept
        self._end_s, self._silent = _END_S, False
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keep_private(self._control)
        with theirs:
            self.pid = start_process(module, theirs.fileno())
        self.pidfd = os.pidfd_open(self.pid)

    def start(self, request: bytes, descriptors: Sequence[int], ready_s: float = _READY_S) -> Sequence[str]:
        """Serve what is requested; return what the user should know. Raises StoreError when it cannot."""
        with suppress(OSError):  # It says why it ended.
            socket.send_fds(self._control, [request], list(descriptors))
        notes: Sequence[str] = self._answer(ready_s).get("notes", ())
        return notes

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        """Ask something and return the answer. Raises StoreError."""
        if self._silent and request.get("ask") != "end":
            raise StoreError("the file system's server does not answer any more")
        self._control.send(json.dumps(request).encode())
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> Mapping[str, Any]:
        if not select.select([self._control], [], [], timeout_s)[0]:
            self._end_s, self._silent = _SILENT_S, True
            raise StoreError(f"the file system's server did not answer within {timeout_s:.0f} s")
        data = self._control.recv(1 << 16)
        if not data:
            raise StoreError(f"the file system's server was killed; {self._kept}")
        answer: dict[str, Any] = json.loads(data)
        if "error" in answer:
            raise StoreError(str(answer["error"]))
        return answer

    def kill(self) -> None:
        os.kill(self.pid, 9)

    def close(self) -> None:
        """Wait until everything is committed and the process has ended. Raises StoreError when not
        all of it is in the database."""
        try:
            self.ask({"ask": "end"}, self._end_s)
        except OSError:
            said: dict[str, Any] = {}
            with suppress(OSError):  # It ended before it was asked: perhaps it told why.
                said = json.loads(self._control.recv(1 << 16) or b"{}")
            if said.get("closed"):
                return  # Somebody unmounted it.
            why = said.get("error", f"the file system's server was killed during the run; {self._kept}")
            raise StoreError(str(why)) from None
        except KeyboardInterrupt:
            self._let_go()  # It commits, and ends by itself.
            raise
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go, and see that the process ends. Idempotent."""
        if self.pidfd >= 0:
            pidfd = self._let_go()
            if not select.select([pidfd], [], [], _GONE_S)[0]:
                self.kill()
            os.close(pidfd)
            os.waitpid(self.pid, 0)

    def _let_go(self) -> int:
        forget(self._control)
        self._control.close()
        pidfd, self.pidfd = self.pidfd, -1
        return pidfd
