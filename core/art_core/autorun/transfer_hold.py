"""What a transfer holds back, because programs of the host would obey it: one decision for `pull`, `pull
--into`, and for those who ask what they would do.

It judges the tree as it will be, with what the host has already and with all that the sandbox has: several
transfers of parts may complete what one would not be allowed to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from art_core.autorun.rules import VERSIONED, Match, folded, link_within, matched, names_of

_PIECES = ("head", "objects", "refs")
_COMMON = "commondir"


Led = tuple[Mapping[str, Match], Mapping[str, str]]
"""Paths, and why each is obeyed; then what could not be looked at for it, and why."""


class BothSides(Protocol):
    """Two states of a workspace; a path is relative to its top."""

    def on_host(self, path: str) -> bool:
        """Whether the host has something there, a link that leads nowhere too."""

    def inside(self, path: str) -> bool:
        """The same of the sandbox."""

    def has_links(self, path: str) -> bool:
        """Whether the host has a symbolic link in a directory, at any depth."""


class TransferHold:
    """Decides on paths, in any order."""

    def __init__(
        self, patterns: Sequence[str], tree: BothSides, led: Callable[[], Led] = lambda: ({}, {})
    ) -> None:
        """`led` finds what the host's own links and git's settings lead to. It is asked once, when it is
        needed."""
        self._names = names_of(tuple(patterns))
        self._tree = tree
        self._find_led = led
        self._led: Mapping[str, Match] | None = None
        self.missed: Mapping[str, str] = {}
        """Where the host may have links or settings that were not seen, and why."""
        self._linked: dict[str, bool] = {}
        self._repositories: dict[str, tuple[bool, bool]] = {}
        """Directories that were asked about: whether git takes them for its own on the host, and when both
        sides are taken together."""

    def on(self, path: str, kind: str) -> Match | None:
        """Why a path is held back; None when it is not. `kind` is `dir`, `file` or `link`."""
        parts = path.split("/")
        names = [folded(part) for part in parts]
        return (
            self._names.match(parts, names, kind)
            or self._in_repository(parts, names, kind)
            or (self._link_within(parts, names) if kind == "link" else None)
            or self._completing(parts, names)
            or self._where_something_leads(path, kind)
        )

    def _in_repository(self, parts: Sequence[str], names: Sequence[str], kind: str) -> Match | None:
        """What is protected in a git directory of any name."""
        for index in range(len(parts)):
            for rest in self._names.git_parts:
                length = matched(rest, names[index : index + len(rest)], leads=kind == "link")
                if length and self._is_repository("/".join(parts[:index]))[1]:
                    place = "/".join(parts[: index + length])
                    return self._names.made(place, "/".join((".git", *rest)), leads=length < len(rest))
        return None

    def _link_within(self, parts: Sequence[str], names: Sequence[str]) -> Match | None:
        """A link in a directory in which git or the like writes: messages, logs and whatever it has fetched
        go to where it leads. What stands there is the agent's own text, and it may lead anywhere."""
        if not self._names.git_parts:
            return None
        for index in range(len(parts)):
            by = VERSIONED.get(names[index - 1]) if index else None
            if by is None and self._is_repository("/".join(parts[:index]))[1]:
                by = "git"
            if by is not None:
                return link_within("/".join(parts), by)
        return None

    def _completing(self, parts: Sequence[str], names: Sequence[str]) -> Match | None:
        """What makes git take a directory for its own that was none, with settings or hooks in it already."""
        for index, name in enumerate(names):
            if name not in _PIECES or not self._names.git_parts:
                continue
            top = "/".join(parts[:index])
            on_host, together = self._is_repository(top)
            place = "/".join(parts[: index + 1])
            if on_host or not together or self._tree.on_host(place):
                continue
            if any(
                self._tree.on_host(_join(top, rest[0])) for rest in self._names.git_parts if "*" not in rest
            ):
                does = "would take settings and hooks from its directory, which has some"
                return Match(place, ".git", "git", does)
            if top not in self._linked:
                self._linked[top] = self._tree.has_links(top)
            if self._linked[top]:
                return Match(place, ".git", "git", "would write to where links in its directory lead")
        return None

    def _is_repository(self, top: str) -> tuple[bool, bool]:
        """Whether git would take a directory for one of its own (gitrepository-layout(5)): on the host, and
        with what both sides have. Anything may stand for a piece: a link, or a file that can be executed."""
        found = self._repositories.get(top)
        if found is None:
            on_host = self._tree.on_host
            found = (
                is_repository(top, on_host),
                is_repository(top, lambda path: on_host(path) or self._tree.inside(path)),
            )
            self._repositories[top] = found
        return found

    def _where_something_leads(self, path: str, kind: str) -> Match | None:
        if self._led is None:
            self._led, self.missed = self._find_led()
        for place, match in self._led.items():
            within = path == place or path.startswith(place + "/")
            if within or (kind != "dir" and place.startswith(path + "/")):
                return match
        return None


def _join(top: str, name: str) -> str:
    return f"{top}/{name}" if top else name


def is_repository(top: str, has: Callable[[str], bool]) -> bool:
    if not has(_join(top, "HEAD")):
        return False
    return has(_join(top, _COMMON)) or (has(_join(top, "objects")) and has(_join(top, "refs")))
