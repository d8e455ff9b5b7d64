"""What kinds of file systems the host has: of which every change is told, and on which locks do not hold.

The numbers are those of statfs(2) and of the kernel's include/uapi/linux/magic.h.
"""

from __future__ import annotations

import ctypes
import os

from art_cowfs.db.schema import DatabaseError

LOCAL = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # xfs
    0x9123683E,  # btrfs
    0xF2F52010,  # f2fs
    0xCA451A4E,  # bcachefs
    0x2FC12FC1,  # zfs
    0x01021994,  # tmpfs
    0x858458F6,  # ramfs
}
"""File systems of which every change is made through this kernel and through the same directories, which
network, FUSE and stacked ones are not."""
NETWORK = {
    0x6969,  # nfs
    0x517B,  # smb
    0xFE534D42,  # smb2
    0xFF534D42,  # cifs
    0x01021997,  # 9p
    0x00C36400,  # ceph
    0x5346414F,  # afs
    0x6B414653,  # kafs
    0x7461636F,  # ocfs2
    0x01161970,  # gfs2
}
"""File systems that several machines may write: SQLite's log needs memory that all writers share."""
_libc = ctypes.CDLL(None, use_errno=True)


def kind(fd: int) -> int:
    """The type of the file system (statfs(2)), which Python does not tell; 0 when it is not known."""
    found = (ctypes.c_long * 32)()
    if _libc.fstatfs(fd, found) != 0:
        return 0
    return found[0] & 0xFFFF_FFFF


def refuse_network(path: str) -> None:
    """Raises DatabaseError when the directory of a database lies on a network file system."""
    directory = os.path.dirname(path) or "/"
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # Opening the database says what is wrong.
    try:
        if kind(fd) in NETWORK:
            raise DatabaseError(
                f"database {path!r} lies on a network file system, whose locks do not keep "
                "two machines apart; name a file on a local disk"
            )
    finally:
        os.close(fd)
