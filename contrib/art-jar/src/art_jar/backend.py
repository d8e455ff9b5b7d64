"""What the file system asks of a store: a branch over the host's workspace."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from art_core.errors import StoreError
from art_fusefs.backend import ROOT, Space
from art_jar.image import File, Image


class JarBackend:
    """See `art_fusefs.backend.Backend`. A file is copied up whole at its first change."""

    def __init__(
        self, path: str, workspace: bytes, lower: bytes, owner: tuple[int, int] = (0, 0), limit: int = 1 << 40
    ) -> None:
        """The branch that is kept at `path`; the host's directory `lower` shows as `workspace`. `limit`
        is for the contents of all files, in bytes. Raises StoreError."""
        self.uid, self.gid = owner
        self.image = Image.load(path)
        self._path = path
        self._limit = limit
        self._taken = sum(len(file.contents or b"") for file in self.image.files.values())
        self._of_host: dict[tuple[int, int], int] = {}
        root = self.image.files[ROOT]
        number = root.names.get(workspace)
        if number is None:
            self.top = self._hosts(lower, os.lstat(lower), (ROOT, workspace))
            self.top.held, self.top.changing = True, False
            root.names[workspace] = self.top.ino
            return
        self.top = self.image.files[number]
        if self.top.origin != lower:
            known = os.fsdecode(self.top.origin or b"(a directory made inside)")
            raise StoreError(
                f"the workspace {os.fsdecode(workspace)!r} of this jar is {known}, not {os.fsdecode(lower)}; "
                "a jar does not follow a workspace that was moved: move it back, or use another --name"
            )

    def node(self, ino: int) -> File:
        try:
            return self.image.files[ino]
        except KeyError:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from None

    def resident(self, ino: int) -> File | None:
        return self.image.files.get(ino)

    def refresh(self, node: File) -> None:
        pass

    def settle(self) -> None:
        pass

    # --- names ---------------------------------------------------------------------------------

    def lookup(self, directory: File, name: bytes) -> File | None:
        if name in directory.names:
            ino = directory.names[name]
            return None if ino is None else self.image.files[ino]
        if directory.origin is None:
            return None
        path = directory.origin + b"/" + name
        try:
            return self._hosts(path, os.lstat(path), (directory.ino, name))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _hosts(self, path: bytes, found: os.stat_result, up: tuple[int, bytes]) -> File:
        """The host's file at a path, as it is now."""
        key = (found.st_dev, found.st_ino)
        file = self.image.files.get(self._of_host.get(key, 0))
        if file is None or file.held or file.origin != path or file.mode != found.st_mode:
            file = self.image.files[self.image.next_host] = File(self.image.next_host, found.st_mode, 0)
            self._of_host[key] = file.ino
            self.image.next_host += 1
            file.held, file.changing, file.names_changing = False, True, stat.S_ISDIR(found.st_mode)
            file.origin, file.contents, file.up = path, None, up
            if stat.S_ISLNK(found.st_mode):
                file.target = os.readlink(path)
        file.size, file.nlink = found.st_size, found.st_nlink
        file.atime, file.mtime, file.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        return file

    def names(self, directory: File) -> Iterable[bytes]:
        found = {name for name, ino in directory.names.items() if ino is not None}
        if directory.origin is not None:
            with suppress(FileNotFoundError, NotADirectoryError):  # The host took it away.
                found |= {name for name in os.listdir(directory.origin) if name not in directory.names}
        return found

    def is_empty(self, directory: File) -> bool:
        return not self.names(directory)

    def parent(self, directory: File) -> File:
        return self.image.files[directory.up[0]]

    def new(self, mode: int, now: int) -> File:
        file = File(self.image.next, mode, now)
        self.image.next += 1
        self.image.files[file.ino] = file
        return file

    def enter(self, directory: File, name: bytes, node: File) -> None:
        self._hold(directory)
        self._hold(node)
        directory.names[name] = node.ino
        node.up = (directory.ino, name)

    def leave(self, directory: File, name: bytes, node: File) -> None:
        self._hold(directory)
        directory.names[name] = None

    def _hold(self, file: File) -> None:
        """Copy up, with all directories above."""
        if file.held:
            return
        if stat.S_ISREG(file.mode):
            assert file.origin is not None
            with open(os.open(file.origin, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
                found = os.fstat(source.fileno())
                self._take(found.st_size)
                file.contents = bytearray(source.read())
            self._take(len(file.contents) - found.st_size)
            file.base, file.size = (found.st_size, found.st_mtime_ns), len(file.contents)
            file.nlink = 1
        file.held, file.changing = True, False
        above = self.image.files[file.up[0]]
        self._hold(above)
        above.names.setdefault(file.up[1], file.ino)

    def changed(self, node: File) -> None:
        if node.nlink:
            self._hold(node)

    def discard(self, node: File) -> None:
        self._taken -= len(node.contents or b"")
        self.image.files.pop(node.ino, None)

    # --- contents ------------------------------------------------------------------------------

    def opened(self, node: File) -> bool:
        return node.held

    def closed(self, node: File) -> None:
        pass

    def read(self, node: File, offset: int, size: int) -> bytes:
        if node.contents is not None:
            return bytes(node.contents[offset : offset + size])
        assert node.origin is not None
        with open(os.open(node.origin, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            return os.pread(source.fileno(), size, offset)

    def write(self, node: File, offset: int, data: bytes) -> None:
        self.resize(node, max(node.size, offset + len(data)))
        assert node.contents is not None
        node.contents[offset : offset + len(data)] = data

    def resize(self, node: File, size: int) -> None:
        self._hold(node)
        assert node.contents is not None
        self._take(size - len(node.contents))
        del node.contents[size:]
        node.contents.extend(bytes(size - len(node.contents)))
        node.size = size

    def reserve(self, size: int) -> None:
        if self._taken + size > self._limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def clear(self, node: File, offset: int, size: int) -> None:
        self.write(node, offset, bytes(size))

    def data(self, node: File, offset: int) -> tuple[int, int] | None:
        return (offset, node.size) if offset < node.size else None

    def _take(self, more: int) -> None:
        """Room for so many bytes. Raises OSError (ENOSPC)."""
        if more > 0 and self._taken + more > self._limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._taken += more

    def xattrs(self, node: File) -> dict[bytes, bytes]:
        return dict(node.marks)

    def set_xattr(self, node: File, name: bytes, value: bytes | None) -> None:
        self._hold(node)
        if value is None:
            del node.marks[name]
        else:
            node.marks[name] = value

    # --- the whole -----------------------------------------------------------------------------

    def space(self) -> Space:
        return Space(self._limit, max(0, self._limit - self._taken), 1 << 20, 1 << 19)

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        try:
            self.save()
        except OSError as error:
            done(error)
        else:
            done(None)

    def save(self, *, ending: bool = False) -> None:
        """Raises OSError; what was kept before is still there then."""
        self.image.save(self._path)
