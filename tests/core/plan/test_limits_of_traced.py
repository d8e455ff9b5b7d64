"""Limits hold for what is traced, and not for the process that traces."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.limited_callers import Limited


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def limited(pid: int) -> bool:
    """Whether a process is in a group that ART made for a sandbox."""
    return any(
        part.startswith("art-")
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        for part in line.split(":", 2)[2].split("/")
    )


def test_the_tracer_is_not_limited_with_the_command(grouped: Limited) -> None:
    log = grouped.workspace.parent / "trace.log"
    with grouped.start(
        "--pids", "30", "--memory", "100M", "--trace-log", log, "--", "sh", "-c", "echo ready; sleep 60"
    ) as process:
        pid = process.pid
        while Path(f"/proc/{pid}/comm").read_text() not in ("art\n", "python3\n"):
            (pid,) = children(pid)
        (launcher,) = children(pid)
        (tracer,) = children(launcher)
        (isolation,) = children(tracer)
        assert (limited(tracer), limited(isolation)) == (False, True)
        os.kill(pid, signal.SIGTERM)
        assert process.wait(20) in (143, -signal.SIGTERM)
    assert log.read_text().endswith("+++\n")


def test_a_command_whose_time_is_over_has_a_whole_record(grouped: Limited) -> None:
    log = grouped.workspace.parent / "trace.log"
    done = grouped.art("--timeout", "0.5", "--trace-log", log, "--", "sleep", "60")
    assert done.returncode == 124, done.stderr
    assert log.read_text().endswith("+++ killed by SIGTERM +++\n")
