"""Copying single files and trees between the host and a home, either way.

On the host nothing is followed through a link and nothing appears half written, as in a pull.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

from art_core.autorun.rules import names_of
from art_core.autorun.transfer_hold import Led, TransferHold
from art_core.contracts import Store
from art_core.errors import TransferError, UsageError
from art_core.store.companions import Contents, Databases, told
from art_core.store.files import File, HomeReader, HomeWriter, resolve
from art_core.store.walk_order import Backwards
from art_core.transfer.host_files import SETUID, WRITABLE, HostTree, Unreadable, checked
from art_core.transfer.transfer import unseen
from art_core.trees import Entry

Report = Callable[[Literal["FILE", "DIR", "LINK", "SKIP", "FAIL"], str, Entry | None, str], None]
"""What was done: the path that was written, the entry, and why not."""
_ACTIONS: dict[str, Literal["FILE", "DIR", "LINK"]] = {"file": "FILE", "dir": "DIR", "link": "LINK"}
_NO_KIND = "pipes, sockets and devices are not carried"


def copy_out(
    store: Store,
    home: HomeReader,
    source: bytes,
    target: str,
    report: Report,
    *,
    recursive: bool,
    protect: Sequence[str] = (),
) -> None:
    """Copy a path of a home to the host: into `target` where that is a directory, else as it. What is in a
    directory and in `protect` is left out, as by a pull; what is named itself is copied."""
    top = resolve(home, source)
    if top.kind is None:
        raise TransferError(f"{os.fsdecode(source)!r}: {_NO_KIND}")
    if top.kind == "dir" and not recursive:
        raise UsageError(f"{os.fsdecode(source)!r} is a directory; add -r")
    if os.path.isdir(target):
        directory, name = target, os.path.basename(os.fsdecode(source)) or "agent"
    else:
        directory, name = os.path.split(os.path.abspath(target))
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TransferError(f"{directory!r}: {error.strerror}") from None
    try:
        databases = Databases(store, _contents(home, top, os.fsencode(name)))
        with HostTree(fd, databases) as host, Backwards[Entry]() as directories:
            led = partial(_led, os.path.join(os.path.realpath(directory), name), protect)
            holding = TransferHold(protect, _Below(home, top, host, os.fsencode(name)), led)
            _write_all(home, top, host, os.fsencode(name), directory, report, directories, holding)
            for path, why in unseen(holding.missed):
                report("FAIL", path, None, why)
            for one in directories:
                mode = one.mode & ~SETUID
                if mode & WRITABLE != WRITABLE:
                    with contextlib.suppress(OSError):  # Somebody removed it.
                        host.set_mode(one.path, mode)
                host.set_time(one.path, one.mtime_ns)
    finally:
        os.close(fd)


def _write_all(
    home: HomeReader,
    top: File,
    host: HostTree,
    name: bytes,
    directory: str,
    report: Report,
    directories: Backwards[Entry],
    holding: TransferHold,
) -> None:
    linked: dict[int, bytes] = {}
    for file in _with_all(home, top):
        rest = file.path[len(top.path) :].strip(b"/")
        path = checked(name + b"/" + rest if rest else name)
        shown = os.path.join(directory, os.fsdecode(path))
        if file.kind is None:
            report("SKIP", shown, None, _NO_KIND)
            continue
        if (owner := host.database_of(path)) is not None:
            report("SKIP", shown, None, told(owner))
            continue
        if rest and (held := holding.on(os.fsdecode(rest), file.kind)) is not None:
            report("SKIP", shown, None, f"{held.by} {held.does}; --protected copies it, too")
            continue
        entry = file.entry(path)
        try:
            if file.kind == "file" and file.ino in linked:
                host.link(path, linked[file.ino])
            else:
                wanted = entry._replace(mode=entry.mode | WRITABLE) if entry.kind == "dir" else entry
                host.put(wanted, home.blocks(file) if file.kind == "file" else iter(()))
        except OSError as error:
            report("FAIL", shown, None, f"it cannot be written: {error.strerror}")
            continue
        if file.kind == "dir":
            directories.put(entry)
        elif file.nlink > 1:
            linked[file.ino] = path
        report(_ACTIONS[file.kind], shown, entry, "")


def _led(target: str, protect: Sequence[str]) -> Led:
    """Where links and git's settings of the host lead to in what is copied to, and above it."""
    from art_core.autorun.finder import listed

    found = listed(target, names_of(tuple(protect)), os.environ, bounded=False)
    return found.led, found.missed


class _Below:
    """Both sides of a copy, for `transfer_hold`: paths are relative to what is copied."""

    def __init__(self, home: HomeReader, top: File, host: HostTree, name: bytes) -> None:
        self._home = home
        self._top = top.path
        self._host = host
        self._name = name

    def on_host(self, path: str) -> bool:
        return self._host.find(self._name + b"/" + os.fsencode(path)) is not None

    def inside(self, path: str) -> bool:
        where = b"/".join((self._top, os.fsencode(path))) if self._top else os.fsencode(path)
        return self._home.find(where) is not None

    def has_links(self, path: str) -> bool:
        top = self._name + b"/" + os.fsencode(path) if path else self._name
        return any(isinstance(one, Entry) and one.kind == "link" for _, one in self._host.below(top))


def _contents(home: HomeReader, top: File, name: bytes) -> Contents:
    """What is read from the home for a path of the host that begins with the copy's name."""

    def contents(path: bytes) -> Iterable[tuple[int, bytes]]:
        beside = top.path.rpartition(b"/")[0]
        inside = path[len(name) :] if path.startswith(name + b"/") else None
        where = top.path + inside if inside is not None else beside + b"/" + path if beside else path
        file = home.find(where)
        return home.blocks(file) if file is not None and file.kind == "file" else ()

    return contents


def _with_all(home: HomeReader, top: File) -> Iterator[File]:
    yield top
    if top.kind == "dir":
        yield from home.walk(top.path)


def copy_in(
    store: Store, home: HomeWriter, source: str, target: bytes, report: Report, *, recursive: bool
) -> None:
    """Copy a path of the host into a home: into `target` where that is a directory, else as it. The files of
    the store's own database are never opened."""
    databases = Databases(store)
    try:
        real = os.path.realpath(source, strict=True)
        found = os.lstat(real)
    except OSError as error:
        raise TransferError(f"{source!r}: {error.strerror}") from None
    if (found.st_dev, found.st_ino) in databases.files:
        raise TransferError(f"{source!r} is the database itself")
    if stat.S_ISDIR(found.st_mode) and not recursive:
        raise UsageError(f"{source!r} is a directory; add -r")
    place = _place(home, os.fsencode(os.path.basename(os.path.abspath(source))), target)
    directory = real if stat.S_ISDIR(found.st_mode) else os.path.dirname(real)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with HostTree(fd, databases) as host:
            if not stat.S_ISDIR(found.st_mode):
                one = host.find(os.fsencode(os.path.basename(real)))
                if one is None:
                    raise TransferError(f"{source!r}: {_NO_KIND}")
                _keep(home, host, one, place, {}, report)
                return
            mode = stat.S_IMODE(found.st_mode)
            top = Entry(path=b"", kind="dir", mode=mode, size=0, mtime_ns=found.st_mtime_ns)
            linked: dict[tuple[int, int], Entry] = {}
            _keep(home, host, top, place, linked, report)
            for path, entry in host.walk():
                where = place + b"/" + path
                if isinstance(entry, Unreadable):
                    report("SKIP", os.fsdecode(where), None, "it cannot be carried or read")
                else:
                    _keep(home, host, entry, where, linked, report)
    finally:
        os.close(fd)


def _place(home: HomeReader, name: bytes, target: bytes) -> bytes:
    """Where a copy goes; the directory above it is there. Raises StoreError or TransferError."""
    above, _, last = target.rpartition(b"/")
    directory = resolve(home, above)
    if directory.kind != "dir":
        raise TransferError(f"{os.fsdecode(above)!r} is no directory of the home")
    path = directory.path + b"/" + last if directory.path else last
    present = home.find(path) if last else directory
    with contextlib.suppress(TransferError):
        if present is not None and present.kind in ("dir", "link"):
            present = resolve(home, path)
    if present is None or present.kind != "dir":
        return path
    return present.path + b"/" + name if present.path else name


def _keep(
    home: HomeWriter,
    host: HostTree,
    entry: Entry,
    path: bytes,
    linked: dict[tuple[int, int], Entry],
    report: Report,
) -> None:
    shown = os.fsdecode(path)
    present = home.find(path)
    if present is not None and (present.kind == "dir") != (entry.kind == "dir"):
        what = "a directory" if present.kind == "dir" else "no directory"
        report("FAIL", shown, None, f"what stands there is {what}")
        return
    try:
        key = host.links.get(entry.path)
        if key is not None and key in linked:
            home.link(path, linked[key])
        elif entry.kind != "dir" or present is None:
            blocks = host.blocks(entry) if entry.kind == "file" else iter(())
            xattrs = {} if entry.kind == "link" or not entry.path else host.xattrs(entry.path)
            made = home.put(entry._replace(path=path, xattrs=xattrs), blocks)
            if key is not None:
                linked[key] = made
    except OSError as error:
        report("FAIL", shown, None, f"it cannot be copied: {error.strerror}")
        return
    report(_ACTIONS[entry.kind], shown, entry, "")
