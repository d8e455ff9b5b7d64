"""Calls that programs seldom make: each does what its man page says, and what ext4 does."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from art_cowfs.care.maintenance import check
from tests.support.bench import Bench, python, run

DIRECT = r"""
import ctypes, mmap, os, struct, sys, threading
SIZE, SETUP, SUBMIT, GETEVENTS, PWRITE = 1 << 20, 206, 209, 208, 1
libc = ctypes.CDLL(None, use_errno=True)
direct = os.open("file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
buffered = os.open("file", os.O_RDONLY)
block, context, ended = mmap.mmap(-1, SIZE), ctypes.c_ulong(), threading.Event()
address = ctypes.addressof(ctypes.c_char.from_buffer(block))
os.pwrite(direct, block, 0)
assert libc.syscall(SETUP, 8, ctypes.byref(context)) == 0

def read():
    fd = os.open("file", os.O_RDONLY)
    while not ended.is_set():
        os.pread(fd, SIZE, 0)

readers = [threading.Thread(target=read) for _ in range(3)]
for reader in readers:
    reader.start()
stale = 0
for number in range(int(sys.argv[1])):
    block[:] = bytes([number % 251]) * SIZE
    told = struct.pack("QIIHhIQQqQII", 0, 0, 0, PWRITE, 0, direct, address, SIZE, 0, 0, 0, 0)
    request = ctypes.create_string_buffer(told)
    pointer, event = ctypes.pointer(request), ctypes.create_string_buffer(32)
    assert libc.syscall(SUBMIT, context, 1, ctypes.byref(pointer)) == 1
    assert libc.syscall(GETEVENTS, context, 1, 1, event, None) == 1
    assert struct.unpack("QQqq", event)[2] == SIZE
    stale += os.pread(buffered, SIZE, 0) != block[:]
ended.set()
for reader in readers:
    reader.join()
print(stale)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_who_reads_through_the_cache_sees_what_was_written_past_it(roomy: Bench) -> None:
    """While others read, and when the kernel was given the write and told of its end (io_submit(2))."""
    assert python(roomy.mount(), DIRECT, "60") == "0\n"


@pytest.mark.parametrize("of_host", [True, False])
def test_a_file_is_cut_when_it_is_opened_so_for_reading(bench: Bench, of_host: bool) -> None:
    """O_TRUNC without a wish to write: open(2) leaves it open, and Linux cuts."""
    (bench.host / "file").write_bytes(b"content")
    mount = bench.mount()
    path = mount.workspace / "file" if of_host else mount.path / "file"
    path.write_bytes(path.read_bytes() if of_host else b"content")
    fd = os.open(path, os.O_RDONLY | os.O_TRUNC)
    assert (os.fstat(fd).st_size, os.read(fd, 10)) == (0, b"")
    os.close(fd)
    mount = bench.again(mount)
    assert (mount.workspace / "file" if of_host else mount.path / "file").read_bytes() == b""
    assert (bench.host / "file").read_bytes() == b"content"


def test_who_may_not_write_does_not_cut_a_file(roomy: Bench) -> None:
    mount = roomy.mount()
    path = mount.path / "file"
    path.write_bytes(b"content")
    path.chmod(0o444)
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-I", "-S", "-c")
    done = run(mount, *powerless, "import os; os.open('file', os.O_RDONLY | os.O_TRUNC)")
    assert b"PermissionError" in done.stderr
    assert path.read_bytes() == b"content"


NAMES = {
    "user.absent": errno.ENODATA,
    "security.absent": errno.ENODATA,
    "trusted.absent": errno.ENODATA,
    "user.": errno.EINVAL,
    "foo.bar": errno.EOPNOTSUPP,
    "foo": errno.EOPNOTSUPP,
    "user": errno.EOPNOTSUPP,
    "system.absent": errno.EOPNOTSUPP,
}


def failure(call: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    with pytest.raises(OSError) as raised:
        call(*arguments, **options)
    return raised.value.errno or 0


def test_attributes_by_the_space_of_their_name(roomy: Bench) -> None:
    path = roomy.mount().path / "file"
    path.write_bytes(b"")
    for name, expected in NAMES.items():
        # Who is no root outside may not ask for these at all (capabilities(7)); the kernel says so.
        privileged = name.startswith(("trusted.", "security."))
        assert failure(os.getxattr, path, name) == expected, name
        assert failure(os.removexattr, path, name) in {expected, errno.EPERM if privileged else expected}, (
            name
        )
        if name != "user.absent":
            kept = expected if name == "user." else errno.EOPNOTSUPP
            assert failure(os.setxattr, path, name, b"1") in {kept, errno.EPERM if privileged else kept}, name


KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE, UNSHARE_RANGE = 1, 2, 8, 16, 32, 64
CHUNK = 64 << 10
_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd: int, mode: int, offset: int, size: int) -> int:
    """fallocate(2), as an error number."""
    done = _libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size))
    return 0 if done == 0 else ctypes.get_errno()


@pytest.mark.parametrize("size", [5 * CHUNK, 40 * CHUNK])
def test_parts_are_punched_zeroed_and_promised(bench: Bench, size: int) -> None:
    """Also of a file that shows the host's, of which a large one is not copied whole."""
    content = os.urandom(size)
    (bench.host / "file").write_bytes(content)
    mount = bench.mount()
    fd = os.open(mount.workspace / "file", os.O_RDWR)
    assert os.fstat(fd).st_blocks * 512 == size
    assert fallocate(fd, PUNCH_HOLE | KEEP_SIZE, CHUNK - 10, 2 * CHUNK) == 0
    assert fallocate(fd, ZERO_RANGE, size - 5, 105) == 0
    assert fallocate(fd, KEEP_SIZE, 0, 100 * CHUNK) == 0
    expected = content[: CHUNK - 10] + bytes(2 * CHUNK) + content[3 * CHUNK - 10 : -5] + bytes(105)
    assert os.pread(fd, 2 * size, 0) == expected
    assert os.fstat(fd).st_blocks * 512 < size
    assert fallocate(fd, 0, size, 10 * CHUNK) == 0
    expected += bytes(10 * CHUNK - 100)
    assert fallocate(fd, 0, 0, 1 << 60) == errno.ENOSPC
    for mode in (COLLAPSE_RANGE, INSERT_RANGE, UNSHARE_RANGE):
        assert fallocate(fd, mode, 0, CHUNK) == errno.EOPNOTSUPP
    os.pwrite(fd, b"in the hole", CHUNK + 5)
    expected = expected[: CHUNK + 5] + b"in the hole" + expected[CHUNK + 16 :]
    os.close(fd)
    mount = bench.again(mount)
    assert (mount.workspace / "file").read_bytes() == expected
    assert (bench.host / "file").read_bytes() == content
    bench.unmount(mount)
    assert problems(bench) == []


def problems(bench: Bench) -> list[str]:
    """What the check of the database says of its files."""
    return [str(finding) for finding in check(str(bench.database))]


def test_holes_are_found(bench: Bench) -> None:
    mount = bench.mount()
    fd = os.open(mount.path / "file", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 100, 3 * CHUNK)
    os.pwrite(fd, b"x" * CHUNK, 7 * CHUNK)
    os.ftruncate(fd, 20 * CHUNK)
    data, hole, at = [], [], 0
    while at < 8 * CHUNK:
        data.append(os.lseek(fd, at, os.SEEK_DATA))
        hole.append(at := os.lseek(fd, data[-1], os.SEEK_HOLE))
    assert (data, hole) == ([3 * CHUNK, 7 * CHUNK], [3 * CHUNK + 4096, 8 * CHUNK])
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 3 * CHUNK - 1, os.SEEK_DATA) == 3 * CHUNK
    os.pwrite(fd, b"x", 11 * CHUNK + 8192)
    assert os.lseek(fd, 11 * CHUNK + 8191, os.SEEK_DATA) == 11 * CHUNK + 8192
    os.ftruncate(fd, 8 * CHUNK)
    os.ftruncate(fd, 20 * CHUNK)
    for whence, start in (os.SEEK_DATA, 9 * CHUNK), (os.SEEK_DATA, 20 * CHUNK), (os.SEEK_HOLE, 20 * CHUNK):
        assert failure(os.lseek, fd, start, whence) == errno.ENXIO
    with mmap.mmap(fd, 20 * CHUNK) as mapping:
        mapping[15 * CHUNK] = 1
        assert os.lseek(fd, 9 * CHUNK, os.SEEK_DATA) == 15 * CHUNK, "written through a mapping just now"
    os.close(fd)


def test_a_part_is_copied_within_the_file_system(roomy: Bench) -> None:
    content = os.urandom(3_000_000)
    (roomy.host / "file").write_bytes(content)
    mount = roomy.mount()
    source = os.open(mount.workspace / "file", os.O_RDONLY)
    target = os.open(mount.path / "copy", os.O_RDWR | os.O_CREAT)
    os.pwrite(target, b"before", 0)
    copied = 0
    while part := os.copy_file_range(source, target, 5_000_000, 1000 + copied, 6 + copied):
        copied += part
    assert copied == len(content) - 1000
    os.close(target)
    os.close(source)
    mount = roomy.again(mount)
    assert (mount.path / "copy").read_bytes() == b"before" + content[1000:]


def test_a_file_without_a_name_gets_one_or_goes(bench: Bench) -> None:
    mount = bench.mount()
    (mount.path / "made").mkdir()
    for directory in (mount.path / "made", mount.workspace):
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"content")
        assert (os.fstat(fd).st_nlink, os.listdir(directory)) == (0, [])
        os.link(f"/proc/self/fd/{fd}", directory / "named", src_dir_fd=fd)
        assert os.fstat(fd).st_nlink == 1
        os.unlink(directory / "named")
        assert failure(os.link, f"/proc/self/fd/{fd}", directory / "again", src_dir_fd=fd) == errno.ENOENT
        os.close(fd)
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
        assert failure(os.link, f"/proc/self/fd/{fd}", directory / "again", src_dir_fd=fd) == errno.ENOENT
        os.close(fd)
        fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o640)
        os.write(fd, b"content" * 20_000)
        os.link(f"/proc/self/fd/{fd}", directory / "kept", src_dir_fd=fd)
        os.close(fd)
    mount = bench.again(mount)
    for directory in (mount.path / "made", mount.workspace):
        assert os.listdir(directory) == ["kept"]
        assert (directory / "kept").read_bytes() == b"content" * 20_000
        assert (directory / "kept").stat().st_mode & 0o777 == 0o640
    bench.unmount(mount)
    assert problems(bench) == []


HANDLES = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
handle, mount = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136), ctypes.c_int()
assert libc.name_to_handle_at(-100, os.fsencode(sys.argv[1]), handle, ctypes.byref(mount), 0) == 0
with open("/proc/sys/vm/drop_caches", "w") as file:
    file.write("2")
top = os.open(".", os.O_RDONLY)
fd = libc.open_by_handle_at(top, handle, os.O_RDONLY)
assert fd >= 0, os.strerror(ctypes.get_errno())
print(os.read(fd, 100))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="handles are opened by root")
def test_a_file_is_opened_by_its_handle(roomy: Bench) -> None:
    mount = roomy.mount()
    (mount.path / "file").write_bytes(b"content")
    assert python(mount, HANDLES, "file") == "b'content'\n"
