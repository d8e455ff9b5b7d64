"""Serving a home that is only read: a layer that does not change, with what the host shows under it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from art_cowfs.access.frozen_read import standing
from art_cowfs.access.place import Place, know
from art_cowfs.db.paths import companions
from art_cowfs.db.schema import HOST_NUMBERS
from art_cowfs.layers.chain import Chain
from art_cowfs.lower.lower import Lower
from art_cowfs.serve.home_service import look_after, say, watch
from art_cowfs.serve.mount_request import MountRequest
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import Tell
from art_fusefs.connection import Connection
from art_fusefs.invalidation import Invalidation
from art_fusefs.operations import Operations

ENDING_S = 2.0


async def serve_view(
    control: socket.socket,
    request: MountRequest,
    fuse_fd: int,
    workspace_fd: int,
    notes: Sequence[str] = (),
) -> None:
    """See `server.serve`. `notes` are what the user should know."""
    connection = Connection(fuse_fd)
    invalidation = Invalidation(connection.fd)
    watching = trio.Event()
    with _opened(request, workspace_fd, invalidation.tell, watching) as tree:
        operations = Operations(tree)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, tree.below, watching)
                tree.below.look_after = partial(nursery.start_soon, look_after, tree.below)
                nursery.start_soon(_answer, control, nursery.cancel_scope)
                say(control, {"ready": True, "notes": list(notes)})
                await connection.serve(operations)
                nursery.cancel_scope.cancel()
        finally:
            if invalidation.close(ENDING_S):
                connection.close()
            tree.below.close()
    say(control, {"closed": True})


@contextmanager
def _opened(request: MountRequest, workspace_fd: int, tell: Tell, watching: trio.Event) -> Iterator[Tree]:
    path, at = request.database, request.at
    with standing(path, at) as still, contextlib.closing(still.connect()) as connection:
        lower = None
        name = b""
        if request.workspace is not None:
            name, place, moved = request.workspace
            know(connection, Place(name, place, workspace_fd, moved))
            lower = Lower(workspace_fd, [*companions(path), *request.hidden])
        yield Tree(
            Chain(connection, at, still.layer, workspace=name),
            None,
            lower,
            uid=request.uid,
            gid=request.gid,
            numbers=lambda: (HOST_NUMBERS >> 1, HOST_NUMBERS),
            path=os.path.dirname(path) or "/",
            tell=tell,
            watching=watching.set,
        )


async def _answer(control: socket.socket, running: trio.CancelScope) -> None:
    """Nothing has to be committed; end with the one who asks."""
    control.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(control)
        try:
            data = control.recv(1 << 16)
        except OSError:
            data = b""
        if not data or json.loads(data).get("ask") == "end":
            running.cancel()
            return
        say(control, {"committed": True, "notes": [], "full": 0})
