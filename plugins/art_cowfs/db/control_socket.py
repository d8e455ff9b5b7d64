"""A server that others can ask: a socket that the file beside the database names.

It lies in ART's state, which is the caller's alone and which no sandbox sees. A server that was killed
leaves its socket behind; the next one that comes removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

_LIMIT = 1 << 16


class Unreachable(OSError):
    """Nobody answers there."""


@contextlib.contextmanager
def _directory(path: str) -> Iterator[tuple[int, str]]:
    """A descriptor of a directory, and a short name for it: an address of a socket has 108 bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd, f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def listen(directory: str) -> tuple[socket.socket, str]:
    """A socket that waits, and its path. Raises OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with _directory(directory) as (fd, short):
        fcntl.flock(fd, fcntl.LOCK_EX)  # Between bind(2) and listen(2) it looks left behind.
        for name in os.listdir(fd):
            if name.endswith(".sock") and not _answers(f"{short}/{name}"):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=fd)
        name = f"{os.getpid()}.sock"
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            listening.bind(f"{short}/{name}")
            os.chmod(f"{short}/{name}", 0o600)
            listening.listen()
        except BaseException:
            listening.close()
            raise
    return listening, f"{directory}/{name}"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def may_ask(connection: socket.socket) -> bool:
    """Whether the other side is the same user, or root (unix(7))."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("iII", packed)[1]
    return uid in (0, os.getuid())


class ServerConnection:
    """A connection to a server. While it is open the server merges nothing."""

    def __init__(self, at: str, timeout_s: float) -> None:
        """Raises Unreachable."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            with _directory(os.path.dirname(at)) as (_, short):
                self._socket.settimeout(timeout_s)
                self._socket.connect(f"{short}/{os.path.basename(at)}")
        except OSError as error:
            self._socket.close()
            raise Unreachable(error.errno, error.strerror) from None

    def ask(self, request: Mapping[str, object]) -> tuple[dict[str, Any], list[int]]:
        """What is answered, and the descriptors that came with it. Raises Unreachable."""
        try:
            self._socket.send(json.dumps(request).encode())
            data, fds, _, _ = socket.recv_fds(self._socket, _LIMIT, 1)
        except OSError as error:
            raise Unreachable(error.errno, error.strerror) from None
        if not data:
            raise Unreachable(0, "the server ended")
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):  # Whoever writes beside a database can name a socket of theirs.
            raise Unreachable(0, "its answer makes no sense")
        return answer, fds

    def close(self) -> None:
        self._socket.close()
