"""More stores that each break one rule: of what a store may claim, the default one with something undone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Literal

import pytest

from art_core.contracts import Mount, Mounted, Namespace, Provider, Stores, Workspace
from art_core.errors import StoreError
from art_core.store.files import HomeReader, HomeWriter
from art_core.store.history import NameTaken, Point
from art_core.store.maintenance import Finding
from art_core.testing import StoreContract, StoreExample
from art_core.trees import TreeReader
from art_cowfs.hooks import art_stores as databases
from art_jar.backend import JarBackend
from art_jar.hooks import art_stores as jars
from art_jar.store import Jar, Jars
from tests.core.testing.broken_stores import _with_backend
from tests.core.testing.memory_store import File, MemoryBackend


class Whole:
    """An open database that does all as it should."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Opening:
    """Stores of a broken kind."""

    def __init__(self, whole: Stores, kind: type[Whole]) -> None:
        self._whole = whole
        self._kind = kind

    def claims(self, locator: str) -> bool:
        return self._whole.claims(locator)

    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Any:
        return self._kind(self._whole.open(locator, mode))


# --- history -----------------------------------------------------------------------------------


class TellsTheNewestFirst(Whole):
    def points(self) -> Sequence[Point]:
        points: Sequence[Point] = self.store.points()
        return points[::-1]


class MergesBranches(Whole):
    def reader(self, at: str, workspace: Workspace) -> AbstractContextManager[TreeReader]:
        found: AbstractContextManager[TreeReader] = self.store.reader("main", workspace)
        return found


class TakesNamesTwice(Whole):
    def make_branch(self, name: str, at: str) -> Point:
        try:
            made: Point = self.store.make_branch(name, at)
        except NameTaken:
            made = self.store.points()[0]
        return made


class ForgetsWhatWasBefore(Whole):
    def restore(self, branch: str, at: str, paths: Sequence[bytes], workspace: Workspace) -> Point:
        kept: Point = self.store.restore(branch, at, paths, workspace)
        return kept._replace(name=at)


class Deaf:
    """A worker that is not told of ends."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        if request["ask"] == "ended":
            return {}
        answer: Mapping[str, object] = self.worker.ask(request, timeout_s)
        return answer


class LogsNoEnd(Whole):
    @contextmanager
    def mount(self, *words: Any, **lent: Any) -> Iterator[Mounted]:
        with self.store.mount(*words, **lent) as mounted:
            yield mounted._replace(worker=Deaf(mounted.worker))


# --- what a run may have -----------------------------------------------------------------------


class Mounting(Whole):
    """What is lent goes through `lend`."""

    def lend(self, lent: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def mount(self, *words: Any, **lent: Any) -> AbstractContextManager[Mounted]:
        found: AbstractContextManager[Mounted] = self.store.mount(*words, **self.lend(lent))
        return found


class GrowsWithoutEnd(Mounting):
    def lend(self, lent: dict[str, Any]) -> dict[str, Any]:
        return {**lent, "growth": 0}


class ShowsNoSeeds(Mounting):
    def lend(self, lent: dict[str, Any]) -> dict[str, Any]:
        return {**lent, "seeds": ()}


class CopiesShares(Mounting):
    def lend(self, lent: dict[str, Any]) -> dict[str, Any]:
        shares: Sequence[Mount] = lent.pop("shares", ())
        return {**lent, "seeds": shares}


# --- homes without a sandbox, and looking after them -------------------------------------------


class HasEveryHome(Whole):
    def home(self, at: str, workspace: Workspace | None) -> AbstractContextManager[HomeReader]:
        with suppress(StoreError), self.store.home(at, workspace):
            return self.store.home(at, workspace)  # type: ignore[no-any-return]
        return self.store.home("main", workspace)  # type: ignore[no-any-return]


class HidesTheHost(Whole):
    def home(self, at: str, workspace: Workspace | None) -> AbstractContextManager[HomeReader]:
        return self.store.home(at, None)  # type: ignore[no-any-return]


class RemovesNothing(Whole):
    @contextmanager
    def home_writer(self, branch: str, workspace: Workspace | None) -> Iterator[HomeWriter]:
        with self.store.home_writer(branch, workspace) as home:
            home.remove = lambda path: None
            yield home


class LetsViewersWrite(Whole):
    def view(
        self, at: str, workspace: Workspace | None, make: Callable[[], Namespace], *, read_only: bool
    ) -> AbstractContextManager[Mounted]:
        return self.store.view(at, workspace, make, read_only=False)  # type: ignore[no-any-return]


class FindsFaults(Whole):
    def check(self) -> Iterator[Finding]:
        yield from self.store.check()
        yield Finding("fault", "there is always something")


class CoversBackups(Whole):
    def repair(self, backup: str) -> Iterator[Finding]:
        with suppress(FileNotFoundError):
            os.unlink(backup)
        found: Iterator[Finding] = self.store.repair(backup)
        return found


# --- what the readers fear -------------------------------------------------------------


class LosesTheLastSync(JarBackend):
    def flush(self, done: Callable[[OSError | None], None]) -> None:
        done(None)


class LosesSyncs(Jar):
    backend = LosesTheLastSync


class FullOfHoles(Jars):
    def open(self, locator: str, mode: Literal["read", "write", "create"]) -> Jar:
        opened = super().open(locator, mode)
        return LosesSyncs(opened.hidden()[0], 1 << 30)


class FollowsLinks(MemoryBackend):
    def lookup(self, directory: File, name: bytes) -> File | None:
        found = super().lookup(directory, name)
        if found is not None and stat.S_ISLNK(found.mode):
            found.mode = stat.S_IFREG | 0o644
        return found


class BlamesTheDisk(MemoryBackend):
    def lookup(self, directory: File, name: bytes) -> File | None:
        found = super().lookup(directory, name)
        if found is None and name == b"nothing":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found


class ForgetsWhiteouts(MemoryBackend):
    def save(self, memory: int, *, ending: bool) -> None:
        for file in self.image.files.values():
            file.names = {name: ino for name, ino in file.names.items() if ino is not None}
        super().save(memory, ending=ending)


def _database(kind: type[Whole]) -> Provider[Any]:
    (whole,) = databases()
    return whole._replace(create=lambda context: Opening(whole.create(context), kind))


def _jar() -> Provider[Any]:
    (whole,) = jars()
    return whole._replace(create=lambda context: FullOfHoles(1 << 30))


BROKEN: Sequence[tuple[str, Provider[Any]]] = [
    ("test_points", _database(TellsTheNewestFirst)),
    ("test_points", _database(MergesBranches)),
    ("test_snapshot_of_a_run", _database(MergesBranches)),
    ("test_names_of_points", _database(TakesNamesTwice)),
    ("test_restore", _database(ForgetsWhatWasBefore)),
    ("test_log", _database(LogsNoEnd)),
    ("test_log_of_a_run", _database(LogsNoEnd)),
    ("test_growth", _database(GrowsWithoutEnd)),
    ("test_seeds", _database(ShowsNoSeeds)),
    ("test_shares", _database(CopiesShares)),
    ("test_new_home", _database(HasEveryHome)),
    ("test_home", _database(HidesTheHost)),
    ("test_home_writer", _database(RemovesNothing)),
    ("test_view", _database(LetsViewersWrite)),
    ("test_care", _database(FindsFaults)),
    ("test_repair", _database(CoversBackups)),
    ("test_server_killed", _jar()),
    ("test_host_shows_through", _with_backend(FollowsLinks)),
    ("test_errors", _with_backend(BlamesTheDisk)),
    ("test_changes_last", _with_backend(ForgetsWhiteouts)),
]
"""The rule that is broken, and the provider that breaks it."""


def capability_contract(provider: Provider[Any]) -> type[StoreContract]:
    names = {"memory": "memory:{}", "jar": "{}/home.jar"}

    class Broken(StoreContract):
        @pytest.fixture
        def store_example(self) -> StoreExample:
            name = names.get(provider.name, "{}/home.db")
            return StoreExample(provider=provider, locator=name.format)

    return Broken
