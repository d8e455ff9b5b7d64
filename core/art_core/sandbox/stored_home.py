"""The home of an open sandbox in its database: earlier states of files, snapshots, and what changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from art_core.contracts import MAIN
from art_core.errors import PluginError, StoreError
from art_core.loader.capabilities import history_of
from art_core.store.history import HistoryStore, NameTaken, Point, dated

if TYPE_CHECKING:
    from art_core.plan.overlay import Overlay
    from art_core.plan.preparation import Preparation
    from art_core.sandbox.streams import Path
    from art_core.transfer.changes import Change


class StoredHome:
    """What a program may ask of it. Only one thing is asked at a time: a store is called from one thread."""

    def __init__(self, preparation: Preparation) -> None:
        """Raises PluginError where there is no database."""
        if preparation.overlay is None:
            raise PluginError("snapshots and diffs need a database; add database=FILE")
        self._preparation = preparation
        self._overlay: Overlay = preparation.overlay
        self._branch = preparation.options.branch or MAIN
        self._name = preparation.options.store or preparation.settings.store

    def _history(self) -> HistoryStore:
        return history_of(self._preparation.plugins, self._name, self._overlay.store)

    def snapshot(self, name: str | None) -> Point:
        history = self._history()
        for one in dated("snapshot") if name is None else (name,):
            try:
                return history.snapshot(self._branch, one)
            except NameTaken:
                if name is not None:
                    raise
        raise StoreError("a thousand snapshots were taken in this second; name this one")

    def snapshots(self) -> Sequence[Point]:
        return [point for point in self._history().points() if point.kind == "snapshot"]

    def diff(self, since: str | None) -> Sequence[Change]:
        from art_core.transfer.changes import against_host, between
        from art_core.transfer.transfer import Wishes

        store, workspace = self._overlay.store, self._overlay.workspace
        wishes = Wishes(protect=self._preparation.settings.protect)
        comparing = (
            against_host(store, self._branch, workspace, wishes)
            if since is None
            else between(store, since, self._branch, workspace, wishes)
        )
        with comparing as compared:
            return list(compared.changes)

    def read(self, path: Path, at: str) -> bytes:
        from art_core.sandbox.session import from_home
        from art_core.store import files

        if "files" not in self._preparation.plugins.provider("store", self._name).capabilities:
            raise PluginError(f"the store {self._name!r} cannot do this (capability files); choose another")
        typed = os.fsdecode(path)
        full = os.path.join(os.fsencode(self._preparation.guest), from_home(path))
        inside = files.guest_path(os.fsdecode(full))
        if inside is None:
            raise StoreError(f"{typed} is not in the home, and a snapshot has nothing else")
        store: files.Files = self._overlay.store  # type: ignore[assignment]
        with store.home(at, self._overlay.workspace) as home:
            found = files.resolve(home, inside)
            if found.kind != "file":
                raise StoreError(f"{typed}: this is not a file")
            try:
                contents = bytearray(found.size)
                for offset, block in home.blocks(found):
                    contents[offset : offset + len(block)] = block
                return bytes(contents)
            except (MemoryError, OverflowError):
                raise StoreError(f"{typed}: its {found.size} bytes do not fit into memory") from None
