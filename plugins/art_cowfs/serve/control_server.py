"""What a server answers to other processes of its user: `commit`, `freeze` for a long read or a snapshot,
`secure` for what a pull is about to do to the host, and `accept` for what it did."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import apsw
import trio

from art_core.errors import ArtError
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.copy_up import CopyUpSteps
from art_cowfs.access.copy_up_request import answer, wanted_of
from art_cowfs.db import control_socket
from art_cowfs.layers.layers import Named
from art_cowfs.tree.other_host import accepted_of

_LIMIT = 1 << 16
Answer = tuple[dict[str, object], int]
"""What is said, and a descriptor that goes with it, -1 for none."""


class ControlServer:
    """The socket on which a session can be asked. Where none can be made nobody can ask."""

    def __init__(self, session: OpenBranch, durable: Callable[[], Awaitable[None]], directory: str) -> None:
        self._session = session
        self._durable = durable
        self._open = 0
        self._listening: socket.socket | None = None
        self._path = ""
        with contextlib.suppress(OSError):
            self._listening, self._path = control_socket.listen(directory)
            session.reachable(self._path)

    async def run(self) -> None:
        """Answer until cancelled."""
        if self._listening is None:
            return
        listening = trio.socket.from_stdlib_socket(self._listening)
        async with trio.open_nursery() as nursery:
            while True:
                connection, _ = await listening.accept()
                nursery.start_soon(self._talk, connection)

    async def _talk(self, connection: Any) -> None:
        self._open += 1
        try:
            if control_socket.may_ask(connection):
                while data := await connection.recv(_LIMIT):
                    await self._reply(connection, json.loads(data))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            pass  # What it sent is no request, or it went away.
        finally:
            self._open -= 1
            connection.close()
        if not self._open:
            await trio.to_thread.run_sync(self._merge)

    async def _reply(self, connection: Any, request: Mapping[str, Any]) -> None:
        answer, fd = await self._do(request)
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, "little"))] if fd >= 0 else []
            await connection.sendmsg([json.dumps(answer).encode()], rights)
        finally:
            if fd >= 0:
                os.close(fd)

    async def _do(self, request: Mapping[str, Any]) -> Answer:
        ask = request.get("ask")
        try:
            if ask not in ("commit", "freeze", "accept", "secure"):
                return {"error": f"the server knows nothing of {ask!r}"}, -1
            answer: dict[str, object] = {"committed": True}
            if ask == "accept":
                for one in accepted_of(request):
                    self._session.accept(one)
            elif ask == "secure":
                answer = await self._secure(request)
            await self._durable()
            if ask != "freeze":
                return answer, -1
            name = request.get("name")
            named = Named(str(name), str(request.get("note", ""))) if name is not None else None
            layer, pin = self._session.freeze(named)
            return {"layer": layer}, pin
        except OSError as error:
            return {"error": f"what was answered cannot be committed: {error.strerror}"}, -1
        except ArtError as error:
            return {"error": str(error)}, -1

    async def _secure(self, request: Mapping[str, Any]) -> dict[str, object]:
        """A little at a time, as the file system is answered by the same thread."""
        securing = CopyUpSteps(self._session, wanted_of(request), contents=bool(request["contents"]))
        for _ in securing.steps():
            await trio.sleep(0)
        return answer(securing.found)

    def _merge(self) -> None:
        with contextlib.suppress(apsw.Error, ArtError):  # It is done another time.
            self._session.merge()

    def close(self) -> None:
        if self._listening is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            self._listening.close()
