"""What the end of a command means for the user, and what there is to be told after it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from art_core.contracts import Exit
from art_core.errors import FAILURE, NOT_FOUND

if TYPE_CHECKING:
    from art_core.plan.build_run import PlannedLaunch
    from art_core.plan.preparation import Preparation


def exit_of(preparation: Preparation, outcome: Any, planned: PlannedLaunch) -> Exit:
    """What an outcome (`launcher.Outcome`) means for the user."""
    if outcome.untraced is not None and preparation.recording is not None:
        return Exit(FAILURE, "tracer", preparation.recording.failure(outcome.untraced))
    with preparation.plugins.guard("isolation", preparation.isolation_name):
        ended = preparation.isolation.exit(outcome.status, outcome.reports, outcome.diagnostics)
    if preparation.held is not None:
        ended = preparation.held.end(ended, outcome.reached or {})
    if ended.by in ("isolation", "signal") and (early := outcome.early_signal):
        return Exit(128 + early, "signal", f"signal {early} ended it before the command ran")
    if ended.by != "exec":
        return ended
    name, top = os.fsdecode(planned.argv[0]), preparation.workspace.real
    why = f"{name!r}: not found in the sandbox" if ended.code == NOT_FOUND else ended.why
    from art_core.agents.hints import Hints

    hint = Hints(preparation).not_found(name.replace(f"{preparation.guest}/", f"{top}/", 1))
    return ended._replace(why=f"{why}; {hint}" if hint else why)


def notices(preparation: Preparation, *, failed: bool) -> list[str]:
    """What a user should be told after a run."""
    lines = [] if preparation.left_out is None else [f"left out: {preparation.left_out}"]
    lines += [] if preparation.held is None else preparation.held.notices(preparation.overlay)
    if preparation.lent is not None:
        lines += preparation.lent.notices(kept=preparation.overlay is not None)
    for file, name in preparation.unread_files.items():
        if os.path.lexists(f"{preparation.workspace.real}/{file}"):
            missed = preparation.plugins.absence("mount_source", name)
            lines.append(f"{file} of the workspace is not read: {missed}")
    return lines if preparation.watch is None else [*lines, *preparation.watch.notices(failed=failed)]
