"""The host's side of a transfer: reading and writing a workspace by descriptor.

No path is ever followed through a link: each directory is opened below the one before, so that
nothing that is swapped meanwhile, and no name out of a database, leads out of the workspace. A
file appears whole or not at all: it is written under a temporary name and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from art_core.errors import TransferError
from art_core.host.descent import Trail
from art_core.store import bounds
from art_core.store.blocks import digest_of, of_file
from art_core.store.companions import UNFINISHED, Databases, told
from art_core.store.walk_order import names_in_order
from art_core.trees import Agreed, Entry, kind_of

WRITABLE = 0o700
"""What a directory needs while something is put into it."""
SETUID = stat.S_ISUID | stat.S_ISGID
_IMPOSSIBLE = re.compile(rb"(?:\A|/)\.{0,2}(?:/|\Z)|\0")
"""An empty name, `.`, `..`, and a NUL."""


def checked(path: bytes) -> bytes:
    """A path out of a database. Raises TransferError when it is none that a workspace can have."""
    if _IMPOSSIBLE.search(path):
        raise TransferError(f"the database holds the path {os.fsdecode(path)!r}, which no file can have")
    return path


class Changed(OSError):
    """The host has something else at a path than what was decided on."""

    def __init__(self) -> None:
        super().__init__(errno.EBUSY, "the host changed it meanwhile")


class Staged(NamedTuple):
    """A whole file under a temporary name, and the directory that it is in."""

    directory: bytes
    name: bytes


def _temporary(name: bytes) -> bytes:
    """What a file is called until it is whole."""
    return b".art-pull-%d-%s" % (os.getpid(), name[:200])


def _clear(directory: int, kept: Collection[bytes] = ()) -> None:
    """Remove what a pull that was killed has left."""
    for name in os.listdir(f"/proc/self/fd/{directory}"):
        left = UNFINISHED.match(os.fsencode(name))
        if (
            left
            and os.fsencode(name) not in kept
            and (int(left[1]) == os.getpid() or not os.path.exists(f"/proc/{int(left[1])}"))
        ):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory)


def _set_mode(parent: int, name: bytes, mode: int) -> None:
    """Of a directory, also of one that may not be read. Raises OSError."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


def _state(entry: Entry, *, alone: bool) -> tuple[object, ...]:
    """A file's ctime changes also with its names."""
    return entry.size, entry.mtime_ns, entry.mode, entry.target, entry.version if alone else 0


class Unreadable:
    """Something of the host that cannot be carried: a device, a pipe, a socket, a directory that may not
    be read."""


class HostTree:
    """A workspace on the host, by a descriptor of it."""

    def __init__(self, fd: int, databases: Databases | None = None) -> None:
        """What belongs to one of the `databases` is never written or removed; the files of the one in use
        are not the workspace's."""
        self._fd = fd
        self._databases = databases or Databases()
        self.links: dict[bytes, tuple[int, int]] = {}
        """Paths of files with several links -> (device, inode)."""
        self._trail = Trail(fd)
        self._at: bytes | None = b""
        """The directory that was worked in last: where the trail is."""
        self._cleared: list[bytes] = []
        """The directories above the last one, and it, where nothing is left of a killed pull."""
        self._staged: set[bytes] = set()
        """Temporary names of files that are whole."""
        self._lent: dict[bytes, int] = {}
        """Directories that may be written for the moment -> their modes."""

    def __enter__(self) -> HostTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
        self._trail.close()

    def walk(self) -> Iterator[tuple[bytes, Entry | Unreadable]]:
        """Everything by its path, a directory before what is in it, names in byte order."""
        yield from self._below(b"")

    def below(self, path: bytes) -> Iterator[tuple[bytes, Entry | Unreadable]]:
        """The same of what is in one directory; nothing where no directory stands, or it may not be read."""
        try:
            os.close(os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._pinned(path)))
        except OSError:
            return
        yield from self._below(path)

    def _below(self, path: bytes) -> Iterator[tuple[bytes, Entry | Unreadable]]:
        """Raises OSError when the directory itself cannot be read."""
        top = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._pinned(path))
        trail = Trail(top)
        try:
            waiting = [(path, names_in_order(top))]
            while waiting:
                above, names = waiting[-1]
                for name in names:
                    where = above + b"/" + name if above else name
                    found = self._seen(trail.fd, name, where)
                    if isinstance(found, Entry) and found.kind == "dir":
                        try:
                            trail.down(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                        except OSError:
                            yield where, Unreadable()
                            continue
                        yield where, found
                        waiting.append((where, names_in_order(trail.fd)))
                        break
                    if found is not None:
                        yield where, found
                else:
                    waiting.pop()
                    if waiting:
                        trail.up()
        finally:
            trail.close()
            os.close(top)

    def _seen(self, fd: int, name: bytes, path: bytes) -> Entry | Unreadable | None:
        """What a walk tells of a name; None for what is no part of the workspace."""
        try:
            found = os.lstat(name, dir_fd=fd)
        except FileNotFoundError:
            return None
        except PermissionError:  # The directory can be listed and not searched.
            return Unreadable()
        if (found.st_dev, found.st_ino) in self._databases.files or UNFINISHED.match(name):
            return None
        return self._entry(fd, name, path, found) or Unreadable()

    def _entry(self, fd: int, name: bytes, path: bytes, found: os.stat_result) -> Entry | None:
        kind = kind_of(found.st_mode)
        if kind is None:
            return None
        if kind == "file" and found.st_nlink > 1:
            self.links[path] = (found.st_dev, found.st_ino)
        return Entry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(found.st_mode),
            size=bounds.size(found.st_size),
            mtime_ns=bounds.time_ns(found.st_mtime_ns),
            target=os.readlink(name, dir_fd=fd) if kind == "link" else b"",
            nlink=found.st_nlink,
            version=bounds.time_ns(found.st_ctime_ns),
        )

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        """A descriptor of the directory of a path, good until the next call, and the name in it."""
        above, _, name = checked(path).rpartition(b"/")
        return self._pinned(above), name

    def _pinned(self, path: bytes) -> int:
        if path != self._at:
            self._at = None
            self._trail.go(path)
            self._at = path
        return self._trail.fd

    def _cleared_parent(self, path: bytes) -> tuple[int, bytes]:
        """The same, to write there."""
        fd, name = self._parent(path)
        above, _, _ = path.rpartition(b"/")
        self._lend(fd, above)
        while self._cleared and not (above + b"/").startswith(self._cleared[-1] + b"/") and self._cleared[-1]:
            self._cleared.pop()
        if above not in self._cleared[-1:]:
            _clear(fd, self._staged)
            self._cleared.append(above)
        return fd, name

    def directory(self, path: bytes) -> int:
        """A descriptor of a directory, good until the next call. Raises OSError."""
        return self._pinned(path)

    def database_of(self, path: bytes) -> bytes | None:
        """The path of the database that a path belongs to, empty for the one in use; None for what belongs
        to none."""
        return self._databases.owner(self._parent, path)

    def _refuse_databases(self, path: bytes) -> None:
        owner = self.database_of(path)
        if owner is not None:
            raise PermissionError(errno.EPERM, told(owner))

    def find(self, path: bytes) -> Entry | None:
        """What stands at a path; None when nothing does, or it leads through a link."""
        try:
            fd, name = self._parent(path)
            return self._entry(fd, name, path, os.lstat(name, dir_fd=fd))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def seen(self, path: bytes) -> Entry | None:
        """The same; None also for what may not be looked at."""
        try:
            return self.find(path)
        except PermissionError:
            return None

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        """The contents of a file; holes and blocks of zeros are left out. Raises OSError."""
        parent, name = self._parent(entry.path)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        try:
            yield from of_file(fd)
        finally:
            os.close(fd)

    def digest(self, entry: Entry) -> str:
        """That of a file's contents, or of where a link points. Raises OSError."""
        return digest_of([(0, entry.target)] if entry.kind == "link" else self.blocks(entry))

    def same(self, found: Entry | None, agreed: Agreed) -> bool:
        """Whether an entry is what both sides agreed on. A directory's size and time say nothing. Whoever
        writes a file may set its time back, and its ctime changes with its names, too: where only that is
        another one the contents tell."""
        if found is None or found.kind != agreed.kind:
            return False
        if found.kind == "dir":
            return found.mode == agreed.mode
        if (found.size, found.mtime_ns, found.mode) != (agreed.size, agreed.mtime_ns, agreed.mode):
            return False
        if agreed.changed_ns in (0, found.version):
            return True
        try:
            return self.digest(found) == agreed.digest
        except OSError:
            return False

    def xattrs(self, path: bytes) -> dict[bytes, bytes]:
        """The user's extended attributes; empty where the file system has none."""
        with contextlib.suppress(OSError):
            parent, name = self._parent(path)
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
            try:
                names = [key for key in os.listxattr(fd) if key.startswith("user.")]
                return {os.fsencode(key): os.getxattr(fd, key) for key in names}
            finally:
                os.close(fd)
        return {}

    # --- writing -------------------------------------------------------------------------------

    def put(
        self,
        entry: Entry,
        blocks: Iterator[tuple[int, bytes]],
        *,
        keep_setuid: bool = False,
        ready: Callable[[], None] = lambda: None,
    ) -> Entry:
        """Make the path this entry, in the place of what is there; return it as it is now. `ready` is called
        when it is whole, just before it appears. Raises OSError."""
        self._refuse_databases(entry.path)
        mode = entry.mode if keep_setuid else entry.mode & ~SETUID
        fd, name = self._cleared_parent(entry.path)
        if entry.kind == "dir":
            ready()
            self._put_directory(fd, name, mode)
        else:
            temporary = _temporary(name)
            try:
                self._make(fd, temporary, entry, mode, blocks)
                ready()
                self._take_place(fd, temporary, name)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=fd)
                raise
        made = self._entry(fd, name, entry.path, os.lstat(name, dir_fd=fd))
        assert made is not None
        return made

    def _make(
        self, fd: int, name: bytes, entry: Entry, mode: int, blocks: Iterator[tuple[int, bytes]]
    ) -> None:
        if entry.kind == "link":
            os.symlink(entry.target, name, dir_fd=fd)
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=fd, follow_symlinks=False)
        else:
            self._write(fd, name, entry, mode, blocks)

    def stage(
        self, entry: Entry, blocks: Iterator[tuple[int, bytes]], *, keep_setuid: bool = False
    ) -> Staged:
        """Write a file under a temporary name, as near to its path as the host can. Raises OSError."""
        above, _, name = entry.path.rpartition(b"/")
        while above and ((found := self.find(above)) is None or found.kind != "dir"):
            above = above.rpartition(b"/")[0]
        fd, _ = self._cleared_parent(above + b"/x" if above else b"x")
        temporary = _temporary(b"%d-%s" % (len(self._staged), name))
        self._staged.add(temporary)
        try:
            mode = entry.mode if keep_setuid else entry.mode & ~SETUID
            self._make(fd, temporary, entry, mode, blocks)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
            raise
        return Staged(above, temporary)

    def place(self, path: bytes, staged: Staged, ready: Callable[[], None] = lambda: None) -> Entry:
        """Give a staged file its place. Raises OSError."""
        found, _ = self._parent(staged.directory + b"/x" if staged.directory else b"x")
        source = os.dup(found)
        try:
            fd, name = self._cleared_parent(path)
            ready()
            try:
                self._take_place(fd, staged.name, name, source)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(staged.name, dir_fd=source)
                raise
        finally:
            os.close(source)
        made = self._entry(fd, name, path, os.lstat(name, dir_fd=fd))
        assert made is not None
        return made

    def expect(self, path: bytes, present: Entry | None) -> None:
        """See that there is still what was seen. Raises Changed."""
        found = self.find(path)
        if found is None or present is None:
            if found is not present:
                raise Changed
            return
        alone = found.nlink == present.nlink == 1
        is_same = found.kind == "dir" or _state(found, alone=alone) == _state(present, alone=alone)
        if found.kind != present.kind or not is_same:
            raise Changed

    def _put_directory(self, fd: int, name: bytes, mode: int) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                os.unlink(name, dir_fd=fd)
                os.mkdir(name, 0o700, dir_fd=fd)
        _set_mode(fd, name, mode)

    def _write(
        self, fd: int, name: bytes, entry: Entry, mode: int, blocks: Iterator[tuple[int, bytes]]
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(name, flags, 0o600, dir_fd=fd), "wb", buffering=0) as file:
            end = 0
            for offset, data in blocks:
                view = memoryview(data)
                while view:
                    written = os.pwrite(file.fileno(), view, offset)
                    view = view[written:]
                    offset += written
                end = offset
            if end < entry.size:
                file.truncate(entry.size)
            for key, value in entry.xattrs.items():
                with contextlib.suppress(OSError):  # The host's file system may have none.
                    os.setxattr(file.fileno(), key, value)
            os.fchmod(file.fileno(), mode)
            os.utime(file.fileno(), ns=(entry.mtime_ns, entry.mtime_ns))

    def _take_place(self, fd: int, temporary: bytes, name: bytes, source: int = -1) -> None:
        """An empty directory gives way to a file; a full one does not (ENOTEMPTY)."""
        source = fd if source < 0 else source
        try:
            os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=fd)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=fd)
            os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=fd)

    def link(self, path: bytes, to: bytes, ready: Callable[[], None] = lambda: None) -> Entry:
        """Make the path a further name of another one. Raises OSError."""
        self._refuse_databases(path)
        found, first = self._parent(to)
        source = os.dup(found)
        try:
            fd, name = self._cleared_parent(path)
            temporary = _temporary(name)
            os.link(first, temporary, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(source)
        try:
            ready()
            self._take_place(fd, temporary, name)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)  # rename(2) does nothing between names of one file
        made = self._entry(fd, name, path, os.lstat(name, dir_fd=fd))
        assert made is not None
        return made

    def sync(self) -> None:
        """Bring what was put and removed to the disk; what lies on other file systems that are mounted
        in the workspace is left to the kernel."""
        from art_core.host.kernel import sync_file_system

        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._fd)
        try:
            sync_file_system(top)
        finally:
            os.close(top)

    def _lend(self, fd: int, path: bytes) -> None:
        """Let a directory of one's own be written for the moment."""
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        if mode & stat.S_IRWXU != stat.S_IRWXU and found.st_uid == os.geteuid() != 0:
            os.chmod(f"/proc/self/fd/{fd}", mode | stat.S_IRWXU)
            self._lent.setdefault(path, mode)

    def give_back(self) -> None:
        """What directories were before something in them was written; from the inside out."""
        for path, mode in sorted(self._lent.items(), reverse=True):
            with contextlib.suppress(OSError):
                self._set_mode(path, mode)
        self._lent.clear()

    def _set_mode(self, path: bytes, mode: int) -> None:
        if path:
            self.set_mode(path, mode)
        else:
            os.chmod(f"/proc/self/fd/{self._fd}", mode)

    def set_mode(self, path: bytes, mode: int) -> None:
        """A directory's mode, once all that is in it was written. Raises OSError."""
        parent, name = self._parent(path)
        _set_mode(parent, name, mode)

    def set_time(self, path: bytes, mtime_ns: int) -> None:
        """A directory's time, once all that is in it was written."""
        with contextlib.suppress(OSError):
            fd, name = self._parent(path)
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)

    def remove(self, path: bytes) -> None:
        """Remove a file or an empty directory. Raises OSError."""
        self._refuse_databases(path)
        fd, name = self._parent(path)
        self._lend(fd, path.rpartition(b"/")[0])
        if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
            os.rmdir(name, dir_fd=fd)
        else:
            os.unlink(name, dir_fd=fd)
