"""Numbers as large as a request, the host, an archive or a database can have: what cannot be kept is brought
to what can, or refused, and nothing waits for a writer that has ended."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from art_core.errors import StoreError, TransferError
from art_core.store import bounds
from art_core.transfer import archive
from art_core.transfer.changes import against_host
from art_core.transfer.pull import pull
from art_core.transfer.push import push
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace
from art_cowfs.opening.database import connect
from art_cowfs.store import Database
from art_cowfs.tree.writer import Batch, BatchWriter
from tests.cowfs.tree import strange_host
from tests.support.bench import Bench, Mount, clean, store

SECONDS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([0, -1, 1 << 31, 1 << 33, 9223372036, 9223372037, -9223372036, -9223372037]),
)
SIZES = st.one_of(
    st.integers(0, (1 << 63) - 1),
    st.sampled_from([0, 1, bounds.LARGEST - 1, bounds.LARGEST, bounds.LARGEST + 1, (1 << 63) - 1]),
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def bench(roomy: Bench) -> Bench:
    return roomy


def truncated(path: Path, size: int) -> int:
    """0, or the errno."""
    try:
        os.truncate(path, size)
    except OSError as error:
        return error.errno or 0
    return 0


def written_at(path: Path, offset: int) -> int:
    """The same of one byte that is written there."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, b"x", offset)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(fd)
    return 0


def sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def test_any_time_and_any_size_is_kept_or_refused(bench: Bench) -> None:
    mount = bench.mount()
    file = mount.workspace / "file"
    file.touch()
    expected: dict[str, int] = {}

    @QUICK
    @example(atime=1 << 62, mtime=-(1 << 62), size=7 << 60)
    @given(atime=SECONDS, mtime=SECONDS, size=SIZES)
    def change(atime: int, mtime: int, size: int) -> None:
        assert truncated(file, size) == (errno.EFBIG if size > bounds.LARGEST else 0)
        kept = min(size, bounds.LARGEST) if size <= bounds.LARGEST else file.stat().st_size
        assert file.stat().st_size == kept
        if size < (1 << 63) - 1:
            assert written_at(file, size) == (errno.EFBIG if size + 1 > bounds.LARGEST else 0)
        os.utime(file, ns=(atime * 10**9, mtime * 10**9))
        found = file.stat()
        assert (found.st_atime_ns, found.st_mtime_ns) == (
            bounds.time_ns(atime * 10**9),
            bounds.time_ns(mtime * 10**9),
        )
        sync(file)
        expected.update(size=found.st_size, atime=found.st_atime_ns, mtime=found.st_mtime_ns)

    change()
    mount = bench.again(mount)
    found = (mount.workspace / "file").stat()
    assert (found.st_size, found.st_atime_ns, found.st_mtime_ns) == tuple(
        expected[name] for name in ("size", "atime", "mtime")
    )
    bench.unmount(mount)
    assert clean(bench.database)


@contextmanager
def strange(bench: Bench, *left_out: str) -> Iterator[None]:
    """The host's workspace is `strange_host` meanwhile."""
    argv = [sys.executable, strange_host.__file__, str(bench.host), *left_out]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None and host.stdout.readline() == b"mounted\n"
        try:
            yield
        finally:
            host.communicate(timeout=20)


def test_a_host_may_have_any_numbers(bench: Bench) -> None:
    with strange(bench):
        mount = bench.mount()
        shown = {path.name: path.stat() for path in mount.workspace.iterdir()}
        assert shown.keys() == {os.fsdecode(name) for name in strange_host.ENTRIES}
        assert shown["late"].st_mtime_ns == bounds.LAST_NS
        assert shown["early"].st_mtime_ns == bounds.FIRST_NS
        assert shown["large"].st_size == bounds.LARGEST
        for name in shown:
            os.chmod(mount.workspace / name, 0o700)
        for name in ("late", "early", "large"):
            assert written_at(mount.workspace / name, 1) == 0
        (mount.workspace / "sub/new").write_bytes(b"new")
        sync(mount.workspace / "late")
        mount = bench.again(mount)
        for name in ("late", "early", "large"):
            with open(mount.workspace / name, "rb") as file:
                assert file.read(5) == b"1x345"
        bench.unmount(mount)
    assert clean(bench.database)


def test_a_host_with_any_numbers_is_pushed_and_compared(bench: Bench) -> None:
    database = store(bench)
    with strange(bench, "large"):
        opened = open_workspace(str(bench.host))
        assert push(database, "main", opened, Wishes()).carried == 3
        again = push(database, "main", opened, Wishes())
        assert (again.carried, again.same, again.conflicts) == (0, 3, 0)
        mount = bench.mount()
        (mount.workspace / "late").write_bytes(b"inside")
        os.utime(mount.workspace / "late", ns=(-(1 << 62) * 10**9, -(1 << 62) * 10**9))
        bench.unmount(mount)
        with against_host(database, "main", opened, Wishes()) as found:
            assert [change.path for change in found.changes] == [b"late"]
        os.close(opened.fd)
    opened = open_workspace(str(bench.host))
    assert pull(database, "main", opened, Wishes(force=True, anew=True)).carried == 3
    os.close(opened.fd)
    assert (bench.host / "late").read_bytes() == b"inside"
    assert (bench.host / "early").stat().st_size == 5


class BrokenError(BaseException):
    """What no writer expects."""


class Alone:
    """Nobody else writes; `broken` is what happens when it is this one's turn."""

    def __init__(self, *, broken: bool) -> None:
        self._broken = broken

    @contextmanager
    def committing(self) -> Iterator[None]:
        if self._broken:
            raise BrokenError("on purpose")
        yield

    def check(self, connection: apsw.Connection) -> None:
        pass


@pytest.mark.parametrize("how", ["a value", "the thread"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_writer_that_failed(bench: Bench, how: str) -> None:
    connection = connect(str(bench.database), create=True)
    broken = BatchWriter(connection, 1, str(bench.database), Alone(broken=how == "the thread"))
    told = []
    batch = Batch()
    batch.origins[0, 1 << 70] = 1  # No row can have that.
    broken.take(batch, lambda: told.append("first"))
    with pytest.raises(OSError) as met:
        broken.wait()
    assert met.value.errno == errno.EIO
    broken.take(Batch(), lambda: told.append("second"))
    for _ in range(2):
        with pytest.raises(OSError):
            broken.wait()
    assert broken.lost and broken.failure is not None
    closing = threading.Thread(target=broken.close)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    assert told == ["first", "second"]


def test_a_failed_writer_makes_the_branch_read_only_and_is_told(bench: Bench, monkeypatch: Any) -> None:
    def bad(self: BatchWriter, batch: Batch) -> None:
        raise OverflowError("a number that is too large")

    bench.unmount(bench.mount())
    with monkeypatch.context() as patch:
        patch.setattr(BatchWriter, "_write", bad)
        mount = bench.mount()
        file = mount.workspace / "file"
        file.write_bytes(b"kept in memory")
        with pytest.raises(OSError):
            sync(file)
        with pytest.raises(OSError) as refused:
            (mount.workspace / "other").touch()
        assert refused.value.errno == errno.EROFS
        assert file.read_bytes() == b"kept in memory"
        with pytest.raises(StoreError, match="a number that is too large"):
            bench.unmount(mount)


# --- archives, transfers, rows -----------------------------------------------------------------


def member(name: str, data: bytes = b"", **fields: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.pax_headers = {key: str(value) for key, value in fields.items()}
        made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@settings(QUICK, max_examples=15)
@example(mtime="1e400", size="-1")
@example(mtime="nan", size="1e3")
@example(mtime="-1066.5", size=str(1 << 80))
@example(mtime="1" * 5000, size="5")
@given(
    mtime=st.one_of(SECONDS.map(str), st.floats().map(str), st.text(max_size=8)),
    size=st.one_of(SIZES.map(str), st.text("0123456789-e.", max_size=30)),
)
def test_an_archive_may_say_anything(tmp_path: Path, mtime: str, size: str) -> None:
    database = tmp_path / "t.db"
    for path in tmp_path.glob("t.db*"):
        path.unlink()
    store = Database(str(database), str(tmp_path / "state"))
    try:
        with store.new_home("main") as home:
            archive.read(home, io.BytesIO(member("file", b"12345", mtime=mtime, size=size)), lambda *_: None)
    except TransferError:
        return
    with store.home("main", None) as kept:
        file = kept.find(b"file")
        assert file is not None and bounds.FIRST_NS <= file.mtime_ns <= bounds.LAST_NS
    assert clean(database)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE inode SET nlink = 9223372036854775807",
        "UPDATE inode SET size = 9223372036854775807",
        "UPDATE inode SET size = -9223372036854775808, holes = 9223372036854775807",
        "UPDATE inode SET clip = -5, host_clip = 9223372036854775807",
        "UPDATE inode SET mode = 9223372036854775807",
        "UPDATE inode SET mtime = 'soon', atime = -9223372036854775808",
        "UPDATE meta SET value = 9223372036854775800 WHERE key = 'next_ino'",
        "UPDATE meta SET value = 'many' WHERE key = 'next_ino'",
        "UPDATE meta SET value = 4611686018427387900 WHERE key = 'next_ino'",
    ],
)
def test_a_database_may_hold_any_numbers(bench: Bench, damage: str) -> None:
    mount = bench.mount()
    (mount.workspace / "file").write_bytes(b"12345" * 100_000)
    bench.unmount(mount)
    connection = connect(str(bench.database))
    connection.execute(damage)
    connection.close()
    mounted: Mount | None = None
    try:
        mounted = bench.mount()
        file = mounted.workspace / "file"
        os.link(file, mounted.workspace / "other")
        os.truncate(file, 70_000)
        written_at(file, 1 << 40)
        sync(mounted.path)
    except (OSError, StoreError):
        pass
    if mounted is not None:
        try:
            bench.unmount(mounted)
        except StoreError:
            assert mounted not in bench._mounts
