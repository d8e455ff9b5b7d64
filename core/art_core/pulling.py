"""Pull: carrying a store's workspace to the host."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from functools import lru_cache

from art_core.contracts import Store, Workspace
from art_core.hostside import HostTree, alike, checked, same
from art_core.transfer import Moved, Report, Totals, Transfer, Wishes, hidden
from art_core.trees import Agreed, Entry
from art_core.walking import Backwards, together


def pull(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
) -> Totals:
    """Carry the store's workspace to the host. Raises ArtError; conflicts are counted."""
    with (
        store.reader(branch, workspace) as tree,
        HostTree(workspace.fd, hidden(store)) as host,
        Backwards[tuple[bytes, Agreed | None]]() as gone,
        Backwards[tuple[bytes, int]]() as times,
        Transfer(tree, wishes, report, moved, host.sync) as transfer,
    ):
        names: dict[int, bytes] = {}
        walk = ((checked(entry.path), entry) for entry in tree.walk())
        removed = ((path, True) for path in tree.removed())
        for path, entry, agreed, _ in together(walk, transfer.agreed(), removed):
            if entry is None:
                gone.put((path, agreed))
            elif is_protected(path, wishes.protect):
                transfer.skipped(path, "programs of the host run it; --protected carries it, too")
            elif _pull_one(transfer, host, entry, agreed, names) and entry.kind == "dir":
                times.put((path, entry.mtime_ns))
        for path, agreed in gone:
            _pull_removal(transfer, host, checked(path), agreed)
        if not wishes.dry_run:
            for path, mtime_ns in times:
                host.set_time(path, mtime_ns)
        return transfer.totals


@lru_cache
def _pattern(patterns: tuple[str, ...]) -> re.Pattern[bytes]:
    names = b"|".join(re.escape(os.fsencode(pattern.strip("/"))) for pattern in patterns)
    return re.compile(b"(?:^|/)(?:" + names + b")(?:/|$)" if names else b"(?!)", re.DOTALL)


def is_protected(path: bytes, patterns: Sequence[str]) -> bool:
    """Whether the path is, or lies in, one of the protected ones, in any directory."""
    return _pattern(tuple(patterns)).search(path) is not None


def _pull_one(
    transfer: Transfer, host: HostTree, entry: Entry, agreed: Agreed | None, names: dict[int, bytes]
) -> bool:
    """Carry one entry; False when there was nothing to do, or it is a conflict."""
    several = entry.nlink > 1 and entry.kind == "file"
    if agreed is not None and _is_agreed(entry, agreed):
        transfer.unchanged(entry)
        if several:
            names.setdefault(entry.ino, entry.path)
        return False
    present = host.find(entry.path)
    moved_on = _has_moved_on(entry, present)
    if moved_on and present is not None and transfer.wishes.accept_host:
        if not transfer.wishes.dry_run:
            transfer.tree.accept(entry, present.size, present.mtime_ns)
    elif moved_on:
        transfer.incomplete = True
        transfer.conflict(entry.path, _MOVED_ON)
        return False
    elif not transfer.wishes.force and (why := _why_not_pull(entry, present, agreed)):
        if present is not None and alike(present, entry):
            transfer.agree(entry.path, present, entry)
            transfer.unchanged(entry)
            return False
        transfer.incomplete = transfer.incomplete or entry.partial
        transfer.conflict(entry.path, why)
        return False
    if transfer.wishes.dry_run:
        transfer.carried(entry)
        return True
    try:
        if several and entry.ino in names:
            made = host.link(entry.path, names[entry.ino])
        else:
            blocks = transfer.counted(transfer.tree.blocks(entry))
            made = host.put(entry, blocks, keep_setuid=transfer.wishes.keep_setuid)
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ENOENT) and entry.partial:
            transfer.incomplete = True
            transfer.conflict(entry.path, _MOVED_ON)
        elif error.errno in _IN_THE_WAY:
            transfer.conflict(entry.path, f"it cannot be written: {error.strerror}")
            transfer.incomplete = transfer.incomplete or entry.partial
        else:
            transfer.failed(entry.path, f"it cannot be written: {error.strerror}")
        return False
    if several:
        names.setdefault(entry.ino, entry.path)
    transfer.agree(entry.path, made, entry)
    transfer.carried(entry)
    return True


_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOENT)
_MOVED_ON = (
    "the host changed it or removed it after the sandbox had changed a part of it; --accept-host takes "
    "what the host has now for the rest"
)


def _has_moved_on(entry: Entry, present: Entry | None) -> bool:
    """Whether a part of what the store shows of a file is gone."""
    return (
        entry.partial and present is not None and entry.origin not in (None, (present.size, present.mtime_ns))
    )


def _is_agreed(entry: Entry, agreed: Agreed) -> bool:
    if entry.kind == agreed.kind == "dir":
        return (entry.ino, entry.mode) == (agreed.ino, agreed.mode)
    return (entry.ino, entry.version) == (agreed.ino, agreed.version)


def _why_not_pull(entry: Entry, present: Entry | None, agreed: Agreed | None) -> str:
    """Why the store's entry must not cover the host's; empty when it may."""
    if agreed is not None:
        if same(present, agreed) or (present is not None and present.kind == entry.kind == "dir"):
            return ""
        gone = "removed" if present is None else "changed"
        return f"{gone} on the host and changed in the sandbox"
    if present is None or present.kind == entry.kind == "dir":
        return ""
    if entry.origin == (present.size, present.mtime_ns):
        return ""
    return "made or changed on the host and in the sandbox"


def _pull_removal(transfer: Transfer, host: HostTree, path: bytes, agreed: Agreed | None) -> None:
    """What the sandbox removed."""
    present = host.find(path)
    if present is None:
        transfer.agree(path, None, None)
        return
    if transfer.incomplete:
        transfer.conflict(path, "removed in the sandbox; left, because not everything else could be carried")
        return
    if is_protected(path, transfer.wishes.protect):
        transfer.skipped(path, "programs of the host run it; --protected removes it, too")
        return
    if not transfer.wishes.force and (agreed is None or not same(present, agreed)):
        why = "never pushed" if agreed is None else "changed on the host"
        transfer.conflict(path, f"removed in the sandbox, and {why}")
        return
    try:
        if not transfer.wishes.dry_run:
            host.remove(path)
    except OSError as error:
        transfer.conflict(path, f"it cannot be removed: {error.strerror}")
        return
    transfer.agree(path, None, None)
    transfer.removed(path)
