"""Launching what was prepared: with its way out of a filtered network, and its entry in the store's log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from art_core.contracts import Exit
from art_core.errors import FAILURE
from art_core.launch.client import Launcher, LaunchFailed, Streams, Terminal
from art_core.plan.build_run import PlannedLaunch, plan_launch
from art_core.plan.preparation import Preparation

if TYPE_CHECKING:
    from art_core.network.egress import WatchedPassage
    from art_core.plan.run_log import LoggedRun


class Starter:
    """The launches of one sandbox. `launcher` is one that was started early, for the first of them."""

    def __init__(self, preparation: Preparation, launcher: Launcher | None) -> None:
        self.preparation = preparation
        self._launcher = launcher
        self.passages: list[WatchedPassage] = []

    def passage(self, tell: Callable[[str], None] | None) -> WatchedPassage | None:
        """The way out of a filtered network."""
        egress = self.preparation.egress
        if egress is None:
            return None
        passage = egress.open(self.preparation.identity.host_ids, tell)
        self.passages.append(passage)
        return passage

    def launch(
        self,
        streams: Streams,
        commands_fd: int,
        *,
        argv: Sequence[bytes] = (),
        terminal: bool = False,
        state: Terminal | None = None,
        passage: WatchedPassage | None = None,
        out_fd: int | None = None,
    ) -> tuple[PlannedLaunch, Launcher]:
        """Launch; where root's workspace cannot be staged, once more without."""
        held = self.preparation.held
        door_fd = -1 if passage is None else passage.door_fd
        limits = None if held is None else held.order
        if limits is not None and commands_fd >= 0:
            limits = {**limits, "timeout": None}  # It is each command's.
        while True:
            prepared = plan_launch(
                self.preparation, argv, terminal=terminal, door_fd=door_fd, commands_fd=commands_fd
            )
            launcher = self._launcher or self._new_launcher()
            self._launcher = None
            try:
                launcher.order(
                    prepared.launch,
                    streams,
                    stage=prepared.stage,
                    identity=prepared.identity,
                    terminal=state,
                    worker=self.preparation.worker_fd,
                    limits=limits,
                    record=out_fd,
                )
            except BaseException as error:
                launcher.close()
                staging = isinstance(error, LaunchFailed) and error.step == "stage"
                if not staging or not self.preparation.stop_mapping():
                    raise
            else:
                return prepared, launcher

    def _new_launcher(self) -> Launcher:
        recording = self.preparation.recording
        launcher = Launcher(traced=recording is not None)
        if recording is not None:
            launcher.trace(recording.plan)
        return launcher

    def begun(self, argv: Sequence[bytes]) -> LoggedRun | None:
        """The command in the store's log."""
        overlay, recording = self.preparation.overlay, self.preparation.recording
        if overlay is None:
            return None
        trace = None if recording is None else recording.log
        return overlay.begin(argv, trace, snapshot=self.preparation.options.snapshot)

    def close(self) -> None:
        """Idempotent."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None
        for passage in self.passages:
            passage.close()


def not_started(logged: LoggedRun | None, error: BaseException) -> None:
    """Tell the log why there was no command."""
    if logged is not None:
        logged.ended(Exit(FAILURE, "isolation", str(error)), ())
