"""The store, as the core sees it: databases, and the server process of each mount."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from typing import Literal

from art_core.config import dirs
from art_core.contracts import Mount, Mounted, Namespace, Reason, Workspace
from art_core.errors import StoreError
from art_core.host.tree import within
from art_core.loader import channel
from art_core.store.files import HomeReader, HomeWriter
from art_core.store.history import Point, Session
from art_core.store.maintenance import Collected, Finding, Info, Squashed
from art_core.trees import TreeReader, TreeWriter
from art_core.view import known_databases
from art_cowfs.db.paths import ENDINGS, companions
from art_cowfs.serve.client import Server, parent_of, shown_path, shown_workspace
from art_cowfs.serve.mount_request import MountRequest

LIBRARIES = ("apsw", "trio")


def reasons() -> Sequence[Reason]:
    """Why no home can be mounted here."""
    found = []
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        found.append(Reason(f"{', '.join(missing)} not installed", channel.cure("library", missing[0])))
    if not os.path.exists("/dev/fuse"):
        cure = "run it outside of this sandbox of ART" if os.environ.get("ART") else "sudo modprobe fuse"
        found.append(Reason("/dev/fuse is not there", cure))
    elif not os.access("/dev/fuse", os.R_OK | os.W_OK):
        found.append(Reason("/dev/fuse may not be opened", "sudo chmod 666 /dev/fuse"))
    return found


class Databases:
    """Opens databases by their path. `state` is where servers can be asked."""

    def __init__(self, state: str) -> None:
        self._state = state

    def claims(self, locator: str) -> bool:
        return "://" not in locator

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Database:
        # As SQLite does: its files lie beside what a link leads to, and so do the locks.
        path = os.path.realpath(os.path.expanduser(locator))
        if os.path.isdir(path):
            raise StoreError(f"--db {locator}: this is a directory; name a database file")
        if os.path.exists(path) and not os.path.isfile(path):
            raise StoreError(f"--db {locator}: this is not a regular file; name a database file")
        if mode == "create" and os.path.exists(path) and not os.access(path, os.W_OK):
            from art_cowfs.db.unwritable import READ_ONLY

            raise StoreError(f"--db {locator}: {READ_ONLY}")
        if mode != "create" and not os.path.exists(path):
            raise StoreError(f"--db {locator}: there is no such database; `art -d {locator}` makes it")
        if not os.path.isdir(os.path.dirname(path)):
            raise StoreError(f"--db {locator}: its directory {os.path.dirname(path)} does not exist")
        return Database(path, self._state)


class Database:
    """One database. See `contracts.Store`."""

    def __init__(self, path: str, state: str) -> None:
        self.path = path
        self._state = state

    def hidden(self) -> Sequence[str]:
        return companions(self.path)

    def endings(self) -> Sequence[str]:
        return ENDINGS

    def is_database(self, head: bytes) -> bool:
        from art_cowfs.db.file_header import is_ours

        return is_ours(head)

    def others(self, shown: Sequence[str]) -> list[str]:
        """The files of other databases of the user's in these directories, which do not show them."""
        found = known_databases.others(dirs.state_dir(os.environ), self.hidden())
        return [path for one in found for path in one.paths if any(within(path, top) for top in shown)]

    def mount(
        self,
        branch: str,
        workspace: Workspace,
        make_namespace: Callable[[], Namespace],
        growth: int = 0,
        seeds: Sequence[Mount] = (),
        shares: Sequence[Mount] = (),
    ) -> AbstractContextManager[Mounted]:
        return self._mount(branch, workspace, make_namespace, growth=growth, seeds=seeds, shares=shares)

    def view(
        self,
        at: str,
        workspace: Workspace | None,
        make_namespace: Callable[[], Namespace],
        *,
        read_only: bool,
    ) -> AbstractContextManager[Mounted]:
        return self._mount(at, workspace, make_namespace, read_only=read_only)

    @contextmanager
    def _mount(
        self,
        at: str,
        workspace: Workspace | None,
        make_namespace: Callable[[], Namespace],
        *,
        growth: int = 0,
        read_only: bool = False,
        seeds: Sequence[Mount] = (),
        shares: Sequence[Mount] = (),
    ) -> Iterator[Mounted]:
        for reason in reasons():
            raise StoreError(f"--db: {reason.what}: {reason.cure}")
        server = Server()
        try:
            namespace = make_namespace()
            path, fuse_fd = namespace.mount_fuse("art")
            uid, gid = namespace.owner
            shown = [seed.source for seed in seeds] + ([workspace.real] if workspace is not None else [])
            request = MountRequest(
                database=self.path,
                at=at,
                state=self._state,
                uid=uid,
                gid=gid,
                workspace=None if workspace is None else shown_workspace(workspace),
                hidden=self.others(shown),
                seeds=[shown_path(seed) for seed in seeds],
                shares=[shown_path(share) for share in shares],
                growth=growth,
                read_only=read_only,
                mounted_at=path if namespace.mnt_fd < 0 else "",
            )
            with ExitStack() as held:
                held.callback(os.close, fuse_fd)
                parents = [parent_of(share, held) for share in shares]
                lower = [workspace.fd] if workspace is not None else []
                notes = server.start(
                    request.packed(), [fuse_fd, *lower, *(seed.fd for seed in seeds), *parents]
                )
        except BaseException:
            server.abandon()
            raise
        try:
            yield Mounted(path, namespace, server, notes)
        finally:
            server.close()

    def reader(self, at: str, workspace: Workspace) -> AbstractContextManager[TreeReader]:
        from art_cowfs.access.workspace_tree import reading

        return reading(self.path, at, workspace)

    def writer(self, branch: str, workspace: Workspace) -> AbstractContextManager[TreeWriter]:
        from art_cowfs.access.workspace_tree import writing

        return writing(self.path, branch, workspace)

    def points(self) -> Sequence[Point]:
        from art_cowfs.history import points

        return points.listed(self.path)

    def snapshot(self, branch: str, name: str, note: str = "") -> Point:
        from art_cowfs.history import points

        return points.snapshot(self.path, branch, name, note)

    def make_branch(self, name: str, at: str) -> Point:
        from art_cowfs.history import points

        return points.make_branch(self.path, name, at)

    def restore(self, branch: str, at: str, paths: Sequence[bytes], workspace: Workspace) -> Point:
        from art_cowfs.history import points

        return points.restore(self.path, branch, at, paths, workspace)

    def remove(self, name: str) -> Point:
        from art_cowfs.history import points

        return points.remove(self.path, name)

    def sessions(self) -> Sequence[Session]:
        from art_cowfs.access import run_log

        return run_log.listed(self.path)

    def info(self) -> Info:
        from art_cowfs.care import maintenance

        return maintenance.info(self.path)

    def check(self) -> Iterator[Finding]:
        from art_cowfs.care import maintenance

        return maintenance.check(self.path)

    def repair(self, backup: str) -> Iterator[Finding]:
        from art_cowfs.care import maintenance

        return maintenance.mend(self.path, backup)

    def collect(self) -> Collected:
        from art_cowfs.care import maintenance

        return maintenance.collect(self.path)

    def squash(self, branch: str) -> Squashed:
        from art_cowfs.care import maintenance

        return maintenance.squash(self.path, branch)

    def home(self, at: str, workspace: Workspace | None) -> AbstractContextManager[HomeReader]:
        from art_cowfs.access.home_files import reading

        return reading(self.path, at, workspace)

    def home_writer(self, branch: str, workspace: Workspace | None) -> AbstractContextManager[HomeWriter]:
        from art_cowfs.access.home_files import writing

        return writing(self.path, branch, workspace)

    def new_home(self, branch: str) -> AbstractContextManager[HomeWriter]:
        from art_cowfs.access.branch_import import beginning

        return beginning(self.path, branch)

    def workspace_at(self, name: str) -> str | None:
        from art_cowfs.access.home_files import workspace_at

        return workspace_at(self.path, name)

    def close(self) -> None:
        pass
