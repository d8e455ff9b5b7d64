"""The process of a run: it has the home mounted, answers about it, and brings what changed into the database.

It is told everything on a socket to the supervisor, and tied to it: when that closes it waits for the sandbox
to be gone, and does the same as at the end of a run.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import closing
from typing import NoReturn

from art_core.errors import ArtError
from art_core.host.service import serve_apart
from art_cowfs.library import OpenBranch, Place, connect, telling
from art_overlayfs import leftovers, states
from art_overlayfs.cache import Cache, tidy
from art_overlayfs.control_server import Answers, say
from art_overlayfs.mounts import Host, Mounter, mapped
from art_overlayfs.run import OverlayRun, RunRequest

_LIMIT = 1 << 16
_FDS = 3
_RECOVERING = "the last run on this database"


def serve(control_fd: int) -> NoReturn:
    """Be that process, on a socket to the supervisor. Never returns."""
    serve_apart(control_fd, _work, _failed)


def _work(control: socket.socket) -> None:
    data, fds, _, _ = socket.recv_fds(control, _LIMIT, _FDS)
    if data:
        wished = json.loads(data)
        _serve(control, RunRequest(**{**wished, "owner": tuple(wished["owner"])}), fds)


def _failed(control: socket.socket, error: BaseException) -> None:
    if isinstance(error, ArtError):
        why = str(error)
    elif isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        why = f"the home cannot be kept: {where}{error.strerror}"
    else:
        why = f"the process of the run failed: {error!r}"
    say(control, {"error": why})


def _serve(control: socket.socket, wish: RunRequest, fds: Sequence[int]) -> None:
    workspace_fd, *namespaces = fds
    there = os.fstat(workspace_fd)
    tree = mapped(workspace_fd, wish.owner) if os.geteuid() == 0 and wish.owner != (0, os.getegid()) else -1
    mounter = Mounter(namespaces, Host(wish.path, there.st_dev, there.st_ino, tree))
    for fd in (*namespaces, *([tree] if tree >= 0 else [])):
        os.close(fd)
    place = Place(os.fsencode(wish.name), os.fsencode(wish.path), workspace_fd, wish.moved)
    try:
        with telling(wish.database):
            _run(control, wish, place, mounter)
    finally:
        mounter.close()
    say(control, {"closed": True})


def _run(control: socket.socket, wish: RunRequest, place: Place, mounter: Mounter) -> None:
    with closing(connect(wish.database, create=True)) as connection:
        own = states.identity(connection)
        sessions = f"{wish.sessions}/{own}"
        tidy(wish.layers, wish.sessions)
        cache = Cache(f"{wish.layers}/{own}", sessions, wish.cache_bytes, wish.database)
        notes = leftovers.settle(wish.database, sessions)
        uid, gid = wish.owner
        held = place._replace(fd=os.dup(place.fd))
        with OpenBranch(wish.database, wish.branch, workspace=held, uid=uid, gid=gid) as session:
            killed = bool(notes)
            notes += [line for line in session.greetings() if not (killed and line.startswith(_RECOVERING))]
            with OverlayRun(wish, place, session, connection, cache, sessions) as running:
                overlays = running.prepare(notes)
                mounter.mount(running.upper.name, overlays, sorted(session.workspaces - {place.name}))
                running.mounted = True
                Answers(control, session, running, wish.state).run(notes)
                with mounter.unmounting(overlays):
                    running.bring_in()
                running.keep()
