"""What a pull is going to do, decided as a whole before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from art_core.autorun.transfer_hold import TransferHold
from art_core.store.walk_order import Backwards, Spooled
from art_core.transfer.decisions import NOT_CARRIED, Deciding, Decision, in_repository
from art_core.transfer.host_files import HostTree
from art_core.transfer.repositories import PulledRepositories
from art_core.transfer.three_sides import Above, Found, Survey
from art_core.transfer.transfer import Wishes
from art_core.trees import Agreed, Entry, TreeReader

Confirm = Callable[[Decision, HostTree, TreeReader], bool]
"""Asked before something is to be carried or removed, with both sides of it."""
NOT_EMPTY = "the host's directory there is not empty: something in it is left"
_NO_DIRECTORY = "the directory that it is in is not carried"
_LOST_DIRECTORY = "the host removed the directory that it is in"


class _Above:
    """A directory that is made when something in it is carried, or when it is empty and chosen."""

    def __init__(self, entry: Entry, agreed: Agreed | None, decision: Decision | None) -> None:
        """`decision` is there when the directory itself may be asked for."""
        self.entry = entry
        self.agreed = agreed
        self.decision = decision


class Intent:
    """The decisions that are to be acted on, and what has to be known of all of them first. A context
    manager."""

    def __init__(
        self,
        tree: TreeReader,
        host: HostTree,
        wishes: Wishes,
        holding: TransferHold,
        confirm: Confirm | None = None,
        unchanged: Callable[[Decision], None] = lambda decision: None,
        branch: str = "",
    ) -> None:
        """`unchanged` is told what the sandbox did not change, which is no intent. `branch` is the store's,
        under which commits stand beside those of the host."""
        self._tree = tree
        self._host = host
        self._wishes = wishes
        self._confirm = confirm
        self._unchanged = unchanged
        self._deciding = Deciding(tree, host, wishes, holding)
        is_whole = wishes.chosen is None and confirm is None
        self._repositories = PulledRepositories(tree, host, branch) if is_whole else None
        """Where a part is chosen, what is in a repository are files like others."""
        self._puts = Spooled[Decision]()
        self._removals = Spooled[Decision]()
        self._above: list[_Above] = []
        """The directories above the present path that were not carried."""
        self._outer: list[_Above] = []
        """All directories above the present path."""
        self._new: set[bytes] = set()
        """Directories above the present path, or at it, that the host is going to get."""
        self._there = b""
        """The directory in which something was carried last."""
        self._not_there = b"\0"
        """A directory that the host is not going to have."""
        self._left = self._gone = b""
        """The last paths that were to be removed: one that was left, and one that is removed."""
        self._covered: set[bytes] = set()
        """Files of the store where the host has a directory."""
        self._kept: set[bytes] = set()
        """Directories and files of the store that hide something of the host's that is left."""
        self.opaque = Spooled[Entry]()
        """Directories that show nothing of the host's at their path."""
        self.loose = Spooled[Entry]()
        self.readers = self._deciding.readers
        self.turned: list[bytes] = []
        """Paths at which a directory takes the place of a file, or a file that of a directory; in order."""
        self.names: dict[int, bytes] = {}
        """Where a file of several names stands on the host already, by its number."""
        self.not_taken = 0

    def __enter__(self) -> Intent:
        return self

    def __exit__(self, *_: object) -> None:
        for spooled in (self._puts, self._removals, self.opaque, self.loose):
            spooled.__exit__()

    def decide(self, agreed: Iterable[tuple[bytes, Agreed]]) -> None:
        """Go through everything once."""
        survey = Survey(self._tree, self._host, agreed)
        with Backwards[Found]() as gone:
            for found in survey:
                if found.entry is None:
                    gone.put(found)
                    continue
                entry = found.entry
                if entry.loose:
                    self.loose.put(entry)
                if entry.kind == "dir" and entry.opaque:
                    self.opaque.put(entry)
                decision = self._one(entry, found.agreed, found.hidden)
                if decision is not None and _is_turned(decision):
                    self.turned.append(found.path)
                    if entry.kind != "dir":
                        self._covered.add(found.path)
                        survey.look_below(found.path, entry.seen_ns)
            self._leave_above(b"\0")
            for found in gone:
                self._removal(found)
        if self._repositories is not None:
            self._repositories.judge()

    def puts(self) -> Iterator[Decision]:
        """What the store holds, in the order of a walk."""
        for put in self._puts:
            decision = self._become(put)
            if decision is None:
                continue
            if decision.path in self._kept and _is_turned(decision):
                yield decision._replace(verdict="conflict", why=NOT_EMPTY)
            else:
                yield decision

    def removals(self) -> Iterator[Decision]:
        """What the sandbox removed; what is in a directory before it."""
        return (decision for one in self._removals if (decision := self._become(one)) is not None)

    def _become(self, decision: Decision) -> Decision | None:
        return decision if self._repositories is None else self._repositories.become(decision)

    def keep_commits(self) -> list[tuple[bytes, str]]:
        """See `PulledRepositories.keep_commits`."""
        return [] if self._repositories is None else self._repositories.keep_commits()

    def may_join(self, directory: Entry) -> bool:
        """Whether nothing is left of the host that the directory must go on hiding."""
        if directory.path in self._kept:
            return False
        if self._repositories is not None and self._repositories.holds(directory.path):
            return False
        return self._is_chosen(directory.path, True)

    def decide_again(self, entry: Entry, agreed: Agreed | None) -> Decision:
        """On one that was found to have changed."""
        return self._deciding.on(entry, agreed)

    # --- what the store holds ------------------------------------------------------------------

    def _one(self, entry: Entry, agreed: Agreed | None, hidden: Above | None) -> Decision | None:
        """Decide on one entry; None when there is nothing to do, or it is not chosen."""
        self._leave_above(entry.path)
        directory = entry.kind == "dir"
        if directory:
            self._outer.append(_Above(entry, agreed, None))
        if not self._is_chosen(entry.path, directory):
            if directory:
                self._above.append(_Above(entry, agreed, None))
            else:
                self._deciding.left(entry, agreed)
            return None
        decision = self._within(self._deciding.on(entry, agreed, hidden))
        if self._repositories is not None:
            self._repositories.see(decision)
        if decision.verdict in ("carry", "accept"):
            if directory and self._confirm is not None and not _changes_mode(decision):
                self._above.append(_Above(entry, agreed, decision))
                return None
            if not self._is_confirmed(decision):
                if directory:
                    self._above.append(_Above(entry, agreed, None))
                return None
            self._make_above()
        return self._put(decision)

    def _within(self, decision: Decision) -> Decision:
        """What can be carried only where its directory is."""
        entry, path = decision.entry, decision.path
        assert entry is not None
        if decision.verdict not in ("carry", "accept"):
            return decision
        why = _NO_DIRECTORY if path.startswith(self._not_there + b"/") else ""
        if not why and not self._has_directory(path):
            found = in_repository(path)
            if not self._wishes.force and not (found and found.is_object):
                why = _LOST_DIRECTORY
            else:
                for outer in self._outer:
                    if path.startswith(outer.entry.path + b"/") and not self._stands(outer.entry.path):
                        self._put(Decision(outer.entry.path, outer.entry, outer.agreed, None, "carry"))
        if not why:
            return decision
        self._deciding.left(entry, decision.agreed, NOT_CARRIED)
        return decision._replace(verdict="conflict", why=why)

    def _has_directory(self, path: bytes) -> bool:
        above = path.rpartition(b"/")[0]
        if above in (b"", self._there) or any(above == one.entry.path for one in self._above):
            return True
        if not self._stands(above):
            return False
        self._there = above
        return True

    def _stands(self, path: bytes) -> bool:
        if path in self._new:
            return True
        found = self._host.seen(path)
        return found is not None and found.kind == "dir"

    def _is_chosen(self, path: bytes, directory: bool) -> bool:
        return self._wishes.chosen is None or self._wishes.chosen(path, directory)

    def _is_confirmed(self, decision: Decision) -> bool:
        if self._confirm is None or self._confirm(decision, self._host, self._tree):
            return True
        self.not_taken += 1
        if decision.entry is not None:
            self._deciding.left(decision.entry, decision.agreed)
        return False

    def _leave_above(self, path: bytes) -> None:
        """Go on to a path: what it is not in was empty, when nothing was asked of it meanwhile."""
        while self._outer and not path.startswith(self._outer[-1].entry.path + b"/"):
            self._new.discard(self._outer.pop().entry.path)
        while self._above and not path.startswith(self._above[-1].entry.path + b"/"):
            decision = self._above[-1].decision
            if decision is not None and decision.present is None and self._is_confirmed(decision):
                self._make_above()
            else:
                self._above.pop()
        if self._above:
            self._above[-1].decision = None

    def _make_above(self) -> None:
        """The directories that something chosen is to be in, where the host lacks them."""
        for above in self._above:
            decision = self._deciding.on(above.entry, above.agreed)
            is_there = decision.present is not None and decision.present.kind == "dir"
            if decision.verdict == "carry" and not is_there:
                self._put(decision)
        self._above.clear()

    def _put(self, decision: Decision) -> Decision:
        entry = decision.entry
        assert entry is not None
        several = entry.nlink > 1 and entry.kind == "file"
        if decision.verdict == "agreed":
            if several and self._is_agreed(decision):
                self.names.setdefault(entry.ino, entry.path)
            self._unchanged(decision)
            return decision
        carried = decision.verdict in ("carry", "accept")
        if several and decision.verdict == "alike":
            self.names.setdefault(entry.ino, entry.path)
        if entry.kind == "dir":
            stands = decision.present is not None and decision.present.kind == "dir"
            if carried and not stands:
                self._new.add(entry.path)
            elif not carried and not stands:
                self._not_there = entry.path
        elif carried:
            self._deciding.reads(entry)
        self._puts.put(decision)
        return decision

    def _is_agreed(self, decision: Decision) -> bool:
        present = self._host.seen(decision.path)
        return decision.agreed is not None and self._host.same(present, decision.agreed)

    # --- what the store does not hold ----------------------------------------------------------

    def _removal(self, found: Found) -> None:
        decision = self._deciding.on_hidden(found)
        path, verdict = decision.path, decision.verdict
        if self._repositories is not None:
            self._repositories.see(decision)
        if verdict == "gone":
            if decision.agreed is not None:
                self._removals.put(decision)
            return
        directory = decision.present is not None and decision.present.kind == "dir"
        if verdict == "unseen":
            self._left = path
            if found.hidden is not None and found.hidden.path in self._covered:
                self._kept.add(found.hidden.path)
        elif not self._is_chosen(path, directory):
            self._leave(found)
        elif verdict in ("conflict", "protected"):
            self._removals.put(decision)
            self._leave(found)
        elif directory and self._left.startswith(path + b"/"):
            self._left = path  # What is left in it keeps it.
        elif (directory and self._gone.startswith(path + b"/")) or self._is_confirmed(decision):
            self._removals.put(decision)
            self._gone = path
        else:
            self._leave(found)

    def _leave(self, found: Found) -> None:
        self._left = found.path
        if found.hidden is not None:
            self._kept.add(found.hidden.path)


def _is_turned(decision: Decision) -> bool:
    """Whether a directory takes the place of a file, or the other way round."""
    entry, present = decision.entry, decision.present
    if entry is None or present is None or decision.verdict not in ("carry", "accept"):
        return False
    return (entry.kind == "dir") != (present.kind == "dir")


def _changes_mode(decision: Decision) -> bool:
    """Whether a directory is there already, with another mode."""
    entry, present = decision.entry, decision.present
    if entry is None or present is None or present.kind != "dir":
        return False
    return entry.mode != present.mode
