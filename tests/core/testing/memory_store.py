"""A store that keeps everything in memory: the contract's second implementation, and the file
system library's second backend.

It ends with the process that made it. Files are copied up whole at their first change.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn

import trio

from art_core.contracts import Mounted, Namespace, Provider, Workspace
from art_core.errors import StoreError
from art_core.host.service import start_process
from art_core.trees import Agreed, Entry, Kind, Removed
from art_fusefs.backend import ROOT, Node, Space
from art_fusefs.connection import Connection
from art_fusefs.operations import Operations

_HOST_NUMBERS = 1 << 62
_KINDS: Mapping[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_BITS = {kind: bits for bits, kind in _KINDS.items()}


class File(Node):
    """An inode. `names` are what the store says of a directory, None for a name that is gone;
    `origin` is the path of the host that shows through; `contents` None comes from there."""

    def __init__(self, ino: int, mode: int, now: int) -> None:
        super().__init__(ino, mode, now)
        self.held = True
        self.names: dict[bytes, int | None] = {}
        self.origin: bytes | None = None
        self.base: tuple[int, int] | None = None
        self.contents: bytearray | None = bytearray()
        self.marks: dict[bytes, bytes] = {}
        self.up: tuple[int, bytes] = (ROOT, b"")


class Image:
    """All that a store holds; it is pickled into a memfd that outlives its server."""

    def __init__(self) -> None:
        self.next = ROOT + 1
        self.files = {ROOT: File(ROOT, stat.S_IFDIR | 0o755, time.time_ns())}
        self.files[ROOT].nlink = 2
        self.agreed: dict[bytes, Agreed] = {}

    @classmethod
    def of(cls, fd: int) -> Image:
        data = os.pread(fd, 1 << 30, 0)
        image = pickle.loads(data) if data else cls()
        assert isinstance(image, cls)
        return image

    def save(self, fd: int) -> None:
        for file in self.files.values():
            file.lookups = file.opens = 0
        data = pickle.dumps(self)
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)


class MemoryBackend:
    """See `art_fusefs.backend.Backend`."""

    def __init__(self, image: Image, workspace: bytes, lower: bytes, owner: tuple[int, int]) -> None:
        self.uid, self.gid = owner
        self.image = image
        self.lower = lower
        self.flushed: Callable[[], None] = lambda: None
        root = image.files[ROOT]
        if workspace not in root.names:
            top = File(_HOST_NUMBERS, stat.S_IFDIR | 0o755, time.time_ns())
            top.origin, top.nlink, top.up = lower, 2, (ROOT, workspace)
            image.files[top.ino] = top
            root.names[workspace] = top.ino

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

    def lookup(self, directory: File, name: bytes) -> File | None:
        if name in directory.names:
            ino = directory.names[name]
            return None if ino is None else self.image.files[ino]
        if directory.origin is None:
            return None
        path = directory.origin + b"/" + name
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        ino = _HOST_NUMBERS | found.st_ino
        file = self.image.files.get(ino)
        if file is None:
            file = self.image.files[ino] = File(ino, found.st_mode, 0)
            file.held, file.changing, file.origin, file.contents = False, True, path, None
            file.up = (directory.ino, name)
            if stat.S_ISLNK(found.st_mode):
                file.target = os.readlink(path)
        elif file.held:  # It was renamed inside, and the host has the name again.
            return None
        file.size, file.nlink = found.st_size, found.st_nlink
        file.atime, file.mtime, file.ctime = found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns
        return file

    def names(self, directory: File) -> Iterable[bytes]:
        found = {name for name, ino in directory.names.items() if ino is not None}
        if directory.origin is not None:
            with suppress(FileNotFoundError):  # The host removed what was renamed in here.
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
        file.held, file.changing = True, False
        above = self.image.files[file.up[0]]
        self._hold(above)
        above.names.setdefault(file.up[1], file.ino)
        if stat.S_ISREG(file.mode) and file.origin is not None:
            with open(file.origin, "rb") as source:
                file.contents = bytearray(source.read())
            found = os.lstat(file.origin)
            file.base, file.size = (found.st_size, found.st_mtime_ns), len(file.contents)
            file.nlink = 1

    def changed(self, node: File) -> None:
        if node.nlink:
            self._hold(node)

    def discard(self, node: File) -> None:
        self.image.files.pop(node.ino, None)

    def opened(self, node: File) -> bool:
        return node.held

    def closed(self, node: File) -> None:
        pass

    def read(self, node: File, offset: int, size: int) -> bytes:
        if node.contents is not None:
            return bytes(node.contents[offset : offset + size])
        assert node.origin is not None
        with open(node.origin, "rb") as source:
            source.seek(offset)
            return source.read(size)

    def write(self, node: File, offset: int, data: bytes) -> None:
        self.resize(node, max(node.size, offset))
        assert node.contents is not None
        node.contents[offset : offset + len(data)] = data
        node.size = len(node.contents)

    def resize(self, node: File, size: int) -> None:
        self._hold(node)
        assert node.contents is not None
        del node.contents[size:]
        node.contents.extend(bytes(size - len(node.contents)))
        node.size = size

    def reserve(self, size: int) -> None: ...

    def clear(self, node: File, offset: int, size: int) -> None:
        self.write(node, offset, bytes(size))

    def data(self, node: File, offset: int) -> tuple[int, int] | None:
        return (offset, node.size) if offset < node.size else None

    def xattrs(self, node: File) -> dict[bytes, bytes]:
        return dict(node.marks)

    def set_xattr(self, node: File, name: bytes, value: bytes | None) -> None:
        self._hold(node)
        if value is None:
            del node.marks[name]
        else:
            node.marks[name] = value

    def space(self) -> Space:
        return Space(1 << 30, 1 << 29, 1 << 20, 1 << 19)

    def flush(self, done: Callable[[OSError | None], None]) -> None:
        self.flushed()
        done(None)

    def save(self, memory: int, *, ending: bool) -> None:
        self.image.save(memory)


# --- the server --------------------------------------------------------------------------------


def serve(control_fd: int) -> NoReturn:
    try:
        os.setsid()
        # A server that keeps its supervisor's end of the socket never sees its end.
        os.closerange(3, control_fd)
        os.closerange(control_fd + 1, 65536)
        control = socket.socket(fileno=control_fd)
        trio.run(_serve, control)
    finally:
        os._exit(0)


async def _serve(control: socket.socket) -> None:
    data, (fuse_fd, memory), _, _ = socket.recv_fds(control, 1 << 16, 2)
    make, name, lower, uid, gid = pickle.loads(data)
    backend = make(Image.of(memory), name, lower, (uid, gid))
    backend.flushed = lambda: backend.image.save(memory)
    connection = Connection(fuse_fd)
    control.send(b"{}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve, Operations(backend))
        while True:
            await trio.lowlevel.wait_readable(control)
            asked = control.recv(1 << 16)
            backend.save(memory, ending=not asked)
            if not asked:
                break
            control.send(b"{}")
        nursery.cancel_scope.cancel()
    connection.close()


class Server:
    """See `contracts.Worker`."""

    def __init__(self, memory: int, fuse_fd: int, wish: tuple[object, ...]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.pid = start_process(__name__, theirs.fileno())
        self.pidfd = os.pidfd_open(self.pid)
        socket.send_fds(self._control, [pickle.dumps(wish)], [fuse_fd, memory])
        self._control.recv(1 << 16)

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        self._control.settimeout(timeout_s)
        self._control.send(json.dumps(request).encode())
        answer: dict[str, object] = json.loads(self._control.recv(1 << 16))
        return answer

    def kill(self) -> None:
        os.kill(self.pid, 9)

    def close(self) -> None:
        self._control.close()
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


# --- the store ---------------------------------------------------------------------------------


class Memory:
    """Stores by name, `memory:NAME`. See `contracts.Stores`."""

    def __init__(self, kind: type[MemoryStore]) -> None:
        self._kind = kind
        self._stores: dict[str, MemoryStore] = {}

    def claims(self, locator: str) -> bool:
        return locator.startswith("memory:")

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> MemoryStore:
        if locator not in self._stores and mode != "create":
            raise StoreError(f"{locator}: there is no such store in memory")
        return self._stores.setdefault(locator, self._kind(locator))


class MemoryStore:
    """See `contracts.Store`."""

    backend: type[MemoryBackend] = MemoryBackend
    tree: type[Tree]

    def __init__(self, locator: str) -> None:
        self._locator = locator
        self._memory = os.memfd_create("store")
        self._held = False
        self.snapshots: dict[str, bytes] = {}

    def snapshot(self, branch: str, name: str) -> None:
        with self._holding(branch):
            self.snapshots[name] = os.pread(self._memory, 1 << 30, 0)

    def hidden(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        pass

    @contextmanager
    def _holding(self, branch: str) -> Iterator[None]:
        if branch != "main":
            raise StoreError(f"{self._locator}: there is no branch {branch!r}")
        if self._held:
            raise StoreError(f"{self._locator}: branch {branch!r} is held")
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def mount(
        self, branch: str, workspace: Workspace, make_namespace: Callable[[], Namespace]
    ) -> Iterator[Mounted]:
        with self._holding(branch):
            namespace = make_namespace()
            path, fuse_fd = namespace.mount_fuse("memory")
            names = (os.fsencode(workspace.name), os.fsencode(workspace.real))
            wish = (self.backend, *names, *namespace.owner)
            server = Server(self._memory, fuse_fd, wish)
            os.close(fuse_fd)
            try:
                yield Mounted(path, namespace, server)
            finally:
                server.close()

    @contextmanager
    def reader(self, branch: str, workspace: Workspace) -> Iterator[Tree]:
        yield self.tree(self._memory, workspace)

    @contextmanager
    def writer(self, branch: str, workspace: Workspace) -> Iterator[Tree]:
        with self._holding(branch):
            tree = self.tree(self._memory, workspace)
            yield tree
            tree.commit()


def _place(path: bytes) -> bytes:
    """What sorts like the path in a walk."""
    return path.replace(b"/", b"\0")


class Tree:
    """See `trees.TreeWriter`."""

    def __init__(self, memory: int, workspace: Workspace) -> None:
        self._memory = memory
        self._image = Image.of(memory)
        self._backend = MemoryBackend(
            self._image, os.fsencode(workspace.name), os.fsencode(workspace.real), (0, 0)
        )
        top = self._backend.lookup(self._image.files[ROOT], os.fsencode(workspace.name))
        assert top is not None
        self._top = top

    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        yield from self._below(self._top, b"", shown)

    def _below(self, directory: File, path: bytes, shown: bool = False) -> Iterator[Entry]:
        held = (name for name, ino in directory.names.items() if ino is not None)
        elsewhere = directory.origin is not None and directory.origin != self._host_of(path)
        for name in sorted(self._backend.names(directory) if shown or elsewhere else held):
            where = path + b"/" + name if path else name
            file = self._backend.lookup(directory, name)
            assert file is not None
            through = name not in directory.names
            yield self._entry(file, where)._replace(
                shown=through and not elsewhere,
                loose=through and elsewhere,
                partial=through and elsewhere and stat.S_ISREG(file.mode),
            )
            if stat.S_ISDIR(file.mode):
                yield from self._below(file, where, shown)

    def _host_of(self, path: bytes) -> bytes:
        assert self._top.origin is not None
        return self._top.origin + b"/" + path if path else self._top.origin

    def shows(self, path: bytes) -> Entry | None:
        file: File | None = self._top
        shown = False
        for name in path.split(b"/"):
            if file is None or not stat.S_ISDIR(file.mode):
                return None
            shown = name not in file.names
            file = self._backend.lookup(file, name)
        return None if file is None else self._entry(file, path)._replace(shown=shown)

    def _entry(self, file: File, path: bytes) -> Entry:
        return Entry(
            path=path,
            kind=_KINDS[stat.S_IFMT(file.mode)],
            mode=stat.S_IMODE(file.mode),
            size=file.size,
            mtime_ns=file.mtime,
            ino=file.ino,
            target=file.target,
            nlink=file.nlink,
            xattrs=file.marks,
            version=file.ctime,
            origin=file.base,
            lower=None if file.origin is None else file.origin.removeprefix(self._host_of(b"") + b"/"),
            opaque=stat.S_ISDIR(file.mode) and file.origin != self._host_of(path),
        )

    def removed(self) -> Iterator[Removed]:
        yield from map(Removed, sorted(self._gone(self._top, b""), key=_place))

    def _gone(self, directory: File, path: bytes) -> Iterator[bytes]:
        for name, ino in directory.names.items():
            if ino is None:
                yield path + name
            elif stat.S_ISDIR(self._image.files[ino].mode):
                yield from self._gone(self._image.files[ino], path + name + b"/")

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        file = self._image.files[entry.ino]
        contents: bytes | bytearray = file.contents or b""
        if file.contents is None:
            contents = self._backend.read(file, 0, file.size)
        for start in range(0, len(contents), 1 << 20):
            block = bytes(contents[start : start + (1 << 20)])
            if block.strip(b"\0"):
                yield start, block

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        yield from sorted(self._image.agreed.items(), key=lambda item: _place(item[0]))

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        for path, what in agreed.items():
            if what is None:
                self._image.agreed.pop(path, None)
            else:
                self._image.agreed[path] = what
        self.commit()

    def accept(self, entry: Entry, size: int, mtime_ns: int) -> None:
        """No file is partial: they are copied up whole."""

    def secure(self, entries: Sequence[Entry], *, contents: bool) -> Mapping[bytes, Entry]:
        """What is held was copied up whole."""
        found = {}
        for entry in entries:
            file: File | None = self._top
            for name in entry.path.split(b"/"):
                file = None if file is None else self._backend.lookup(file, name)
            if file is not None:
                self._backend.changed(file)
                found[entry.path] = self._entry(file, entry.path)
        self.commit()
        return found

    def join(self, directories: Sequence[Entry], *, shows: bool) -> None:
        for directory in directories:
            self._image.files[directory.ino].origin = self._host_of(directory.path) if shows else None
        self.commit()

    def _place(self, path: bytes) -> tuple[File | None, bytes]:
        above, _, name = path.rpartition(b"/")
        directory: File | None = self._top
        for part in above.split(b"/") if above else []:
            held = directory is not None and directory.names.get(part)
            directory = self._image.files[held] if held else None
        return directory, name

    def find(self, path: bytes) -> Entry | None:
        directory, name = self._place(path)
        ino = None if directory is None else directory.names.get(name)
        return None if ino is None else self._entry(self._image.files[ino], path)

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        directory, name = self._place(entry.path)
        assert directory is not None
        ino = directory.names.get(name)
        file = None if ino is None else self._image.files[ino]
        if file is None or _KINDS[stat.S_IFMT(file.mode)] != entry.kind:
            file = self._backend.new(_BITS[entry.kind] | entry.mode, 0)
            self._backend.enter(directory, name, file)
        file.mode = _BITS[entry.kind] | entry.mode
        file.size, file.target, file.marks = entry.size, entry.target, dict(entry.xattrs)
        file.contents = bytearray(entry.size)
        for offset, data in blocks:
            file.contents[offset : offset + len(data)] = data
        file.mtime, file.ctime = entry.mtime_ns, max(time.time_ns(), file.ctime + 1)
        return self._entry(file, entry.path)

    def link(self, path: bytes, to: Entry) -> Entry:
        directory, name = self._place(path)
        assert directory is not None
        file = self._image.files[to.ino]
        self._backend.enter(directory, name, file)
        file.nlink += 1
        return self._entry(file, path)

    def remove(self, path: bytes) -> None:
        directory, name = self._place(path)
        assert directory is not None
        ino = directory.names[name]
        assert ino is not None
        self._image.files[ino].nlink -= 1
        directory.names[name] = None

    def commit(self) -> None:
        self._image.save(self._memory)


MemoryStore.tree = Tree


def provider(kind: type[MemoryStore] = MemoryStore, **claims: Any) -> Provider[Any]:
    """The provider of a kind of store in memory, which `claims` say more of."""
    return Provider(
        name="memory",
        summary="everything in memory, for tests",
        contract=1,
        create=lambda context: Memory(kind),
        **{"capabilities": frozenset({"live", "numbers", "renames"}), **claims},
    )
