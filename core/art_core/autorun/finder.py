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
import re
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from art_core.autorun.git_settings import SettingsReader, callers_own, named
from art_core.autorun.rules import POINTERS, VERSIONED, Match, Names, folded, is_read, link_within
from art_core.autorun.transfer_hold import is_repository
from art_core.host import openat
from art_core.host.tree import within

DIRECTORIES_LIMIT = 50_000
"""Directories that are looked at in one workspace, the upper ones first."""
_INNER_LIMIT = 2_000
"""Files that are listed of one protected directory."""
_HINTED_LIMIT = 2_000
"""Names and links that are kept for speed and for hints; nothing is missed beyond."""
_LINKS_LIMIT = 40
"""Links on the way to a file that Linux follows (path_resolution(7))."""
_REPOSITORIES_LIMIT = 1_000
"""Git directories whose settings are read, those that were known and the upper ones first."""
_OBJECTS = re.compile("[0-9a-f]{2}")
"""Directories that git makes in its `objects` (gitrepository-layout(5)), where it writes by renaming."""
_AT_FDCWD = -100
"""openat(2)."""
_POINTER = "gitdir: "
_SAMPLE = ".sample"
_ENVIRONMENT = "pyvenv.cfg"
"""What makes a directory a virtual environment (PEP 405)."""


class ObeyedPath(NamedTuple):
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
        self.found: dict[str, ObeyedPath] = {}
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
        self.missed: dict[str, str] = {}
        """Where something may be that was not seen, relative to the workspace, and why."""

    def miss(self, path: str, why: str) -> None:
        self.complete = False
        self.missed.setdefault(path, why)


def listed(
    root: str,
    names: Names,
    env: Mapping[str, str],
    *,
    known: Listing | None = None,
    entries: int | None = None,
    before: Listing | None = None,
    bounded: bool = True,
) -> Listing:
    """Look at a workspace: at `entries` files and directories at most, or at its top and what was `known`.
    Git directories that were there `before` come first where not all settings can be read; unless `bounded`
    all are."""
    listing = Listing(root)
    looking = _Search(listing, names, known or before, bounded)
    if known is None:
        looking.walk(entries)
    else:
        looking.again(known)
    if names.git_parts:
        looking.follow_settings(env)
    looking.follow_links()
    return listing


class _Search:
    def __init__(self, listing: Listing, names: Names, earlier: Listing | None, bounded: bool) -> None:
        self._listing = listing
        self._root = listing.root
        self._names = names
        self._earlier = frozenset(() if earlier is None else earlier.repositories)
        self._bounded = bounded
        self._repositories: set[str] = set()
        self._followed: set[tuple[str, bool]] = set()
        """Where links lead, and whether agents only read it."""
        self._links: list[ObeyedPath] = []
        self._pointed: list[tuple[str, str]] = []
        """Git directories that a `.git` leads to, and the work tree of each."""
        self._boring: set[str] = set()
        """Names that were seen and protect nothing, for speed."""
        self._seen = 0

    def walk(self, entries: int | None) -> None:
        todo, later = deque([("", "")]), deque[tuple[str, str]]()
        directories = 0
        while todo or later:
            if self._bounded and directories >= DIRECTORIES_LIMIT:
                self._listing.miss("", f"it has more than {DIRECTORIES_LIMIT} directories")
                return
            if entries is not None and self._seen > entries:
                self._listing.complete = False
                return
            directories += 1
            path, by = (todo or later).popleft()
            self._directory(path, by, todo, later)

    def again(self, known: Listing) -> None:
        """The top, git directories right below it, and what was known."""
        todo: deque[tuple[str, str]] = deque()
        self._directory("", "", todo, todo)
        for path, by in todo:
            if by or self._exists(f"{path}/HEAD"):
                self._directory(path, by, deque(), deque())
        for path in known.repositories:
            if path.startswith(".git/"):
                self._directory(path, "git", deque(), deque())
        self._listing.led.update(known.led)
        for one in known.found.values():
            try:
                self._take(one.path, os.lstat(f"{self._root}/{one.path}"), one.match)
            except (OSError, ValueError):
                continue
        self._listing.complete = False

    def _directory(
        self, below: str, by: str, todo: deque[tuple[str, str]], later: deque[tuple[str, str]]
    ) -> None:
        """Look at what is in a directory. `by` says which program of version control writes there; what lies
        below in such a one comes `later` than all others."""
        inner: list[str] = []
        links: list[str] = []
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
            if entry.is_dir(follow_symlinks=False):
                inner.append(name)
            elif name == _ENVIRONMENT:
                self._listing.environments.append(below)
            elif entry.is_symlink():
                links.append(prefix + name)
        is_one = below in self._earlier or (present and is_repository("", present.__contains__))
        if is_one and self._names.git_parts:
            by = by or "git"
            self._repository(below)
            for rest in self._names.git_parts:
                self._part(below, rest, "/".join((".git", *rest)))
        self._within(links, by)
        if by and folded(below).endswith("/objects") and "/.git/" in f"/{below}":
            inner = [name for name in inner if not _OBJECTS.fullmatch(name)]
        for name in inner:
            of = by or VERSIONED.get(folded(name), "")
            (later if of else todo).append((prefix + name, of))

    def _within(self, links: Sequence[str], by: str) -> None:
        """Take links where a program of version control writes."""
        if by and self._names.git_parts:
            for path in links:
                with contextlib.suppress(OSError, ValueError):
                    self._take(path, os.lstat(f"{self._root}/{path}"), link_within(path, by))
        room = _HINTED_LIMIT - len(self._listing.links)
        self._listing.links += links[: max(room, 0)]

    def _look(self, name: str, path: str, present: set[str]) -> None:
        """Take what is obeyed at a path; `present` are the pieces of a git directory beside it."""
        plain = folded(name)
        if plain in _PIECES:
            present.add(_PIECES[plain])
            return
        if not self._names.begins(plain):
            if len(self._boring) < _HINTED_LIMIT:
                self._boring.add(name)
            return
        if plain == ".git" and (is_repository(path, self._exists) or self._exists(f"{path}/config")):
            self._repository(path)
        for rest, pattern in self._names.of(plain):
            self._part(path, rest, pattern)

    def _repository(self, path: str) -> None:
        if path not in self._repositories:
            self._repositories.add(path)
            self._listing.repositories.append(path)

    def _exists(self, path: str) -> bool:
        return os.path.lexists(f"{self._root}/{path}")

    def _part(self, base: str, rest: Sequence[str], pattern: str) -> None:
        """What stands at the rest of a pattern, in a directory; a link on the way is obeyed itself."""
        path = base
        for index in range(len(rest) + 1):
            try:
                found = os.lstat(f"{self._root}/{path}")
            except OSError as error:
                self._missed(path.rpartition("/")[0], error)
                return
            except ValueError:
                return
            last = index == len(rest)
            link = stat.S_ISLNK(found.st_mode)
            pointer = not last and stat.S_ISREG(found.st_mode) and _is_pointer(path)
            if last or link or pointer:
                self._take(path, found, self._names.made(path, pattern, leads=not last))
                further = "/".join(rest[index:])
                if link and not last:
                    self._lead(f"{path}/{further}", self._names.made(path, pattern))
                elif pointer:
                    self._point(path, further, self._names.made(path, pattern))
                return
            if "*" in rest[index]:
                for entry in self._entries(path):
                    self._part(f"{path}/{entry.name}", rest[index + 1 :], pattern)
                return
            path = f"{path}/{rest[index]}" if path else rest[index]

    def _take(self, top: str, found: os.stat_result, match: Match) -> None:
        """Take a path, and what is in it."""
        todo = deque([(top, found)])
        room = _INNER_LIMIT if self._bounded else -1
        while todo and room:
            path, found = todo.popleft()
            if not self._is_better(match, self._listing.found.get(path)):
                continue
            room -= 1
            one = ObeyedPath(path, match, found.st_mode, found.st_ino, found.st_ctime_ns)
            self._listing.found[path] = one
            if stat.S_ISLNK(found.st_mode) and not match.leads:
                self._links.append(one)
            elif stat.S_ISDIR(found.st_mode):
                todo.extend(self._inner(path, match))
        if todo:
            self._listing.miss(top, f"it has more than {_INNER_LIMIT} files")

    def _is_better(self, match: Match, known: ObeyedPath | None) -> bool:
        """Whether it says more than what is known: what runs something does, then what stands deeper."""
        if known is None or is_read(match) != is_read(known.match):
            return known is None or is_read(known.match)
        return len(match.place) > len(known.match.place)

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
            self._missed(path, error)
            for name in self._names.literal if error.errno == errno.EACCES else ():
                where = f"{path}/{name}" if path else name
                if self._exists(where):  # To execute a directory suffices for who knows the names.
                    self._look(name, where, set())

    def _missed(self, path: str, error: OSError) -> None:
        """What cannot be looked at counts where the caller, and so a sandbox of his, may have written."""
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        if error.errno == errno.ENAMETOOLONG:
            self._listing.miss("", "its directories are too deep in one another")
        elif error.errno != errno.EACCES or self._is_writable(path):
            self._listing.miss(path, (error.strerror or "").lower())

    def _is_writable(self, path: str) -> bool:
        full = f"{self._root}/{path}"
        try:
            return os.lstat(full).st_uid == os.geteuid() or os.access(full, os.W_OK | os.X_OK)
        except OSError:
            return False

    def _point(self, path: str, further: str, match: Match) -> None:
        """Take what a `.git` that is a file leads to (gitrepository-layout(5))."""
        line = openat.first_line(_AT_FDCWD, f"{self._root}/{path}") or ""
        if path.endswith("/repo"):
            full = os.path.join(self._root, os.path.dirname(path), line)
            self._target(f"{os.path.normpath(full)}/{further}", match)
        elif line.startswith(_POINTER):
            top = os.path.join(self._root, os.path.dirname(path))
            directory = os.path.normpath(os.path.join(top, line.removeprefix(_POINTER)))
            self._pointed.append((directory, top.rstrip("/")))
            self._target(f"{directory}/{further}", match)

    # --- what leads elsewhere ------------------------------------------------------------------

    def follow_links(self) -> None:
        while self._links:
            link = self._links.pop()
            self._lead(link.path, link.match)

    def follow_settings(self, env: Mapping[str, str]) -> None:
        read = SettingsReader(callers_own(env))
        self._above(env)
        found = dict.fromkeys(self._work_trees(read))
        if self._bounded and len(found) > _REPOSITORIES_LIMIT:
            self._listing.miss("", f"it has more than {_REPOSITORIES_LIMIT} git directories")
        for directory, top in itertools.islice(found, _REPOSITORIES_LIMIT if self._bounded else None):
            for path, key in named(directory, top, env, read):
                self._target(path, Match("", key, "git", f"finds it by {key}"))
        for file, why in read.missed.items():
            self._listing.miss(os.path.relpath(file, self._root), why)
        self.follow_links()

    def _above(self, env: Mapping[str, str]) -> None:
        """Follow links of the directories above and of the caller's home, and take repositories there."""
        for top in _parents(self._root):
            directory = f"{top}/.git"
            if os.path.isfile(directory):
                line = openat.first_line(_AT_FDCWD, directory) or ""
                directory = os.path.normpath(os.path.join(top, line.removeprefix(_POINTER)))
            if os.path.isdir(directory):
                self._pointed.append((directory, top))
        if given := env.get("GIT_DIR"):
            top = os.path.join(self._root, env.get("GIT_WORK_TREE") or self._root)
            self._pointed.append((os.path.normpath(os.path.join(self._root, given)), top))
        home = env.get("HOME", "")
        for top in (*_parents(self._root), *[home] * bool(home)):
            for match, full in self._names.placed(top):
                if not os.path.lexists(full):
                    continue
                real = _real(full)
                if real != full and real != os.path.join(_real(top), match.place):
                    self._target(real, match)
        settings = _real(os.path.join(env.get("XDG_CONFIG_HOME") or f"{home}/.config", "art"))
        self._target(settings, Match(settings, ".art", "ART", "takes its settings from it"))

    def _work_trees(self, read: SettingsReader) -> Iterator[tuple[str, str]]:
        """Git directories and where each has its work tree: the workspace's own, those that were known, and
        only then what git takes for one on few file systems, because a sandbox makes as many as it likes."""

        def rank(path: str) -> tuple[bool, bool, bool, int]:
            own = path.rpartition("/")[2] == ".git"
            alike = not own and folded(path.rpartition("/")[2]) == ".git"
            return path not in (".git", ""), path not in self._earlier, alike, path.count("/")

        ordered = sorted(self._listing.repositories, key=rank)
        for repository in ordered[:1]:
            yield from self._tops(repository, read)
        yield from self._pointed
        for repository in ordered[1:]:
            yield from self._tops(repository, read)

    def _tops(self, repository: str, read: SettingsReader) -> Iterator[tuple[str, str]]:
        """A git directory with each place that may be the top of a work tree of its."""
        parent, _, name = repository.rpartition("/")
        directory = os.path.join(self._root, repository).rstrip("/")
        yield (
            directory,
            os.path.join(self._root, parent if folded(name) == ".git" else repository).rstrip("/"),
        )
        for key, value in read.settings(f"{directory}/config"):
            if key == "core.worktree":
                yield directory, os.path.normpath(os.path.join(directory, value))
        trees = [
            directory,
            *(f"{directory}/worktrees/{one.name}" for one in self._entries(f"{repository}/worktrees")),
        ]
        for tree in trees:
            if pointer := read.text(f"{tree}/gitdir").strip():
                yield directory, os.path.dirname(os.path.normpath(os.path.join(tree, pointer)))

    def _lead(self, path: str, match: Match) -> None:
        """Take what a link leads to, and each link on the way there."""
        full = f"{self._root}/{path}"
        for _ in range(_LINKS_LIMIT):
            try:
                target = os.readlink(full)
            except (OSError, ValueError):
                break
            full = os.path.normpath(os.path.join(os.path.dirname(full), target))
            if (full, is_read(match)) in self._followed:
                return
            self._followed.add((full, is_read(match)))
            self._target(full, match)
        self._target(full, match)

    def _target(self, full: str, match: Match) -> None:
        for path in dict.fromkeys((full, _real(full))):
            if path == self._root or not within(path, self._root) or "\0" in path:
                continue
            relative = os.path.relpath(path, self._root)
            reached = match._replace(place=relative)
            known = self._listing.led.get(relative)
            if known is None or (is_read(known) and not is_read(reached)):
                self._listing.led[relative] = reached
                try:
                    self._take(relative, os.lstat(path), reached)
                except (OSError, ValueError):
                    continue


def _parents(path: str) -> Iterator[str]:
    while path != "/":
        path = os.path.dirname(path)
        yield path


def _real(path: str) -> str:
    """The path without links; as it is where there are more links than Linux follows, or a NUL."""
    try:
        os.stat(path)
    except ValueError:
        return path
    except OSError as error:
        if error.errno == errno.ELOOP:
            return path
    return os.path.realpath(path)


def _is_pointer(path: str) -> bool:
    """Whether a file there may say where the directory is that it stands for."""
    above, _, name = path.rpartition("/")
    return folded(name) == ".git" or (name == "repo" and folded(above.rpartition("/")[2]) in POINTERS)


_PIECES = {"head": "HEAD", "objects": "objects", "refs": "refs", "commondir": "commondir"}
