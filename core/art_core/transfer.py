"""Push and pull: carrying a workspace between the host and a store.

Both compare each side with what they last agreed on. What one side changed is carried to the
other; what both changed is a conflict, which is told and left alone. Nothing is lost either way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from art_core.contracts import Agreed, Entry, Store, TreeReader, TreeWriter, Workspace
from art_core.hostside import HostTree, checked, same

Action = Literal["FILE", "DIR", "LINK", "DEL", "SAME", "SKIP", "CONFLICT"]
Report = Callable[[Action, bytes, Entry | None, str], None]
"""What was done: the action, the path, the entry as it is now, and why."""

Moved = Callable[[int], None]
"""Called with a number of bytes when they were read."""

_ACTIONS: Mapping[str, Action] = {"file": "FILE", "dir": "DIR", "link": "LINK"}
_AT_ONCE = 500


class Wishes(NamedTuple):
    """How to transfer. `protect` are paths that a pull leaves out, as `protect` in the settings;
    `anew` forgets what was agreed on, because the host's directory is a new one."""

    force: bool = False
    dry_run: bool = False
    keep_setuid: bool = False
    protect: Sequence[str] = ()
    anew: bool = False


class Totals:
    """What a transfer came to."""

    def __init__(self) -> None:
        self.carried = self.removed = self.same = self.skipped = self.conflicts = self.size = 0


class _Transfer:
    """What push and pull have in common: counting, and remembering in portions."""

    def __init__(self, tree: TreeReader, wishes: Wishes, report: Report, moved: Moved) -> None:
        self.tree = tree
        self._moved = moved
        self.wishes = wishes
        self.report = report
        self.totals = Totals()
        self.agreed = {} if wishes.anew else dict(tree.agreed())
        self._news: dict[bytes, Agreed | None] = {}

    def counted(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """The same blocks; each is told when it is taken."""
        for block in blocks:
            self._moved(len(block[1]))
            yield block

    def carried(self, entry: Entry) -> None:
        self.totals.carried += 1
        self.totals.size += entry.size if entry.kind == "file" else 0
        self.report(_ACTIONS[entry.kind], entry.path, entry, "")

    def removed(self, path: bytes) -> None:
        self.totals.removed += 1
        self.report("DEL", path, None, "")

    def unchanged(self, entry: Entry) -> None:
        self.totals.same += 1
        self.report("SAME", entry.path, entry, "")

    def skipped(self, path: bytes, why: str) -> None:
        self.totals.skipped += 1
        self.report("SKIP", path, None, why)

    def conflict(self, path: bytes, why: str) -> None:
        self.totals.conflicts += 1
        self.report("CONFLICT", path, None, why)

    def agree(self, path: bytes, host: Entry | None, kept: Entry | None) -> None:
        if self.wishes.dry_run:
            return
        agreed = None
        if host is not None and kept is not None:
            agreed = Agreed(host.kind, host.size, host.mtime_ns, host.mode, kept.ino, kept.version)
        self._news[path] = agreed
        if len(self._news) >= _AT_ONCE:
            self.remember()

    def remember(self) -> None:
        news, self._news = self._news, {}
        if news:
            self.tree.agree(news)


def _hidden(store: Store) -> set[tuple[int, int]]:
    found = set()
    for path in store.hidden():
        try:
            status = os.lstat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


# --- push --------------------------------------------------------------------------------------


def push(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
) -> Totals:
    """Carry the host's workspace into the store. Raises ArtError; conflicts are counted.

    Before the host wins over what the sandbox did, a snapshot is taken.
    """
    if wishes.force and not wishes.dry_run:
        trial = wishes._replace(force=False, dry_run=True)
        if push(store, branch, workspace, trial).conflicts:
            store.snapshot(branch, time.strftime("before-push-%Y-%m-%dT%H:%M:%S"))
    with store.writer(branch, workspace) as tree, HostTree(workspace.fd, _hidden(store)) as host:
        transfer = _Transfer(tree, wishes, report, moved)
        removed = set(tree.removed())
        seen: set[bytes] = set()
        first: dict[tuple[int, int], Entry] = {}
        unreadable: list[bytes] = []
        blocked: list[bytes] = []
        for entry in host.walk(unreadable):
            seen.add(entry.path)
            if any(entry.path.startswith(top) for top in blocked):
                continue
            if entry.path in removed and not wishes.force:
                transfer.conflict(entry.path, "on the host, and removed in the sandbox")
                done = False
            else:
                done = _push_one(transfer, tree, host, entry, first)
            if not done and entry.kind == "dir":
                blocked.append(entry.path + b"/")
        for path in unreadable:
            transfer.skipped(path, "it is no file, directory or link, or may not be read")
        kept = seen | set(unreadable)
        for path in sorted(transfer.agreed.keys() - kept, reverse=True):
            _push_removal(transfer, tree, path)
        tree.commit()
        transfer.remember()
        return transfer.totals


def _push_one(
    transfer: _Transfer, tree: TreeWriter, host: HostTree, entry: Entry, first: dict[tuple[int, int], Entry]
) -> bool:
    """Carry one entry; False when it is a conflict, or could not be read."""
    agreed = transfer.agreed.get(entry.path)
    identity = host.links.get(entry.path)
    if agreed is not None and same(entry, agreed):
        transfer.unchanged(entry)
        if identity is not None and identity not in first and (kept := tree.find(entry.path)):
            first[identity] = kept
        return True
    present = tree.find(entry.path)
    if not transfer.wishes.force and (why := _why_not_push(entry, present, agreed)):
        if why == _OURS:
            transfer.unchanged(entry)
            return True
        transfer.conflict(entry.path, why)
        return False
    if transfer.wishes.dry_run:
        transfer.carried(entry)
        return True
    try:
        if identity is not None and identity in first:
            made = tree.link(entry.path, first[identity])
        else:
            made = tree.put(
                entry._replace(xattrs=host.xattrs(entry.path)), transfer.counted(host.blocks(entry))
            )
    except PermissionError as error:
        transfer.skipped(entry.path, f"it may not be read: {error.strerror}")
        return False
    if identity is not None:
        first.setdefault(identity, made)
    transfer.carried(made)
    transfer.agree(entry.path, entry, made)
    return True


_OURS = "the store's is newer"


def _why_not_push(entry: Entry, present: Entry | None, agreed: Agreed | None) -> str:
    """Why the host's entry must not cover the store's; empty when it may."""
    if present is None:
        return ""
    if agreed is not None:
        untouched = (present.ino, present.version) == (agreed.ino, agreed.version)
        both_directories = present.kind == entry.kind == "dir"
        return "" if untouched or both_directories else "changed on the host and in the sandbox"
    if present.kind == entry.kind == "dir":
        return ""
    if present.origin == (entry.size, entry.mtime_ns):
        return _OURS
    return "made on the host and in the sandbox"


def _push_removal(transfer: _Transfer, tree: TreeWriter, path: bytes) -> None:
    """What the host removed since the last time."""
    agreed, present = transfer.agreed[path], tree.find(path)
    if present is None:
        transfer.agree(path, None, None)
        return
    untouched = (present.ino, present.version) == (agreed.ino, agreed.version) or present.kind == "dir"
    if not untouched and not transfer.wishes.force:
        transfer.conflict(path, "removed on the host and changed in the sandbox")
        return
    if not transfer.wishes.dry_run:
        tree.remove(path)
    transfer.removed(path)
    transfer.agree(path, None, None)


# --- pull --------------------------------------------------------------------------------------


def pull(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
) -> Totals:
    """Carry the store's workspace to the host. Raises ArtError; conflicts are counted."""
    with store.reader(branch, workspace) as tree, HostTree(workspace.fd, _hidden(store)) as host:
        transfer = _Transfer(tree, wishes, report, moved)
        names: dict[int, bytes] = {}
        times: list[tuple[bytes, int]] = []
        seen: set[bytes] = set()
        for entry in tree.walk():
            checked(entry.path)
            seen.add(entry.path)
            if is_protected(entry.path, wishes.protect):
                transfer.skipped(entry.path, "programs of the host run it; --protected carries it, too")
                continue
            if _pull_one(transfer, host, entry, names) and entry.kind == "dir":
                times.append((entry.path, entry.mtime_ns))
        shown = set(tree.removed())
        for path in sorted((transfer.agreed.keys() | shown) - seen, reverse=True):
            _pull_removal(transfer, host, checked(path), path in shown)
        if not wishes.dry_run:
            for path, mtime_ns in reversed(times):
                host.set_time(path, mtime_ns)
        transfer.remember()
        return transfer.totals


def is_protected(path: bytes, patterns: Sequence[str]) -> bool:
    """Whether the path is, or lies in, one of the protected ones, in any directory."""
    parts = os.fsdecode(path).split("/")
    for start in range(len(parts)):
        below = "/".join(parts[start:]) + "/"
        if any(below.startswith(pattern.strip("/") + "/") for pattern in patterns):
            return True
    return False


def _pull_one(transfer: _Transfer, host: HostTree, entry: Entry, names: dict[int, bytes]) -> bool:
    """Carry one entry; False when there was nothing to do, or it is a conflict."""
    agreed, present = transfer.agreed.get(entry.path), host.find(entry.path)
    if agreed is not None and _is_agreed(entry, agreed):
        transfer.unchanged(entry)
        names.setdefault(entry.ino, entry.path)
        return False
    if not transfer.wishes.force and (why := _why_not_pull(entry, present, agreed)):
        transfer.conflict(entry.path, why)
        return False
    if transfer.wishes.dry_run:
        transfer.carried(entry)
        return True
    try:
        if entry.nlink > 1 and entry.kind == "file" and entry.ino in names:
            made = host.link(entry.path, names[entry.ino])
        else:
            blocks = transfer.counted(transfer.tree.blocks(entry))
            made = host.put(entry, blocks, keep_setuid=transfer.wishes.keep_setuid)
    except OSError as error:
        transfer.conflict(entry.path, f"it cannot be written: {error.strerror}")
        return False
    names.setdefault(entry.ino, entry.path)
    transfer.carried(entry)
    transfer.agree(entry.path, made, entry)
    return True


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


def _pull_removal(transfer: _Transfer, host: HostTree, path: bytes, shown: bool) -> None:
    """What the sandbox removed."""
    present, agreed = host.find(path), transfer.agreed.get(path)
    if present is None:
        transfer.agree(path, None, None)
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
    transfer.removed(path)
    transfer.agree(path, None, None)
