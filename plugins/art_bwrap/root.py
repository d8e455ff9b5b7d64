"""The root of the sandbox, as arguments for bwrap.

The root is a tmpfs, rebuilt entry by entry from the host's, because over a plain read-only bind
bwrap could not make `/home/agent` or `/opt/mydata`. The same is done for every directory in which
a guest path is missing, and for every directory that holds a masked file: what is left out of a
tmpfs of ours stays out, whatever the host renames. All of them are read-only at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from art_core.contracts import HOME
from art_core.errors import IsolationError
from art_core.hosttree import HostTree, resolve, within

OWN = ("dev", "proc", "tmp")
"""Entries of the root that bwrap makes anew."""
REBUILD_LIMIT = 4096
"""Entries of a directory that is rebuilt; each becomes a mount."""
_EMPTY_SIZE = str(1 << 20)
"""Size of a tmpfs that only holds mount points."""


class Layout:
    """Which directories are ours instead of the host's, found from masks and guest paths."""

    def __init__(self, host: HostTree, masks: Sequence[str]) -> None:
        self._host = host
        self._masks: dict[str, bool] = {}
        """Resolved masked path -> whether it is a directory."""
        self._rebuilt: dict[str, set[str]] = {"/": set()}
        """Directory -> names that are left out of it."""
        self._mounted: list[str] = []
        for mask in masks:
            path = resolve(host, mask)
            kind = host.kind(path)
            if kind is not None and path != "/":
                self._masks[path] = kind == "dir"
        for path, directory in self._masks.items():
            if not directory and not self._hidden(path):
                self._leave_out(path)

    def _hidden(self, path: str) -> bool:
        """Whether a masked directory already hides the path."""
        return any(
            directory and path != mask and within(path, mask) for mask, directory in self._masks.items()
        )

    def _covered(self, path: str) -> bool:
        """Whether what the host has at the path is covered by something of ours."""
        return self._masks.get(path, False) or self._hidden(path) or self._inside_a_mount(path)

    def _leave_out(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        self._rebuilt.setdefault(parent or "/", set()).add(name)

    def mount_point(self, guest: str, *, directory: bool) -> tuple[str, list[str]]:
        """The path at which a guest is to be mounted, links of the host resolved, and the words
        that make the directories above it. Nothing is ever made in a directory of the host."""
        path = resolve(self._host, guest, self._covered)
        parents: list[str] = []
        if self._inside_a_mount(path):
            if within(path, HOME) and not self._inside_a_mount(path, besides=HOME):
                parents = _between(HOME, path)
        elif self._covered(path):
            parents = _between(next(mask for mask in self._masks if within(path, mask)), path)
        else:
            parents = self._make_room(path, directory=directory)
        self._mounted.append(path)
        return path, [word for parent in parents for word in ("--perms", "0755", "--dir", parent)]

    def _inside_a_mount(self, path: str, besides: str = "") -> bool:
        return any(within(path, mounted) for mounted in self._mounted if mounted != besides)

    def _make_room(self, path: str, *, directory: bool) -> list[str]:
        """See that the path or its first missing parent can be made; return the missing parents."""
        kind = self._host.kind(path)
        if kind is not None and (kind == "dir") == directory:
            return []
        parent, _, name = path.rpartition("/")
        while parent and self._host.kind(parent) is None:
            parent, _, name = parent.rpartition("/")
        if parent and self._host.kind(parent) != "dir":
            raise IsolationError(f"nothing can be mounted at {path}: {parent} is not a directory")
        self._rebuilt.setdefault(parent or "/", set()).add(name)
        return _between(parent, path)

    def arguments(self) -> list[str]:
        """What makes the root, before anything is mounted on it."""
        words: list[str] = []
        masked = [path for path, directory in self._masks.items() if directory and not self._hidden(path)]
        at_root = {path for path in masked if path.count("/") == 1}
        steps = sorted({*self._rebuilt, *(path for path in masked if path not in at_root)} - {"/"})
        words += self._entries("/", at_root)
        for path in steps:
            if path in self._masks:
                words += ["--perms", "0755", "--size", _EMPTY_SIZE, "--tmpfs", path]
            elif not self._hidden(path):
                words += ["--perms", "0755", "--size", _EMPTY_SIZE, "--tmpfs", path]
                words += self._entries(path, set())
        self._own = ["/", *(path for path in steps if path in self._masks or not self._hidden(path))]
        return words

    def _entries(self, directory: str, masked: set[str]) -> Iterator[str]:
        left_out = self._rebuilt[directory]
        entries = self._host.entries(directory)
        if len(entries) > REBUILD_LIMIT:
            raise IsolationError(
                f"{directory} has {len(entries)} entries, too many to add one to; choose another guest path"
            )
        prefix = "" if directory == "/" else directory
        for name, kind, target in entries:
            path = f"{prefix}/{name}"
            if name in left_out or (directory == "/" and name in OWN):
                continue
            if path in masked:
                yield from ("--perms", "0755", "--dir", path)
            elif kind == "link":
                yield from ("--symlink", target, path)
            elif kind in ("dir", "file") and path not in self._rebuilt:
                yield from ("--ro-bind-try", path, path)
            elif path in self._rebuilt:
                yield from ("--perms", "0755", "--dir", path)

    def seals(self) -> list[str]:
        """What makes everything of ours read-only, once all mount points exist."""
        words = []
        for path in reversed(self._own):
            words += ["--remount-ro", path]
        return words


def _between(top: str, path: str) -> list[str]:
    """The directories below `top` and above `path`, outermost first."""
    below = path[len(top.rstrip("/")) :].strip("/").split("/")[:-1]
    return ["/".join((top.rstrip("/"), *below[:depth])) for depth in range(1, len(below) + 1)]
