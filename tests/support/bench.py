"""A branch mounted without a sandbox: the real kernel, the real server, in a namespace of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from art_core import contracts
from art_core.host import service
from art_core.launch.namespace import PrivateNamespace
from art_core.store.files import HomeReader
from art_core.view.workspace import open_workspace
from art_cowfs.access.workspace_tree import WorkspaceReader, reading
from art_cowfs.db.lookup import chain_of
from art_cowfs.history import points
from art_cowfs.integrity.check import problems
from art_cowfs.layers.layers import Named, freeze
from art_cowfs.opening.database import connect
from art_cowfs.serve.client import Server
from art_cowfs.store import Database
from art_cowfs.tree import resident


class Mount:
    """A mounted branch. `path` leads into its namespace through the process that holds it."""

    def __init__(
        self, database: Path, workspace: Path, branch: str = "main", seed: Path | None = None
    ) -> None:
        """Its server can be asked through a socket beside the workspace. With a `seed` it is that directory
        which is worked in, below one that nobody made."""
        self.database = database
        self._opened = open_workspace(str(workspace))
        owner = (os.getuid(), os.getgid())
        self.namespace: PrivateNamespace | None = None

        def make() -> PrivateNamespace:
            self.namespace = PrivateNamespace(owner)
            return self.namespace

        seeds = []
        if seed is not None:
            fd = os.open(seed, os.O_PATH)
            seeds.append(
                contracts.Mount(str(seed), f"{contracts.HOME}/.deep/seed", contracts.Origin("-"), fd=fd)
            )
        store = Database(str(database), f"{workspace.parent}/state")
        self._context = store.mount(branch, self._opened, make, seeds=seeds)
        try:
            mounted = self._context.__enter__()
        except BaseException:
            self._let_go()
            raise
        finally:
            for one in seeds:
                os.close(one.fd)
        assert isinstance(mounted.worker, Server) and self.namespace is not None
        self.server: Server = mounted.worker
        self.path: Path = Path(f"/proc/{self.namespace.pid}/root{mounted.path}")
        self.workspace: Path = self.path / (workspace.name if seed is None else ".deep/seed")

    def kill(self) -> None:
        """The server dies at once."""
        self.server.kill()
        os.waitid(os.P_PID, self.server.pid, os.WEXITED | os.WNOWAIT)

    def close(self) -> None:
        try:
            self._context.__exit__(None, None, None)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self.namespace is not None:
            self.namespace.close()
        os.close(self._opened.fd)


class Bench:
    """A host workspace and a database, mounted as often as a test wants."""

    def __init__(self, top: Path, layers: int = 1, *, seeded: bool = False) -> None:
        """`seeded`: the host's files are a seed, and the workspace is empty."""
        self.top = top
        self.layers = layers
        self.host = top / ("seed" if seeded else "ws")
        for directory in {self.host, top / "ws"}:
            directory.mkdir()
        self._seed = self.host if seeded else None
        self.database = top / "t.db"
        self._mounts: list[Mount] = []

    def mount(self, branch: str = "main") -> Mount:
        mount = Mount(self.database, self.top / "ws", branch, self._seed)
        self._mounts.append(mount)
        return mount

    def unmount(self, mount: Mount) -> None:
        self._mounts.remove(mount)
        mount.close()

    def again(self, mount: Mount) -> Mount:
        """Unmount, and mount anew: only what is in the database is left. Where layers are wanted, what
        was the top is frozen in between."""
        self.unmount(mount)
        if self.layers > 1:
            connection = connect(str(self.database))
            if len(chain_of(connection, "main")) < self.layers:
                freeze(connection, "main", Named(f"before-{time.time_ns()}"))
            connection.close()
        return self.mount()

    def close(self) -> None:
        for mount in self._mounts:
            mount.close()


def store(bench: Bench) -> Database:
    return Database(str(bench.database), f"{bench.top}/state")


def clean(database: Path) -> bool:
    """Whether nothing is wrong with it."""
    with contextlib.closing(connect(str(database))) as connection:
        return list(problems(connection)) == []


def branches(database: Path, names: Sequence[str]) -> None:
    """Freeze what `main` has, and make branches of it."""
    points.snapshot(str(database), "main", "before-the-branches")
    for name in names:
        points.make_branch(str(database), name, "before-the-branches")


@contextlib.contextmanager
def forked_servers() -> Iterator[None]:
    """Servers are forked from this process, so that they have what a test changed in it. The threads that
    keep ART from that elsewhere are the test runner's, and hold nothing that a server needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_single_threaded", lambda: True)
        yield


def crowd(patch: pytest.MonkeyPatch) -> None:
    """Servers that are started from now on let go of nearly everything between requests."""
    patch.setattr(resident, "NODES", 2)
    patch.setattr(resident, "NAMES", 2)


def run(mount: Mount, *argv: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    """A program in the mounted home."""
    return subprocess.run(argv, cwd=mount.path, capture_output=True, timeout=120, **kwargs)


def python(mount: Mount, source: str, *arguments: str) -> str:
    done = run(mount, sys.executable, "-I", "-S", "-c", source, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@contextmanager
def reader(bench: Bench) -> Iterator[WorkspaceReader]:
    workspace = open_workspace(str(bench.host))
    try:
        with reading(str(bench.database), "main", workspace) as tree:
            yield tree
    finally:
        os.close(workspace.fd)


def tree(home: HomeReader) -> dict[bytes, object]:
    """All that a home shows."""
    found: dict[bytes, object] = {}
    for file in home.walk(b""):
        contents = bytearray(file.size)
        if file.kind == "file":
            for offset, data in home.blocks(file):
                contents[offset : offset + len(data)] = data
        found[file.path] = (file.mode, file.mtime_ns, file.nlink, file.target, file.xattrs, bytes(contents))
    return found
