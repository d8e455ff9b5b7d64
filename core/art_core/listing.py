"""What of a workspace on the host programs obey, found by looking: names, git directories of any name, and
what links and git's settings lead to."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from art_core.gitsettings import named
from art_core.holding import is_repository
from art_core.hosttree import within
from art_core.obeyed import Match, Names, folded

DIRECTORIES_LIMIT = 50_000
"""Directories that are looked at in one workspace, the upper ones first."""
_INNER_LIMIT = 2_000
"""Files that are listed of one protected directory."""
_LINKS_LIMIT = 16


class Found(NamedTuple):
    """One file or directory that is obeyed; `path` is relative to the workspace."""

    path: str
    match: Match
    mode: int
    ino: int
    ctime_ns: int


class Listing:
    """All that was found. `complete` is False when a bound was met before everything was looked at."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: dict[str, Found] = {}
        self.repositories: list[str] = []
        """Git directories, relative to the workspace; the empty text is the workspace itself."""
        self.led: dict[str, Match] = {}
        """What links and git's settings lead to, whether it is there or not."""
        self.complete = True


def listed(root: str, names: Names, env: Mapping[str, str], *, within_s: float | None = None) -> Listing:
    """Look at a workspace whose resolved path is `root`, for `within_s` seconds at most."""
    listing = Listing(root)
    looking = _Looking(listing, names)
    looking.walk(None if within_s is None else monotonic() + within_s)
    looking.follow_links()
    if names.git_parts:
        looking.follow_settings(env)
    return listing


class _Looking:
    def __init__(self, listing: Listing, names: Names) -> None:
        self._listing = listing
        self._root = listing.root
        self._names = names
        self._links: list[Found] = []
        self._boring: set[str] = set()
        """Names that were seen and protect nothing, for speed."""

    def walk(self, deadline: float | None) -> None:
        todo = deque([""])
        directories = 0
        while todo:
            if directories >= DIRECTORIES_LIMIT or (deadline is not None and monotonic() > deadline):
                self._listing.complete = False
                return
            directories += 1
            self._directory(todo.popleft(), todo)

    def _directory(self, below: str, todo: deque[str]) -> None:
        inner: list[str] = []
        present: set[str] = set()
        boring = self._boring
        prefix = f"{below}/" if below else ""
        for entry in _entries(f"{self._root}/{below}"):
            name = entry.name
            if name not in boring:
                self._look(name, prefix + name, present)
            if name != ".git" and entry.is_dir(follow_symlinks=False):
                inner.append(prefix + name)
        if present and self._names.git_parts and is_repository("", present.__contains__):
            self._listing.repositories.append(below)
            for rest in self._names.git_parts:
                self._part(below, rest, "/".join((".git", *rest)))
            inner = [path for path in inner if not path.endswith("/objects")]
        todo += inner

    def _look(self, name: str, path: str, present: set[str]) -> None:
        """Take what is obeyed at a path; `present` are the pieces of a git directory beside it."""
        plain = folded(name)
        if plain in _PIECES:
            present.add(_PIECES[plain])
            return
        if not self._names.begins(plain):
            if len(self._boring) < _INNER_LIMIT:
                self._boring.add(name)
            return
        if plain == ".git" and is_repository(path, self._exists):
            self._listing.repositories.append(path)
        for rest, pattern in self._names.of(plain):
            self._part(path, rest, pattern)

    def _exists(self, path: str) -> bool:
        return os.path.lexists(f"{self._root}/{path}")

    def _part(self, base: str, rest: Sequence[str], pattern: str) -> None:
        """What stands at the rest of a pattern, in a directory; a link on the way is obeyed itself."""
        path = base
        for index in range(len(rest) + 1):
            try:
                found = os.lstat(f"{self._root}/{path}")
            except (OSError, ValueError):
                return
            last = index == len(rest)
            link = stat.S_ISLNK(found.st_mode)
            pointer = not last and stat.S_ISREG(found.st_mode) and folded(path.rpartition("/")[2]) == ".git"
            if last or link or pointer:
                self._take(path, found, self._names.made(path, pattern, leads=not last))
                if link and not last:
                    self._lead("/".join((path, *rest[index:])), self._names.made(path, pattern))
                return
            path = f"{path}/{rest[index]}" if path else rest[index]

    def _take(self, path: str, found: os.stat_result, match: Match, room: int = _INNER_LIMIT) -> int:
        """Take a path, and what is in it; what is left of the room."""
        if path in self._listing.found:
            return room
        one = Found(path, match, found.st_mode, found.st_ino, found.st_ctime_ns)
        self._listing.found[path] = one
        if stat.S_ISLNK(found.st_mode):
            self._links.append(one)
        elif stat.S_ISDIR(found.st_mode):
            for entry in _entries(f"{self._root}/{path}"):
                if not room:
                    break
                try:
                    inner = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                room = self._take(f"{path}/{entry.name}", inner, match, room - 1)
        return room

    # --- what leads elsewhere ------------------------------------------------------------------

    def follow_links(self) -> None:
        while self._links:
            link = self._links.pop()
            self._lead(link.path, link.match)

    def follow_settings(self, env: Mapping[str, str]) -> None:
        for repository in self._listing.repositories[:_LINKS_LIMIT]:
            parent, _, name = repository.rpartition("/")
            top = parent if folded(name) == ".git" else repository
            directory = os.path.join(self._root, repository)
            for path, key in named(directory, os.path.join(self._root, top).rstrip("/"), env):
                self._target(path, Match("", key, "git", f"finds it by {key}"))
        self.follow_links()

    def _lead(self, path: str, match: Match) -> None:
        """Take what a link leads to, and each link on the way there."""
        full = f"{self._root}/{path}"
        for _ in range(_LINKS_LIMIT):
            try:
                target = os.readlink(full)
            except (OSError, ValueError):
                break
            full = os.path.normpath(os.path.join(os.path.dirname(full), target))
            self._target(full, match)
        self._target(full, match)

    def _target(self, full: str, match: Match) -> None:
        for path in dict.fromkeys((full, os.path.realpath(full))):
            if path == self._root or not within(path, self._root):
                continue
            relative = os.path.relpath(path, self._root)
            reached = match._replace(place=relative)
            if self._listing.led.setdefault(relative, reached) is reached:
                try:
                    self._take(relative, os.lstat(path), reached)
                except (OSError, ValueError):
                    continue


_PIECES = {"head": "HEAD", "objects": "objects", "refs": "refs", "commondir": "commondir"}


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as listing:
            yield from listing
    except OSError:
        return
