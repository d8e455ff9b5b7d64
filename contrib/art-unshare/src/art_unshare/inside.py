"""The program that makes a sandbox around itself, and becomes the command.

It is executed from a descriptor, by a Python that has nothing but its own library. What it changes
is seen in its own mount namespace only, and what it may do there ends when it becomes the command.
"""

import ctypes
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

REPORT, ORDER = 4, 6
_NEWNS, _NEWIPC, _NEWUSER = 0x20000, 0x8000000, 0x10000000
_RDONLY, _NOSUID, _NODEV = 1, 2, 4
_BIND, _REC, _PRIVATE, _DETACH = 4096, 16384, 1 << 18, 2
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR, _EMPTY_PATH, _RECURSIVE = 428, 429, 442, 0x1000, 0x8000
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 24, 38
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_BASE = "/sys"
"""Nothing that a sandbox is given lies there, so the new root is made below it."""
_ROOT, _ASIDE = f"{_BASE}/root", f"{_BASE}/aside"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind, data)]
    checked(_LIBC.mount(words[0], words[1], words[2], flags, words[3]), target)


def bind(source: str, target: str) -> None:
    mount(source, target, "", _BIND | _REC)


def restrict(fd: int, flags: int, path: str = "") -> None:
    """mount_setattr(2): of one mount that `fd` is the root of, or of all at and below `path`."""
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    how = _RECURSIVE if path else _EMPTY_PATH
    checked(
        _LIBC.syscall(_MOUNT_SETATTR, fd, os.fsencode(path), how, attributes, 32), path or "mount_setattr"
    )


def tmpfs(target: str, mode: int, size: int = 1 << 20) -> int:
    """An O_PATH descriptor of it, by which it is found when more is mounted over it."""
    mount("tmpfs", target, "tmpfs", _NOSUID | _NODEV, f"mode={mode:o},size={size}")
    return os.open(target, os.O_PATH | os.O_CLOEXEC)


class Root:
    """The root of the sandbox while it is made.

    The host gets no mount point: where a directory lacks a name, or has one too many, a tmpfs takes
    its place, into which all its other names are mounted. A host that renames within the directory
    changes nothing there.
    """

    def __init__(self) -> None:
        self._own: dict[str, int] = {}
        """The directories that can be added to: a tmpfs of this program each, and its descriptor."""

    def real(self, path: str) -> str:
        """A path without the host's links above its last name; `path` as it is seen inside."""
        above, name = os.path.split(os.path.normpath(path))
        return os.path.join(os.path.realpath(above), name)

    def covered(self, path: str) -> str:
        """Where a path is that is about to be mounted over; what was made there and below is finished."""
        for own in [own for own in self._own if f"{own}/".startswith(f"{path}/")]:
            restrict(self._own.pop(own), _RDONLY)
        return _ROOT + path

    def rebuild(self, directory: str, without: frozenset[str] = frozenset()) -> None:
        """A tmpfs with the names of a directory but for some."""
        place = self.covered(directory.rstrip("/"))
        os.makedirs(_ASIDE, exist_ok=True)
        bind(place, _ASIDE)
        mode = os.stat(place).st_mode & 0o777
        self._own[directory.rstrip("/")] = tmpfs(place, mode)
        for name, kind in list(_names(_ASIDE)):
            if name in without:
                continue
            if kind == "link":
                os.symlink(os.readlink(f"{_ASIDE}/{name}"), f"{place}/{name}")
            else:
                _make(f"{place}/{name}", directory=kind == "directory")
                bind(f"{_ASIDE}/{name}", f"{place}/{name}")
        checked(_LIBC.umount2(os.fsencode(_ASIDE), _DETACH), _ASIDE)

    def point(self, guest: str, *, directory: bool) -> str:
        """Where to mount what is seen at a guest path, which is made with its parents. Raises OSError for a
        path with a link in it that the host does not have there itself."""
        path = ""
        names = self.real(guest).strip("/").split("/")
        for number, name in enumerate(names, 1):
            above, path = path, f"{path}/{name}"
            if os.path.islink(_ROOT + path):
                raise OSError(f"{guest}: {path} is a link")
            if not os.path.lexists(_ROOT + path):
                if above not in self._own:
                    self.rebuild(above or "/")
                _make(_ROOT + path, directory=directory or number < len(names))
        return self.covered(path)

    def mask(self, paths: list[str]) -> None:
        """The paths that the host has are absent, or empty directories."""
        masked: dict[str, dict[str, bool]] = {}
        for path in sorted(map(self.real, paths)):
            if os.path.lexists(path):
                above, name = os.path.split(path)
                masked.setdefault(above, {})[name] = os.path.isdir(path)
        for above, names in masked.items():
            if os.path.isdir(_ROOT + above) and not os.path.islink(_ROOT + above):
                self.rebuild(above, frozenset(names))
                for name in (name for name, directory in names.items() if directory):
                    os.mkdir(f"{_ROOT}{above}/{name}", 0o755)


def _names(directory: str) -> Iterator[tuple[str, str]]:
    """The names in a directory that can be read, and of which kind each is."""
    try:
        with os.scandir(directory) as found:
            for one in found:
                kind = "link" if one.is_symlink() else "directory" if one.is_dir() else "file"
                yield one.name, kind
    except PermissionError:
        return


def _make(path: str, *, directory: bool) -> None:
    if directory:
        os.mkdir(path, 0o755)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def _enter(uid: int, gid: int) -> None:
    """New namespaces, in which this process may mount and is seen as the user that was asked for."""
    outside = os.geteuid(), os.getegid()
    checked(_LIBC.unshare(_NEWUSER | _NEWNS | _NEWIPC), "user namespaces")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outside[0]} 1"),
        ("gid_map", f"{gid} {outside[1]} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")  # Of this namespace: the command makes none below it.
    mount("", "/", "", _REC | _PRIVATE)


def _build(order: dict[str, Any]) -> None:
    whole = checked(_LIBC.syscall(_OPEN_TREE, -100, b"/", 1 | _RECURSIVE | os.O_CLOEXEC), "/")
    tmpfs(_BASE, 0o755, order["size"])
    for path in (_ROOT, f"{_BASE}/files"):
        os.mkdir(path)
    checked(_LIBC.syscall(_MOVE_MOUNT, whole, b"", -100, os.fsencode(_ROOT), 4), _ROOT)
    restrict(-100, _RDONLY | _NOSUID, _ROOT)
    root = Root()
    tmpfs(root.point("/tmp", directory=True), 0o1777, order["size"])
    devices = root.point("/dev", directory=True)
    seal = tmpfs(devices, 0o755)
    for name in _DEVICES:
        _make(f"{devices}/{name}", directory=False)
        bind(f"/dev/{name}", f"{devices}/{name}")
    for name, at in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{at}", f"{devices}/{name}")
    restrict(seal, _RDONLY)
    root.mask(order["masks"])
    home = root.point("/home/agent", directory=True)
    if order["home"] is None:
        tmpfs(home, 0o755, order["size"])
    else:
        bind(order["home"], home)
    for number, source, guest, directory, writable in order["mounts"]:
        place = root.point(guest, directory=directory)
        bind(source, place)
        if number >= 0 and not os.path.samestat(os.fstat(number), os.stat(place)):
            raise OSError(f"{source} is not what was opened any more")
        restrict(-100, _NOSUID | _NODEV | (0 if writable else _RDONLY), place)
    for number, (guest, contents, mode) in enumerate(order["files"]):
        place = root.point(guest, directory=contents is None)
        if contents is None:
            restrict(tmpfs(place, 0o755), _RDONLY)
            continue
        with open(f"{_BASE}/files/{number}", "xb") as file:
            file.write(contents.encode("latin-1"))
            os.fchmod(file.fileno(), mode)
        bind(file.name, place)
        restrict(-100, _RDONLY, place)
    root.covered("")
    os.chdir(_ROOT)
    checked(_LIBC.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    checked(_LIBC.umount2(b".", _DETACH), "the old root")


def _become(order: dict[str, Any]) -> None:
    """Give up what this process may still do, and execute the command."""
    for capability in range(64):
        _LIBC.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    checked(_LIBC.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.set_inheritable(REPORT, False)
    os.dup2(3, 2)
    os.close(3)
    os.closerange(5, 1 << 20)
    argv = [os.fsencode(word) for word in order["argv"]]
    env = {os.fsencode(name): os.fsencode(value) for name, value in order["env"].items()}
    os.write(REPORT, b'{"exec": true}')
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(REPORT, b'{"exec-errno": %d}' % (error.errno or 0))
        os._exit(1)


def main() -> None:
    with open(ORDER, closefd=False) as file:
        order = json.load(file)
    _LIBC.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.write(REPORT, b'{"child-pid": %d}' % os.getpid())
    umask = os.umask(0)
    try:
        for source in order["mounts"]:
            if source[0] >= 0:  # Where it is, while the namespace that it was opened in lasts.
                source[1] = os.readlink(f"/proc/self/fd/{source[0]}")
        _enter(*order["ids"])
        _build(order)
        os.umask(umask)
        os.chdir(order["cwd"])
    except OSError as error:
        os.write(2, os.fsencode(str(error)))
        os._exit(1)
    _become(order)


if __name__ == "__main__":
    main()
