"""What the supervisor tells its launcher, and how: descriptors in batches, then one marshalled order."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

MESSAGE_LIMIT = 160 * 1024
DESCRIPTORS_PER_MESSAGE = 200


STAGE = "/tmp"
"""Where the sources of a root caller's mounts appear in the namespace of the run."""


class Order(NamedTuple):
    """What to launch. Descriptors are named by their place in what was sent before."""

    argv: list[str]
    env: dict[bytes, bytes]
    descriptors: dict[int, int]
    """Number in the launched process -> place of the descriptor."""
    report: list[int]
    """Numbers at which the launched process gets the report socket."""
    stage: list[int]
    """Places of the sources to stage, in the order of their staged paths."""
    identity: tuple[int, int] | None
    """The (uid, gid) to become; None keeps the launcher's."""
    terminal: int
    """Place of the caller's terminal, -1 without one."""
    terminal_state: list[Any]
    """What to put it back to, as termios.tcgetattr gives it."""


class Step(NamedTuple):
    """The step before the launch that failed, with its errno; an empty name when it was launched."""

    name: str
    errno: int


def send(connection: socket.socket, order: bytes, descriptors: list[int]) -> None:
    """Hand over a marshalled order, with its descriptors in batches before it."""
    for start in range(0, len(descriptors), DESCRIPTORS_PER_MESSAGE):
        socket.send_fds(connection, [b"+"], descriptors[start : start + DESCRIPTORS_PER_MESSAGE])
    connection.send(order)


def receive(connection: socket.socket) -> tuple[bytes, list[int]] | None:
    """The order and its descriptors; None when the other side went away without one."""
    descriptors: list[int] = []
    while True:
        data, sent, _, _ = socket.recv_fds(
            connection, MESSAGE_LIMIT, DESCRIPTORS_PER_MESSAGE, socket.MSG_CMSG_CLOEXEC
        )
        descriptors += sent
        if not data:
            return None
        if data != b"+":
            return data, descriptors


def staged_path(index: int) -> str:
    """Where the source number `index` appears in the namespace of the run."""
    return f"{STAGE}/{index}"
