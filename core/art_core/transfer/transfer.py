"""Push and pull: carrying a workspace between the host and a store.

Both compare each side with what they last agreed on. What one side changed is carried to the
other; what both changed is a conflict, which is told and left alone. Nothing is lost either way.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from art_core.errors import ArtError
from art_core.store.blocks import digest_of
from art_core.trees import Agreed, Entry, TreeReader

Action = Literal["FILE", "DIR", "LINK", "DEL", "SAME", "SKIP", "CONFLICT", "FAIL"]
Report = Callable[[Action, bytes, Entry | None, str], None]
"""What was done: the action, the path, the entry as it is now, and why. It may raise: nothing is half
done then."""

Moved = Callable[[int], None]
"""Called with a number of bytes when they were read; it may raise, too."""

_ACTIONS: Mapping[str, Action] = {"file": "FILE", "dir": "DIR", "link": "LINK"}
_AT_ONCE = 2000


class Wishes(NamedTuple):
    """How to transfer. `protect` are paths that a pull leaves out, as `protect` in the settings;
    `anew` forgets what was agreed on, because the host's directory is a new one; `accept_host` takes
    what the host has now of files that the sandbox changed in part. `chosen` says of a path, and whether
    it is a directory, that a pull is to carry it; what is not chosen stays as it is on both sides."""

    force: bool = False
    dry_run: bool = False
    keep_setuid: bool = False
    protect: Sequence[str] = ()
    anew: bool = False
    accept_host: bool = False
    chosen: Callable[[bytes, bool], bool] | None = None


class Totals:
    """What a transfer came to."""

    def __init__(self) -> None:
        self.carried = self.removed = self.same = self.skipped = self.conflicts = self.failed = self.size = 0
        self.left = 0
        """What was offered and not taken."""


def unseen(missed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A path and why, where not all of the host was looked at: what is obeyed may have been carried."""
    for path, why in itertools.islice(missed.items(), 1):
        more = f" (and {len(missed) - 1} more places)" if len(missed) > 1 else ""
        said = f"not looked at for links and settings of yours: {why}{more}"
        yield path or ".", f"{said}; look at what was carried before you use it"


class Transfer:
    """What push and pull have in common: counting, and remembering in portions."""

    def __init__(
        self,
        tree: TreeReader,
        wishes: Wishes,
        report: Report,
        moved: Moved,
        settle: Callable[[], None] = lambda: None,
        at_once: int = _AT_ONCE,
    ) -> None:
        """`settle` brings what was done to the host to the disk before it is remembered: after a power
        cut nothing may be agreed on that the host does not have."""
        self.tree = tree
        self._settle = settle
        self._moved = moved
        self._at_once = at_once
        self.wishes = wishes
        self.report = report
        self.totals = Totals()
        self._news: dict[bytes, Agreed | None] = {}

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remember what was done, also when the rest failed."""
        if kind is None:
            self.remember()
        else:
            with contextlib.suppress(ArtError, OSError):
                self.remember()

    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        return iter(()) if self.wishes.anew else self.tree.agreed()

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

    def unseen(self, missed: Mapping[str, str]) -> None:
        """Tell it as a failure when not all of the host was looked at."""
        for path, why in unseen(missed):
            self.failed(os.fsencode(path), why)

    def conflict(self, path: bytes, why: str) -> None:
        self.totals.conflicts += 1
        self.report("CONFLICT", path, None, why)

    def failed(self, path: bytes, why: str) -> None:
        self.totals.failed += 1
        self.report("FAIL", path, None, why)

    def agree(self, path: bytes, host: Entry | None, kept: Entry | None, digest: str = "") -> None:
        """`digest` is that of a file's contents; without one its times alone tell later whether it is the
        same."""
        if self.wishes.dry_run:
            return
        agreed = None
        if host is not None and kept is not None:
            agreed = Agreed(host.kind, host.size, host.mtime_ns, host.mode, kept.ino, kept.version)
            if host.kind == "link":
                digest = digest_of([(0, host.target)])
            if digest:
                agreed = agreed._replace(changed_ns=host.version, digest=digest)
        self._news[path] = agreed
        # What a partial file has of the host's was just replaced.
        at_once = kept is not None and kept.partial and kept.lower == path
        if len(self._news) >= self._at_once or at_once:
            self.remember()

    def still_agreed(self, path: bytes, agreed: Agreed, host: Entry) -> None:
        """The host's is what was agreed on, and only its ctime is another one."""
        if agreed.changed_ns not in (0, host.version) and host.kind != "dir" and not self.wishes.dry_run:
            self._news[path] = agreed._replace(changed_ns=host.version)

    def remember(self) -> None:
        news, self._news = self._news, {}
        if news:
            self._settle()
            self.tree.agree(news)
