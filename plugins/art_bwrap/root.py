"""The root of the sandbox, as arguments for bwrap.

The root is a tmpfs, rebuilt entry by entry from the host's, because over a plain read-only bind
bwrap could not make `/home/agent` or `/opt/mydata`. The same is done for every directory in which
a guest path is missing, and for every directory above a mask: what is left out of a tmpfs of ours
stays out, whatever the host renames, removes or makes meanwhile. All are read-only at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from art_core.contracts import HOME
from art_core.errors import IsolationError
from art_core.host.tree import DirectoryReader, resolve, within

OWN = ("/dev", "/proc", "/tmp")
"""Places of the sandbox's own: nothing of the host's is in them."""
REBUILD_LIMIT = 4096
"""Entries of a directory that has to be rebuilt; each becomes a mount."""
SMALL = 256
"""Entries of a directory that is rebuilt only so that masks below it hold."""
_EMPTY_SIZE = str(1 << 20)
"""Size of a tmpfs that only holds mount points."""


class Layout:
    """Which directories are ours instead of the host's, found from masks and guest paths."""

    def __init__(self, host: DirectoryReader, masks: Sequence[str]) -> None:
        self._host = host
        self._masks: dict[str, bool] = {}
        """Resolved masked path -> whether it is a directory."""
        self._rebuilt: dict[str, set[str]] = {"/": set()}
        """Directory -> names that are left out of it."""
        self._mounted: list[str] = []
        """Where something is mounted; in a rebuilt directory the host's entry is left out then, which
        the host might replace at this very moment."""
        for mask in masks:
            path = resolve(host, mask)
            kind = host.kind(path)
            if kind is not None and path != "/" and _own(path) is None:
                self._masks[path] = kind == "dir"
        for path, directory in self._masks.items():
            if not self._hidden(path):
                self._take_over(path, directory=directory)

    def _take_over(self, path: str, *, directory: bool) -> None:
        """Rebuild the directories above a mask, so that it is an absence and no mount on something
        of the host's, which would go with what is renamed or removed there."""
        parent, _, name = path.rpartition("/")
        if not directory:
            self._rebuilt.setdefault(parent or "/", set()).add(name)
        while parent:
            if len(self._host.entries(parent)) <= SMALL:
                self._rebuilt.setdefault(parent, set())
            parent = parent.rpartition("/")[0]

    def _hidden(self, path: str) -> bool:
        """Whether a masked directory already hides the path."""
        return any(
            directory and path != mask and within(path, mask) for mask, directory in self._masks.items()
        )

    def _covered(self, path: str) -> bool:
        """Whether what the host has at the path is covered by something of ours."""
        masked = self._masks.get(path, False) or self._hidden(path)
        return masked or _own(path) is not None or self._inside_a_mount(path)

    def mount_point(self, guest: str, *, directory: bool) -> tuple[str, list[str]]:
        """The path at which a guest is to be mounted, links of the host resolved, and the words
        that make the directories above it. Nothing is ever made in a directory of the host."""
        path = resolve(self._host, guest, self._covered)
        parents: list[str] = []
        if self._inside_a_mount(path):
            if within(path, HOME) and not self._inside_a_mount(path, besides=HOME):
                parents = _between(HOME, path)
        elif self._covered(path):
            top = _own(path) or next(mask for mask in self._masks if within(path, mask))
            parents = _between(top, path)
        else:
            parents = self._make_room(path, directory=directory)
        self._mounted.append(path)
        return path, [word for parent in parents for word in ("--perms", "0755", "--dir", parent)]

    def _inside_a_mount(self, path: str, besides: str = "") -> bool:
        return any(within(path, mounted) for mounted in self._mounted if mounted != besides)

    def _make_room(self, path: str, *, directory: bool) -> list[str]:
        """See that the path or its first missing parent can be made; return the missing parents."""
        if self._host.kind(path) == ("dir" if directory else "file"):
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
        masked = [path for path, directory in self._masks.items() if directory and not self._hidden(path)]
        over_the_host = {path for path in masked if (path.rpartition("/")[0] or "/") not in self._rebuilt}
        rebuilt = {path for path in self._rebuilt if not self._hidden(path)}
        self._own = ["/", *sorted({*rebuilt, *over_the_host} - {"/"})]
        words = [*self._entries("/")]
        for path in self._own[1:]:
            words += ["--perms", "0755", "--size", _EMPTY_SIZE, "--tmpfs", path]
            if path in rebuilt:
                words += self._entries(path)
        return words

    def _entries(self, directory: str) -> Iterator[str]:
        left_out, mounted = self._rebuilt[directory], set(self._mounted)
        entries = self._host.entries(directory)
        if len(entries) > REBUILD_LIMIT:
            raise IsolationError(
                f"{directory} has {len(entries)} entries, too many to add one to; choose another guest path"
            )
        prefix = "" if directory == "/" else directory
        for name, kind, target in entries:
            path = f"{prefix}/{name}"
            if name in left_out or path in mounted or path in OWN:
                continue
            if path in self._rebuilt or self._masks.get(path):
                yield from ("--perms", "0755", "--dir", path)
            elif kind == "link":
                yield from ("--symlink", target, path)
            elif kind in ("dir", "file"):
                yield from ("--ro-bind-try", path, path)

    def seals(self) -> list[str]:
        """What makes everything of ours read-only, once all mount points exist."""
        words = []
        for path in reversed(self._own):
            words += ["--remount-ro", path]
        return words


def _own(path: str) -> str | None:
    """The place of the sandbox's own that holds the path."""
    return next((top for top in OWN if within(path, top)), None)


def _between(top: str, path: str) -> list[str]:
    """The directories below `top` and above `path`, outermost first."""
    below = path[len(top.rstrip("/")) :].strip("/").split("/")[:-1]
    return ["/".join((top.rstrip("/"), *below[:depth])) for depth in range(1, len(below) + 1)]
