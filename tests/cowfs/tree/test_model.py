"""Random work on the file system and on a native directory has the same results, step by step."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from art_cowfs.access.workspace_tree import WorkspaceReader
from tests.support.bench import Bench, Mount, crowd, reader

NAMES = ["a", "b", "c", "d"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
SIZES = st.sampled_from([0, 1, 100, 4095, 65535, 65536, 65537, 131072, 200_000])
COMPARED = {errno.ENOTEMPTY: errno.EEXIST}


def outcome(action: Any, *arguments: Any) -> Any:
    try:
        return action(*arguments)
    except OSError as error:
        return COMPARED.get(error.errno or 0, error.errno)


def _mode(shown: str) -> int:
    """The bits of a mode as stat.filemode() shows it."""
    return sum(0o400 >> place for place, letter in enumerate(shown[1:]) if letter != "-")


def _kind(path: Path) -> int:
    return stat.S_IFMT(os.lstat(path).st_mode)


KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
FALLOCATE = {0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE}
"""Modes of fallocate(2)."""
_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd: int, mode: int, offset: int, size: int) -> None:
    done = _libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size))
    assert done == 0, errno.errorcode[ctypes.get_errno()]


def emulate(fd: int, mode: int, offset: int, size: int) -> None:
    """What fallocate(2) makes of a file, by other calls."""
    end = os.fstat(fd).st_size
    if not mode & KEEP_SIZE and offset + size > end:
        os.ftruncate(fd, offset + size)
    if mode & (PUNCH_HOLE | ZERO_RANGE):
        os.pwrite(fd, bytes(max(0, min(size, end - offset))), offset)


def snapshot(top: Path) -> dict[str, Any]:
    """Everything below a directory, with what the model is compared by."""
    found: dict[str, Any] = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            what: Any = None
            if stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    what = file.read()
            links = status.st_nlink
            found[os.path.relpath(path, top)] = (
                stat.filemode(status.st_mode),
                links,
                status.st_size * (what is not None),
                what,
            )
    return found


class Work(RuleBasedStateMachine):
    """Both trees begin with the same host files; the mount shows them through."""

    layers = 1
    seeded = False

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(prefix="art-test-"))
        self.bench = Bench(self.top, self.layers, seeded=self.seeded)
        self.native = self.top / "native"
        self.mounted: Mount | None = None
        self.seed = 0
        self.reads = ExitStack()
        self.read: tuple[dict[str, Any], WorkspaceReader] | None = None

    @initialize(large=st.booleans())
    def begin(self, large: bool) -> None:
        host = self.bench.host
        (host / "a/b").mkdir(parents=True)
        (host / "a/c").write_bytes(b"host" * (500_000 if large else 100))
        (host / "a/b/d").write_bytes(bytes(range(256)) * 300)
        (host / "c").symlink_to("a/c")
        (host / "d").write_bytes(b"")
        os.link(host / "d", host / "b")
        shutil.copytree(host, self.native, symlinks=True)
        (self.native / "b").unlink()
        os.link(self.native / "d", self.native / "b")
        self.mounted = self.bench.mount()

    def both(self, action: Any, *paths: str) -> None:
        assert self.mounted is not None
        ours = outcome(action, *(self.mounted.workspace / path for path in paths))
        native = outcome(action, *(self.native / path for path in paths))
        assert ours == native, (ours, native)

    @rule(path=PATHS)
    def make_directory(self, path: str) -> None:
        self.both(os.mkdir, path)

    @rule(path=PATHS)
    def remove_directory(self, path: str) -> None:
        self.both(os.rmdir, path)

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        self.both(os.unlink, path)

    @rule(source=PATHS, destination=PATHS)
    def rename(self, source: str, destination: str) -> None:
        self.both(os.rename, source, destination)

    @rule(source=PATHS, destination=PATHS)
    def link(self, source: str, destination: str) -> None:
        self.both(lambda a, b: os.link(a, b, follow_symlinks=False), source, destination)

    @rule(path=PATHS, leads_to=st.sampled_from(["a", "../x", "b/c"]))
    def symlink(self, path: str, leads_to: str) -> None:
        self.both(lambda p: os.symlink(leads_to, p), path)

    @rule(path=PATHS, size=SIZES)
    def truncate(self, path: str, size: int) -> None:
        self.both(lambda p: os.truncate(p, size), path)

    @rule(
        path=PATHS, offset=SIZES, size=SIZES, flags=st.sampled_from([os.O_CREAT, os.O_CREAT | os.O_TRUNC, 0])
    )
    def write(self, path: str, offset: int, size: int, flags: int) -> None:
        self.seed += 1
        data = bytes([self.seed % 255 + 1]) * size

        def put(p: Path) -> int:
            fd = os.open(p, os.O_WRONLY | os.O_NOFOLLOW | flags, 0o644)
            try:
                return os.pwrite(fd, data, offset)
            finally:
                os.close(fd)

        self.both(put, path)

    @rule(path=PATHS, offset=SIZES, size=SIZES.filter(bool), mode=st.sampled_from(sorted(FALLOCATE)))
    def fallocate(self, path: str, offset: int, size: int, mode: int) -> None:
        """Beside a native directory whose file system may know less: there zeros are written."""
        assert self.mounted is not None
        ours, native = self.mounted.workspace / path, self.native / path
        if outcome(_kind, native) != stat.S_IFREG:
            return
        for file, change in (ours, fallocate), (native, emulate):
            fd = os.open(file, os.O_RDWR | os.O_NOFOLLOW)
            try:
                change(fd, mode, offset, size)
            finally:
                os.close(fd)

    @rule(source=PATHS, destination=PATHS, offset=SIZES, at=SIZES, size=SIZES)
    def copy_range(self, source: str, destination: str, offset: int, at: int, size: int) -> None:
        def copy(a: Path, b: Path) -> int:
            if a.exists() and b.exists() and a.samefile(b):
                return 0
            with ExitStack() as opened:
                fds = []
                for path, flags in (a, os.O_RDONLY), (b, os.O_WRONLY):
                    fds.append(os.open(path, flags | os.O_NOFOLLOW))
                    opened.callback(os.close, fds[-1])
                return os.copy_file_range(fds[0], fds[1], size, offset, at)

        self.both(copy, source, destination)

    @rule(path=PATHS, size=SIZES)
    def make_without_a_name(self, path: str, size: int) -> None:
        def make(p: Path) -> None:
            fd = os.open(p.parent, os.O_TMPFILE | os.O_WRONLY, 0o640)
            try:
                os.write(fd, b"t" * size)
                os.link(f"/proc/self/fd/{fd}", p, src_dir_fd=fd)
            finally:
                os.close(fd)

        self.both(make, path)

    @rule(path=PATHS)
    def look_for_holes(self, path: str) -> None:
        """What is said to be a hole reads as zeros; the parts make up the file."""
        assert self.mounted is not None
        file = self.mounted.workspace / path
        if outcome(_kind, file) != stat.S_IFREG:
            return
        fd = os.open(file, os.O_RDONLY)
        try:
            size, at = os.fstat(fd).st_size, 0
            while at < size:
                data = outcome(os.lseek, fd, at, os.SEEK_DATA)
                start = size if data == errno.ENXIO else data
                assert at <= start <= size and os.pread(fd, start - at, at) == bytes(start - at)
                at = start if start == size else os.lseek(fd, start, os.SEEK_HOLE)
                assert start == size or start < at <= size
        finally:
            os.close(fd)

    @rule(path=PATHS, mode=st.sampled_from([0o600, 0o755, 0o444]))
    def change_mode(self, path: str, mode: int) -> None:
        def change(p: Path) -> None:
            if not p.is_symlink() and not p.is_dir():
                os.chmod(p, mode)

        self.both(change, path)

    @precondition(lambda self: self.mounted is not None)
    @rule()
    def mount_again(self) -> None:
        assert self.mounted is not None
        self.reads.close()  # A server must not be forked from a process with connections of its own.
        self.read = None
        self.mounted = self.bench.again(self.mounted)

    @precondition(lambda self: self.mounted is not None)
    @rule()
    def begin_to_read(self) -> None:
        self.reads.close()
        tree = self.reads.enter_context(reader(self.bench))
        self.read = snapshot(self.native), tree

    @precondition(lambda self: self.read is not None)
    @rule()
    def end_to_read(self) -> None:
        """What is read is what there was at the beginning; what is left out shows through."""
        assert self.read is not None
        expected, tree = self.read
        for entry in tree.walk():
            mode, _, size, what = expected.pop(os.fsdecode(entry.path))
            assert stat.S_IMODE(entry.mode) == _mode(mode)
            if entry.kind == "file":
                found = bytearray(entry.size)
                for offset, data in tree.blocks(entry):
                    found[offset : offset + len(data)] = data
                assert (len(found), bytes(found)) == (size, what)
        gone = {os.fsdecode(gone.path) for gone in tree.removed()}
        host = snapshot(self.bench.host)
        assert {path: host.get(path) and host[path][3] for path in expected} == {
            path: what[3] for path, what in expected.items()
        }
        assert not any(path in gone for path in expected)
        self.reads.close()
        self.read = None

    @invariant()
    def the_same(self) -> None:
        if self.mounted is not None:
            assert snapshot(self.mounted.workspace) == snapshot(self.native)

    def teardown(self) -> None:
        self.reads.close()
        self.bench.close()
        shutil.rmtree(self.top, ignore_errors=True)


class LayeredWork(Work):
    """The same on a chain that grows: each new mount has one layer more, up to five."""

    layers = 5


class CrowdedWork(LayeredWork):
    """The same with a server that lets go of what it knows between requests."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        crowd(self.patch)
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        self.patch.undo()


class SeededWork(LayeredWork):
    """The same in a seed. It is not pulled, so nobody reads it beside."""

    seeded = True

    def begin_to_read(self) -> None: ...

    def end_to_read(self) -> None: ...

    @initialize()
    def look(self) -> None:
        self.before: dict[str, Any] | None = None

    @invariant()
    def untouched(self) -> None:
        """The host's own, of which the model begins with a copy."""
        if self.mounted is not None:
            now = snapshot(self.bench.host)
            self.before = self.before or now
            assert now == self.before


OFTEN = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)
for work in (Work, LayeredWork, CrowdedWork):
    work.TestCase.settings = OFTEN
SeededWork.TestCase.settings = settings(OFTEN, max_examples=12)
TestWork = pytest.mark.timeout(300)(pytest.mark.slow(Work.TestCase))
TestLayeredWork = pytest.mark.timeout(300)(pytest.mark.slow(LayeredWork.TestCase))
TestSeededWork = pytest.mark.timeout(300)(pytest.mark.slow(SeededWork.TestCase))
TestCrowdedWork = pytest.mark.timeout(300)(pytest.mark.slow(CrowdedWork.TestCase))
