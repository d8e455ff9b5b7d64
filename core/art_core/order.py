"""What the supervisor tells its launcher, and how: descriptors in batches, then one marshalled order."""

from __future__ import annotations

# `socket` imports selectors and makes hundreds of enum members: 3 ms of a start.
import _socket
from array import array
from typing import Any, NamedTuple

Socket = _socket.socket

UNTRACED, TRACED = b".", b"t"
"""What a launcher is told first: whether it will be told how to trace."""
MESSAGE_LIMIT = 160 * 1024
DESCRIPTORS_PER_MESSAGE = 200


STAGE = "/dev/shm"
"""Where the sources of a root caller's mounts, and a home that is mounted, appear in the namespace
of the run: a directory that every host has, and no user keeps a workspace in."""


class Order(NamedTuple):
    """What to launch. Descriptors are named by their place in what was sent before."""

    argv: list[str]
    env: dict[bytes, bytes]
    descriptors: dict[int, int]
    """Number in the launched process -> place of the descriptor."""
    report: list[int]
    """Numbers at which the launched process gets the report socket."""
    stage: list[int]
    """Places of the sources to stage: what is staged takes their places."""
    identity: tuple[int, int] | None
    """The (uid, gid) to become; None keeps the launcher's."""
    terminal: int
    """Place of the caller's terminal, -1 without one."""
    terminal_state: list[Any]
    """What to put it back to, as termios.tcgetattr gives it."""
    enter: list[int]
    """Places of the mount namespace to be in, and of the user namespace that it belongs to; empty
    for one of its own."""
    worker: int
    """Place of the pidfd of the process that serves the home, -1 without one."""
    limits: dict[str, Any]
    """What the launcher holds: `groups`, a limit by its name, in `places` (`groups.Places`), and
    `timeout`, in seconds."""
    record: int
    """Place of the descriptor that the record of a traced run goes to, -1 without one."""
    execs: int
    """How many programs are executed before the record begins."""


class Step(NamedTuple):
    """The step before the launch that failed, with its errno; an empty name when it was launched."""

    name: str
    errno: int


def pair() -> tuple[Socket, Socket]:
    """Two connected ends that keep messages apart."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)


def send(connection: Socket, order: bytes, descriptors: list[int]) -> None:
    """Hand over a marshalled order, with its descriptors in batches before it."""
    for start in range(0, len(descriptors), DESCRIPTORS_PER_MESSAGE):
        batch = array("i", descriptors[start : start + DESCRIPTORS_PER_MESSAGE])
        connection.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, batch)])
    connection.send(order)


def receive(connection: Socket) -> tuple[bytes, list[int]] | None:
    """The order and its descriptors; None when the other side went away without one."""
    descriptors = array("i")
    space = _socket.CMSG_SPACE(DESCRIPTORS_PER_MESSAGE * descriptors.itemsize)
    while True:
        data, ancillary, _, _ = connection.recvmsg(MESSAGE_LIMIT, space, _socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        if not data:
            return None
        if data != b"+":
            return data, descriptors.tolist()
