"""The store, as the core sees it: a database of `art_cowfs`, mounted otherwise.

Whatever reads or writes a database first brings in what a killed run left, so that a branch is always what
its last run made of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from importlib.util import find_spec
from typing import Literal, NamedTuple

from art_core.contracts import Context, Mount, Mounted, Namespace, Reason, Workspace
from art_core.errors import StoreError
from art_core.host.stage import HOME, STAGE
from art_core.loader import channel
from art_core.store.files import HomeReader, HomeWriter
from art_core.store.history import Point, Session
from art_core.store.maintenance import Collected, Finding, Info, Squashed
from art_core.trees import TreeReader, TreeWriter
from art_cowfs import library as cowfs
from art_overlayfs import uppers

LIBRARIES = ("apsw", "trio")
_OLDEST = (5, 11)
"""The first kernel that lets a user mount one in a namespace of their own."""
_READY_S = 3600.0
"""What only the database has is written out before a run."""


class Where(NamedTuple):
    """The places of all databases: for the sockets of runs, what runs change, and what is cached."""

    sockets: str
    sessions: str
    layers: str
    cache_bytes: int


def reasons(context: Context) -> Sequence[Reason]:
    """Why no home can be mounted here."""
    found = []
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        found.append(Reason(f"{', '.join(missing)} not installed", channel.cure("library", missing[0])))
    with open("/proc/filesystems") as file:
        if "overlay" not in file.read().split():
            found.append(Reason("the kernel has no overlayfs", "sudo modprobe overlay"))
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())
    if context.uid != 0 and release < _OLDEST:
        found.append(
            Reason("only root mounts an overlayfs before Linux 5.11", "a newer kernel, or --store sqlite")
        )
    return found


def create(context: Context) -> Databases:
    chosen = os.path.expanduser(context.settings.directory)
    if chosen and not os.path.isabs(chosen):
        raise StoreError(f"plugins.overlayfs.directory: {chosen!r} is not an absolute path; write it in full")
    if f"{chosen}/".startswith(f"{STAGE}/"):
        raise StoreError(f"{chosen} lies in {STAGE}, which runs cover; {uppers.ELSEWHERE}")
    return Databases(
        cowfs.Databases(f"{context.state_dir}/sockets"),
        Where(
            sockets=f"{context.state_dir}/sockets",
            sessions=f"{chosen or context.state_dir}/sessions",
            layers=f"{chosen or context.cache_dir}/layers",
            cache_bytes=max(0, context.settings.cache_mb) << 20,
        ),
    )


class Databases:
    """Opens databases by their path."""

    def __init__(self, databases: cowfs.Databases, where: Where) -> None:
        self._databases = databases
        self._where = where

    def claims(self, locator: str) -> bool:
        return self._databases.claims(locator)

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Database:
        return Database(self._databases.open(locator, mode), self._where)


class Database:
    """One database. See `contracts.Store`."""

    def __init__(self, kept: cowfs.Database, where: Where) -> None:
        self._kept = kept
        self._where = where

    def hidden(self) -> Sequence[str]:
        return [*self._kept.hidden(), self._where.sessions, self._where.layers]

    def endings(self) -> Sequence[str]:
        return self._kept.endings()

    def is_database(self, head: bytes) -> bool:
        return self._kept.is_database(head)

    @contextmanager
    def mount(
        self,
        branch: str,
        workspace: Workspace,
        make_namespace: Callable[[], Namespace],
        growth: int = 0,
        seeds: Sequence[Mount] = (),
        shares: Sequence[Mount] = (),
    ) -> Iterator[Mounted]:
        server = cowfs.Server(
            "art_overlayfs.server",
            "what it had changed is kept, and the next run brings it into the database",
        )
        try:
            namespace = make_namespace()
            fds = [workspace.fd, namespace.mnt_fd]
            if namespace.user_fd is not None:
                fds.append(namespace.user_fd)
            wish = {
                "database": self._kept.path,
                "branch": branch,
                "state": self._where.sockets,
                "sessions": self._where.sessions,
                "layers": self._where.layers,
                "cache_bytes": self._where.cache_bytes,
                "name": workspace.name,
                "path": workspace.real,
                "moved": workspace.moved,
                "owner": namespace.owner,
                "hidden": self._kept.others([workspace.real]),
            }
            notes = server.start(json.dumps(wish).encode(), fds, _READY_S)
        except BaseException:
            server.abandon()
            raise
        try:
            yield Mounted(HOME, namespace, server, notes)
        finally:
            server.close()

    def _settled(self) -> cowfs.Database:
        """The database, with all that killed runs left."""
        if os.path.isdir(self._where.sessions) and os.path.exists(self._kept.path):
            from art_cowfs.library import connect
            from art_overlayfs import leftovers, states

            with closing(connect(self._kept.path)) as connection:
                own = states.identity(connection)
            leftovers.settle(self._kept.path, f"{self._where.sessions}/{own}")
        return self._kept

    def reader(self, at: str, workspace: Workspace) -> AbstractContextManager[TreeReader]:
        return self._settled().reader(at, workspace)

    def writer(self, branch: str, workspace: Workspace) -> AbstractContextManager[TreeWriter]:
        return self._settled().writer(branch, workspace)

    def view(
        self,
        at: str,
        workspace: Workspace | None,
        make_namespace: Callable[[], Namespace],
        *,
        read_only: bool,
    ) -> AbstractContextManager[Mounted]:
        return self._settled().view(at, workspace, make_namespace, read_only=read_only)

    def points(self) -> Sequence[Point]:
        return self._kept.points()

    def snapshot(self, branch: str, name: str, note: str = "") -> Point:
        return self._settled().snapshot(branch, name, note)

    def make_branch(self, name: str, at: str) -> Point:
        return self._settled().make_branch(name, at)

    def restore(self, branch: str, at: str, paths: Sequence[bytes], workspace: Workspace) -> Point:
        return self._settled().restore(branch, at, paths, workspace)

    def remove(self, name: str) -> Point:
        return self._settled().remove(name)

    def sessions(self) -> Sequence[Session]:
        return self._kept.sessions()

    def info(self) -> Info:
        return self._kept.info()

    def check(self) -> Iterator[Finding]:
        return self._kept.check()

    def repair(self, backup: str) -> Iterator[Finding]:
        return self._settled().repair(backup)

    def collect(self) -> Collected:
        """What is cached goes as well."""
        from art_cowfs.library import connect
        from art_overlayfs import states
        from art_overlayfs.cache import Cache

        collected = self._settled().collect()
        with closing(connect(self._kept.path)) as connection:
            own = states.identity(connection)
        layers = f"{self._where.layers}/{own}"
        if os.path.isdir(layers):
            cache = Cache(layers, f"{self._where.sessions}/{own}", 0, self._kept.path)
            with cache.locked():
                freed = cache.clear()
            collected = collected._replace(freed=collected.freed + freed, returned=collected.returned + freed)
        return collected

    def squash(self, branch: str) -> Squashed:
        return self._kept.squash(branch)

    def home(self, at: str, workspace: Workspace | None) -> AbstractContextManager[HomeReader]:
        return self._settled().home(at, workspace)

    def home_writer(self, branch: str, workspace: Workspace | None) -> AbstractContextManager[HomeWriter]:
        return self._settled().home_writer(branch, workspace)

    def new_home(self, branch: str) -> AbstractContextManager[HomeWriter]:
        return self._kept.new_home(branch)

    def workspace_at(self, name: str) -> str | None:
        return self._kept.workspace_at(name)

    def close(self) -> None:
        self._kept.close()
