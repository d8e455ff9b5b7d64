"""What differs between the host's workspace and a point in time of a store, or between two points.

Against the host this is what a pull would carry, decided by the same code. What did not change is not read,
and only what changed is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from art_core.autorun.transfer_hold import Holding
from art_core.contracts import Store, Workspace
from art_core.store.blocks import Blocks, equal
from art_core.store.companions import Databases, databases_beside
from art_core.store.walk_order import place, together
from art_core.transfer.decisions import Decision, Verdict, holding
from art_core.transfer.host_files import HostTree, checked, same
from art_core.transfer.pull_plan import Intent
from art_core.transfer.transfer import Wishes
from art_core.trees import Entry, TreeReader


class Side(Protocol):
    """One of the two states that are compared."""

    def blocks(self, entry: Entry) -> Blocks:
        """See `trees.TreeReader.blocks`."""

    def xattrs(self, entry: Entry) -> Mapping[bytes, bytes]: ...


class Change(NamedTuple):
    """What became of one path; `before` is None for what was added, `after` for what was deleted, and their
    paths differ for what was renamed.

    `what` says it in words: `added`, `deleted`, or any of `renamed`, `type`, `modified` (the contents, or
    where a link points), `mode`, `attributes` (extended ones) and, alone, `times`, or `links` where the names
    of one file became those of several files, or the other way round. `verdict` and `why` are
    what a pull decides: see `decisions.Decision`."""

    before: Entry | None
    after: Entry | None
    what: tuple[str, ...]
    verdict: Verdict = "carry"
    why: str = ""

    @property
    def path(self) -> bytes:
        found = self.after or self.before
        assert found is not None
        return found.path


class MovedOn(NamedTuple):
    """What the sandbox did not change since both sides were the same, and the host did."""

    path: bytes
    what: str


class Sides(NamedTuple):
    """What both states are read from."""

    before: Side
    after: Side


class Compared(NamedTuple):
    """Changes in the order of a walk, and what they are read from."""

    sides: Sides
    changes: list[Change]
    moved_on: list[MovedOn]


@contextmanager
def against_host(store: Store, at: str, workspace: Workspace, wishes: Wishes) -> Iterator[Compared]:
    """What a pull of `at` would change on the host. Raises ArtError."""
    with store.reader(at, workspace) as tree, HostTree(workspace.fd, databases_beside(store, tree)) as host:
        found = _Found(host_and_point(host, tree))
        moved_on = _ask(found, tree, host, wishes, holding(host, tree, workspace, wishes))
        yield Compared(found.sides, found.sorted(), moved_on)


@contextmanager
def between(
    store: Store, first: str, second: str, workspace: Workspace, wishes: Wishes
) -> Iterator[Compared]:
    """What differs from one point to another. Raises ArtError."""
    with (
        store.reader(first, workspace) as one,
        store.reader(second, workspace) as other,
        HostTree(workspace.fd, Databases(store)) as host,
    ):
        found = _Found(Sides(_Point(one, host), _Point(other, host)))
        for path, before, after, _ in together(all_of(one, host), all_of(other, host), ()):
            if before is not None and after is not None and _is_same(before, after):
                continue
            entry = after or before
            assert entry is not None
            if wishes.chosen is None or wishes.chosen(path, entry.kind == "dir"):
                number = before.ino if before is not None and after is None else 0
                lower = None if before is None else before.lower
                found.add(before, after, number, lower)
        yield Compared(found.sides, found.sorted(), [])


def host_and_point(host: HostTree, tree: TreeReader) -> Sides:
    """What a pull has before it, and after it."""
    return Sides(_Host(host), _Point(tree, host))


def _ask(found: _Found, tree: TreeReader, host: HostTree, wishes: Wishes, held: Holding) -> list[MovedOn]:
    """What a pull would decide; what only the host changed is returned."""
    moved_on = []

    def unchanged(decision: Decision) -> None:
        agreed = decision.agreed
        try:
            present = host.find(decision.path)
        except PermissionError:
            moved_on.append(MovedOn(decision.path, "unreadable"))
            return
        if agreed is not None and not same(present, agreed):
            moved_on.append(MovedOn(decision.path, "removed" if present is None else "changed"))

    with Intent(tree, host, wishes, held, unchanged=unchanged) as intent:
        intent.decide(tree.agreed())
        for decision in intent.puts():
            if decision.verdict != "alike":
                found.add(decision.present, decision.entry, decision=decision)
        for decision in intent.removals():
            number = 0 if decision.agreed is None else decision.agreed.ino
            if decision.present is not None:
                found.add(decision.present, None, number, decision.path, decision)
    return moved_on


def all_of(tree: TreeReader, host: HostTree) -> Iterator[tuple[bytes, Entry]]:
    """All that a point shows, by its path; one that did not know the workspace yet shows the host's."""
    empty = True
    for entry in tree.walk(shown=True):
        empty = False
        yield checked(entry.path), entry
    if empty and next(iter(tree.removed()), None) is None:
        for path, found in host.walk():
            if isinstance(found, Entry):
                yield path, found._replace(shown=True, lower=path)


def _is_same(before: Entry, after: Entry) -> bool:
    if before.shown or after.shown:
        return before.shown and after.shown
    return (before.ino, before.version, before.mode) == (after.ino, after.version, after.mode)


class _Found:
    """Collects what changed, and brings together the two halves of a rename."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self._changes: list[Change] = []
        self._by_number: dict[int, Change] = {}
        self._by_lower: dict[bytes, Change] = {}
        """What was deleted, by its number in the store and by its path on the host."""

    def add(
        self,
        before: Entry | None,
        after: Entry | None,
        number: int = 0,
        lower: bytes | None = None,
        decision: Decision | None = None,
    ) -> None:
        """`number` and `lower` tell what was deleted when it is found again under another name."""
        what = what_changed(before, after, self.sides)
        if not what and decision is not None and decision.verdict != "alike":
            what = ("links",)  # The names of one file became those of two, or the other way round.
        if not what:
            return
        change = Change(before, after, what)
        if decision is not None:
            change = change._replace(verdict=decision.verdict, why=decision.why)
        self._changes.append(change)
        if after is None:
            if number:
                self._by_number.setdefault(number, change)
            if lower is not None:
                self._by_lower.setdefault(lower, change)

    def sorted(self) -> list[Change]:
        """All changes, each renamed file as one of them."""
        gone: set[bytes] = set()
        changes = []
        for change in self._changes:
            was = self._was(change)
            if was is None or was.before is None or was.before.path in gone:
                changes.append(change)
                continue
            gone.add(was.before.path)
            worse = was if was.verdict in ("conflict", "protected") else change
            what = what_changed(was.before, change.after, self.sides)
            changes.append(Change(was.before, change.after, what, worse.verdict, worse.why))
        left = (one for one in changes if one.after is not None or one.path not in gone)
        return sorted(left, key=lambda change: place(change.path))

    def _was(self, change: Change) -> Change | None:
        """What was deleted and stands here now."""
        after = change.after
        if change.before is not None or after is None:
            return None
        was = None if after.lower is None else self._by_lower.get(after.lower)
        was = was or self._by_number.get(after.ino)
        return was if was is not None and was.before is not None and was.before.kind == after.kind else None


def what_changed(before: Entry | None, after: Entry | None, sides: Sides) -> tuple[str, ...]:
    """See `Change.what`; empty when nothing did."""
    if before is None:
        return ("added",)
    if after is None:
        return ("deleted",)
    renamed = ("renamed",) * (before.path != after.path)
    if before.kind != after.kind:
        return ("type",)
    if after.kind == "link":
        what = ("modified",) * (before.target != after.target)
    else:
        what = _contents(before, after, sides) if after.kind == "file" else ()
        what += ("mode",) * (before.mode != after.mode)
    times = ("times",) * (after.kind != "dir" and before.mtime_ns != after.mtime_ns)
    return renamed + what or times


def _contents(before: Entry, after: Entry, sides: Sides) -> tuple[str, ...]:
    marked = sides.before.xattrs(before) != sides.after.xattrs(after)
    try:
        alike = before.size == after.size and equal(sides.before.blocks(before), sides.after.blocks(after))
    except OSError:
        alike = False  # What cannot be read is told where it is shown.
    return ("modified",) * (not alike) + ("attributes",) * marked


class _Host:
    """The host's side."""

    def __init__(self, host: HostTree) -> None:
        self._host = host

    def blocks(self, entry: Entry) -> Blocks:
        return self._host.blocks(entry)

    def xattrs(self, entry: Entry) -> Mapping[bytes, bytes]:
        return self._host.xattrs(entry.path)


class _Point:
    """A point's side."""

    def __init__(self, tree: TreeReader, host: HostTree) -> None:
        self._tree = tree
        self._host = host

    def blocks(self, entry: Entry) -> Blocks:
        return self._host.blocks(entry) if entry.shown else self._tree.blocks(entry)

    def xattrs(self, entry: Entry) -> Mapping[bytes, bytes]:
        return self._host.xattrs(entry.path) if entry.shown else entry.xattrs
