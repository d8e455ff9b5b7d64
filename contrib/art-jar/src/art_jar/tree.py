"""A workspace's tree in a jar, for push and pull."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from art_core.trees import Agreed, Entry, Kind, Removed
from art_jar.backend import JarBackend
from art_jar.image import File

_KINDS: Mapping[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_BITS = {kind: bits for bits, kind in _KINDS.items()}
_BLOCK = 1 << 20


def _in_order(path: bytes) -> bytes:
    """What sorts like the path in a walk."""
    return path.replace(b"/", b"\0")


class Tree:
    """See `trees.TreeWriter`. Pipes and sockets are no part of a transfer."""

    def __init__(self, backend: JarBackend) -> None:
        self.backend = backend
        self.files = backend.image.files

    # --- reading -------------------------------------------------------------------------------

    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        for path, directory, name in self._names(shown):
            file = self.backend.lookup(directory, name)
            if file is None or stat.S_IFMT(file.mode) not in _KINDS:
                continue
            through = name not in directory.names
            loose = through and self._is_elsewhere(directory, path.rpartition(b"/")[0])
            partial = loose and stat.S_ISREG(file.mode)
            yield self.entry(file, path)._replace(shown=through and not loose, loose=loose, partial=partial)

    def _names(self, shown: bool) -> Iterator[tuple[bytes, File, bytes]]:
        """Paths, each with its directory and its name in there, in the order of a walk."""
        todo = [(b"", self.backend.top, iter(self._sorted(self.backend.top, b"", shown)))]
        while todo:
            above, directory, names = todo[-1]
            name = next(names, None)
            if name is None:
                todo.pop()
                continue
            path = above + name
            yield path, directory, name
            file = self.backend.lookup(directory, name)
            if file is not None and stat.S_ISDIR(file.mode):
                todo.append((path + b"/", file, iter(self._sorted(file, path, shown))))

    def _sorted(self, directory: File, path: bytes, shown: bool) -> Iterable[bytes]:
        if shown or self._is_elsewhere(directory, path):
            return sorted({*directory.names, *self.backend.names(directory)})
        return sorted(directory.names)

    def _host_of(self, path: bytes) -> bytes:
        top = self.backend.top.origin
        assert top is not None
        return top + b"/" + path if path else top

    def _is_elsewhere(self, directory: File, path: bytes) -> bool:
        """Whether it shows another place of the host than its own: it was renamed."""
        return directory.origin is not None and directory.origin != self._host_of(path)

    def shows(self, path: bytes) -> Entry | None:
        file: File | None = self.backend.top
        shown = False
        for name in path.split(b"/"):
            if file is None or not stat.S_ISDIR(file.mode):
                return None
            shown = name not in file.names
            file = self.backend.lookup(file, name)
        return None if file is None else self.entry(file, path)._replace(shown=shown)

    def entry(self, file: File, path: bytes) -> Entry:
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
        for path, directory, name in self._names(False):
            if name in directory.names and directory.names[name] is None:
                yield Removed(path)

    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        file = self.files[entry.ino]
        for start in range(0, file.size, _BLOCK):
            block = self.backend.read(file, start, _BLOCK)
            if block.strip(b"\0"):
                yield start, block

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        agreed = self.backend.image.agreed
        yield from sorted(agreed.items(), key=lambda item: _in_order(item[0]))

    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        kept = self.backend.image.agreed
        for path, what in agreed.items():
            kept.pop(path, None)
            if what is not None:
                kept[path] = what
        self.commit()

    def accept(self, entry: Entry, size: int, mtime_ns: int) -> None:
        """No file is partial: they are copied up whole."""

    def secure(self, entries: Sequence[Entry], *, contents: bool) -> Mapping[bytes, Entry]:
        """What is held was copied up whole."""
        found = {}
        for entry in entries:
            file: File | None = self.backend.top
            for name in entry.path.split(b"/"):
                file = None if file is None else self.backend.lookup(file, name)
            if file is not None:
                self.backend.changed(file)
                found[entry.path] = self.entry(file, entry.path)
        self.commit()
        return found

    def join(self, directories: Sequence[Entry], *, shows: bool) -> None:
        for directory in directories:
            self.files[directory.ino].origin = self._host_of(directory.path) if shows else None
        self.commit()

    # --- writing -------------------------------------------------------------------------------

    def _place(self, path: bytes) -> tuple[File | None, bytes]:
        """The directory of a path that the store holds, and the name in it."""
        above, _, name = path.rpartition(b"/")
        directory: File | None = self.backend.top
        for part in above.split(b"/") if above else []:
            ino = None if directory is None else directory.names.get(part)
            directory = None if ino is None else self.files[ino]
        return directory, name

    def find(self, path: bytes) -> Entry | None:
        directory, name = self._place(path)
        ino = None if directory is None else directory.names.get(name)
        return None if ino is None else self.entry(self.files[ino], path)

    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        directory, name = self._place(entry.path)
        assert directory is not None
        ino = directory.names.get(name)
        file = None if ino is None else self.files[ino]
        if file is None or _KINDS[stat.S_IFMT(file.mode)] != entry.kind:
            if file is not None:
                self.remove(entry.path)
            file = self.backend.new(_BITS[entry.kind] | entry.mode, 0)
            file.nlink += entry.kind == "dir"
            directory.nlink += entry.kind == "dir"
            self.backend.enter(directory, name, file)
        file.mode = _BITS[entry.kind] | entry.mode
        file.target, file.marks, file.size = entry.target, dict(entry.xattrs), entry.size
        if entry.kind == "file":
            self.backend.resize(file, 0)
            self.backend.resize(file, entry.size)
            for offset, data in blocks:
                self.backend.write(file, offset, data)
        file.mtime, file.ctime = entry.mtime_ns, max(time.time_ns(), file.ctime + 1)
        return self.entry(file, entry.path)

    def link(self, path: bytes, to: Entry) -> Entry:
        if self.find(path) is not None:
            self.remove(path)
        directory, name = self._place(path)
        assert directory is not None
        file = self.files[to.ino]
        self.backend.enter(directory, name, file)
        file.nlink += 1
        return self.entry(file, path)

    def remove(self, path: bytes) -> None:
        directory, name = self._place(path)
        assert directory is not None
        ino = directory.names[name]
        assert ino is not None
        file = self.files[ino]
        for below in list(file.names):
            if file.names[below] is not None:
                self.remove(path + b"/" + below)
        file.nlink -= 1
        if stat.S_ISDIR(file.mode):
            file.nlink = 0
            directory.nlink -= 1
        directory.names[name] = None

    def commit(self) -> None:
        self.backend.save()
