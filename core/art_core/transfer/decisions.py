"""What a pull does with each path: decided here for the pull, and for those who ask what it would do."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from art_core.autorun.rules import names_of
from art_core.autorun.transfer_hold import Led, TransferHold
from art_core.contracts import Workspace
from art_core.store.blocks import equal
from art_core.store.companions import told
from art_core.transfer.host_files import SETUID, HostTree, Unreadable
from art_core.transfer.three_sides import Above, Found
from art_core.transfer.transfer import Wishes
from art_core.trees import Agreed, Entry, Kind, TreeReader

Verdict = Literal["agreed", "alike", "carry", "accept", "remove", "gone", "unseen", "protected", "conflict"]
"""`agreed`: the sandbox did not change it since both sides were the same. `alike`: both have the same by
now. `accept`: carry it, with what the host has now for the rest of it. `gone`: removed on both sides.
`unseen`: the host made it where the sandbox could not see it, and it stays."""


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
NOT_CHOSEN = "renamed in the sandbox; left, because the new name was not chosen"
NOT_CARRIED = "renamed in the sandbox; left, because the new name could not be carried"
_LATER = "made on the host after the sandbox had removed the directory"


class InRepository(NamedTuple):
    """A path in the directory of a git repository."""

    top: bytes
    rest: bytes

    @property
    def is_object(self) -> bool:
        """Whether its name is the digest of its contents (gitformat-pack(5))."""
        return self.rest.startswith(b"objects/")


def in_repository(path: bytes) -> InRepository | None:
    """None when it is in none."""
    above, git, rest = (b"/" + path).partition(b"/.git/")
    return InRepository((above + b"/.git")[1:], rest) if git else None


class Deciding:
    """Decides for one pull: first on what the store holds, then on what was removed."""

    def __init__(self, tree: TreeReader, host: HostTree, wishes: Wishes, holding: TransferHold) -> None:
        self._tree = tree
        self._host = host
        self._wishes = wishes
        self._holding = holding
        self._kept_out: tuple[bytes, str] = b"", ""
        """A directory that may not stand in the place of something, and why."""
        self.readers: dict[bytes, set[bytes]] = {}
        """Paths of the host, and what has its contents from there at another path of the store."""
        self._needed: dict[bytes, str] = {}
        """Paths of the host that what is not carried comes from, and why it is not."""
        self._of_number: dict[int, tuple[int, int]] = {}
        self._of_identity: dict[tuple[int, int], int] = {}
        """Which file of the host, by device and number, has the names of which file of the store."""
        self._first: dict[int, bytes] = {}
        """Of a file of the store that has several names, the only one that the host's has yet."""

    def left(self, entry: Entry, agreed: Agreed | None, why: str = NOT_CHOSEN) -> None:
        """The entry is not carried: what it was before its rename stays on the host."""
        unchanged = agreed is not None and _is_agreed(entry, agreed)
        if entry.lower is not None and entry.lower != entry.path and entry.kind != "dir" and not unchanged:
            self._needed.setdefault(entry.lower, why)
            self.reads(entry)

    def reads(self, entry: Entry) -> None:
        """Where it comes from has to stay until it was read."""
        if entry.partial and entry.lower is not None and entry.lower != entry.path:
            self.readers.setdefault(entry.lower, set()).add(entry.path)

    def on(self, entry: Entry, agreed: Agreed | None, hidden: Above | None = None) -> Decision:
        """On what the store holds; `hidden` by a directory that hides what the host has there."""
        try:
            return self._on(entry, agreed, hidden)
        except PermissionError as error:
            self.left(entry, agreed, NOT_CARRIED)
            why = f"it cannot be looked at on the host: {error.strerror}"
            return Decision(entry.path, entry, agreed, None, "conflict", why)

    def _on(self, entry: Entry, agreed: Agreed | None, hidden: Above | None) -> Decision:
        if agreed is not None and _is_agreed(entry, agreed):
            if not entry.partial or entry.lower == entry.path:
                return Decision(entry.path, entry, agreed, None, "agreed")
            present = self._host.find(entry.path)
            is_same = self._host.same(present, agreed)
            return Decision(entry.path, entry, agreed, present, "alike" if is_same else "agreed")
        present = self._host.find(entry.path)
        verdict, why = self._verdict(entry, present, agreed, hidden)
        if verdict in ("conflict", "protected"):
            self.left(entry, agreed, NOT_CARRIED)
        return Decision(entry.path, entry, agreed, present, verdict, why)

    def _verdict(
        self, entry: Entry, present: Entry | None, agreed: Agreed | None, hidden: Above | None
    ) -> tuple[Verdict, str]:
        owner = self._host.database_of(entry.path)
        if owner is not None:
            return "protected", told(owner)
        if held := self._held(entry.path, entry.kind, present):
            return "protected", f"{held}; --protected carries it, too"
        if present is not None and self._is_alike(entry, present):
            return "alike", ""
        if _has_moved_on(entry, present):
            return ("accept", "") if self._wishes.accept_host else ("conflict", MOVED_ON)
        if not self._is_readable(entry, present):
            return "conflict", MOVED_ON
        if not self._wins(entry.path) and (why := self._why_not(entry, present, agreed, hidden)):
            is_alike = present is not None and self._is_alike(entry, present, times=False)
            return ("alike", "") if is_alike else ("conflict", why)
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

    def _wins(self, path: bytes) -> bool:
        """Whether the sandbox's is carried whatever the host has: no commit is taken off a branch so."""
        found = in_repository(path) if self._wishes.force else None
        if found is None:
            return self._wishes.force
        return self._wishes.chosen is not None and not found.rest.startswith((b"refs/heads/", b"packed-refs"))

    def _is_readable(self, entry: Entry, present: Entry | None) -> bool:
        """Whether the host still has what a file that was changed in part or renamed has of it."""
        if not entry.partial or entry.loose:
            return True
        if entry.lower == entry.path:
            return present is not None and present.kind == entry.kind
        try:
            next(iter(self._tree.blocks(entry)), None)
        except OSError:
            return False
        return True

    def _is_alike(self, entry: Entry, present: Entry, *, times: bool = True) -> bool:
        """Whether both sides have the same file by now; but for the `times` of what both have changed."""
        mode = entry.mode if self._wishes.keep_setuid else entry.mode & ~SETUID
        if entry.kind != present.kind:
            return False
        if entry.kind == "dir":
            return mode == present.mode
        if times and entry.mtime_ns != present.mtime_ns:
            return False
        if entry.kind == "link":
            return entry.target == present.target
        if (entry.size, mode) != (present.size, present.mode) or not self._has_the_names(entry, present):
            return False
        if _has_moved_on(entry, present):
            return True  # A pull that was killed had carried it: what the rest was is nowhere else any more.
        try:
            same_contents = equal(self._tree.blocks(entry), self._host.blocks(present))
        except OSError:
            return False
        return same_contents and dict(entry.xattrs) == self._host.xattrs(entry.path)

    def _has_the_names(self, entry: Entry, present: Entry) -> bool:
        """Whether the host's file has the further names that the store's has."""
        if entry.nlink == 1 < present.nlink:
            return False
        if present.nlink == 1 < entry.nlink:  # The others become names of this one.
            return (
                entry.ino not in self._of_number
                and self._first.setdefault(entry.ino, entry.path) == entry.path
            )
        if entry.ino in self._first:
            return False
        identity = self._host.links.get(entry.path)
        if identity is None:
            return True
        as_numbered = self._of_number.setdefault(entry.ino, identity) == identity
        return self._of_identity.setdefault(identity, entry.ino) == entry.ino and as_numbered

    def _why_not(
        self, entry: Entry, present: Entry | None, agreed: Agreed | None, hidden: Above | None
    ) -> str:
        """Why the store's entry must not cover the host's; empty when it may."""
        if agreed is not None:
            if present is not None and present.kind == entry.kind == agreed.kind == "dir":
                return (
                    "" if present.mode == agreed.mode else "its mode changed on the host and in the sandbox"
                )
            if self._host.same(present, agreed) or (
                present is not None and present.kind == entry.kind == "dir"
            ):
                return ""
            gone = "removed" if present is None else "changed"
            return f"{gone} on the host and changed in the sandbox"
        if present is None or present.kind == entry.kind == "dir":
            return ""
        if entry.origin == (present.size, present.mtime_ns) and present.version <= entry.version:
            return ""  # Nothing has changed it since the sandbox did.
        if present.kind == "dir" and entry.seen_ns:
            return ""  # What is in it decides.
        if hidden is not None and _was_seen(present, hidden):
            return ""
        return "made or changed on the host and in the sandbox"

    def on_hidden(self, found: Found) -> Decision:
        """On what the store does not hold, and nothing of the host's shows there either."""
        try:
            return self._on_hidden(found)
        except PermissionError as error:
            why = f"removed in the sandbox; it cannot be looked at on the host: {error.strerror}"
            return Decision(found.path, None, found.agreed, None, "conflict", why)

    def _on_hidden(self, found: Found) -> Decision:
        path, agreed = found.path, found.agreed
        present = self._host.find(path) if found.present is None else found.present
        if agreed is None and (found.settled or (found.hidden is not None and found.hidden.settled)):
            return Decision(path, None, None, None, "unseen")
        if isinstance(present, Unreadable):
            why = "removed in the sandbox; it is no file, directory or link, or may not be read"
            return Decision(path, None, agreed, None, "conflict", why)
        if present is None:
            return Decision(path, None, agreed, None, "gone")
        if (owner := self._host.database_of(path)) is not None:
            return Decision(path, None, agreed, present, "protected", told(owner))
        verdict, why = self._verdict_on_hidden(found, present)
        if verdict == "remove" and path in self._needed:
            verdict, why = "conflict", self._needed[path]
        if verdict != "unseen" and (held := self._held(path, present.kind, present)):
            verdict, why = "protected", f"{held}; --protected removes it, too"
        return Decision(path, None, agreed, present, verdict, why)

    def _verdict_on_hidden(self, found: Found, present: Entry) -> tuple[Verdict, str]:
        agreed, hidden, force = found.agreed, found.hidden, self._wins(found.path)
        if hidden is None and not found.removed:
            return "unseen", ""  # It shows.
        if hidden is not None and hidden.elsewhere and not found.removed and agreed is not None:
            why = "gone in the sandbox, because the host removed what was renamed to it there"
            return ("remove", "") if force else ("conflict", why)
        if agreed is not None:
            is_same = self._host.same(present, agreed)
            why = "removed in the sandbox, and changed on the host"
            return ("remove", "") if is_same or force else ("conflict", why)
        if hidden is not None and not _was_seen(present, hidden):
            if not hidden.gone:
                return "unseen", ""
            return ("remove", "") if force else ("conflict", _LATER)
        return ("remove", "") if force else ("conflict", "removed in the sandbox, and never pushed")


def _was_seen(present: Entry, hidden: Above) -> bool:
    """Whether the sandbox removed it with the directory that hides it. What is in a directory decides on
    that; a file was there before when nothing changed it since."""
    if not hidden.seen_ns:
        return False
    return present.kind == "dir" or present.version < hidden.seen_ns


class _Both:
    """The host's side and the store's, for `transfer_hold`."""

    def __init__(self, host: HostTree, tree: TreeReader) -> None:
        self._host = host
        self._tree = tree

    def on_host(self, path: str) -> bool:
        return self._host.find(os.fsencode(path)) is not None

    def inside(self, path: str) -> bool:
        return self._tree.shows(os.fsencode(path)) is not None

    def has_links(self, path: str) -> bool:
        return any(
            isinstance(one, Entry) and one.kind == "link" for _, one in self._host.below(os.fsencode(path))
        )


def holding(host: HostTree, tree: TreeReader, workspace: Workspace, wishes: Wishes) -> TransferHold:
    """What a transfer from a store to the host's workspace, or out of both, holds back."""

    def led() -> Led:
        from art_core.autorun.finder import listed

        found = listed(workspace.real, names_of(tuple(wishes.protect)), os.environ, bounded=False)
        return found.led, found.missed

    return TransferHold(wishes.protect, _Both(host, tree), led)


def _has_moved_on(entry: Entry, present: Entry | None) -> bool:
    """Whether a part of what the store shows of a file is gone."""
    return (
        entry.partial and present is not None and entry.origin not in (None, (present.size, present.mtime_ns))
    )


def _is_agreed(entry: Entry, agreed: Agreed) -> bool:
    if entry.kind == agreed.kind == "dir":
        return (entry.ino, entry.mode) == (agreed.ino, agreed.mode)
    return (entry.ino, entry.version) == (agreed.ino, agreed.version)
