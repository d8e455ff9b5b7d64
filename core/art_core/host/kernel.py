"""Linux system calls that Python has no name for. Each raises OSError with its errno.

Sources: keyctl(2), prctl(2), unshare(2), mount(2), open_tree(2), mount_setattr(2), move_mount(2)
and Documentation/userspace-api/landlock.rst of the kernel.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

_KEYCTL = {"x86_64": 250, "aarch64": 219}
_OPEN_TREE = 428
_MOVE_MOUNT = 429
_MOUNT_SETATTR = 442
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY = 1
_MOUNT_ATTR_IDMAP = 0x00100000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 1, 2, 4, 1 << 14, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PTRACER = 0x59616D61
_KEYCTL_JOIN_SESSION_KEYRING = 1
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET = 1
LANDLOCK_ABI_WITH_SCOPES = 6


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: object) -> int:
    return _check(_libc.syscall(ctypes.c_long(number), *arguments))


def join_session_keyring() -> None:
    """Leave the caller's session keyring for a new, empty one (keyctl(2))."""
    machine = os.uname().machine
    if machine in _KEYCTL:
        _syscall(_KEYCTL[machine], _KEYCTL_JOIN_SESSION_KEYRING, None)


def landlock_abi() -> int:
    """The kernel's Landlock ABI, 0 when it has none."""
    try:
        return _syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def scope_abstract_sockets() -> bool:
    """Deny this process and its children connections to abstract unix sockets made outside.

    The rule set handles nothing else, so mounting goes on to work. Sets no_new_privs. Returns
    False where the kernel is too old (before 6.12).
    """
    set_no_new_privs()
    if landlock_abi() < LANDLOCK_ABI_WITH_SCOPES:
        return False
    attributes = struct.pack("QQQ", 0, 0, _LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def set_no_new_privs() -> None:
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def allow_tracing_by(pid: int) -> None:
    """Let a process and its children trace this one where Yama restricts that to ancestors
    (Documentation/admin-guide/LSM/Yama.rst); nothing where there is no Yama."""
    _libc.prctl(_PR_SET_PTRACER, pid, 0, 0, 0)


def sync_file_system(fd: int) -> None:
    """Bring all of the file system that `fd` is open on to the disk (syncfs(2))."""
    _check(_libc.syncfs(fd))


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags))


def make_mounts_private() -> None:
    """No mount of this namespace is seen by, or comes from, any other one from now on."""
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def mount_tmpfs(target: str, *, size: int, mode: int) -> None:
    options = f"size={size},mode={mode:o}".encode()
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _check(_libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", flags, options))


def mount_fuse(
    fd: int, target: str, name: str, uid: int, gid: int, *, others: bool = True, read_only: bool = False
) -> None:
    """Mount the FUSE file system that is served through `fd`, an open /dev/fuse of this user
    namespace. The ids are the mounting user's (Documentation/filesystems/fuse.rst); `others` may see it."""
    options = f"fd={fd},rootmode=40000,user_id={uid},group_id={gid},default_permissions"
    options += ",allow_other" * others
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_RDONLY * read_only)
    kind = b"fuse." + os.fsencode(name)
    _check(_libc.mount(os.fsencode(name), os.fsencode(target), kind, flags, options.encode()))


def mount_overlay(name: str, target: str, options: str) -> None:
    """Mount an overlayfs (Documentation/filesystems/overlayfs.rst); `options` say of what."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _check(_libc.mount(name.encode(), os.fsencode(target), b"overlay", flags, options.encode()))


def unmount(target: str, *, lazy: bool = False) -> None:
    """Raises OSError(EBUSY) for what is in use, unless it may go `lazy`, with its last user."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH * lazy))


def enter(namespace: int, kind: int) -> None:
    """Move this process into a namespace (setns(2))."""
    _check(_libc.setns(namespace, kind))


def clone_tree(fd: int) -> int:
    """A detached copy of the mounts at and below what `fd` (O_PATH) refers to."""
    flags = _OPEN_TREE_CLONE | _AT_EMPTY_PATH | _AT_RECURSIVE | os.O_CLOEXEC
    return _syscall(_OPEN_TREE, fd, b"", ctypes.c_uint(flags))


def map_tree(tree: int, user_namespace: int) -> None:
    """Show the files of a detached tree with the ids that a user namespace maps theirs to.

    Raises OSError(EINVAL) where the file system cannot be id-mapped.
    """
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    _syscall(_MOUNT_SETATTR, tree, b"", flags, attributes, ctypes.c_size_t(len(attributes)))


def seal_tree(tree: int) -> None:
    """Make a detached tree read-only. What its device nodes stand for can still be written to."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE)
    _syscall(_MOUNT_SETATTR, tree, b"", flags, attributes, ctypes.c_size_t(len(attributes)))


def attach_tree(tree: int, target: str) -> None:
    """Mount a detached tree at `target`."""
    _syscall(_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
