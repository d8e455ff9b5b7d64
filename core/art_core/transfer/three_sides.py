"""The three sides of a pull, path by path: what was agreed on, what the store has, and what the host has
where the store shows nothing of it.

That the store has nothing at a path says nothing by itself: the host's may show there. It is hidden where the
store removed it, in a directory that it removed, or made anew, and under a file in a directory's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from art_core.store.walk_order import place
from art_core.transfer.host_files import HostTree, Unreadable, checked
from art_core.trees import Agreed, Entry, Removed, TreeReader


class Above(NamedTuple):
    """What the store has above a path. `hides`: nothing of the host's is seen below it; `elsewhere`: it is
    what was agreed on, and shows another place of the host; `gone`: the sandbox removed it; `settled`: both
    sides agreed on that. `seen_ns` is when the host's directory was removed or renamed, 0 where that is not
    known."""

    path: bytes
    hides: bool
    elsewhere: bool = False
    gone: bool = False
    seen_ns: int = 0
    settled: bool = False


class Found(NamedTuple):
    """One path. `present` is the host's where it was looked for: below what hides it. `hidden` by what;
    `removed`: the store says so of this very path; `settled`: both sides agreed on that."""

    path: bytes
    entry: Entry | None
    agreed: Agreed | None
    present: Entry | Unreadable | None
    hidden: Above | None
    removed: bool
    settled: bool = False


class _Stream:
    """One side, with its next item at hand."""

    def __init__(self, items: Iterable[tuple[bytes, Any]]) -> None:
        self._items = iter(items)
        self.place = b""
        self.path = b""
        self.value: Any = None
        self.ended = False
        self.next()

    def next(self) -> None:
        item = next(self._items, None)
        if item is None:
            self.ended = True
        else:
            self.path, self.value = item
            self.place = place(self.path)


class Survey:
    """Goes through all paths in the order of a walk."""

    def __init__(self, tree: TreeReader, host: HostTree, agreed: Iterable[tuple[bytes, Agreed]]) -> None:
        self._host = host
        self._store = _Stream((checked(entry.path), entry) for entry in tree.walk())
        self._agreed = _Stream(agreed)
        self._gone = _Stream((checked(gone.path), gone) for gone in tree.removed())
        self._hosts = _Stream(())
        self._looked: bytes | None = None
        """The path below which the host is looked at."""
        self._above: list[Above] = []

    def look_below(self, path: bytes, seen_ns: int) -> None:
        """The store has a file at the path that was just given, and the host a directory."""
        self._go_below(Above(path, hides=True, seen_ns=seen_ns))

    def _go_below(self, above: Above) -> None:
        self._above.append(above)
        if not above.hides or (self._looked is not None and above.path.startswith(self._looked + b"/")):
            return
        self._looked = above.path
        self._hosts = _Stream(self._host.below(above.path))

    def __iter__(self) -> Iterator[Found]:
        streams = (self._store, self._agreed, self._gone)
        while True:
            hosts = self._hosts
            first = None if hosts.ended else hosts
            for one in streams:
                if not one.ended and (first is None or one.place < first.place):
                    first = one
            if first is None:
                return
            now, path = first.place, first.path
            present = _taken(hosts, now)
            entry, agreed, gone = [_taken(one, now) for one in streams]
            found = self._found(path, entry, agreed, gone, present)
            if found is not None:
                yield found

    def _found(
        self,
        path: bytes,
        entry: Entry | None,
        agreed: Agreed | None,
        gone: Removed | None,
        present: Entry | Unreadable | None,
    ) -> Found | None:
        while self._above and not path.startswith(self._above[-1].path + b"/"):
            self._above.pop()
        above = self._above[-1] if self._above else None
        hidden = above if above is not None and above.hides else None
        if entry is None and gone is None and agreed is None and hidden is None:
            return None  # The host's shows.
        if entry is not None and entry.kind == "dir":
            before = 0 if hidden is None else hidden.seen_ns
            known = agreed is not None and agreed.ino == entry.ino
            elsewhere = entry.lower is not None and entry.opaque and known
            self._go_below(Above(path, entry.opaque, elsewhere, seen_ns=entry.seen_ns or before))
        elif entry is None and gone is not None:
            self._go_below(Above(path, hides=True, gone=True, seen_ns=gone.seen_ns, settled=gone.agreed))
        settled = gone is not None and gone.agreed
        return Found(path, entry, agreed, present, hidden, gone is not None, settled)


def _taken(stream: _Stream, now: bytes) -> Any:
    if stream.ended or stream.place != now:
        return None
    value = stream.value
    stream.next()
    return value
