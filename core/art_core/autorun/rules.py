"""Tells whether programs of the host obey a path of a workspace (`art_core.config.obeyed_files`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

from art_core.config.obeyed_files import INSTRUCTIONS, RULES, Rule


class Match(NamedTuple):
    """`place` is the whole of what is protected: `a/.vscode` for anything in it. `leads`: it is on the way
    there, as a link or a file that points there."""

    place: str
    pattern: str
    by: str
    does: str
    leads: bool = False


DAILY = frozenset(path for rule in RULES if rule.daily for path in rule.paths)
"""What of it is named in direct mode, and not read-only."""

LINK = "links in directories of version control"
"""Stands for a pattern in what `link_within` says."""

VERSIONED = {
    ".git": "git",
    ".hg": "Mercurial",
    ".sl": "Sapling",
    ".jj": "Jujutsu",
    ".svn": "Subversion",
    ".bzr": "Breezy",
    "_darcs": "darcs",
    ".pijul": "Pijul",
}
"""Directories in which a program of version control keeps and writes what is its own."""

POINTERS = (".git", ".jj")
"""Names of those that may be, or have in them, a file that says where the directory is."""

_GIT = ".git/"
_IGNORED = (
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Code points without a shape (Unicode, Default_Ignorable_Code_Point)."""
_SHORT = re.compile(r"git~\d+")


def folded(name: str) -> str:
    """The name as file systems take it that know fewer: letters of either case, code points that HFS+ and
    ext4's casefold ignore, final dots and spaces, streams and short names of NTFS (git's `core.protectHFS`
    and `core.protectNTFS`, git-config(1))."""
    if not name.isascii():
        name = re.sub(_IGNORED, "", name)  # Compiled for those who have such a name.
    name = name.casefold()
    if name[-1:] in (".", " ") or ":" in name:
        name = name.partition(":")[0].rstrip(" .")
    return ".git" if "~" in name and _SHORT.fullmatch(name) else name


class Names:
    """Tells by its name whether something is protected. `patterns` are as in the setting `protect`."""

    def __init__(self, patterns: Sequence[str], rules: Sequence[Rule] = RULES) -> None:
        known = {path: rule for rule in rules for path in rule.paths}
        own = Rule("your programs", "obey it, by the setting protect", ())
        self._rules = {pattern: known.get(pattern, own) for pattern in (one.strip("/") for one in patterns)}
        self.git_parts = [p[len(_GIT) :].split("/") for p in self._rules if p.startswith(_GIT)]
        """What is protected in any git directory, as components of paths in it."""
        self._by_first: dict[str, list[tuple[list[str], str]]] = {}
        self._globs: list[tuple[re.Pattern[str], list[str], str]] = []
        for pattern in filter(None, self._rules):
            first, *rest = pattern.casefold().split("/")
            if "*" in first:
                self._globs.append((re.compile(translate(first)), rest, pattern))
            else:
                self._by_first.setdefault(first, []).append((rest, pattern))
        self.literal = tuple(self._by_first)
        """First components of patterns that are names."""
        self._glob = re.compile("|".join(glob.pattern for glob, _, _ in self._globs) or "(?!)")

    def begins(self, name: str) -> bool:
        """Whether something of this (folded) name may be protected, or something in it."""
        return name in self._by_first or self._glob.match(name) is not None

    def of(self, name: str) -> Iterator[tuple[Sequence[str], str]]:
        """The patterns whose first component is this (folded) name: the rest of each, and the pattern."""
        yield from self._by_first.get(name, ())
        if self._glob.match(name):
            yield from ((rest, pattern) for glob, rest, pattern in self._globs if glob.match(name))

    def placed(self, top: str) -> Iterator[tuple[Match, str]]:
        """All patterns that are names, where they would stand in a directory of the host."""
        for pattern in self._rules:
            if "*" not in pattern:
                yield self.made(pattern, pattern), f"{top.rstrip('/')}/{pattern}"

    def match(self, parts: Sequence[str], names: Sequence[str], kind: str) -> Match | None:
        """What protects a path: the first of its components that is protected. A link where a pattern has a
        directory, and a `.git` that is a file, lead there: they are protected, too. `names` are the parts,
        folded; `kind` is `dir`, `file` or `link`, of what the whole path is."""
        for index, name in enumerate(names):
            if not self.begins(name):
                continue
            leads = kind == "link" or (kind == "file" and name in POINTERS)
            for rest, pattern in self.of(name):
                length = matched(rest, names[index + 1 : index + 1 + len(rest)], leads=leads)
                if length is not None:
                    place = "/".join(parts[: index + 1 + length])
                    return self.made(place, pattern, leads=length < len(rest))
        return None

    def made(self, place: str, pattern: str, *, leads: bool = False) -> Match:
        rule = self._rules[pattern]
        does = f"finds {pattern} where this leads" if leads else rule.does
        return Match(place, pattern, rule.by, does, leads)


def link_within(path: str, by: str) -> Match:
    """A link in a directory in which a program of version control writes."""
    return Match(path, LINK, by, "writes to where a link in its own directory leads", leads=True)


def matched(rest: Sequence[str], names: Sequence[str], *, leads: bool = False) -> int | None:
    """How many of the names make the rest of a pattern, None when they do not; fewer than the pattern has
    where they end with something that leads elsewhere."""
    for index, want in enumerate(rest):
        if index == len(names):
            return index if leads else None
        if want != names[index] and not ("*" in want and re.fullmatch(translate(want), names[index])):
            return None
    return len(rest)


@lru_cache
def names_of(patterns: tuple[str, ...]) -> Names:
    return Names(patterns)


@lru_cache
def watched_names(patterns: tuple[str, ...]) -> Names:
    """These, and what agents read."""
    return Names((*patterns, *INSTRUCTIONS.paths), (*RULES, INSTRUCTIONS))


def is_read(match: Match) -> bool:
    """Whether agents read it, and nothing more."""
    return match.pattern in INSTRUCTIONS.paths


@lru_cache
def instructions() -> Names:
    """What agents read."""
    return Names(INSTRUCTIONS.paths, [INSTRUCTIONS])


def is_instruction(path: str) -> bool:
    parts = path.split("/")
    return instructions().match(parts, [folded(part) for part in parts], "file") is not None
