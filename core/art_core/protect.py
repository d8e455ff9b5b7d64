"""Files of a workspace that run by themselves on the host later: hooks, editor tasks, agents' rules.

In direct mode they are read-only inside, and what appeared or changed among them is named at the
end. A directory on the way to one is mounted on itself, because renaming it away and putting a
copy in its place would go around the protection (rename(2), EBUSY).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from art_core import openat
from art_core.contracts import Mount, Origin, Workspace
from art_core.hosttree import within

WALK_LIMIT = 50_000
"""Directories that are looked at for new files at the end of a run."""
_NAMED_LIMIT = 20
_CLOCK_OF_INODES = 5
"""CLOCK_REALTIME_COARSE (clock_gettime(2)), which Python has no name for."""


def selected(patterns: Sequence[str], unprotected: Sequence[str], workspace: Workspace) -> list[str]:
    """The relative paths to protect, less those given up (`--no-protect`, relative to the
    workspace or absolute). What holds for `.git` holds for the directory that it names, too."""
    repository = _repository(workspace)
    if repository is not None:
        patterns = [*patterns, *(repository + p[4:] for p in patterns if p.startswith(".git/"))]
    given_up = []
    for path in unprotected:
        full = os.path.normpath(os.path.join(workspace.path, os.path.expanduser(path)))
        given_up.append(os.path.relpath(full, workspace.path))
    return [
        pattern
        for pattern in (p.strip("/") for p in patterns)
        if not any(pattern == path or pattern.startswith(path + "/") or path == "." for path in given_up)
    ]


def _repository(workspace: Workspace) -> str | None:
    """The git directory that `.git` leads to as a link or a file (gitrepository-layout(5)), relative
    to the workspace; None where it is a directory or leads elsewhere."""
    try:
        target = os.readlink(".git", dir_fd=workspace.fd)
    except OSError:
        line = openat.first_line(workspace.fd, ".git") or ""
        target = line.removeprefix("gitdir: ") if line.startswith("gitdir: ") else ""
    real = os.path.realpath(os.path.join(workspace.real, target))
    inside = target and real != workspace.real and within(real, workspace.real)
    return os.path.relpath(real, workspace.real) if inside else None


def protections(workspace: Workspace, paths: Sequence[str], tops: Sequence[str]) -> list[Mount]:
    """Read-only mounts of what exists of `paths`, and of their ancestors on themselves, for each
    guest directory in `tops` that shows the workspace.

    The descriptors in them pin what was found; they are the caller's to close. A path that is a
    symlink, or leads through one, is not mounted: it is only watched.
    """
    found: dict[str, Mount] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            relative = "/".join(parts[:depth])
            if relative in found:
                continue
            fd = _pin(workspace.fd, parts[:depth])
            if fd < 0:
                break
            directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            found[relative] = Mount(
                source=f"{workspace.real}/{relative}",
                guest="",
                writable=directory and depth < len(parts),
                origin=Origin("protected"),
                fd=fd,
                directory=directory,
            )
    return [found[relative]._replace(guest=f"{top}/{relative}") for top in tops for relative in sorted(found)]


def _pin(top: int, parts: Sequence[str]) -> int:
    """An O_PATH descriptor of a file or directory below `top`, -1 when it is missing, a symlink,
    or something that is neither."""
    fd = top
    try:
        for part in parts:
            below = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            if fd != top:
                os.close(fd)
            fd = below
    except OSError:
        if fd != top:
            os.close(fd)
        return -1
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return fd
    os.close(fd)
    return -1


class Watch(NamedTuple):
    """Knows what of the protected kinds was made or changed since it was made.

    It goes by the change time of inodes, which a process inside cannot set (inode(7)).
    """

    root: str
    paths: Sequence[str]
    since_ns: int

    @classmethod
    def start(cls, workspace: Workspace, paths: Sequence[str]) -> Watch:
        return cls(workspace.real, paths, time.clock_gettime_ns(_CLOCK_OF_INODES))

    def changes(self) -> list[str]:
        """Paths relative to the workspace, in it and in any directory below; a last entry says so
        when there was more than could be looked at."""
        by_first: dict[str, list[str]] = {}
        for path in self.paths:
            first, _, rest = path.partition("/")
            by_first.setdefault(first, []).append(rest)
        named: list[str] = []
        directories = 0
        todo = [""]
        while todo:
            below = todo.pop()
            directories += 1
            if directories > WALK_LIMIT or len(named) > _NAMED_LIMIT:
                return [*named[:_NAMED_LIMIT], "... and perhaps more"]
            for entry in self._listing(below):
                relative = f"{below}/{entry.name}" if below else entry.name
                for rest in by_first.get(entry.name, ()):
                    named += self._changed(f"{relative}/{rest}" if rest else relative)
                if entry.name == ".git":
                    if not entry.is_dir(follow_symlinks=False):
                        named += self._changed(relative)
                elif entry.is_dir(follow_symlinks=False):
                    todo.append(relative)
        return sorted(set(named))

    def _listing(self, relative: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self.root}/{relative}") as listing:
                return list(listing)
        except OSError:
            return []

    def _changed(self, relative: str) -> Iterator[str]:
        """The path itself, or for a directory the entries in it that changed."""
        try:
            found = os.lstat(f"{self.root}/{relative}")
        except OSError:
            return
        if not stat.S_ISDIR(found.st_mode):
            if found.st_ctime_ns >= self.since_ns:
                yield relative
            return
        inner = list(self._listing(relative))
        before = 0
        for entry in inner[:_NAMED_LIMIT]:
            for path in self._changed(f"{relative}/{entry.name}"):
                before += 1
                yield path
        if not before and found.st_ctime_ns >= self.since_ns:
            yield relative + "/"

    def notices(self, *, git_failed: bool) -> list[str]:
        """What a user should be told at the end; `git_failed`: the command did, and git is protected."""
        lines = []
        if changed := self.changes():
            shown = ", ".join(repr(path) if not path.isprintable() else path for path in changed)
            lines.append(f"new or changed in the workspace, and run by programs of the host: {shown}")
        if git_failed and self.touched_git():
            lines.append("git's config and hooks are read-only inside; to allow it: --no-protect .git/config")
        return lines

    def touched_git(self) -> bool:
        """Whether git worked in the workspace's own repository."""
        try:
            return os.stat(f"{self.root}/.git").st_ctime_ns >= self.since_ns
        except OSError:
            return False
