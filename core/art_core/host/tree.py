"""What planning reads of the host's tree, behind a small protocol, so that plans are tested
without privileges and without the machine they are about."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

Kind = Literal["dir", "file", "link", "other"]
_LINKS_LIMIT = 40


class DirEntry(NamedTuple):
    """One entry of a directory; `target` is where a link points, empty for anything else."""

    name: str
    kind: Kind
    target: str = ""


class DirectoryReader(Protocol):
    """Reading directories. Nothing raises: what cannot be read is empty or None."""

    def entries(self, path: str) -> Sequence[DirEntry]:
        """The entries of a directory, sorted by name."""
        ...

    def kind(self, path: str) -> Kind | None:
        """What stands at `path`, its last link not followed; None when nothing does. A file that was removed
        and is shown by a bind is "other": nothing can be mounted on it (mount(2), ENOENT)."""
        ...

    def readlink(self, path: str) -> str:
        """Where the link at `path` points; empty when it is none."""
        ...


class RealHost:
    """The machine that ART runs on."""

    def entries(self, path: str) -> Sequence[DirEntry]:
        found = []
        try:
            with os.scandir(path) as listing:
                for entry in listing:
                    if entry.is_symlink():
                        found.append(DirEntry(entry.name, "link", self.readlink(entry.path)))
                    elif entry.is_dir(follow_symlinks=False):
                        found.append(DirEntry(entry.name, "dir"))
                    else:
                        regular = entry.is_file(follow_symlinks=False)
                        found.append(DirEntry(entry.name, "file" if regular else "other"))
        except OSError:
            return []
        return sorted(found)

    def kind(self, path: str) -> Kind | None:
        try:
            found = os.lstat(path)
        except PermissionError:  # A file system of another user's, perhaps: its place can be listed.
            directory, name = os.path.split(path)
            return next((entry.kind for entry in self.entries(directory) if entry.name == name), None)
        except OSError:
            return None
        if stat.S_ISDIR(found.st_mode):
            return "dir"
        if stat.S_ISLNK(found.st_mode):
            return "link"
        return "file" if stat.S_ISREG(found.st_mode) and found.st_nlink else "other"

    def readlink(self, path: str) -> str:
        try:
            return os.readlink(path)
        except OSError:
            return ""


def _nowhere(path: str) -> bool:
    return False


def resolve(tree: DirectoryReader, path: str, hidden: Callable[[str], bool] = _nowhere) -> str:
    """`path` with every link on the way resolved; what does not exist is taken as written, and so
    is everything in a directory that is `hidden`."""
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done = ""
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{part}"
        if not hidden(here) and tree.kind(here) == "link" and links < _LINKS_LIMIT:
            links += 1
            target = tree.readlink(here)
            if target.startswith("/"):
                done = ""
            todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        else:
            done = here
    return done or "/"


def within(path: str, top: str) -> bool:
    """Whether `path` is `top` or lies below it."""
    return path == top or path.startswith(top if top.endswith("/") else top + "/")
