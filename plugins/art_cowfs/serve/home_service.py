"""What every process that serves a mounted home does: answers its supervisor, and watches the host."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import trio

from art_cowfs.tree.lower_view import LowerView

if TYPE_CHECKING:
    pass

EVENTS_S = 0.02
"""How long events of the host are collected: programs write a file in many steps."""
LOOK_S = 0.8
"""How often open files of the host that are not watched are looked at."""

ENDING_S = 2.0
"""How long the thread that tells the kernel may need to end."""


def say(control: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        control.send(json.dumps(message).encode())


async def watch(below: LowerView, watching: trio.Event) -> None:
    """Take in what happens on the host, from the first watch on."""
    await watching.wait()
    assert below.watches is not None
    while True:
        await trio.lowlevel.wait_readable(below.watches.fd)
        below.take()
        await trio.sleep(EVENTS_S)


async def look_after(below: LowerView) -> None:
    """Look at open files of the host that are not watched, while there are any."""
    while below.unwatched:
        await trio.sleep(LOOK_S)
        below.look_at_unwatched()
