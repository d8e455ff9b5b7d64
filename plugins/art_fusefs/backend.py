"""What a store has to do for the file system: keep inodes, names and contents.

`Operations` decides what a request means (POSIX); the backend only keeps. It is called from one
thread, and between two awaits of the file system everything it was told belongs together: a commit
may fall between calls of different requests only.

Times are nanoseconds since the epoch, sizes bytes, names any bytes but `/` and NUL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar

VERSION = 3
ROOT = 1
"""The number of the top directory."""


class Node:
    """One inode, as long as the file system or the backend wants it.

    `opens` and `lookups` are the file system's: what the kernel holds. `counted` says that `lookups`
    is all of it: a backend that let go of a node and made it anew sets it to False. `changing` says that the
    node can change behind the file system's back (it shows a file of the host), so the kernel may
    believe what it knows of it for a moment only; `names_changing` says of a directory that names can appear
    in it so. A backend that learns of changes sets neither, and passes them on: see `Tell`. `holes` are the
    bytes of `size` that take no room because they were never written, at most: what stat(2) tells as blocks
    leaves them out. `direct` says that the node is a file which others write as well: nothing of it is
    believed or cached.
    """

    __slots__ = (
        "atime",
        "changing",
        "counted",
        "ctime",
        "direct",
        "holes",
        "ino",
        "lookups",
        "mode",
        "mtime",
        "names_changing",
        "nlink",
        "opens",
        "rdev",
        "size",
        "target",
    )

    def __init__(self, ino: int, mode: int, now: int) -> None:
        self.ino = ino
        self.mode = mode
        self.nlink = 1
        self.rdev = 0
        self.size = 0
        self.holes = 0
        self.atime = self.mtime = self.ctime = now
        self.target = b""
        self.opens = 0
        self.lookups = 0
        self.counted = True
        self.changing = False
        self.names_changing = False
        self.direct = False


class Space(NamedTuple):
    """What statvfs(3) is told, in bytes and inodes."""

    total: int
    free: int
    inodes: int
    free_inodes: int

    @classmethod
    def at(cls, path: str) -> Space:
        """That of the file system which a path lies on."""
        found = os.statvfs(path)
        total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        return cls(total, free, found.f_files, found.f_favail)


class NameChanged(NamedTuple):
    """A name in a directory stands for something else, or for nothing, or was absent and is not. With
    `stays` it may still stand for the same: the kernel asks again, and who works below is not disturbed
    (before Linux 6.2 like without)."""

    directory: int
    name: bytes
    stays: bool = False


class InodeChanged(NamedTuple):
    """Attributes or contents are others. `directory` is where it was found."""

    ino: int
    directory: int


Notice = NameChanged | InodeChanged
Tell = Callable[[Iterable[Notice]], None]
"""Makes the kernel forget. It returns at once and may be called at any time from the thread that answers
requests; the notices are drawn and sent in another thread. For a change between an answer's making and its
arrival it is enough that the notice comes after the answer."""

N = TypeVar("N", bound=Node)


class Backend(Protocol[N]):
    """A store, as the file system needs it. Failures are OSError with an errno for the command."""

    uid: int
    gid: int
    """Who owns every file, in the numbers of the mount."""

    def node(self, ino: int) -> N:
        """The node of a number that was given out. Raises OSError (ESTALE)."""
        ...

    def resident(self, ino: int) -> N | None:
        """The node of a number, if it is in memory. One that has no name left always is."""
        ...

    def refresh(self, node: N) -> None:
        """Attributes of the node are asked for or set by its number: see that they are those of now."""
        ...

    def settle(self) -> None:
        """Called between requests: nodes that are not open may be let go of, if `node` finds them
        again."""
        ...

    def lookup(self, directory: N, name: bytes) -> N | None: ...

    def names(self, directory: N) -> Iterable[bytes]:
        """All names in a directory, in any order."""
        ...

    def is_empty(self, directory: N) -> bool: ...

    def parent(self, directory: N) -> N:
        """The directory above one; the top directory's is itself."""
        ...

    def new(self, mode: int, now: int) -> N:
        """A node with a number of its own and no name yet."""
        ...

    def enter(self, directory: N, name: bytes, node: N) -> None:
        """Give the node a name; it takes the place of what had it."""
        ...

    def leave(self, directory: N, name: bytes, node: N) -> None:
        """Take the name away."""
        ...

    def changed(self, node: N) -> None:
        """Attributes of the node were set."""
        ...

    def discard(self, node: N) -> None:
        """Nothing refers to the node any more: no name, no descriptor, no lookup of the kernel."""
        ...

    def opened(self, node: N) -> bool:
        """A regular file is opened; True when what the kernel has cached of it is still right."""
        ...

    def closed(self, node: N) -> None:
        """The last descriptor of the file was closed."""
        ...

    def read(self, node: N, offset: int, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the file."""
        ...

    def write(self, node: N, offset: int, data: bytes) -> None:
        """Keep the bytes, and the size where it grew. Times are set by the file system."""
        ...

    def resize(self, node: N, size: int) -> None: ...

    def reserve(self, size: int) -> None:
        """See that so many more bytes can be kept, as far as that can be known. Raises OSError (ENOSPC)."""
        ...

    def clear(self, node: N, offset: int, size: int) -> None:
        """Bytes within the file become zeros, and take no room where they can."""
        ...

    def data(self, node: N, offset: int) -> tuple[int, int] | None:
        """The first part from an offset on that may hold something else than zeros, by its start and
        its end; None when there are only zeros left."""
        ...

    def xattrs(self, node: N) -> dict[bytes, bytes]:
        """The extended attributes; the dictionary is the caller's."""
        ...

    def set_xattr(self, node: N, name: bytes, value: bytes | None) -> None:
        """Set one, or remove it with None."""
        ...

    def space(self) -> Space: ...

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        """Bring everything up to now to the disk. `done` is called then, in any thread; with an error
        when something is not durable."""
        ...
