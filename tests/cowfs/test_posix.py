"""Calls that programs seldom make: each does what its man page says, and what ext4 does."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.cowfs.conftest import Bench, python, run

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


def test_who_may_not_write_does_not_cut_a_file(bench: Bench) -> None:
    mount = bench.mount()
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


def failure(call: Callable[..., Any], *arguments: Any) -> int:
    with pytest.raises(OSError) as raised:
        call(*arguments)
    return raised.value.errno or 0


def test_attributes_by_the_space_of_their_name(bench: Bench) -> None:
    path = bench.mount().path / "file"
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
