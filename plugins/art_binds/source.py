"""Reading .art/config/binds.json.

{"binds": [{"host": "/path/on/host", "guest": "/path/in/sandbox", "readonly": true}]}
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Any

from art_core.contracts import Mount, MountSet, Origin, Workspace
from art_core.errors import MountError
from art_core.host import openat
from art_core.view.mounts import pinned

PARTS = (".art", "config", "binds.json")
SIZE_LIMIT = 1 << 20
_KEYS = ("host", "guest", "readonly")


class BindsFile:
    """The mount source over the file of a workspace."""

    def load(self, workspace: Workspace) -> MountSet:
        """What the file asks for; an empty set without one. Raises MountError that names the file,
        the entry and the key."""
        path = os.path.join(workspace.path, *PARTS)
        content = _read(workspace, path)
        if content is None:
            return MountSet()
        entries = _entries(path, content)
        mounts: list[Mount] = []
        try:
            for index, entry in enumerate(entries):
                mounts.append(_mount(path, f"binds[{index}]", entry, workspace))
        except BaseException:
            for mount in mounts:
                if mount.fd >= 0:
                    os.close(mount.fd)
            raise
        return MountSet(mounts, {path: content})


def _read(workspace: Workspace, path: str) -> bytes | None:
    """The bytes of the file, found without following any link; None when it is not there."""
    try:
        pinned_fd = openat.pin_beneath(workspace.fd, PARTS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        if error.errno == errno.ELOOP:
            raise MountError(f"{path}: a symbolic link leads there; make it a file in a directory") from None
        raise MountError(f"{path}: {error.strerror}") from None
    try:
        found = os.fstat(pinned_fd)
        if not stat.S_ISREG(found.st_mode):
            raise MountError(f"{path}: this is not a regular file")
        if found.st_size > SIZE_LIMIT:
            raise MountError(f"{path}: this is larger than {SIZE_LIMIT} bytes")
        with open(f"/proc/self/fd/{pinned_fd}", "rb") as file:
            return file.read(SIZE_LIMIT)
    except OSError as error:
        raise MountError(f"{path}: it cannot be read: {error.strerror}") from None
    finally:
        os.close(pinned_fd)


def _entries(path: str, content: bytes) -> Sequence[Any]:
    import json

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise MountError(f"{path}: the key {key!r} stands twice in one object")
            found[key] = value
        return found

    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except UnicodeDecodeError:
        raise MountError(f"{path}: this is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MountError(f"{path}: this is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise MountError(f"{path}: this is nested too deeply") from None
    except ValueError:
        raise MountError(f"{path}: a number has too many digits") from None
    if not isinstance(document, dict):
        raise MountError(f'{path}: must be an object: {{"binds": [...]}}')
    for key in document:
        if key != "binds":
            raise MountError(f"{path}: unknown key {key!r}; known: binds")
    binds = document.get("binds", [])
    if not isinstance(binds, list):
        raise MountError(f"{path}: binds: must be a list")
    return binds


def _mount(path: str, pointer: str, entry: Any, workspace: Workspace) -> Mount:
    if not isinstance(entry, dict):
        raise MountError(f"{path}: {pointer}: must be an object with host, guest and readonly")
    for key in entry:
        if key not in _KEYS:
            raise MountError(f"{path}: {pointer}.{key}: unknown key; known: {', '.join(_KEYS)}")
    host = _text(path, pointer, entry, "host")
    guest = _text(path, pointer, entry, "guest")
    readonly = entry.get("readonly", True)
    if not isinstance(readonly, bool):
        raise MountError(f"{path}: {pointer}.readonly: must be true or false")
    origin = Origin(path, f"{pointer}.guest")
    mount = Mount(source=host, guest=guest, writable=not readonly, origin=origin)
    where = f"{path}: {pointer}.host"
    if host.startswith("/"):
        try:
            return pinned(mount, openat.pin(host))
        except OSError as error:
            raise MountError(f"{where}: {host!r}: {error.strerror}") from None
    return _relative(where, mount, workspace)


def _relative(where: str, mount: Mount, workspace: Workspace) -> Mount:
    """A relative host path is one of the workspace, and may not lead out of it."""
    host = mount.source
    inside = os.path.normpath(host)
    if inside == ".." or inside.startswith("../"):
        raise MountError(f"{where}: {host!r} leaves the workspace; write an absolute path")
    try:
        return pinned(mount, openat.pin_beneath(workspace.fd, openat.parts_of(inside)))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise MountError(
                f"{where}: {host!r} leads through a symbolic link; write where it leads"
            ) from None
        raise MountError(f"{where}: {host!r}: {error.strerror}") from None


def _text(path: str, pointer: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        missing = "is missing" if key not in entry else "must be a text that is not empty"
        raise MountError(f"{path}: {pointer}.{key}: {missing}")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise MountError(f"{path}: {pointer}.{key}: {value!r} is half of a character, not a path") from None
    return value
