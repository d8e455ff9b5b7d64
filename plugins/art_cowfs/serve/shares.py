"""Shares: single files of the host that stand in the home themselves, read and written where they are.

A bind mount of a file cannot be replaced by rename(2), which is how careful programs write (EBUSY, mount(2)),
and it goes on showing the old file when the host does that. Here a share is a name in a directory of
the host: it is looked up each time, and what is renamed onto it inside is written beside it on
the host and renamed there. Nothing else of that directory can be reached, and the name cannot
be removed or moved away, as if it were a mount.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from art_cowfs.db.schema import DatabaseError
from art_cowfs.tree.nodes import CowNode
from art_cowfs.tree.tree import Tree
from art_fusefs.backend import ROOT, Space

LIMIT = 16 << 20
"""The largest file that takes the place of a share: it is copied between two requests."""
_BLOCK = 1 << 20
_BASIC = 0o777
_TEMPORARY = ".art-share-"


class Share(NamedTuple):
    """A shared file: where it is in the home, and its name in a directory of the host, which is pinned by
    an O_PATH descriptor."""

    guest: bytes
    directory_fd: int
    name: bytes


class _LiveShare:
    """A share in use, with the node that stands for it now."""

    def __init__(self, share: Share, node: CowNode) -> None:
        self.share = share
        self.node = node

    def stat(self) -> os.stat_result | None:
        """The host's file; None when there is none. A link is none."""
        try:
            found = os.lstat(self.share.name, dir_fd=self.share.directory_fd)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def open(self, flags: int, mode: int = 0o600) -> int:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(self.share.name, flags, mode, dir_fd=self.share.directory_fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return fd

    def replace(self, contents: Iterable[bytes], mode: int) -> None:
        """Put a file in the place of the host's: whole or not at all. Raises OSError."""
        name, directory = f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}", self.share.directory_fd
        before = self.stat()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            with open(fd, "wb", buffering=0) as file:
                for part in contents:
                    file.write(part)
                if before is not None:
                    mode &= before.st_mode  # It is not for more eyes than it was.
                    if os.getuid() == 0:
                        os.fchown(fd, before.st_uid, before.st_gid)
                os.fchmod(fd, mode & _BASIC)
                os.fsync(fd)
            os.rename(name, self.share.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)
            raise


class SharedTree:
    """A tree with shares in it. See `art_fusefs.backend.Backend`."""

    def __init__(self, tree: Tree, shares: Sequence[Share], now: int) -> None:
        """Directories above a share that are not there are made. Raises DatabaseError and OSError."""
        self._tree = tree
        self.uid, self.gid = tree.uid, tree.gid
        self._at: dict[tuple[int, bytes], _LiveShare] = {}
        """The shares by the number of the directory and the name in it."""
        self._live: dict[int, _LiveShare] = {}
        """The same by the numbers that the kernel may know of each."""
        self._nodes: dict[int, CowNode] = {}
        for share in shares:
            *above, name = share.guest.split(b"/")
            directory = tree.node(ROOT)
            for part in above:
                directory = self._directory(directory, part, now)
            live = _LiveShare(share, tree.new(stat.S_IFREG | 0o600, now))
            self._at[directory.ino, name] = live
            self._become(live, live.node)

    def _directory(self, above: CowNode, name: bytes, now: int) -> CowNode:
        node = self._tree.lookup(above, name)
        if node is None:
            node = self._tree.new(stat.S_IFDIR | 0o700, now)
            node.nlink = 2
            self._tree.enter(above, name, node)
            above.nlink += 1
            self._tree.changed(above)
        elif not stat.S_ISDIR(node.mode):
            raise DatabaseError(
                f"{os.fsdecode(name)!r} in the home is no directory, and a share is to be in it; remove it "
                "inside, or choose another place"
            )
        self._tree.changed(node)  # It has a number of its own from now on.
        node.names_changing = True
        return node

    def _become(self, live: _LiveShare, node: CowNode) -> None:
        """From now on the node stands for the share."""
        live.node.nlink, node.nlink = 0, 1
        live.node = node
        node.direct = True
        self._live[node.ino], self._nodes[node.ino] = live, node

    def at(self, directory: int, name: bytes) -> bool:
        """Whether a share stands, or would stand, at a name of a directory."""
        return (directory, name) in self._at

    def is_share(self, ino: int) -> bool:
        return ino in self._live

    def replace(self, directory: CowNode, name: bytes, source: CowNode, source_name: bytes) -> None:
        """A file of the tree is renamed onto a share. Raises OSError; nothing is changed then."""
        live = self._at[directory.ino, name]
        moved = self._tree.lookup(source, source_name)
        assert moved is not None
        if not stat.S_ISREG(moved.mode) or moved.nlink > 1:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        if moved.size > LIMIT:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        self._tree.changed(moved)
        live.replace(self._contents(moved), moved.mode)
        self._tree.leave(source, source_name, moved)
        # The kernel knows it by this number, and who has it open goes on with what has the name now.
        node = CowNode(moved.ino, moved.mode, moved.mtime)
        node.opens, node.lookups, node.counted = moved.opens, moved.lookups, moved.counted
        moved.nlink = 0
        self._tree.discard(moved)
        self._become(live, node)
        if node.opens:
            self.opened(node)

    def _contents(self, node: CowNode) -> Iterator[bytes]:
        for offset in range(0, node.size, _BLOCK):
            yield self._tree.read(node, offset, min(_BLOCK, node.size - offset))

    # --- the backend ---------------------------------------------------------------------------

    def node(self, ino: int) -> CowNode:
        node = self._nodes.get(ino)
        return self._tree.node(ino) if node is None else node

    def resident(self, ino: int) -> CowNode | None:
        return self._nodes.get(ino) or self._tree.resident(ino)

    def settle(self) -> None:
        self._tree.settle()

    def refresh(self, node: CowNode) -> None:
        live = self._live.get(node.ino)
        if live is None:
            self._tree.refresh(node)
        elif not self._show(live, node):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    def _show(self, live: _LiveShare, node: CowNode) -> bool:
        found = live.stat()
        if found is None:
            return False
        node.mode, node.size = stat.S_IFREG | found.st_mode & _BASIC, found.st_size
        node.holes = max(0, found.st_size - found.st_blocks * 512)
        node.atime, node.mtime, node.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        return True

    def lookup(self, directory: CowNode, name: bytes) -> CowNode | None:
        live = self._at.get((directory.ino, name))
        if live is None:
            return self._tree.lookup(directory, name)
        return live.node if self._show(live, live.node) else None

    def names(self, directory: CowNode) -> Iterable[bytes]:
        found = set(self._tree.names(directory))
        for (number, name), live in self._at.items():
            if number == directory.ino:
                found.discard(name)
                if live.stat() is not None:
                    found.add(name)
        return found

    def is_empty(self, directory: CowNode) -> bool:
        return all(number != directory.ino for number, _ in self._at) and self._tree.is_empty(directory)

    def parent(self, directory: CowNode) -> CowNode:
        return self._tree.parent(directory)

    def new(self, mode: int, now: int) -> CowNode:
        return self._tree.new(mode, now)

    def enter(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        live = self._at.get((directory.ino, name))
        if live is None:
            self._tree.enter(directory, name, node)
            return
        if not stat.S_ISREG(node.mode):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        os.close(live.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, node.mode & _BASIC))
        self._become(live, node)

    def leave(self, directory: CowNode, name: bytes, node: CowNode) -> None:
        self._tree.leave(directory, name, node)

    def changed(self, node: CowNode) -> None:
        live = self._live.get(node.ino)
        if live is None:
            self._tree.changed(node)
            return
        with self._file(live, node) as fd:
            found = os.fstat(fd)
            if found.st_mode & _BASIC != node.mode & _BASIC:
                os.fchmod(fd, node.mode & _BASIC)
            if found.st_mtime_ns != node.mtime:
                os.utime(fd, ns=(node.atime, node.mtime))

    def discard(self, node: CowNode) -> None:
        live = self._live.get(node.ino)
        if live is None:
            self._tree.discard(node)
        elif live.node is not node:
            self.closed(node)
            del self._live[node.ino], self._nodes[node.ino]

    @contextmanager
    def _file(self, live: _LiveShare, node: CowNode) -> Iterator[int]:
        """A descriptor of the host's file."""
        if node.fd >= 0:
            yield node.fd
            return
        fd = self._open(live)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open(self, live: _LiveShare) -> int:
        try:
            return live.open(os.O_RDWR)
        except PermissionError:
            return live.open(os.O_RDONLY)
        except FileNotFoundError:
            # The kernel asks for the name once more.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def opened(self, node: CowNode) -> bool:
        live = self._live.get(node.ino)
        if live is None:
            return self._tree.opened(node)
        fd = self._open(live)
        self.closed(node)
        node.fd = fd
        return False

    def closed(self, node: CowNode) -> None:
        if node.ino not in self._live:
            self._tree.closed(node)
        elif node.fd >= 0:
            os.close(node.fd)
            node.fd = -1

    def read(self, node: CowNode, offset: int, size: int) -> bytes:
        live = self._live.get(node.ino)
        if live is None:
            return self._tree.read(node, offset, size)
        with self._file(live, node) as fd:
            return os.pread(fd, size, offset)

    def write(self, node: CowNode, offset: int, data: bytes) -> None:
        live = self._live.get(node.ino)
        if live is None:
            self._tree.write(node, offset, data)
            return
        with self._file(live, node) as fd:
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, offset)
                offset, view = offset + written, view[written:]
        node.size = max(node.size, offset)

    def resize(self, node: CowNode, size: int) -> None:
        live = self._live.get(node.ino)
        if live is None:
            self._tree.resize(node, size)
            return
        with self._file(live, node) as fd:
            os.ftruncate(fd, size)
        node.size = size

    def reserve(self, size: int) -> None:
        self._tree.reserve(size)

    def clear(self, node: CowNode, offset: int, size: int) -> None:
        if node.ino not in self._live:
            self._tree.clear(node, offset, size)
            return
        for start in range(offset, offset + size, _BLOCK):
            self.write(node, start, bytes(min(_BLOCK, offset + size - start)))

    def data(self, node: CowNode, offset: int) -> tuple[int, int] | None:
        if node.ino not in self._live:
            return self._tree.data(node, offset)
        return (offset, node.size) if offset < node.size else None

    def xattrs(self, node: CowNode) -> dict[bytes, bytes]:
        return {} if node.ino in self._live else self._tree.xattrs(node)

    def set_xattr(self, node: CowNode, name: bytes, value: bytes | None) -> None:
        if node.ino in self._live:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self._tree.set_xattr(node, name, value)

    def space(self) -> Space:
        return self._tree.space()

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        failure: OSError | None = None
        for node in self._nodes.values():
            if node.fd >= 0:
                try:
                    os.fsync(node.fd)
                except OSError as error:
                    failure = error
        self._tree.flush(done if failure is None else lambda _: done(failure))

    def close(self) -> None:
        for node in self._nodes.values():
            self.closed(node)
        for live in self._at.values():
            os.close(live.share.directory_fd)
