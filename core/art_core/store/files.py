"""A capability of a store, `files`: the whole home of a branch or a snapshot, without a sandbox. A store
that names it is a `Files` too.

Paths are relative to the home, with any byte but NUL: `workspace/src/main.py`; b"" is the home itself. What
the workspace shows of the host's directory is seen where that directory is given, and told from the rest.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from art_core.contracts import Mounted, Namespace, Workspace
from art_core.errors import StoreError
from art_core.trees import Entry, Kind, kind_of


class File(NamedTuple):
    """What stands at a path; `mode` with the file's type (inode(7)). `hosts`: only the host has it."""

    path: bytes
    mode: int
    size: int
    mtime_ns: int
    ino: int
    nlink: int = 1
    target: bytes = b""
    xattrs: Mapping[bytes, bytes] = {}
    hosts: bool = False

    @property
    def kind(self) -> Kind | None:
        """None for pipes, sockets and devices."""
        return kind_of(self.mode)

    def entry(self, path: bytes) -> Entry:
        """As an entry of a transfer, at another path. Only for what has a kind."""
        assert self.kind is not None
        return Entry(
            path=path,
            kind=self.kind,
            mode=stat.S_IMODE(self.mode),
            size=self.size,
            mtime_ns=self.mtime_ns,
            ino=self.ino,
            target=self.target,
            nlink=self.nlink,
            xattrs=self.xattrs,
        )


class HomeReader(Protocol):
    """A home as of one moment."""

    def find(self, path: bytes) -> File | None:
        """What stands at a path, through no link; None when nothing does."""

    def names(self, path: bytes) -> Sequence[bytes]:
        """The names in a directory, in byte order."""

    def walk(self, path: bytes) -> Iterator[File]:
        """What is below a directory: each directory before what is in it, names in byte order. Raises
        StoreError for a directory that is in it twice: a walk ends for every database."""

    def blocks(self, file: File) -> Iterator[tuple[int, bytes]]:
        """The contents of a file, as offsets and bytes in order; what is left out is zeros. Raises OSError
        for what only the host has while its directory is not given."""


class HomeWriter(HomeReader, Protocol):
    """The same, held for writing. A name appears when what it leads to is whole."""

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        """Make the path this entry, with all its contents, in a directory that is there."""

    def link(self, path: bytes, to: Entry) -> Entry: ...

    def remove(self, path: bytes) -> None:
        """Remove a file, or a directory with all that is in it."""

    def commit(self) -> None:
        """Bring everything to the disk. Raises OSError."""


class Files(Protocol):
    def home(self, at: str, workspace: Workspace | None) -> AbstractContextManager[HomeReader]: ...

    def home_writer(self, branch: str, workspace: Workspace | None) -> AbstractContextManager[HomeWriter]:
        """Raises StoreError while somebody holds the branch."""

    def new_home(self, branch: str) -> AbstractContextManager[HomeWriter]:
        """An empty home that becomes a branch of this name when the context is left without an error, and
        else was never there. Raises StoreError when the name is taken, but for `main` while it is empty."""

    def view(
        self,
        at: str,
        workspace: Workspace | None,
        make_namespace: Callable[[], Namespace],
        *,
        read_only: bool,
    ) -> AbstractContextManager[Mounted]:
        """Mount a home; one that is not read-only holds its branch."""

    def workspace_at(self, name: str) -> str | None:
        """The host directory of a workspace that the database knows."""


_LINKS_LIMIT = 40
GUEST = b"/home/agent"


def resolve(home: HomeReader, path: bytes) -> File:
    """What a path leads to, links followed as in the sandbox. Raises StoreError when it leads nowhere, or
    out of the home."""
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    done: list[bytes] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            if not done:
                raise StoreError(f"{_shown(path)} leads out of the home")
            done.pop()
            continue
        found = home.find(b"/".join([*done, part]))
        if found is None:
            raise StoreError(f"{_shown(path)}: there is no such file in the home")
        if not stat.S_ISLNK(found.mode):
            done.append(part)
            continue
        links += 1
        target = found.target
        if target.startswith(b"/"):
            if target != GUEST and not target.startswith(GUEST + b"/"):
                raise StoreError(f"{_shown(path)} leads to {_text(target)}, which is not in the home")
            target, done = target[len(GUEST) :], []
        if links > _LINKS_LIMIT:
            raise StoreError(f"{_shown(path)}: too many symbolic links")
        todo += [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
    found = home.find(b"/".join(done))
    if found is None:
        raise StoreError(f"{_shown(path)}: there is no such file in the home")
    return found


def _shown(path: bytes) -> str:
    return _text(GUEST + b"/" + path if path else GUEST)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def guest_path(text: str) -> bytes | None:
    """A path of the home out of one as it is seen in the sandbox, relative to it or absolute; None when it
    is not in there."""
    path = text.encode("utf-8", "surrogateescape")
    if path == GUEST or path.startswith(GUEST + b"/"):
        path = path[len(GUEST) :]
    elif path.startswith(b"/"):
        return None
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            if not parts:
                return None
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)
