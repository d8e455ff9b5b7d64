"""The workspace: the host directory that a run is about."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from art_core.contracts import HOME, Workspace
from art_core.errors import WorkspaceError
from art_core.host.tree import within
from art_core.view.masks import SYSTEM_DIRECTORIES

_PATIENCE_S = 60.0
_AGAIN_S = 0.05


def open_workspace(directory: str, name: str | None = None, *, moved: bool = False) -> Workspace:
    """Check and pin a host directory.

    Its name is the last component of the absolute path as typed, links not followed, unless
    `name` says otherwise. Raises WorkspaceError when it is missing, no directory, unreadable, or
    when its name cannot be one component of a path.
    """
    if not directory:
        raise WorkspaceError("the workspace is an empty path; name a directory: art -m DIR")
    path = absolute(directory)
    chosen = os.path.basename(path) if name is None else name
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise WorkspaceError(f"workspace {path!r}: {error.strerror}{_cure(path, error)}") from None
    try:
        _check_directory(path, fd)
        _check_name(path, chosen, given=name is not None)
        real = os.readlink(f"/proc/self/fd/{fd}")
        return Workspace(name=chosen, path=path, real=real, fd=fd, moved=moved)
    except BaseException:
        os.close(fd)
        raise


@contextmanager
def alone_with(workspace: Workspace) -> Iterator[None]:
    """Nobody else pushes or pulls this workspace meanwhile (flock(2) of its directory, where it has locks).
    Raises WorkspaceError when another one goes on for a minute."""
    top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=workspace.fd)
    until = time.monotonic() + _PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(top, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise WorkspaceError(
                        f"another art push or pull works on {workspace.path!r}; wait for it, or end it"
                    ) from None
                time.sleep(_AGAIN_S)
                continue
            except OSError:
                pass
            break
        yield
    finally:
        os.close(top)


def absolute(directory: str) -> str:
    """The absolute path of a workspace as it is typed. Raises WorkspaceError."""
    try:
        return os.path.abspath(os.path.expanduser(directory))
    except FileNotFoundError:
        raise WorkspaceError(
            f"workspace {directory!r}: the current directory was removed; change to one that exists"
        ) from None


def _cure(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "; make it first, or name another one with -m DIR"
    if isinstance(error, PermissionError):
        return "; you may not enter a directory above it"
    return "; name another one with -m DIR"


def _check_directory(path: str, fd: int) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise WorkspaceError(f"workspace {path!r} is not a directory; name the directory that holds it")
    try:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise WorkspaceError(f"workspace {path!r} cannot be read: {error.strerror}") from None


def _check_name(path: str, name: str, *, given: bool) -> None:
    if not name and not given:
        raise WorkspaceError(f"workspace {path!r} has no name of its own; name another directory with -m DIR")
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise WorkspaceError(f"--name {name!r}: a name is one component of a path, without '/' and not '..'")
    if len(os.fsencode(name)) > 255:
        raise WorkspaceError(f"--name {name[:20]!r}...: a name has at most 255 bytes")


def needs_consent(workspace: Workspace, homes: list[str]) -> str | None:
    """Why giving this directory to a sandbox should be said twice: it is a home, holds one, or is
    the system's. None for any other directory."""
    real = workspace.real
    for home in homes:
        if real == home:
            return f"{workspace.path} is a home directory"
        if within(home, real):
            return f"{workspace.path} holds the home directory {home}"
    for directory in SYSTEM_DIRECTORIES:
        if within(directory, real):
            return f"{workspace.path} is a system directory"
    for directory in ("/usr", "/etc", "/boot", "/proc", "/sys", "/dev"):
        if within(real, directory) and not within(real, "/usr/src") and not within(real, "/usr/local"):
            return f"{workspace.path} lies in the system directory {directory}"
    return None


def ask_consent(workspace: Workspace, homes: list[str], ask: Callable[[str], bool] | None) -> None:
    """Refuse a workspace that needs consent and gets none. Raises WorkspaceError."""
    sentence = needs_consent(workspace, homes)
    if sentence is None or (ask is not None and ask(f"{sentence}; let the command write to all of it?")):
        return
    raise WorkspaceError(f"{sentence}; name a directory in it with -m DIR, or add --allow-home")


def refuse_foreign(workspace: Workspace, uid: int) -> None:
    """Refuse a workspace that is another user's and cannot be written by this one.

    Its files would be read-only inside, and what root makes in it would not be its owner's.
    Raises WorkspaceError with the line that runs ART as the owner.
    """
    found = os.fstat(workspace.fd)
    if found.st_uid == uid or (uid != 0 and os.access(f"/proc/self/fd/{workspace.fd}", os.W_OK)):
        return
    import pwd
    import shlex

    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = f"#{found.st_uid}"
    command = f"sudo -u {shlex.quote(owner)} art -m {shlex.quote(workspace.path)}"
    raise WorkspaceError(
        f"workspace {workspace.path!r} belongs to {owner}, not to you; run ART as its owner: {command}"
    )


def aliases(workspace: Workspace, guest: str, hidden: Sequence[str]) -> list[str]:
    """Where a workspace appears beside `guest`: at its own host path, and as it was typed when that
    leads through a link that is hidden."""
    found: list[str] = []
    for path in (workspace.real, workspace.path):
        visible = path == workspace.real or any(within(path, top) for top in hidden)
        if visible and path not in (*found, guest) and not within(HOME, path):
            found.append(path)
    return found
