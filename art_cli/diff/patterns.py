"""Patterns of paths, as .gitignore has them (gitignore(5))."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from art_core.errors import UsageError

Chooser = Callable[[bytes, bool], bool]
"""Whether a path is chosen, which may be a directory's."""


def both(one: Chooser | None, other: Chooser | None) -> Chooser | None:
    """What both choose; None chooses everything."""
    if one is None or other is None:
        return one or other
    return lambda path, directory: one(path, directory) and other(path, directory)


def chooser(include: Sequence[str], exclude: Sequence[str]) -> Chooser | None:
    """What is chosen by patterns: all that one of `include` matches, or everything without any, less what
    one of `exclude` does. None when there are no patterns. Raises UsageError."""
    if not include and not exclude:
        return None
    from pathspec import GitIgnoreSpec

    try:
        wanted, unwanted = (GitIgnoreSpec.from_lines(patterns) for patterns in (include, exclude))
    except ValueError as error:
        raise UsageError(f"--include, --exclude: {error}; the patterns are those of gitignore") from None

    def chosen(path: bytes, directory: bool) -> bool:
        shown = os.fsdecode(path) + "/" * directory
        return (not include or wanted.match_file(shown)) and not unwanted.match_file(shown)

    return chosen
