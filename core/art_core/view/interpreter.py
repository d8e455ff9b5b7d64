"""The Python that runs ART, as the sandbox sees it.

An isolation starts a small program of its own inside, with the interpreter that runs ART. It may
live in a home (pyenv, uv), which is masked, or where root alone may go.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from art_core.contracts import INTERPRETER, Mount, Origin
from art_core.errors import IsolationError, MountError
from art_core.host.tree import RealHost, resolve, within
from art_core.view.identity import Identity, closed_directory

_BESIDE = ("pyvenv.cfg", "pybuilddir.txt", "lib", "lib64")
"""What Python looks for in its own directory to know where its modules are (getpath.py of CPython)."""
_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
_OF_LOADER = ("glibc-hwcaps", "gconv", "tls")
"""Directories of libraries from which the dynamic loader and libc take other ones (ld.so(8), iconv(1))."""


def interpreter_mount(hidden: Sequence[str], homes: Sequence[str], identity: Identity) -> list[Mount]:
    """The mount that shows the interpreter's prefix at `INTERPRETER`; empty when it can be seen.

    Raises IsolationError when the prefix is a whole home.
    """
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    unseen = any(within(program, top) for top in hidden)
    closed = closed_directory(program, identity) is not None
    unreadable = identity.host_ids is not None and not os.stat(program).st_mode & stat.S_IROTH
    if not unseen and not closed and not unreadable:
        return []
    prefix = os.path.realpath(sys.base_prefix)
    if prefix in homes or not within(program, prefix):
        raise IsolationError(
            f"ART runs with {program}, which the sandbox cannot see, and its prefix {prefix} cannot be "
            "shown alone; install ART with another Python, such as /usr/bin/python3"
        )
    return [Mount(source=prefix, guest=INTERPRETER, origin=Origin("the interpreter that runs ART"))]


class _Started(NamedTuple):
    """What is read when the interpreter starts: `places` themselves, `trees` with all that is in them, and
    files of `libraries` (names before `.so`) in `directories`."""

    places: frozenset[str]
    trees: frozenset[str]
    libraries: frozenset[str]
    directories: frozenset[str]

    def held_by(self, guest: str) -> str | None:
        """The first that a mount at a resolved path would replace, or add to; None when there is none."""
        directory, name = os.path.split(guest)
        if directory in self.directories and name.partition(".so")[0] in self.libraries:
            return guest
        changed = {tree for tree in self.trees if within(guest, tree)}
        changed |= {one for one in self.places | self.trees if within(one, guest)}
        return min(changed, key=lambda path: (not os.path.exists(path), path), default=None)


def refuse_over(mounts: Sequence[Mount], hidden: Sequence[str], *, moved: bool) -> None:
    """Refuse mounts that change what the isolation's own program is started with: what they show would run
    in its place, with all that it has open. `moved`: the interpreter is shown at `INTERPRETER`. Raises
    MountError."""
    for mount in mounts:
        if mount.device or mount.guest == mount.source:
            continue
        guest = resolve(RealHost(), mount.guest, lambda path: any(within(path, top) for top in hidden))
        held = _started(moved=moved).held_by(guest) if guest != mount.source else None
        if held is not None:
            raise MountError(
                f"{mount.origin}: guest {mount.guest!r} changes what ART's own program is started with "
                f"inside ({held}); choose another path"
            )


@cache
def _started(*, moved: bool) -> _Started:
    mapped = _mapped()
    libraries = frozenset(os.path.basename(path).partition(".so")[0] for path in mapped if ".so" in path)
    loaders = [resolve(RealHost(), path) for path in ("/lib", "/lib64")]
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefix = os.path.realpath(sys.base_prefix)
    directories = {*loaders, "/usr/lib", "/usr/lib64", f"{prefix}/lib"}
    directories |= {os.path.dirname(path) for path in mapped if ".so" in path}
    trees = {INTERPRETER, *(f"{directory}/{name}" for directory in directories for name in _OF_LOADER)}
    places = {*mapped, *loaders, "/etc/ld.so.cache", "/etc/ld.so.preload"}
    places.add(f"/etc/ld-musl-{os.uname().machine}.path")
    if not moved:
        beside, version = os.path.dirname(program), f"python{sys.version_info[0]}{sys.version_info[1]}"
        trees |= {f"{beside}/{name}" for name in _BESIDE}
        trees |= {os.path.realpath(os.path.dirname(os.__file__)), f"{prefix}/lib/{version}.zip"}
        trees.add(os.path.join(os.path.realpath(sys.base_exec_prefix), sys.platlibdir, f"python{_VERSION}"))
        places |= {program, f"{os.path.dirname(beside)}/pyvenv.cfg", f"{beside}/{version}._pth"}
    return _Started(*map(frozenset, (places, trees, libraries, directories)))


def _mapped() -> list[str]:
    """Programs and libraries that this process, which has the same interpreter, executes (proc(5))."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.rstrip("\n").split(None, 5) for line in file]
    return sorted({one[5] for one in fields if len(one) == 6 and "x" in one[1] and one[5].startswith("/")})
