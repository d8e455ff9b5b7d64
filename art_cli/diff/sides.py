"""What `art status` and `art diff` have in common: which two states, which paths, and who reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from art_cli.stores import opener
from art_core.contracts import MAIN, Store, Workspace
from art_core.errors import StoreError, TransferError, UsageError
from art_core.store.history import checked_name
from art_core.transfer.changes import Compared, against_host, between
from art_core.transfer.host_files import HostTree
from art_core.transfer.path_filters import Paths, typed_path
from art_core.transfer.transfer import Wishes
from art_core.view.workspace import open_workspace

RANGE = ".."


class Range(NamedTuple):
    """What is compared: two points, or with `first` None the host's workspace and a point."""

    first: str | None
    second: str


class Opened(NamedTuple):
    """What was found, and what it was found between."""

    compared: Compared
    range: Range
    workspace: Workspace


def split_words(words: Sequence[str], since: str | None, branch: str) -> tuple[Range, list[str]]:
    """The points and the paths that were typed. `A..B` is a range when both could be names, an empty
    one being the branch. Raises UsageError."""
    first, second = _range(words[0]) if words else (None, None)
    paths = list(words if first is None else words[1:])
    if first is None:
        return Range(since, branch), paths
    if since is not None:
        raise UsageError(f"{words[0]} and --since {since}: name the points once")
    return Range(first or branch, second or branch), paths


def _range(word: str) -> tuple[str, str] | tuple[None, None]:
    first, dots, second = word.partition(RANGE)
    if not dots or not (first or second):
        return None, None
    try:
        for name in (first, second):
            if name:
                checked_name(name)
    except StoreError:
        return None, None
    return first, second


@contextmanager
def opened(options: Mapping[str, Any], words: Sequence[str], since: str | None) -> Iterator[Opened]:
    """Open both states and find what changed. Raises ArtError."""
    range, typed = split_words(words, since, options.get("branch") or MAIN)
    with opener.opened(options) as found:
        store = found.store
        workspace = open_workspace(found.directory, name=found.named, moved=found.moved)
        try:
            chosen = selection(store, [*filter(None, range)], typed, workspace)
            wishes = Wishes(protect=found.settings.protect, chosen=chosen)
            if range.first is None:
                finding = against_host(store, range.second, workspace, wishes)
            else:
                finding = between(store, range.first, range.second, workspace, wishes)
            with finding as compared:
                yield Opened(compared, range, workspace)
        finally:
            os.close(workspace.fd)


def selection(
    store: Store, points: Sequence[str], typed: Sequence[str], workspace: Workspace
) -> Callable[[bytes, bool], bool] | None:
    """What the typed paths choose; None for everything. Raises TransferError for one that neither the host
    nor any of the points has."""
    if not typed:
        return None
    wanted = {typed_path(path, workspace): path for path in typed}
    with HostTree(workspace.fd) as host:
        missing = {path for path in wanted if path and host.find(path) is None}
    for point in points if missing else ():
        with store.reader(point, workspace) as tree:
            missing = {path for path in missing if tree.shows(path) is None}
    for path in missing:
        raise TransferError(
            f"{wanted[path]!r} is neither on the host nor in the database; `art status` lists what changed"
        )
    return Paths(list(wanted))
