"""The structures that go between the kernel and a file system, in the machine's byte order.

Source: the kernel's include/uapi/linux/fuse.h, and fuse(4).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAJOR, MINOR = 7, 31
"""Linux 5.4. A later kernel speaks this version too."""
MOST_PAGES = 256
WRITE_LIMIT = MOST_PAGES * 4096
"""The most bytes of a write."""
REQUEST_LIMIT = WRITE_LIMIT + 4096

REQUEST = struct.Struct("=IIQQ16x")
"""length, opcode, unique, nodeid"""
ANSWER = struct.Struct("=IiQ")
"""length, error, unique"""
INIT = struct.Struct("=IIII")
"""major, minor, max_readahead, flags"""
INIT_ANSWER = struct.Struct("=IIIIHHIIH34x")
"""As in `INIT`, then max_background, congestion_threshold, max_write, time_gran, max_pages."""
ENTRY = struct.Struct("=Q8x")
"""nodeid; then follow `ENTRY_HOLDS` and `ATTRIBUTES`."""
ENTRY_HOLDS = struct.Struct("=QQII")
"""Seconds that the entry holds, and its attributes; nanoseconds of both."""
ATTRIBUTES_HOLD = struct.Struct("=QI4x")
"""The same in an answer to GETATTR and SETATTR; then follow `ATTRIBUTES`."""
ATTRIBUTES = struct.Struct("=3Q3q9I4x")
"""ino, size, blocks, three times in seconds, their nanoseconds, mode, nlink, uid, gid, rdev, blksize"""
DIRENT = struct.Struct("=QQII")
"""ino, the place after it, length of the name, type"""
NUMBER = struct.Struct("=Q")
PAIR = struct.Struct("=II")
FORGET = struct.Struct("=QQ")
SETATTR = struct.Struct("=I4xQQ8xqq8xII4xI4xII4x")
"""valid, fh, size, atime, mtime, their nanoseconds, mode, uid, gid"""
MADE = struct.Struct("=IIII")
"""Of MKNOD: mode, rdev. Of CREATE and TMPFILE: flags, mode. Masked by the kernel."""
OPENED = struct.Struct("=QII")
"""fh, flags"""
PART = struct.Struct("=QQI20x")
"""Of READ and WRITE: fh, offset, size."""
RENAME = struct.Struct("=QII")
FLAGGED = struct.Struct("=QII")
"""fh, flags"""
STATFS = struct.Struct("=5Q3I28x")
"""blocks, bfree, bavail, files, ffree, bsize, namelen, frsize"""
FALLOCATE = struct.Struct("=QQQI4x")
"""fh, offset, length, mode"""
INVALIDATED = struct.Struct("=Qqq")
"""ino, the first byte that changed (-1 for none) and how many (0 for all)"""
INVALIDATED_NAME = struct.Struct("=QII")
"""directory, length of the name, flags"""
LSEEK = struct.Struct("=QQI4x")
"""fh, offset, whence"""
COPY = struct.Struct("=7Q")
"""fh, offset; nodeid, fh and offset of the target; length, flags"""


class Opcode:
    """What a request is. The kernel is told ENOSYS of all others, and does without."""

    LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK = 1, 2, 3, 4, 5, 6
    MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 8, 9, 10, 11, 12, 13
    OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 14, 15, 16, 17, 18, 20
    SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR = 21, 22, 23, 24
    INIT, OPENDIR, RELEASEDIR, FSYNCDIR, CREATE = 26, 27, 29, 30, 35
    BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2 = 42, 43, 44, 45
    LSEEK, COPY_FILE_RANGE, TMPFILE = 46, 47, 51


NAMES = {number: name.lower() for name, number in vars(Opcode).items() if isinstance(number, int)}
NAMES |= {Opcode.READDIRPLUS: "readdir", Opcode.RENAME2: "rename", Opcode.BATCH_FORGET: "forget"}

INVALIDATE_INODE, INVALIDATE_NAME = 2, 3
"""What a notice is, in place of an answer's error."""
EXPIRE_ONLY = 1 << 0
"""Of INVALIDATE_NAME: the name is asked for again, and stays."""
UNANSWERED = frozenset((Opcode.FORGET, Opcode.BATCH_FORGET))

WANTED = sum(
    1 << bit
    for bit in (
        0,  # ASYNC_READ
        3,  # ATOMIC_O_TRUNC
        4,  # EXPORT_SUPPORT: "." and ".." are looked up
        5,  # BIG_WRITES
        13,  # DO_READDIRPLUS
        22,  # MAX_PAGES
        28,  # HANDLE_KILLPRIV_V2
    )
)
"""What is taken of the kernel's offers. Not AUTO_INVAL_DATA: it throws away what is cached of a file whenever
its time has changed, also by the kernel's own writes. Not ASYNC_DIO: it ends an asynchronous write past the
page cache without a word to the cache, so that who reads through it goes on with old pages."""

DIRECT_IO, KEEP_CACHE = 1 << 0, 1 << 1
MODE, UID, GID, SIZE, ATIME, MTIME, FH, ATIME_NOW, MTIME_NOW = (1 << bit for bit in range(9))
"""What a SETATTR sets."""
ONLY_DATA = 1
"""Of FSYNC."""


class Settings(NamedTuple):
    """Attributes that are set, None for those that stay. Times are in nanoseconds."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None
