"""What differs between the host's workspace and a point in time of a store, or between two points.

Against the host this is what a pull would carry, decided by the same code. What did not change is not read,
and what changed is put aside in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from art_core.contracts import Store, Workspace
from art_core.store.blocks import Blocks, equal
from art_core.store.companions import Databases, databases_beside
from art_core.store.walk_order import Sorted, Spooled, place, together
from art_core.transfer.decisions import Decision, Verdict, holding
from art_core.transfer.host_files import HostTree, checked
from art_core.transfer.pull_plan import Intent
from art_core.transfer.transfer import Wishes
from art_core.trees import Entry, Kind, TreeReader


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
    """Changes in the order of a walk, and what they are read from; good until the comparison is closed."""

    sides: Sides
    changes: Sorted[Change]
    moved_on: Spooled[MovedOn]


@contextmanager
def against_host(store: Store, at: str, workspace: Workspace, wishes: Wishes) -> Iterator[Compared]:
    """What a pull of `at` would change on the host. Raises ArtError."""
    with (
        store.reader(at, workspace) as tree,
        HostTree(workspace.fd, databases_beside(store, tree)) as host,
        _Found(host_and_point(host, tree)) as found,
        Spooled[MovedOn]() as moved_on,
    ):
        held = holding(host, tree, workspace, wishes)
        with Intent(
            tree, host, wishes, held, unchanged=partial(_moved_on, moved_on, host), branch=at
        ) as intent:
            _ask(found, tree, intent)
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
        _Found(Sides(_Point(one, host), _Point(other, host))) as found,
        Spooled[MovedOn]() as moved_on,
    ):
        for path, before, after, _ in together(all_of(one, host), all_of(other, host), ()):
            if before is not None and after is not None and _is_same(before, after):
                continue
            entry = after or before
            assert entry is not None
            if wishes.chosen is None or wishes.chosen(path, entry.kind == "dir"):
                number = before.ino if before is not None and after is None else 0
                lower = None if before is None else before.lower
                found.add(before, after, number, lower)
        yield Compared(found.sides, found.sorted(), moved_on)


def host_and_point(host: HostTree, tree: TreeReader) -> Sides:
    """What a pull has before it, and after it."""
    return Sides(_Host(host), _Point(tree, host))


def _moved_on(moved_on: Spooled[MovedOn], host: HostTree, decision: Decision) -> None:
    """Keep what only the host changed."""
    agreed = decision.agreed
    try:
        present = host.find(decision.path)
    except PermissionError:
        moved_on.put(MovedOn(decision.path, "unreadable"))
        return
    if agreed is not None and not host.same(present, agreed):
        moved_on.put(MovedOn(decision.path, "removed" if present is None else "changed"))


def _ask(found: _Found, tree: TreeReader, intent: Intent) -> None:
    """What a pull would decide."""
    intent.decide(tree.agreed())
    for decision in intent.puts():
        if decision.verdict != "alike":
            found.add(decision.present, decision.entry, decision=decision)
    for decision in intent.removals():
        number = 0 if decision.agreed is None else decision.agreed.ino
        if decision.present is not None:
            found.add(decision.present, None, number, decision.path, decision)


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


class _Half(NamedTuple):
    """One of two changes that may be one rename: both have the `key`, and `arrives` is what was added. Of two
    that an added one suits the lower `rank` is the better."""

    key: bytes
    arrives: bool
    path: bytes
    kind: Kind
    rank: int = 0


class _Found:
    """Collects what changed, and brings together the two halves of a rename. A context manager; what it gives
    is in its files."""

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self._files = ExitStack()
        self._changes = self._sorted(_place_of)
        self._halves = self._sorted(lambda half: (half.key, half.arrives, place(half.path)))
        self._arrivals = 0

    def __enter__(self) -> _Found:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _sorted(self, key: Callable[[Any], Any]) -> Sorted[Any]:
        return self._files.enter_context(Sorted[Any](key))

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
        self._changes.put(change)
        if before is None:
            self._arrivals += 1
        elif after is None:
            self._put_halves(before, number, lower, arrives=False)

    def _put_halves(self, entry: Entry, number: int, lower: bytes | None, *, arrives: bool) -> None:
        if lower is not None:
            self._halves.put(_Half(b"l" + lower, arrives, entry.path, entry.kind))
        if number:
            self._halves.put(_Half(b"n%d" % number, arrives, entry.path, entry.kind, 1))

    def sorted(self) -> Sorted[Change]:
        """All changes, each renamed file as one of them."""
        if not len(self._halves) or not self._arrivals:
            return self._changes
        for change in self._changes:
            if change.before is None:
                self._put_halves(change.after, change.after.ino, change.after.lower, arrives=True)
        gone, sources, changes = self._sorted(place), self._sorted(_first_place), self._sorted(_place_of)
        for path, change, after, _ in together(self._by_path(), self._pairs(), ()):
            if change is not None and after is not None:
                gone.put(path)
                sources.put((after, change))
        for _, change, was, is_gone in together(self._by_path(), sources, ((path, True) for path in gone)):
            if change is not None and not is_gone:
                changes.put(change if was is None else self._renamed(was, change))
        return changes

    def _by_path(self) -> Iterator[tuple[bytes, Change]]:
        return ((change.path, change) for change in self._changes)

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Where something was, in order, and where it is now. What is at several places now became the
        first of them."""
        matches = self._sorted(lambda match: (place(match[0]), match[1]))
        left: _Half | None = None
        for half in self._halves:
            if not half.arrives:
                left = half if left is None or left.key != half.key else left
            elif left is not None and left.key == half.key:
                matches.put((half.path, half.rank, left.path, left.kind == half.kind))
        pairs = self._sorted(lambda pair: (place(pair[0]), place(pair[1])))
        for after, some in groupby(matches, itemgetter(0)):
            _, _, before, suits = next(some)
            if suits:
                pairs.put((before, after))
        return ((before, next(some)[1]) for before, some in groupby(pairs, itemgetter(0)))

    def _renamed(self, was: Change, change: Change) -> Change:
        worse = was if was.verdict in ("conflict", "protected") else change
        what = what_changed(was.before, change.after, self.sides)
        return Change(was.before, change.after, what, worse.verdict, worse.why)


def _place_of(change: Change) -> bytes:
    return place(change.path)


def _first_place(pair: tuple[bytes, Any]) -> bytes:
    return place(pair[0])


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
