"""What a pull does with each path: decided here for the pull, and for those who ask what it would do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, NamedTuple

from art_core.companions import told
from art_core.contracts import Workspace
from art_core.holding import Holding
from art_core.hostside import HostTree, alike, same
from art_core.obeyed import Match, names_of
from art_core.transfer import Wishes
from art_core.trees import Agreed, Entry, Kind, TreeReader

Verdict = Literal["agreed", "alike", "carry", "accept", "remove", "gone", "protected", "conflict"]
"""`agreed`: the sandbox did not change it since both sides were the same. `alike`: both have the same by
now. `accept`: carry it, with what the host has now for the rest of it. `gone`: removed on both sides."""


class Decision(NamedTuple):
    """`entry` is the store's, None for what the sandbox removed; `present` the host's, which is not
    looked at for a path that is `agreed`. `why` says it of a conflict."""

    path: bytes
    entry: Entry | None
    agreed: Agreed | None
    present: Entry | None
    verdict: Verdict
    why: str = ""


MOVED_ON = (
    "the host changed it or removed it after the sandbox had changed a part of it; --accept-host takes "
    "what the host has now for the rest"
)


class Deciding:
    """Decides for one pull: first on what the store holds, then on what was removed."""

    def __init__(self, host: HostTree, wishes: Wishes, holding: Holding) -> None:
        self._host = host
        self._wishes = wishes
        self._holding = holding
        self.incomplete = False
        """Whether something is not carried that may need a file which is to be removed: what a partial
        file has of the host's can lie at another name."""
        self._needed: set[bytes] = set()
        """Paths of the host where what was not chosen came from."""
        self._kept_out: tuple[bytes, str] = b"", ""
        """A directory that may not stand in the place of something, and why."""

    def left(self, entry: Entry, agreed: Agreed | None) -> None:
        """The entry was not chosen: what it was before its rename stays on the host."""
        unchanged = agreed is not None and _is_agreed(entry, agreed)
        if entry.lower is not None and entry.lower != entry.path and not unchanged:
            self._needed.add(entry.lower)

    def on(self, entry: Entry, agreed: Agreed | None) -> Decision:
        """On what the store holds."""
        if agreed is not None and _is_agreed(entry, agreed):
            return Decision(entry.path, entry, agreed, None, "agreed")
        present = self._host.find(entry.path)
        verdict, why = self._verdict(entry, present, agreed)
        self.incomplete = self.incomplete or (verdict == "conflict" and entry.partial)
        return Decision(entry.path, entry, agreed, present, verdict, why)

    def _verdict(self, entry: Entry, present: Entry | None, agreed: Agreed | None) -> tuple[Verdict, str]:
        owner = self._host.database_of(entry.path)
        if owner is not None:
            return "protected", told(owner)
        if held := self._held(entry.path, entry.kind, present):
            return "protected", f"{held}; --protected carries it, too"
        if _has_moved_on(entry, present):
            return ("accept", "") if self._wishes.accept_host else ("conflict", MOVED_ON)
        if not self._wishes.force and (why := _why_not(entry, present, agreed)):
            if present is not None and alike(present, entry):
                return "alike", ""
            return "conflict", why
        return "carry", ""

    def _held(self, path: bytes, kind: Kind, present: Entry | None) -> str:
        """Why a path is held back, empty when it is not; what stands in the place of something that is held
        back is, too."""
        top, why = self._kept_out
        if top and path.startswith(top + b"/"):
            return why
        name = os.fsdecode(path)
        held = self._holding.on(name, kind)
        if held is not None or present is None or present.kind == kind:
            return "" if held is None else f"{held.by} {held.does}"
        held = self._holding.on(name, present.kind)
        if held is None:
            return ""
        self._kept_out = path, f"{held.by} {held.does}"
        return self._kept_out[1]

    def on_removal(self, path: bytes, agreed: Agreed | None, *, lost: bool = False) -> Decision:
        """On what the sandbox removed, or lost: see `Lost`."""
        present = self._host.find(path)
        verdict: Verdict = "remove"
        why = ""
        if present is None:
            verdict = "gone"
        elif (owner := self._host.database_of(path)) is not None:
            verdict, why = "protected", told(owner)
        elif self.incomplete:
            why = "removed in the sandbox; left, because not everything else could be carried"
        elif path in self._needed:
            why = "renamed in the sandbox; left, because the new name was not chosen"
        elif held := self._held(path, present.kind, present):
            verdict, why = "protected", f"{held}; --protected removes it, too"
        elif lost and not self._wishes.force:
            why = "gone in the sandbox, because the host removed what was renamed to it there"
        elif not self._wishes.force and (agreed is None or not same(present, agreed)):
            unknown = "never pushed" if agreed is None else "changed on the host"
            why = f"removed in the sandbox, and {unknown}"
        if why and verdict == "remove":
            verdict = "conflict"
        return Decision(path, None, agreed, present, verdict, why)


class Lost:
    """Tells what the sandbox removed from what it cannot show any more: a directory that it renamed shows
    the host's at the old place, and that goes when the host removes it there."""

    def __init__(self) -> None:
        self._above: list[tuple[bytes, bool]] = []
        """The directories above the present path, and whether they show another place of the host."""

    def there(self, entry: Entry) -> None:
        """Go on to what the store holds."""
        self._leave(entry.path)
        if entry.kind == "dir":
            self._above.append((entry.path, entry.lower not in (None, entry.path)))

    def is_lost(self, path: bytes, *, removed: bool) -> bool:
        """Go on to what it does not hold. `removed`: the store says that it was."""
        self._leave(path)
        lost = not removed and (path.rpartition(b"/")[0], True) in self._above[-1:]
        if lost:
            self._above.append((path, True))
        return lost

    def _leave(self, path: bytes) -> None:
        while self._above and not path.startswith(self._above[-1][0] + b"/"):
            self._above.pop()


class _Both:
    """The host's side and the store's, for `holding`."""

    def __init__(self, host: HostTree, tree: TreeReader) -> None:
        self._host = host
        self._tree = tree

    def on_host(self, path: str) -> bool:
        return self._host.find(os.fsencode(path)) is not None

    def inside(self, path: str) -> bool:
        return self._tree.shows(os.fsencode(path)) is not None


def holding(host: HostTree, tree: TreeReader, workspace: Workspace, wishes: Wishes) -> Holding:
    """What a transfer from a store to the host's workspace, or out of both, holds back."""

    def led() -> Mapping[str, Match]:
        from art_core.listing import listed

        return listed(workspace.real, names_of(tuple(wishes.protect)), os.environ).led

    return Holding(wishes.protect, _Both(host, tree), led)


def _has_moved_on(entry: Entry, present: Entry | None) -> bool:
    """Whether a part of what the store shows of a file is gone."""
    return (
        entry.partial and present is not None and entry.origin not in (None, (present.size, present.mtime_ns))
    )


def _is_agreed(entry: Entry, agreed: Agreed) -> bool:
    if entry.kind == agreed.kind == "dir":
        return (entry.ino, entry.mode) == (agreed.ino, agreed.mode)
    return (entry.ino, entry.version) == (agreed.ino, agreed.version)


def _why_not(entry: Entry, present: Entry | None, agreed: Agreed | None) -> str:
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
