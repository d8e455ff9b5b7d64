"""Who the command is: its ids, its name and its entry in /etc/passwd."""

from __future__ import annotations

import os
import pwd
import stat
from typing import NamedTuple

from art_core.contracts import GuestFile
from art_core.host.user_namespace import MAPPED, inside

_STAND_INS = range(65520, 65534)
_SSH_SNIPPETS = "/etc/ssh/ssh_config.d"


class Identity(NamedTuple):
    """Ids and names inside. `host_ids` is the unprivileged (uid, gid) that root's sandbox has on
    the host; None when the sandbox keeps the caller's own."""

    uid: int
    gid: int
    user: str
    shell: str
    host_ids: tuple[int, int] | None = None


def identify(uid: int, gid: int, *, mapped: bool) -> Identity:
    """The identity of a caller. Root is 1000 inside, so that tools that refuse root work, and archives with
    foreign owners; with `mapped` it also becomes an unused uid on the host, so that what others cannot read
    stays unread. An id too large for isolations is 1000 as well."""
    try:
        entry = pwd.getpwuid(uid)
        user, shell = entry.pw_name, entry.pw_shell
    except KeyError:
        user, shell = "agent", ""
    if uid == 0:
        stand_in = _stand_in() if mapped else None
        host_ids = None if stand_in is None else (stand_in, stand_in)
        return Identity(MAPPED, MAPPED, "agent", shell, host_ids)
    return Identity(inside(uid), inside(gid), user, shell)


def _stand_in() -> int | None:
    """A uid that nobody has, and that there is in this user namespace as a gid, too."""
    for uid in _STAND_INS:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            mapped = all(_is_mapped(uid, f"/proc/self/{kind}_map") for kind in ("uid", "gid"))
            return uid if mapped else None
    return None


def _is_mapped(number: int, path: str) -> bool:
    """Whether an id exists in the user namespace whose map is read (user_namespaces(7))."""
    ranges = [tuple(map(int, line.split())) for line in _read(path).splitlines()]
    return any(first <= number < first + count for first, _, count in ranges)


def closed_directory(path: str, identity: Identity) -> str | None:
    """The outermost directory above `path` that the sandbox may not enter; None when it may enter
    all, or they do not exist. Nothing can be mounted in there as the host has it."""
    parts = path.split("/")
    for depth in range(2, len(parts)):
        directory = "/".join(parts[:depth])
        try:
            mode = os.stat(directory).st_mode
        except OSError as error:
            return os.path.dirname(directory) if isinstance(error, PermissionError) else None
        if not stat.S_ISDIR(mode):
            return None
        if identity.host_ids is not None:
            if not mode & stat.S_IXOTH:
                return directory
        elif not os.access(directory, os.X_OK):
            return directory
    return None


def account_files(identity: Identity, home: str) -> list[GuestFile]:
    """What programs that ask for the user's entry find: /etc/passwd with `home` in it, and
    /etc/group where the group has no name."""
    files = []
    shell = identity.shell or "/bin/sh"
    line = f"{identity.user}:x:{identity.uid}:{identity.gid}::{home}:{shell}"
    passwd = _replaced("/etc/passwd", identity.user, identity.uid, line)
    files.append(GuestFile(guest="/etc/passwd", contents=passwd))
    group = _read("/etc/group")
    ids = [entry.split(b":")[2:3] for entry in group.splitlines()]
    if [str(identity.gid).encode()] not in ids:
        line = f"{identity.user}:x:{identity.gid}:"
        files.append(
            GuestFile(guest="/etc/group", contents=_replaced("/etc/group", identity.user, identity.gid, line))
        )
    # Root's files are nobody's in the sandbox, and ssh refuses a configuration that is nobody's.
    if os.path.isdir(_SSH_SNIPPETS):
        files.append(GuestFile(guest=_SSH_SNIPPETS, contents=None, mode=0o755))
    return files


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _replaced(path: str, name: str, number: int, line: str) -> bytes:
    """The file without the entries of that name or number, and with `line`."""
    kept = []
    for entry in _read(path).splitlines():
        fields = entry.split(b":")
        if fields[0] != os.fsencode(name) and fields[2:3] != [str(number).encode()]:
            kept.append(entry)
    return b"\n".join([*kept, os.fsencode(line), b""])
