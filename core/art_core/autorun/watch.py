"""What a user is told at the end of a run in direct mode: what is new or changed, and obeyed by programs of
the host.

A listing from before is compared with one from after, by path, inode and change time (inode(7)), which a
process inside cannot set. Renaming a directory changes no time of what is in it, but what is in it has
another path then. Where not everything could be listed before, what is not known counts as new unless the
directories above it were left alone: moving something there changes one of them.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence

from art_core.autorun.finder import Listing, ObeyedPath, listed
from art_core.autorun.finder_cache import Before, Remembered
from art_core.autorun.guest_paths import left
from art_core.autorun.protection import Protected, given_up, is_given_up, protections, selected
from art_core.autorun.rules import is_read, watched_names
from art_core.contracts import Mount, Workspace

_ENTRIES_AT_START = 10_000
"""Files and directories that are looked at before the first run in a workspace."""
_LINES_LIMIT = 20
_NAMES_LIMIT = 3
_MOVED = ("HEAD", "ORIG_HEAD")
"""What git writes when it goes to another commit."""
_WORKTREES = ".git/worktrees"
"""What a command in a worktree writes by itself, in its own directory there."""
_CLOCK_OF_INODES = 5
"""CLOCK_REALTIME_COARSE (clock_gettime(2)), which Python has no name for."""


class Watch:
    """Knows what there was before a run, and tells what is new or changed after it."""

    def __init__(
        self,
        workspace: Workspace,
        patterns: Sequence[str],
        unprotected: Sequence[str],
        env: Mapping[str, str],
        remembered: Remembered | None = None,
        beside: Sequence[str] = (),
        guest: str = "",
    ) -> None:
        """`beside` are git directories elsewhere that the sandbox may write; `guest` is where the command
        works, unless that is the workspace's own path."""
        self._workspace = workspace
        self._root = workspace.real
        self._guest = guest
        self._names = watched_names(tuple(patterns))
        self._env = env
        self._remembered = remembered
        self._begun = self._told = False
        since_ns = time.clock_gettime_ns(_CLOCK_OF_INODES)
        untold = told = None
        if remembered is not None:
            untold, told = remembered.untold(), remembered.told()
        known = told if untold is None else untold.listing
        listing = listed(self._root, self._names, env, known=known, entries=_ENTRIES_AT_START)
        self._before = Before(since_ns, listing) if untold is None else untold
        others = tuple(pattern for pattern in patterns if pattern != _WORKTREES)
        self._names_beside = watched_names(others)
        self._beside = [Before(since_ns, self._look_beside(root)) for root in beside]
        self._given_up = given_up(unprotected, workspace, listing)
        earlier = () if known is None else known.found
        self._protected: list[Protected] = selected(patterns, listing, self._given_up, earlier)
        self._missed = dict(listing.missed)
        self._there = {one.path for one in self._protected if os.path.lexists(f"{self._root}/{one.path}")}

    def protections(self, tops: Sequence[str]) -> list[Mount]:
        """Mounts that protect what there is, for each guest directory in `tops` that shows the workspace."""
        return protections(self._workspace, self._protected, tops)

    def begin(self) -> None:
        """The run starts."""
        if self._remembered is not None and not self._begun:
            self._remembered.begin(self._before)
        self._begun = True

    def close(self) -> None:
        """The run is over; what was not told is left to the next one. Idempotent."""
        if self._remembered is not None and self._begun and not self._told:
            self._remembered.leave()
        self._begun = False

    def notices(self, *, failed: bool) -> list[str]:
        """Lines for the user; `failed`: the command did."""
        since_ns = time.clock_gettime_ns(_CLOCK_OF_INODES)
        after = listed(self._root, self._names, self._env, before=self._before.listing)
        found = [one for one in changes(self._before, after) if not is_given_up(one.path, self._given_up)]
        obeyed = [one for one in found if not is_read(one.match)]
        lines = told([*obeyed, *self._changes_beside()])
        if read := [one.path for one in found if is_read(one.match)]:
            lines.append(f"new or changed, and agents read it as instructions: {_some(read)}")
        if missed := {**self._missed, **after.missed}:
            reasons = [f"{_some([path])}/: {why}" if path else why for path, why in missed.items()]
            more = len(reasons) - _LINES_LIMIT
            reasons[_LINES_LIMIT:] = [f"and {more} more"] * (more > 0)
            all_of_it = "not all of the workspace was looked at for what programs of the host obey"
            lines.append(f"{all_of_it}: {'; '.join(reasons)}")
        lines += self._held(found, after, failed=failed)
        if self._guest and (made := left(after, self._guest, self._before.since_ns)):
            lines.append(
                f"{_some(made)}: made with paths below {self._guest}, which the host does not have; what is "
                "made with --workdir host works on both sides"
            )
        if self._remembered is not None and self._begun:
            self._remembered.end(Before(since_ns, after))
        self._told = True
        return lines

    def _look_beside(self, root: str) -> Listing:
        return listed(root, self._names_beside, self._env, known=Listing(root))

    def _changes_beside(self) -> Iterator[ObeyedPath]:
        for before in self._beside:
            root = before.listing.root
            for one in changes(before, self._look_beside(root)):
                place = os.path.join(root, one.match.place)
                yield one._replace(path=os.path.join(root, one.path), match=one.match._replace(place=place))

    def _held(self, found: Sequence[ObeyedPath], after: Listing, *, failed: bool) -> list[str]:
        """What git may have failed at. When it cannot replace a file at a checkout, or add a submodule to its
        settings, it says so and ends with 0."""
        tops = [f"{self._root}/{path}" for path in after.repositories if "/" not in path]
        there = sorted(self._there)
        beside = [path for path in there if not path.startswith(".git/")]
        if not (failed and self._are_newer(tops)) and not any(_is_of_submodules(one.path) for one in found):
            if not self._are_newer([f"{top}/{name}" for top in tops for name in _MOVED]):
                return []
            there = beside
        if not there:
            return []
        example = ".git/config" if ".git/config" in there else there[0]
        return [f"read-only inside: {_some(there, 6)}; to let one be written: --no-protect {example}"]

    def _are_newer(self, files: Sequence[str]) -> bool:
        return any(_ctime_ns(file) >= self._before.since_ns for file in files)


def changes(before: Before, after: Listing) -> list[ObeyedPath]:
    """What is new or changed, by path. Of a directory only what is in it, unless nothing but itself changed:
    something was removed."""
    found = {one.path: one for one in after.found.values() if _is_changed(one, before, after)}
    holders = {path[: path.rindex("/")] for path in found if "/" in path}
    for path in tuple(holders):
        while "/" in path:
            path = path[: path.rindex("/")]
            holders.add(path)
    return [
        one._replace(path=f"{path}/") if stat.S_ISDIR(one.mode) else one
        for path, one in sorted(found.items())
        if not (stat.S_ISDIR(one.mode) and path in holders)
    ]


def _is_changed(one: ObeyedPath, before: Before, after: Listing) -> bool:
    known = before.listing.found.get(one.path)
    if known is not None:
        return (known.ino, known.ctime_ns) != (one.ino, one.ctime_ns)
    if before.listing.complete or one.ctime_ns >= before.since_ns:
        return True
    first, *further = one.path.split("/")
    if _top(one) == "" and "" in after.repositories and "" not in before.listing.repositories:
        return True  # What was there became obeyed.
    if before.listing.top.get(first) != after.top.get(first):
        return True
    above = ["/".join((first, *further[:depth])) for depth in range(len(further))]
    return any(_ctime_ns(f"{after.root}/{path}") >= before.since_ns for path in above)


def _is_of_submodules(path: str) -> bool:
    return path == ".gitmodules" or "/.git/modules/" in f"/{path}"


def _ctime_ns(path: str) -> int:
    try:
        return os.lstat(path).st_ctime_ns
    except (OSError, ValueError):
        return 0


def told(found: Sequence[ObeyedPath]) -> list[str]:
    """One line for a kind and directory, the upper ones first; then one for all that have none."""
    groups: dict[tuple[str, str], list[ObeyedPath]] = {}
    for one in found:
        groups.setdefault((_top(one), f"{one.match.by} {one.match.does}"), []).append(one)
    ordered = sorted(groups.items(), key=lambda group: (group[0][0].count("/"), group[0]))
    lines = [
        f"new or changed, and {why}: {_some([one.path for one in group])}"
        for (_, why), group in ordered[:_LINES_LIMIT]
    ]
    if rest := [one for _, group in ordered[_LINES_LIMIT:] for one in group]:
        kinds = sorted({one.match.pattern for one in rest})
        lines.append(f"new or changed in more directories: {len(rest)} of {', '.join(kinds)}")
    return lines


def _top(one: ObeyedPath) -> str:
    """The directory of a kind: the git directory, `.vscode` for what is in it, else where a file stands."""
    place, part = one.match.place, one.match.pattern.removeprefix(".git/")
    if part != one.match.pattern and f"/{place}".endswith(f"/{part}"):
        return place.removesuffix(part).rstrip("/")
    return place if one.path != place else place.rpartition("/")[0]


def _some(paths: Sequence[str], limit: int = _NAMES_LIMIT) -> str:
    shown = [path if path.isprintable() else repr(path) for path in paths[:limit]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
