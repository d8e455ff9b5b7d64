"""Writing all that a point in time shows of a workspace into another directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from art_core.contracts import Store, Workspace
from art_core.store.companions import Databases, databases_beside, told
from art_core.store.walk_order import Backwards
from art_core.transfer.changes import all_of, host_and_point
from art_core.transfer.decisions import holding
from art_core.transfer.host_files import SETUID, WRITABLE, HostTree
from art_core.transfer.transfer import Moved, Report, Totals, Transfer, Wishes
from art_core.trees import Entry


def export(
    store: Store,
    at: str,
    workspace: Workspace,
    into: int | None,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
) -> Totals:
    """Write all of the workspace that a point shows, the host's too, into an empty directory.

    `into` is a descriptor of it; None for a trial, which writes nothing. Neither the host's workspace nor
    what was agreed on is touched. What is protected is carried only where it is the host's own. Raises
    ArtError.
    """
    with (
        store.reader(at, workspace) as tree,
        HostTree(workspace.fd, Databases(store)) as host,
        HostTree(
            workspace.fd if into is None else into, databases_beside(store, tree, host.blocks)
        ) as target,
        Backwards[Entry]() as directories,
        Transfer(tree, wishes, report, moved) as transfer,
    ):
        side = host_and_point(host, tree).after
        writing = _Writing(transfer, target, directories)
        held_back = holding(host, tree, workspace, wishes)
        for path, entry in all_of(tree, host):
            owners = [place.database_of(path) for place in (host, target)]
            if owners != [None, None]:
                transfer.skipped(path, told(next(owner for owner in owners if owner is not None)))
                continue
            held = None if entry.shown else held_back.on(os.fsdecode(path), entry.kind)
            if held is not None:
                transfer.skipped(path, f"{held.by} {held.does}; --protected carries it, too")
            elif wishes.chosen is None or wishes.chosen(path, entry.kind == "dir"):
                whole = entry._replace(xattrs=side.xattrs(entry))
                writing.one(whole, transfer.counted(iter(side.blocks(entry) if entry.kind == "file" else ())))
            elif entry.kind == "dir":
                writing.above.append(entry)
        if not wishes.dry_run:
            for directory in directories:
                _finish(transfer, target, directory)
        transfer.unseen(held_back.missed)
        return transfer.totals


def _finish(transfer: Transfer, target: HostTree, directory: Entry) -> None:
    """What a directory is, once all that is in it was written."""
    mode = directory.mode if transfer.wishes.keep_setuid else directory.mode & ~SETUID
    try:
        if mode & WRITABLE != WRITABLE:
            target.set_mode(directory.path, mode)
    except OSError as error:
        transfer.failed(directory.path, f"its mode cannot be set: {error.strerror}")
    target.set_time(directory.path, directory.mtime_ns)


class _Writing:
    """Writes entries, and the directories above them that were not chosen themselves."""

    def __init__(self, transfer: Transfer, target: HostTree, directories: Backwards[Entry]) -> None:
        self._transfer = transfer
        self._target = target
        self._directories = directories
        self._names: dict[int, bytes] = {}
        """Where a file of several names stands already, by its number."""
        self.above: list[Entry] = []

    def one(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> None:
        for directory in self.above:
            if entry.path.startswith(directory.path + b"/"):
                self._put(directory, iter(()))
        self.above.clear()
        self._put(entry, blocks)

    def _put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> None:
        wishes = self._transfer.wishes
        several = entry.nlink > 1 and entry.kind == "file"
        try:
            if wishes.dry_run:
                pass
            elif several and entry.ino in self._names:
                self._target.link(entry.path, self._names[entry.ino])
            else:
                wanted = entry._replace(mode=entry.mode | WRITABLE) if entry.kind == "dir" else entry
                self._target.put(wanted, blocks, keep_setuid=wishes.keep_setuid)
        except OSError as error:
            gone = error.errno in (errno.ESTALE, errno.ENOENT) and entry.partial
            why = "the host changed what the sandbox had not" if gone else error.strerror
            self._transfer.failed(entry.path, f"it cannot be written: {why}")
            return
        if several:
            self._names.setdefault(entry.ino, entry.path)
        if entry.kind == "dir":
            self._directories.put(entry)
        self._transfer.carried(entry)
