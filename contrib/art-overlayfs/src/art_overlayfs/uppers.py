"""The directories into which the kernel writes what a run changes, until it is in the database.

    SESSIONS/DATABASE/SESSION/about                  what it is of; without it the directory is nobody's
                              home/{upper,work}      what changed in the home
                              workspace/{upper,work}    ... and in the workspace
                              below/WORKSPACE        the place of the workspace in the home

The process of the run holds a lock (flock(2)) on SESSION: a session that nobody holds was left behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from art_core.errors import StoreError

HOME, WORKSPACE = "home", "workspace"
PARTS = (HOME, WORKSPACE)
ELSEWHERE = "name another place: -c plugins.overlayfs.directory=DIR"
_ABOUT = "about"
_USED_S = 5.0


class About(NamedTuple):
    """What a session is of. `path` is the workspace's on the host, `state` the key of what it was begun on
    (`cache.Cache`), `layers` the directories that it is mounted over."""

    database: str
    branch: str
    workspace: str
    path: str
    owner: tuple[int, int]
    state: str
    layers: Sequence[str]
    started_ns: int


class Upper:
    """The directory of one session, whose lock this process holds."""

    def __init__(self, path: str, about: About, lock: int) -> None:
        self.path = path
        self.about = about
        self._lock = lock

    @property
    def name(self) -> str:
        """It is unlike that of any other session, and names its mounts as well."""
        return os.path.basename(self.path)

    def of(self, part: str) -> str:
        return f"{self.path}/{part}/upper"

    def is_used(self) -> bool:
        """Whether a process still sees its mounts; waits for those that are being ended."""
        until = time.monotonic() + _USED_S
        while _is_mounted_anywhere(self.name):
            if time.monotonic() > until:
                return True
            time.sleep(0.02)
        return False

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}/{_ABOUT}")
        removed(self.path)
        self.close()

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def make(sessions: str, about: About) -> Upper:
    """A new one, with nothing in it. Raises StoreError for a place that cannot be used."""
    own_directory(sessions)
    path = f"{sessions}/{time.time_ns():x}-{os.getpid()}"
    os.mkdir(path, 0o700)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for part in PARTS:
        os.makedirs(f"{path}/{part}/upper")
        os.mkdir(f"{path}/{part}/work")
    os.makedirs(f"{path}/below/{about.workspace}")
    # Times of the host's files are compared with this one: it has to be of the same clock.
    about = about._replace(started_ns=os.stat(f"{path}/below/{about.workspace}").st_ctime_ns)
    with open(f"{path}/{_ABOUT}.new", "w") as file:
        json.dump(about._asdict(), file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}/{_ABOUT}.new", f"{path}/{_ABOUT}")
    return Upper(path, about, lock)


def left(sessions: str) -> Iterator[Upper]:
    """Those that nobody holds; each is let go of when the next is asked for. What was never begun is
    removed."""
    for path, about in _all(sessions):
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            upper = Upper(path, about or About("", "", "", "", (0, 0), "", (), 0), lock)
            try:
                if about is not None:
                    yield upper
                else:
                    upper.remove()
            finally:
                upper.close()


def layers_in_use(sessions: str) -> set[str]:
    """The directories of the cache that any session needs."""
    return {layer for _, about in _all(sessions) if about is not None for layer in about.layers}


def _all(sessions: str) -> Iterator[tuple[str, About | None]]:
    try:
        names = sorted(os.listdir(sessions))
    except FileNotFoundError:
        return
    for name in names:
        path = f"{sessions}/{name}"
        about = None
        with contextlib.suppress(OSError, ValueError, TypeError):
            with open(f"{path}/{_ABOUT}") as file:
                found = json.load(file)
            about = About(**{**found, "owner": tuple(found["owner"])})
        yield path, about


def own_directory(path: str) -> None:
    """Make a directory that only this user may enter, or see that it is one. Raises StoreError."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise StoreError(f"{path} is not a directory of yours; {ELSEWHERE}")
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}; {ELSEWHERE}") from None


def removed(path: str) -> None:
    """Remove a tree that a sandbox made: however deep it is, and where nobody may enter it."""
    for argv in (["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        if os.path.lexists(path):
            subprocess.run([*argv, "--", path], stdin=subprocess.DEVNULL, capture_output=True)


def _is_mounted_anywhere(name: str) -> bool:
    source = f" overlay {name} "
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/mountinfo", errors="replace") as file:
                if source in file.read():
                    return True
    return False
