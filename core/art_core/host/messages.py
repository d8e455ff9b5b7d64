"""Messages between processes: descriptors in batches, then one marshalled message."""

from __future__ import annotations

# `socket` imports selectors and makes hundreds of enum members: 3 ms of a start.
import _socket
from array import array

Socket = _socket.socket

MESSAGE_LIMIT = 160 * 1024
DESCRIPTORS_PER_MESSAGE = 200


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
