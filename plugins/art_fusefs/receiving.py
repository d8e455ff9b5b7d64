"""Receiving requests: look for the next one for a moment before going to sleep.

Waking a processor costs more than most requests do, in a virtual machine above all, and requests
come in rows: a program waits for one answer and asks the next thing. pyfuse3 gives no switch for
that, so its private function that waits is replaced, in the versions where it is known.
"""

from __future__ import annotations

import select
import time
from typing import Any

import pyfuse3
import trio

from art_fusefs.handshake import Handshake

SPIN_S = 60e-6
"""How long to look before sleeping."""
_TURN_S = 1e-3
"""How long requests may flow before timers and other tasks get their turn."""
_KNOWN = ("3.2.1", "3.3.", "3.4.", "3.5.")


class Receiver:
    """Decides which of pyfuse3's tasks receives the next request: one at a time, and the same one
    for as long as no request has to wait for something. `fd` is the descriptor for libfuse."""

    def __init__(self, fd: int) -> None:
        """Takes the descriptor that serves the mount."""
        known = pyfuse3.__version__.startswith(_KNOWN) and hasattr(pyfuse3, "_wait_fuse_readable")
        self._handshake = Handshake(fd) if known else None
        self.fd = fd
        if self._handshake is not None:
            self.fd = self._handshake.fd
            vars(pyfuse3)["_wait_fuse_readable"] = self._first
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)
        self._task: Any = None
        self._others = trio.lowlevel.ParkingLot()
        self._turn = 0.0

    async def _first(self) -> bool:
        """The first request was received by libfuse when this is called the second time."""
        if self._task is None:
            self._task = trio.lowlevel.current_task()
            return True
        if self._handshake is not None:
            self._handshake.finish()
            self._handshake = None
            vars(pyfuse3)["_wait_fuse_readable"] = self.wait
        return await self.wait()

    async def wait(self) -> bool:
        """Return when a request can be received, by the calling task."""
        task = trio.lowlevel.current_task()
        while self._task not in (None, task):
            await self._others.park()
        self._task = task
        poll, clock = self._poll.poll, time.perf_counter
        now = clock()
        if now - self._turn > _TURN_S:
            await trio.lowlevel.checkpoint()
            self._turn = now = clock()
        until = now + SPIN_S
        while clock() < until:
            if poll(0):
                return True
        await trio.lowlevel.wait_readable(self.fd)
        self._turn = clock()
        return True

    def pass_on(self) -> None:
        """The request of the calling task is going to wait: another task receives the next one."""
        if self._task is trio.lowlevel.current_task():
            self._task = None
            self._others.unpark()
