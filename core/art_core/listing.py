"""What of a workspace on the host programs obey, found by looking: names, git directories of any name, and
what links and git's settings lead to.

Looking at all of a large tree takes too long for the start of a run: then only its top is looked at, and
what an earlier listing knew.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from art_core import openat
from art_core.gitsettings import named
from art_core.holding import is_repository
from art_core.hosttree import within
from art_core.obeyed import Match, Names, folded

DIRECTORIES_LIMIT = 50_000
"""Directories that are looked at in one workspace, the upper ones first."""
_INNER_LIMIT = 2_000
"""Files that are listed of one protected directory."""
_LINKS_LIMIT = 16
_REPOSITORIES_LIMIT = 64
"""Git directories whose settings are read, the upper ones first."""


_AT_FDCWD = -100
"""openat(2)."""
_POINTER = "gitdir: "
_SAMPLE = ".sample"
_ENVIRONMENT = "pyvenv.cfg"
"""What makes a directory a virtual environment (PEP 405)."""


class Found(NamedTuple):
    """One file or directory that is obeyed; `path` is relative to the workspace."""

    path: str
    match: Match
    mode: int
    ino: int
    ctime_ns: int


class Listing:
    """All that was found in a workspace whose resolved path is `root`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: dict[str, Found] = {}
        self.repositories: list[str] = []
        """Git directories, relative to the workspace; the empty text is the workspace itself."""
        self.led: dict[str, Match] = {}
        """What links and git's settings lead to, whether it is there or not."""
        self.environments: list[str] = []
        """Virtual environments of Python, relative to the workspace."""
        self.links: list[str] = []
        """Symbolic links, of very many the first."""
        self.top: dict[str, int] = {}
        """Everything at the top, with its inode number."""
        self.complete = True
        """Whether everything was looked at."""


def listed(
    root: str,
    names: Names,
    env: Mapping[str, str],
    *,
    known: Listing | None = None,
    entries: int | None = None,
) -> Listing:
    """Look at a workspace: at `entries` files and directories at most, or at its top and what was `known`."""
    listing = Listing(root)
    looking = _Looking(listing, names)
    if known is None:
        looking.walk(entries)
    else:
        looking.again(known)
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
        self._pointed: dict[str, str] = {}
        """Git directories that a `.git` leads to, and the work tree of each."""
        self._boring: set[str] = set()
        """Names that were seen and protect nothing, for speed."""
        self._seen = 0

    def walk(self, entries: int | None) -> None:
        todo = deque([""])
        directories = 0
        while todo:
            if directories >= DIRECTORIES_LIMIT or (entries is not None and self._seen > entries):
                self._listing.complete = False
                return
            directories += 1
            self._directory(todo.popleft(), todo)

    def again(self, known: Listing) -> None:
        """The top, git directories right below it, and what was known."""
        todo: deque[str] = deque()
        self._directory("", todo)
        for path in todo:
            if self._exists(f"{path}/HEAD"):
                self._directory(path, deque())
        self._listing.led.update(known.led)
        for one in known.found.values():
            try:
                self._take(one.path, os.lstat(f"{self._root}/{one.path}"), one.match)
            except (OSError, ValueError):
                continue
        self._listing.complete = False

    def _directory(self, below: str, todo: deque[str]) -> None:
        inner: list[str] = []
        present: set[str] = set()
        boring = self._boring
        prefix = f"{below}/" if below else ""
        for entry in self._entries(below):
            name = entry.name
            self._seen += 1
            if not below:
                self._listing.top[name] = entry.inode()
            if name not in boring:
                self._look(name, prefix + name, present)
            if name != ".git" and entry.is_dir(follow_symlinks=False):
                inner.append(prefix + name)
            elif name == _ENVIRONMENT:
                self._listing.environments.append(below)
            elif entry.is_symlink() and len(self._listing.links) < _INNER_LIMIT:
                self._listing.links.append(prefix + name)
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
                further = "/".join(rest[index:])
                if link and not last:
                    self._lead(f"{path}/{further}", self._names.made(path, pattern))
                elif pointer:
                    self._point(path, further, self._names.made(path, pattern))
                return
            path = f"{path}/{rest[index]}" if path else rest[index]

    def _take(self, top: str, found: os.stat_result, match: Match) -> None:
        """Take a path, and what is in it."""
        todo = deque([(top, found)])
        room = _INNER_LIMIT
        while todo and room:
            path, found = todo.popleft()
            if path in self._listing.found:
                continue
            room -= 1
            one = Found(path, match, found.st_mode, found.st_ino, found.st_ctime_ns)
            self._listing.found[path] = one
            if stat.S_ISLNK(found.st_mode) and not match.leads:
                self._links.append(one)
            elif stat.S_ISDIR(found.st_mode):
                todo.extend(self._inner(path, match))
        if todo:
            self._listing.complete = False

    def _inner(self, path: str, match: Match) -> Iterator[tuple[str, os.stat_result]]:
        for entry in self._entries(path):
            if entry.name.endswith(_SAMPLE) and match.pattern == ".git/hooks":
                continue  # What git puts there and does not run.
            with contextlib.suppress(OSError):
                yield f"{path}/{entry.name}", entry.stat(follow_symlinks=False)

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(f"{self._root}/{path}") as listing:
                yield from listing
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self._listing.complete = False

    def _point(self, path: str, further: str, match: Match) -> None:
        """Take what a `.git` that is a file leads to (gitrepository-layout(5))."""
        line = openat.first_line(_AT_FDCWD, f"{self._root}/{path}") or ""
        if line.startswith(_POINTER):
            top = os.path.join(self._root, os.path.dirname(path))
            directory = os.path.normpath(os.path.join(top, line.removeprefix(_POINTER)))
            self._pointed[directory] = top.rstrip("/")
            self._target(f"{directory}/{further}", match)

    # --- what leads elsewhere ------------------------------------------------------------------

    def follow_links(self) -> None:
        while self._links:
            link = self._links.pop()
            self._lead(link.path, link.match)

    def follow_settings(self, env: Mapping[str, str]) -> None:
        found = dict(itertools.islice(self._pointed.items(), _REPOSITORIES_LIMIT))
        for repository in self._listing.repositories[:_REPOSITORIES_LIMIT]:
            parent, _, name = repository.rpartition("/")
            top = parent if folded(name) == ".git" else repository
            found[os.path.join(self._root, repository)] = os.path.join(self._root, top).rstrip("/")
        for directory, top in found.items():
            for path, key in named(directory, top, env):
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
