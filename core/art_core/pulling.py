"""Pull: carrying a store's workspace to the host."""

from __future__ import annotations

import errno
from collections.abc import Callable

from art_core.companions import databases_beside
from art_core.contracts import Store, Workspace
from art_core.deciding import MOVED_ON, Deciding, Decision, Lost, holding
from art_core.hostside import HostTree, checked
from art_core.transfer import Moved, Report, Totals, Transfer, Wishes
from art_core.trees import Agreed, Entry, TreeReader
from art_core.walking import Backwards, together

Confirm = Callable[[Decision, HostTree, TreeReader], bool]
"""Asked before something is carried or removed, with both sides of it."""


def pull(
    store: Store,
    branch: str,
    workspace: Workspace,
    wishes: Wishes,
    report: Report = lambda *_: None,
    moved: Moved = lambda _: None,
    confirm: Confirm | None = None,
) -> Totals:
    """Carry the store's workspace to the host. Raises ArtError; conflicts are counted."""
    with (
        store.reader(branch, workspace) as tree,
        HostTree(workspace.fd, databases_beside(store, tree)) as host,
        Backwards[tuple[bytes, Agreed | None, bool]]() as gone,
        Backwards[tuple[bytes, int]]() as times,
        Transfer(tree, wishes, report, moved, host.sync) as transfer,
    ):
        deciding = Deciding(host, wishes, holding(host, tree, workspace, wishes))
        pulling = _Pulling(transfer, host, deciding, confirm)
        walk = ((checked(entry.path), entry) for entry in tree.walk())
        removed = ((path, True) for path in tree.removed())
        lost = Lost()
        for path, entry, agreed, is_removed in together(walk, transfer.agreed(), removed):
            if entry is None:
                gone.put((path, agreed, lost.is_lost(path, removed=bool(is_removed))))
                continue
            lost.there(entry)
            if pulling.one(entry, agreed) and entry.kind == "dir":
                times.put((path, entry.mtime_ns))
        pulling.end()
        for path, agreed, is_lost in gone:
            pulling.removal(checked(path), agreed, lost=is_lost)
        if not wishes.dry_run:
            for path, mtime_ns in times:
                host.set_time(path, mtime_ns)
        return transfer.totals


class _Above:
    """A directory that is made when something in it is carried, or when it is empty and chosen."""

    def __init__(self, entry: Entry, agreed: Agreed | None, decision: Decision | None) -> None:
        """`decision` is there when the directory itself may be asked for."""
        self.entry = entry
        self.agreed = agreed
        self.decision = decision


class _Pulling:
    """Does what was decided, to what was chosen."""

    def __init__(
        self, transfer: Transfer, host: HostTree, deciding: Deciding, confirm: Confirm | None
    ) -> None:
        self._transfer = transfer
        self._wishes = transfer.wishes
        self._host = host
        self._confirm = confirm
        self._deciding = deciding
        self._names: dict[int, bytes] = {}
        """Where a file of several names stands on the host already, by its number."""
        self._above: list[_Above] = []
        """The directories above the present path that were not carried."""
        self._left = self._gone = b""
        """The last paths that were to be removed: one that was left, and one that was removed."""

    def one(self, entry: Entry, agreed: Agreed | None) -> bool:
        """Carry one entry; False when there was nothing to do, or it was not chosen, or is a conflict."""
        self._leave_above(entry.path)
        directory = entry.kind == "dir"
        if not self._is_chosen(entry.path, directory):
            if directory:
                self._above.append(_Above(entry, agreed, None))
            else:
                self._deciding.left(entry, agreed)
            return False
        decision = self._deciding.on(entry, agreed)
        if decision.verdict in ("carry", "accept"):
            if directory and self._confirm is not None and not _changes_mode(decision):
                self._above.append(_Above(entry, agreed, decision))
                return False
            if not self._is_confirmed(decision):
                if directory:
                    self._above.append(_Above(entry, agreed, None))
                return False
            self._make_above()
        return self._do(decision, entry)

    def _is_chosen(self, path: bytes, directory: bool) -> bool:
        return self._wishes.chosen is None or self._wishes.chosen(path, directory)

    def _is_confirmed(self, decision: Decision) -> bool:
        if self._confirm is None or self._confirm(decision, self._host, self._transfer.tree):
            return True
        self._transfer.totals.left += 1
        if decision.entry is not None:
            self._deciding.left(decision.entry, decision.agreed)
        return False

    def _leave_above(self, path: bytes) -> None:
        """Go on to a path: what it is not in was empty, when nothing was asked of it meanwhile."""
        while self._above and not path.startswith(self._above[-1].entry.path + b"/"):
            decision = self._above[-1].decision
            if decision is not None and decision.present is None and self._is_confirmed(decision):
                self._make_above()
            else:
                self._above.pop()
        if self._above:
            self._above[-1].decision = None

    def end(self) -> None:
        """Everything was walked."""
        self._leave_above(b"\0")

    def _make_above(self) -> None:
        """The directories that something chosen is to be in, where the host lacks them."""
        for above in self._above:
            decision = self._deciding.on(above.entry, above.agreed)
            is_there = decision.present is not None and decision.present.kind == "dir"
            if decision.verdict == "carry" and not is_there:
                self._do(decision, above.entry)
        self._above.clear()

    def _do(self, decision: Decision, entry: Entry) -> bool:
        transfer = self._transfer
        several = entry.nlink > 1 and entry.kind == "file"
        if decision.verdict in ("agreed", "alike"):
            if decision.verdict == "alike":
                transfer.agree(entry.path, decision.present, entry)
            elif several:
                self._names.setdefault(entry.ino, entry.path)
            transfer.unchanged(entry)
            return False
        if decision.verdict == "protected":
            transfer.skipped(entry.path, decision.why)
            return False
        if decision.verdict == "conflict":
            transfer.conflict(entry.path, decision.why)
            return False
        if self._wishes.dry_run:
            transfer.carried(entry)
            return True
        if decision.verdict == "accept" and decision.present is not None:
            transfer.tree.accept(entry, decision.present.size, decision.present.mtime_ns)
        try:
            if several and entry.ino in self._names:
                made = self._host.link(entry.path, self._names[entry.ino])
            else:
                blocks = transfer.counted(transfer.tree.blocks(entry))
                made = self._host.put(entry, blocks, keep_setuid=self._wishes.keep_setuid)
        except OSError as error:
            self._not_written(entry, error)
            return False
        if several:
            self._names.setdefault(entry.ino, entry.path)
        transfer.agree(entry.path, made, entry)
        transfer.carried(entry)
        return True

    def _not_written(self, entry: Entry, error: OSError) -> None:
        if error.errno in (errno.ESTALE, errno.ENOENT) and entry.partial:
            self._transfer.conflict(entry.path, MOVED_ON)
        elif error.errno in _IN_THE_WAY:
            self._transfer.conflict(entry.path, f"it cannot be written: {error.strerror}")
            self._deciding.incomplete = self._deciding.incomplete or entry.partial
            return
        else:
            self._transfer.failed(entry.path, f"it cannot be written: {error.strerror}")
        self._deciding.incomplete = True

    def removal(self, path: bytes, agreed: Agreed | None, *, lost: bool) -> None:
        """What the sandbox removed."""
        decision = self._deciding.on_removal(path, agreed, lost=lost)
        transfer = self._transfer
        if decision.verdict == "gone":
            transfer.agree(path, None, None)
            return
        is_directory = decision.present is not None and decision.present.kind == "dir"
        if is_directory and self._left.startswith(path + b"/"):
            self._left = path  # What is left in it keeps it.
        elif not self._is_chosen(path, is_directory):
            self._left = path
        elif decision.verdict == "conflict":
            transfer.conflict(path, decision.why)
        elif decision.verdict == "protected":
            transfer.skipped(path, decision.why)
        elif (is_directory and self._gone.startswith(path + b"/")) or self._is_confirmed(decision):
            self._remove(path)
        else:
            self._left = path

    def _remove(self, path: bytes) -> None:
        try:
            if not self._wishes.dry_run:
                self._host.remove(path)
        except OSError as error:
            self._transfer.conflict(path, f"it cannot be removed: {error.strerror}")
            return
        self._gone = path
        self._transfer.agree(path, None, None)
        self._transfer.removed(path)


def _changes_mode(decision: Decision) -> bool:
    """Whether a directory is there already, with another mode."""
    entry, present = decision.entry, decision.present
    if entry is None or present is None or present.kind != "dir":
        return False
    return entry.mode != present.mode


_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOENT)
