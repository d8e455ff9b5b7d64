"""A run in overlay mode: a home that a store mounts, in a namespace that ends with the run."""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from art_core.contracts import Mount, Mounted, Namespace, Origin, Store, Worker, Workspace
from art_core.errors import ArtError, StoreError
from art_core.host import openat
from art_core.launch.namespace import PrivateNamespace

if TYPE_CHECKING:
    from art_core.lending.loans import Lent
    from art_core.plan.run_log import LoggedRun

_ANSWER_S = 10.0


class _InTurn:
    """A worker that is asked from several threads: one asks at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = allocate_lock()
        self.pidfd = worker.pidfd
        self.kill = worker.kill

    def ask(self, request: Mapping[str, object], timeout_s: float) -> Mapping[str, object]:
        with self._lock:
            return self._worker.ask(request, timeout_s)


class Overlay:
    """The home of one run. Made before the process has threads; `close` commits it."""

    def __init__(
        self,
        store: Store,
        branch: str,
        workspace: Workspace,
        owner: tuple[int, int],
        *,
        growth: int = 0,
        history: bool = False,
        lent: Lent | None = None,
    ) -> None:
        """`growth` is how many bytes the store may grow by, 0 for any; `history` whether it has a log;
        `lent` has what shows through in the home."""
        self._closing = ExitStack()
        self._owner = owner
        self._history = history
        self.store = store
        self.workspace = workspace
        self._private: PrivateNamespace | None = None
        self._closing.callback(store.close)
        more: dict[str, Any] = {"growth": growth} if growth else {}
        if lent is not None:
            seeds, shares = lent.seeds, lent.in_store()
            more |= {name: mounts for name, mounts in (("seeds", seeds), ("shares", shares)) if mounts}
        try:
            mounted = self._closing.enter_context(store.mount(branch, workspace, self._namespace, **more))
            worker = None if mounted.worker is None else _InTurn(mounted.worker)
            self.mounted: Mounted = mounted._replace(worker=worker)
            self.workspace_fd = self._pin_workspace()
            self._closing.callback(os.close, self.workspace_fd)
        except BaseException:
            self._closing.close()
            raise

    def _namespace(self) -> Namespace:
        self._private = PrivateNamespace(self._owner)
        self._closing.callback(self._private.close)
        return self._private

    def _pin_workspace(self) -> int:
        """The merged workspace by descriptor: the home was written by sandboxes, so no path in it says what
        it leads to. Raises StoreError."""
        name = self.workspace.name
        try:
            if self.mounted.namespace is not None:
                assert self._private is not None
                return self._private.pin(name)
            home = openat.pin(self.mounted.path)
            try:
                return openat.pin_directory(home, name)
            finally:
                os.close(home)
        except OSError as error:
            kinds = {errno.ELOOP: "a link", errno.ENOTDIR: "no directory", errno.ENOENT: "gone"}
            what = kinds.get(error.errno or 0, f"not to be opened ({error.strerror})")
            raise StoreError(
                f"{name!r} in the home, the place of the workspace, is {what}: something was put there "
                "inside; `art db check --repair` mends it, and --name NAME works beside it"
            ) from None

    def make_mount_points(self, mounts: Sequence[Mount], aliases: Sequence[str]) -> None:
        """Make the places of mounts that stand in the home. Raises MountError."""
        from art_core.view import mount_points

        for mount, path in mount_points.in_home(mounts, dict.fromkeys(aliases, self.workspace.name)):
            try:
                if self._private is not None:
                    self._private.make(path, directory=mount.directory)
                    continue
                home = openat.pin(self.mounted.path)
                try:
                    openat.make_beneath(home, path, self._owner, directory=mount.directory)
                finally:
                    os.close(home)
            except OSError as error:
                mount_points.refuse(mount, error, "the home")

    def shown(self, guests: Sequence[str]) -> list[Mount]:
        """The merged workspace at further guest paths."""
        source = f"{self.mounted.path}/{self.workspace.name}"
        return [
            Mount(
                source=source,
                guest=guest,
                writable=True,
                origin=Origin("the workspace"),
                fd=self.workspace_fd,
            )
            for guest in guests
        ]

    def begin(self, argv: Sequence[bytes], trace: str | None, *, snapshot: bool) -> LoggedRun | None:
        """Take down in the store's log that a command starts; None where there is none. Raises StoreError."""
        if not self._history or self.mounted.worker is None:
            return None
        from art_core.plan.run_log import LoggedRun

        return LoggedRun(self.mounted.worker, argv, trace or "", snapshot=snapshot)

    def notes(self) -> Sequence[str]:
        """What the user should know after a run."""
        said = self._told("notes")
        return [str(line) for line in said] if isinstance(said, list) else ()

    def full(self) -> int:
        """How often something could not be written because the store may not grow further."""
        count = self._told("full")
        return count if isinstance(count, int) else 0

    def _told(self, what: str) -> object:
        """The worker's answer; None from one that died: `close` tells that."""
        if self.mounted.worker is None:
            return None
        try:
            return self.mounted.worker.ask({"ask": what}, _ANSWER_S).get(what)
        except (ArtError, OSError):
            return None

    def close(self) -> None:
        """Commit and unmount. Raises StoreError when something was lost. Idempotent."""
        self._closing.close()
