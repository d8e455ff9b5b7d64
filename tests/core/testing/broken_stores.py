"""Stores that each break one rule of their contract: the one in memory, with a mistake."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pytest

from art_core.testing import StoreContract, StoreExample
from art_core.trees import Agreed, Entry, Removed
from art_fusefs.backend import ROOT
from tests.core.testing.memory_store import File, Memory, MemoryBackend, MemoryStore, Tree, provider

# --- trees -------------------------------------------------------------------------------------


class WalksBackwards(Tree):
    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        return iter(list(super().walk(shown=shown))[::-1])


class FoldsNames(Tree):
    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        return super().put(entry._replace(path=entry.path.strip()), blocks)


class NumbersByTens(Tree):
    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        self._image.next += 10
        return super().put(entry, blocks)


class GivesZeros(Tree):
    def blocks(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        yield 0, bytes(self._image.files[entry.ino].contents or b"")


class HasOneVersion(Tree):
    def _entry(self, file: File, path: bytes) -> Entry:
        return super()._entry(file, path)._replace(version=1)


class FindsOnTheHost(Tree):
    def find(self, path: bytes) -> Entry | None:
        file = self._backend.lookup(self._top, path)
        return None if file is None else self._entry(file, path)


class CopiesLinks(Tree):
    def link(self, path: bytes, to: Entry) -> Entry:
        return self.put(to._replace(path=path), self.blocks(to))


class ForgetsRemovals(Tree):
    def removed(self) -> Iterator[Removed]:
        return iter(())


class ShowsWhatIsGone(Tree):
    def shows(self, path: bytes) -> Entry | None:
        return super().shows(path) or super().shows(b"a-host")


class DropsAttributes(Tree):
    def put(self, entry: Entry, blocks: Iterator[tuple[int, bytes]]) -> Entry:
        return super().put(entry._replace(xattrs={}), blocks)


class NeverForgets(Tree):
    def agree(self, agreed: Mapping[bytes, Agreed | None]) -> None:
        super().agree({path: what for path, what in agreed.items() if what is not None})


class SortsWholePaths(Tree):
    def agreed(self) -> Iterator[tuple[bytes, Agreed]]:
        yield from sorted(self._image.agreed.items())


class WalksTheHost(Tree):
    def _below(self, directory: File, path: bytes, shown: bool = False) -> Iterator[Entry]:
        for name in list(self._backend.names(directory)):
            directory.names.setdefault(name, self._ino(directory, name))
        return super()._below(directory, path, shown)

    def _ino(self, directory: File, name: bytes) -> int | None:
        found = self._backend.lookup(directory, name)
        return None if found is None else found.ino


class LeavesOutWhatMoved(Tree):
    def walk(self, *, shown: bool = False) -> Iterator[Entry]:
        return (entry for entry in super().walk(shown=shown) if not entry.loose)


class SecuresNothing(Tree):
    def secure(self, entries: Sequence[Entry], *, contents: bool) -> Mapping[bytes, Entry]:
        return {entry.path: entry for entry in entries}


class GoesOnShowing(Tree):
    def join(self, directories: Sequence[Entry], *, shows: bool) -> None:
        pass


# --- file systems ------------------------------------------------------------------------------


class ShowsAllExecutable(MemoryBackend):
    def lookup(self, directory: File, name: bytes) -> File | None:
        found = super().lookup(directory, name)
        if found is not None:
            found.mode |= 0o111
        return found


class WritesThrough(MemoryBackend):
    def write(self, node: File, offset: int, data: bytes) -> None:
        super().write(node, offset, data)
        if node.origin is not None:
            with open(node.origin, "r+b") as file:
                file.write(data)


class LosesTheLastChanges(MemoryBackend):
    def save(self, memory: int, *, ending: bool) -> None:
        if not ending:
            super().save(memory, ending=ending)


class BringsBackTheHost(MemoryBackend):
    def lookup(self, directory: File, name: bytes) -> File | None:
        if directory.origin is not None and os.path.exists(directory.origin + b"/" + name):
            directory.names.pop(name, None)
        return super().lookup(directory, name)


class ShowsLate(MemoryBackend):
    def save(self, memory: int, *, ending: bool) -> None:
        if ending:
            super().save(memory, ending=ending)


class NumbersAnew(MemoryBackend):
    def save(self, memory: int, *, ending: bool) -> None:
        if ending:
            files = {ino + 1000 * (ino > ROOT): file for ino, file in self.image.files.items()}
            for ino, file in files.items():
                file.ino = ino
                file.names = {name: at and at + 1000 for name, at in file.names.items()}
            self.image.files, self.image.next = files, self.image.next + 1000
        super().save(memory, ending=ending)


class EmptiesWhatMoves(MemoryBackend):
    def enter(self, directory: File, name: bytes, node: File) -> None:
        super().enter(directory, name, node)
        node.origin = None


class NeverCuts(MemoryBackend):
    def resize(self, node: File, size: int) -> None:
        super().resize(node, max(size, node.size))


# --- stores ------------------------------------------------------------------------------------


class SharesBranches(MemoryStore):
    @contextmanager
    def _holding(self, branch: str) -> Iterator[None]:
        self._held = False
        with super()._holding(branch):
            yield


class KnowsEveryBranch(MemoryStore):
    @contextmanager
    def _holding(self, branch: str) -> Iterator[None]:
        with super()._holding("main"):
            yield


class LeavesFiles(MemoryStore):
    @contextmanager
    def _holding(self, branch: str) -> Iterator[None]:
        with open(f"{self._locator.removeprefix('memory:')}/left", "w"), super()._holding(branch):
            yield


class MakesWhatIsMissing(Memory):
    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> MemoryStore:
        return super().open(locator, "create")


class ClaimsNothing(Memory):
    def claims(self, locator: str) -> bool:
        return False


def _with_tree(kind: type[Tree]) -> Any:
    return provider(type("Broken", (MemoryStore,), {"tree": kind}))


def _with_backend(kind: type[MemoryBackend]) -> Any:
    return provider(type("Broken", (MemoryStore,), {"backend": kind}))


STORES: dict[str, Any] = {
    "test_put_and_walk": _with_tree(WalksBackwards),
    "test_names": _with_tree(FoldsNames),
    "test_numbers": _with_tree(NumbersByTens),
    "test_holes": _with_tree(GivesZeros),
    "test_put_again": _with_tree(HasOneVersion),
    "test_find": _with_tree(FindsOnTheHost),
    "test_links": _with_tree(CopiesLinks),
    "test_remove": _with_tree(ForgetsRemovals),
    "test_shown": _with_tree(ShowsWhatIsGone),
    "test_attributes": _with_tree(DropsAttributes),
    "test_agreed": _with_tree(NeverForgets),
    "test_order": _with_tree(SortsWholePaths),
    "test_loose": _with_tree(LeavesOutWhatMoved),
    "test_secure": _with_tree(SecuresNothing),
    "test_join": _with_tree(GoesOnShowing),
    "test_pull_sees_what_was_done": _with_tree(WalksTheHost),
    "test_host_shows_through": _with_backend(ShowsAllExecutable),
    "test_host_is_never_written": _with_backend(WritesThrough),
    "test_changes_last": _with_backend(LosesTheLastChanges),
    "test_pushed_stays_as_pushed": _with_backend(BringsBackTheHost),
    "test_directory_renames": _with_backend(EmptiesWhatMoves),
    "test_numbers_last": _with_backend(NumbersAnew),
    "test_commit": _with_backend(ShowsLate),
    "test_programs_work": _with_backend(NeverCuts),
    "test_one_writer": provider(SharesBranches),
    "test_unknown_branch": provider(KnowsEveryBranch),
    "test_hidden": provider(LeavesFiles),
    "test_missing_store": provider()._replace(create=lambda context: MakesWhatIsMissing(MemoryStore)),
    "test_claims": provider()._replace(create=lambda context: ClaimsNothing(MemoryStore)),
    "test_server_killed": provider(capabilities=frozenset({"durable"})),
}
"""The rule that is broken, and the provider that breaks it."""


def store_contract(rule: str) -> type[StoreContract]:
    class Broken(StoreContract):
        @pytest.fixture
        def store_example(self) -> StoreExample:
            return StoreExample(provider=STORES[rule], locator=lambda place: f"memory:{place}")

    return Broken
