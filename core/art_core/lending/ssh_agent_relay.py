"""A socket between the sandbox and the caller's ssh agent, which lets keys be listed and used, and no more.

An agent answers whoever may connect as its own user: over its socket keys can also be added, removed and
locked away, and root's sandbox, which is another user, is refused. So a process of the caller's listens
on a socket of its own, for one sandbox. Message numbers are from draft-miller-ssh-agent.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Mapping
from typing import NoReturn

from art_core.errors import MountError
from art_core.host.service import forget, keep_private, serve_apart, start_process

_LENGTH = 4
_LONGEST = 256 << 10
_REQUEST_IDENTITIES, _SIGN_REQUEST, _EXTENSION = 11, 13, 27
_SESSION_BIND = b"\0\0\0\x18session-bind@openssh.com"
"""Tells the agent which host a connection leads to, for keys that may not be used elsewhere."""
_FAILURE = b"\0\0\0\x01\x05"
_AT_ONCE = 32
_READY_S = 10.0


class AgentRelay:
    """The process that listens, as its supervisor sees it; `path` is where."""

    def __init__(self, agent: str, env: Mapping[str, str]) -> None:
        """Raises MountError when nothing can listen."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keep_private(self._control)
        runtime = env.get("XDG_RUNTIME_DIR", "")
        places = [
            place for place in (runtime, "/run", "/tmp") if os.path.isdir(place) and os.access(place, os.W_OK)
        ]
        with theirs:
            self._pid = start_process("art_core.lending.ssh_agent_relay", theirs.fileno())
        with contextlib.suppress(OSError):  # It says why it ended, by ending.
            self._control.send(b"\0".join(map(os.fsencode, (agent, *places[:1]))))
        ready = select.select([self._control], [], [], _READY_S)[0]
        self.path = os.fsdecode(self._control.recv(4096)) if ready else ""
        if not self.path:
            self.close()
            raise MountError(
                "--ssh-agent: no socket for it can be made in " + (places[0] if places else "/tmp")
            )

    def close(self) -> None:
        """End the process; its socket goes with it."""
        with contextlib.suppress(OSError):
            self._control.send(b"end")
        forget(self._control)
        self._control.close()
        os.waitpid(self._pid, 0)


def serve(control_fd: int) -> NoReturn:
    """Be the process. Never returns."""
    serve_apart(control_fd, _listen)


def _listen(control: socket.socket) -> None:
    agent, _, place = control.recv(1 << 16).partition(b"\0")
    directory = os.fsdecode(place) + f"/art-agent-{os.urandom(8).hex()}"
    os.mkdir(directory, 0o700)
    path = f"{directory}/socket"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(_AT_ONCE)
            control.send(os.fsencode(path))
            free = threading.BoundedSemaphore(_AT_ONCE)
            while control not in select.select([control, listener], [], [])[0]:
                client, _ = listener.accept()
                if not free.acquire(blocking=False):
                    client.close()
                    continue
                threading.Thread(target=_pass_on, args=(client, agent, free), daemon=True).start()
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.rmdir(directory)


def _pass_on(client: socket.socket, agent: bytes, free: threading.BoundedSemaphore) -> None:
    """Serve one connection from inside to its end."""
    try:
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as keys:
            keys.connect(agent)
            while (request := _message(client)) is not None:
                answer: bytes | None = _FAILURE
                if is_allowed(request[_LENGTH:]):
                    keys.sendall(request)
                    answer = _message(keys)
                if answer is None:
                    return
                client.sendall(answer)
    except OSError:
        pass
    finally:
        free.release()


def is_allowed(request: bytes) -> bool:
    """Whether a request lists keys, uses one, or says for which host it will be used."""
    kind = request[0] if request else 0
    if kind == _EXTENSION:
        return request[1:].startswith(_SESSION_BIND)
    return kind in (_REQUEST_IDENTITIES, _SIGN_REQUEST)


def _message(source: socket.socket) -> bytes | None:
    """The next message, with its length; None at the end or when it is too long."""
    head = _exactly(source, _LENGTH)
    size = int.from_bytes(head or b"", "big")
    if head is None or size > _LONGEST:
        return None
    body = _exactly(source, size)
    return None if body is None else head + body


def _exactly(source: socket.socket, size: int) -> bytes | None:
    parts = b""
    while len(parts) < size:
        part = source.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return parts
