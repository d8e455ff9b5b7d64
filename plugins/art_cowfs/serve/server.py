"""The process that serves a mounted branch.

It is told everything on a socket to the supervisor, and tied to it: when that closes, what was
answered is committed and the process ends. Whoever dies, the kernel takes the mount away with the
last descriptor of /dev/fuse.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import apsw
import trio

from art_core.errors import ArtError
from art_core.host.service import serve_apart
from art_core.store.history import Ending, Opening
from art_cowfs.access.branch import OpenBranch
from art_cowfs.access.place import Place
from art_cowfs.db import unwritable
from art_cowfs.db.locks import BranchLost, Occupied
from art_cowfs.db.schema import UnwrittenError
from art_cowfs.lower.seeds import Seed
from art_cowfs.opening.database import telling
from art_cowfs.serve.control_server import ControlServer
from art_cowfs.serve.home_service import ENDING_S, look_after, say, watch
from art_cowfs.serve.mount_request import MountRequest, unpacked
from art_cowfs.serve.shares import Share
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import ROOT, Tell
from art_fusefs.connection import Connection
from art_fusefs.invalidation import Invalidation
from art_fusefs.operations import Operations

if TYPE_CHECKING:
    from art_cowfs.tree.nodes import CowNode

BATCH_S = 0.05
BATCH_BYTES = 2 << 20
WAITING_BYTES = 16 << 20
SYNC_S = 1.0
HOLD_S = 3.0
"""How often it is looked whether the file of locks is there."""
REQUEST_BYTES, REQUEST_FDS = 1 << 20, 250
"""The most that is told at the start. The kernel hands over no more than 253 descriptors (unix(7))."""
SWITCH_S = 0.1e-3
"""How long the writer's thread may have to wait for the interpreter."""


class Committer:
    """Hands batches to the writer: after a short time, or when they are large enough."""

    def __init__(self) -> None:
        self.tree: Tree | None = None
        self.session: OpenBranch | None = None
        self._dirty = trio.Event()
        self._room = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def wake(self) -> None:
        self._dirty.set()

    def _written(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._made_room)

    def _made_room(self) -> None:
        self._room.set()
        self._room = trio.Event()

    def room(self) -> trio.Event | None:
        """What an operation that changes something has to wait for; None when it may go on. Raises
        EROFS when nothing will be written any more."""
        assert self.tree is not None and self.session is not None
        pending, writer = self.tree.pending, self.session.writer
        if writer.lost:
            raise OSError(errno.EROFS, str(writer.failure))
        if pending.batch.size > BATCH_BYTES:
            pending.hand_over(self._written)
        return self._room if pending.waiting > WAITING_BYTES and writer.failure is None else None

    async def run(self) -> None:
        assert self.tree is not None and self.session is not None
        synced = trio.current_time()
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            await trio.sleep(BATCH_S)
            self.tree.pending.hand_over(self._written)
            self.tree.complete_racy_files()
            if trio.current_time() - synced >= SYNC_S:
                synced = trio.current_time()
                self.session.writer.sync(lambda failure: None)


def serve(control_fd: int) -> NoReturn:
    """Be the server, on a socket to the supervisor. Never returns."""
    serve_apart(control_fd, _work, _failed)


def _work(control: socket.socket) -> None:
    sys.setswitchinterval(SWITCH_S)
    trio.run(_serve, control)


def _failed(control: socket.socket, error: BaseException) -> None:
    if isinstance(error, ArtError):
        why = str(error)
    elif isinstance(error, OSError):
        why = f"not everything that was answered reached the database: {error.strerror}"
    else:
        why = f"the file system's server failed: {error!r}"
    say(control, {"error": why})


async def _serve(control: socket.socket) -> None:
    data, fds, _, _ = socket.recv_fds(control, REQUEST_BYTES, REQUEST_FDS)
    if not data:
        return
    request = unpacked(data)
    try:
        await _serve_request(control, request, fds)
    finally:
        if request.mounted_at:
            # On the host it stays when the one who mounted it was killed.
            from art_core.host.fuse_mount import unmount

            unmount(request.mounted_at)


async def _serve_request(control: socket.socket, request: MountRequest, fds: Sequence[int]) -> None:
    fuse_fd, workspace_fd = fds[0], fds[1] if len(fds) > 1 else -1
    if request.read_only:
        from art_cowfs.serve.read_only import serve_view

        await serve_view(control, request, fuse_fd, workspace_fd)
        return
    committer = Committer()
    shares = [
        Share(one.guest, fd, os.path.basename(one.source))
        for one, fd in zip(request.shares, fds[2 + len(request.seeds) :], strict=True)
    ]
    connection = Connection(fuse_fd)
    invalidation = Invalidation(connection.fd)
    watching = trio.Event()
    with telling(request.database):
        try:
            opened = _opened(request, fds, committer.wake, invalidation.tell, watching.set)
        except (UnwrittenError, OSError, apsw.Error):
            if not unwritable.is_full(request.database):
                raise
            await _serve_full(control, request, connection.fd, workspace_fd)
            return
    with opened as session:
        committer.tree, committer.session = session.tree, session
        operations = _operations(session, shares, committer.room, invalidation.tell)
        others = ControlServer(session, operations.durable, request.state)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(committer.run)
                nursery.start_soon(hold, session)
                nursery.start_soon(watch, session.tree.below, watching)
                session.tree.below.look_after = partial(nursery.start_soon, look_after, session.tree.below)
                nursery.start_soon(_answer, control, session, operations, nursery.cancel_scope)
                nursery.start_soon(others.run)
                say(control, {"ready": True, "notes": session.greetings()})
                await connection.serve(operations)
                nursery.cancel_scope.cancel()
        finally:
            others.close()
            if invalidation.close(ENDING_S):
                connection.close()
    say(control, {"closed": True})


def _opened(
    request: MountRequest,
    fds: Sequence[int],
    wake: Callable[[], None],
    tell: Tell,
    watching: Callable[[], None],
) -> OpenBranch:
    """The branch that is requested. Raises OSError, DatabaseError and apsw.Error."""
    seeds = [Seed(one.guest, one.source, fd) for one, fd in zip(request.seeds, fds[2:], strict=False)]
    workspace = None
    if request.workspace is not None:
        name, path, moved = request.workspace
        workspace = Place(name, path, os.dup(fds[1]), moved)
    return OpenBranch(
        request.database,
        request.at,
        workspace=workspace,
        uid=request.uid,
        gid=request.gid,
        wake=wake,
        tell=tell,
        watching=watching,
        growth=request.growth,
        seeds=seeds,
        hidden=request.hidden,
    )


async def _serve_full(control: socket.socket, request: MountRequest, fuse_fd: int, workspace_fd: int) -> None:
    """A run that only reads needs no room."""
    from art_cowfs.serve.read_only import serve_view

    note = f"there is no space left on the disk of {request.database!r}: the home and the workspace are"
    await serve_view(control, request, fuse_fd, workspace_fd, [f"{note} read-only in this run; free some"])


def _operations(
    session: OpenBranch,
    shares: Sequence[Share],
    room: Callable[[], trio.Event | None],
    tell: Tell,
) -> Operations[CowNode]:
    """The file system's answers; more has to be seen to where it shows seeds or shares."""
    if not shares and session.tree.node(ROOT).origin is None:
        return Operations(session.tree, room, session.workspaces)
    from art_cowfs.serve.home_operations import HomeOperations
    from art_cowfs.serve.shares import SharedTree

    backend = SharedTree(session.tree, shares, time.time_ns())
    return HomeOperations(backend, room, session.workspaces, session.workspace_name, tell)


async def hold(session: OpenBranch) -> None:
    """Hold the branch anew when somebody removed the file of locks, before another run comes."""
    while True:
        await trio.sleep(HOLD_S)
        if not session.is_held:
            # Who lost it finds that at the next commit.
            with contextlib.suppress(BranchLost, Occupied):
                await trio.to_thread.run_sync(session.hold)


def _logged(session: OpenBranch, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take down what a command does. A log that cannot be written is no reason to end it."""
    about = {name: value for name, value in request.items() if name not in ("ask", "id")}
    try:
        if request["ask"] == "begin":
            number, before = session.begin(Opening(**about))
            return {"id": number, "before": before}
        session.ended(request["id"], Ending(**about))
        return {}
    except (ArtError, OSError, apsw.Error) as error:
        return {"failed": f"the log of the database has not all of this session: {error}"}


async def _answer(
    control: socket.socket, session: OpenBranch, operations: Operations[Any], running: trio.CancelScope
) -> None:
    """Do what the supervisor asks; end with it."""
    control.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(control)
        try:
            data = control.recv(1 << 16)
        except OSError:
            data = b""
        request = json.loads(data) if data else {"ask": "end"}
        if request["ask"] == "end":
            running.cancel()
            return
        if request["ask"] == "notes":
            say(control, {"notes": session.notes()})
        if request["ask"] == "full":
            say(control, {"full": session.full})
        if request["ask"] in ("begin", "ended"):
            say(control, _logged(session, request))
        if request["ask"] == "commit":
            try:
                await operations.durable()
                say(control, {"committed": True, "requests": operations.requests})
            except OSError as failure:
                say(control, {"error": f"what was answered cannot be committed: {failure.strerror}"})
