"""The order in which a pull changes what other parts of it are still to be read from, or stand in its way.

A file that is replaced waits for those that are carried from it to elsewhere; a file in the place of a
directory for what is removed in there; what is in a new directory for that. Where they wait for each other,
as after two names were swapped, one of them has to be read first: that is for the caller to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from art_core.transfer.decisions import Decision


def above_all(path: bytes) -> Iterator[bytes]:
    """The directories that a path is in, the nearest first."""
    while path := path.rpartition(b"/")[0]:
        yield path


class Tangle:
    """Steps that wait for each other, by their paths."""

    def __init__(self, steps: Iterable[Decision], readers: Mapping[bytes, Set[bytes]]) -> None:
        self._steps = {step.path: step for step in steps}
        self._readers = {path: set(some) for path, some in readers.items() if path in self._steps}
        self._waits: dict[bytes, set[bytes]] = {path: set() for path in self._steps}
        for path, step in self._steps.items():
            for above in above_all(path):
                other = self._steps.get(above)
                if other is None:
                    continue
                if step.entry is None:
                    self._waits[above].add(path)
                elif other.entry is not None and other.entry.kind == "dir":
                    self._waits[path].add(above)
                break

    def rounds(self) -> Iterator[tuple[list[Decision], list[bytes]]]:
        """What can be done next, and what has to be read before: to wait for it would be in vain."""
        while self._steps:
            ready = [path for path in self._steps if not self._waits[path] and not self._pending(path)]
            first: list[bytes] = []
            if not ready:
                first = self._broken()
                ready = [path for path in self._steps if not self._waits[path] and not self._pending(path)]
            yield [self._steps[path] for path in ready], first
            for path in ready:
                del self._steps[path]
            done = set(ready)
            for waits in self._waits.values():
                waits.difference_update(done)

    def _pending(self, path: bytes) -> set[bytes]:
        """Those that are to be read from a path before it changes."""
        return {one for one in self._readers.get(path, ()) if one in self._steps and one != path}

    def _broken(self) -> list[bytes]:
        """Take some out of the circles: they are read first."""
        first: dict[bytes, None] = {}
        for path in self._steps:
            if not self._waits[path] and path not in first:
                first.update(dict.fromkeys(sorted(self._pending(path))))
        for some in self._readers.values():
            some.difference_update(first)
        return list(first)
