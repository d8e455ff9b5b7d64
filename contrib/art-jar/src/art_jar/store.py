"""Jars: directories with a file for the branch and one for each snapshot."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Literal
from urllib.parse import quote

from art_core.contracts import MAIN, Mount, Mounted, Namespace, Workspace
from art_core.errors import StoreError
from art_jar.backend import JarBackend
from art_jar.image import Image
from art_jar.server import Server
from art_jar.tree import Tree

SUFFIX = ".jar"
_WAS_KILLED = "the last run on this jar was killed; what it had synced is there, and nothing later"


class Jars:
    """See `contracts.Stores`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def claims(self, locator: str) -> bool:
        return locator.endswith(SUFFIX)

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Jar:
        if not self.claims(locator):
            raise StoreError(
                f"{locator}: the name of a jar ends in {SUFFIX}; add it, or choose another with --store NAME"
            )
        path = os.path.abspath(locator)
        if mode == "create":
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
                Image().save(f"{path}/{MAIN}.json")
        if not os.path.isfile(f"{path}/{MAIN}.json"):
            what = "is no jar" if os.path.lexists(path) else "does not exist"
            raise StoreError(f"{locator}: {what}; a run with --db and a new name makes one")
        return Jar(path, self._limit)


class Jar:
    """See `contracts.Store`."""

    backend = JarBackend
    tree = Tree

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit

    def hidden(self) -> Sequence[str]:
        return [self._path]

    def close(self) -> None:
        pass

    def _file(self, at: str) -> str:
        """The file of a branch or a snapshot, which has to be there."""
        path = f"{self._path}/{quote(at, safe='')}.json"
        if not os.path.exists(path):
            raise StoreError(f"{self._path}: there is no branch or snapshot {at!r}")
        return path

    @contextmanager
    def _holding(self, branch: str) -> Iterator[str]:
        """The branch's file, held. The kernel lets go of it when this process dies."""
        if branch != MAIN:
            raise StoreError(f"{self._path}: there is no branch {branch!r}; a jar has only {MAIN}")
        fd = os.open(f"{self._path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"{self._path}: another run or push has it open; wait for its end") from None
            yield self._file(branch)
        finally:
            os.close(fd)

    def snapshot(self, branch: str, name: str) -> None:
        with self._holding(branch) as held:
            path = f"{self._path}/{quote(name, safe='')}.json"
            if os.path.lexists(path):
                raise StoreError(f"{self._path}: there is a branch or snapshot {name!r} already")
            Image.load(held).save(path)

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
        with self._holding(branch) as held:
            notes = [_WAS_KILLED] if os.path.exists(f"{self._path}/running") else []
            os.close(os.open(f"{self._path}/running", os.O_WRONLY | os.O_CREAT, 0o600))
            namespace = make_namespace()
            path, fuse_fd = namespace.mount_fuse("art-jar")
            shown = (os.fsencode(workspace.name), os.fsencode(workspace.real))
            try:
                server = Server(
                    partial(self.backend, held, *shown, owner=namespace.owner, limit=self._limit), fuse_fd
                )
            finally:
                os.close(fuse_fd)
            try:
                yield Mounted(path, namespace, server, notes)
            finally:
                server.close()
            os.unlink(f"{self._path}/running")

    @contextmanager
    def reader(self, at: str, workspace: Workspace) -> Iterator[Tree]:
        yield self._tree(self._file(at), workspace)

    @contextmanager
    def writer(self, branch: str, workspace: Workspace) -> Iterator[Tree]:
        with self._holding(branch) as held:
            tree = self._tree(held, workspace)
            yield tree
            tree.commit()

    def _tree(self, path: str, workspace: Workspace) -> Tree:
        try:
            return self.tree(
                self.backend(
                    path, os.fsencode(workspace.name), os.fsencode(workspace.real), limit=self._limit
                )
            )
        except OSError as error:
            raise StoreError(f"{path}: {os.strerror(error.errno or errno.EIO)}") from None
