"""Sets of descriptors to wait for, as strace(1) writes them."""

from __future__ import annotations

import struct

from art_ptrace.values import constants, network_constants, scalars
from art_ptrace.values.arguments import Argument, Read, Values, array, record
from art_ptrace.values.scalars import pointer

_POLLED = scalars.flags(network_constants.POLL_EVENTS)
_EPOLLED = scalars.flags(network_constants.EPOLL_EVENTS)


def _poll(raw: bytes) -> str:
    fd, events, _ = struct.unpack("ihH", raw)
    return f"{{fd={fd}, events={_POLLED(events & 0xFFFF)}}}" if fd >= 0 else f"{{fd={fd}}}"


POLL = array(lambda values, result: values[1], 8, _poll, narrow=True)


def polled(raw: bytes) -> str:
    """The answers of poll(2) that are not empty."""
    parts = []
    for start in range(0, len(raw) - 7, 8):
        fd, _, answer = struct.unpack_from("iHH", raw, start)
        if answer and fd >= 0:
            parts.append(f"{{fd={fd}, revents={_POLLED(answer)}}}")
    return f"[{', '.join(parts)}]"


def _epoll_event(raw: bytes) -> str:
    events, word = struct.unpack("IxxxxQ" if constants.ARM else "=IQ", raw)
    return f"{{events={_EPOLLED(events)}, data={{u32={word & 0xFFFFFFFF}, u64={word}}}}}"


_EPOLL_SIZE = 16 if constants.ARM else 12
EPOLL_EVENT = record(_EPOLL_SIZE, _epoll_event)
EPOLL_EVENTS = array(lambda values, result: result, _EPOLL_SIZE, _epoll_event, at="exit")


def _descriptor_set(read: Read, value: int, values: Values, result: int) -> bytes | None:
    count = scalars.int32(values[0])
    return read(value, (min(max(count, 0), 1024) + 63) // 64 * 8) if value else None


def _render_set(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    bits = int.from_bytes(raw, "little")
    return f"[{' '.join(str(fd) for fd in range(bits.bit_length()) if bits >> fd & 1)}]"


DESCRIPTOR_SET = Argument(fetch=_descriptor_set, render=_render_set)
