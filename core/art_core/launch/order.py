"""What the supervisor tells its launcher, and how: descriptors in batches, then one marshalled order."""

from __future__ import annotations

import signal
from typing import Any, NamedTuple

UNTRACED, TRACED = b".", b"t"
"""What a launcher is told first: whether it will be told how to trace."""


class Order(NamedTuple):
    """What to launch. Descriptors are named by their place in what was sent before."""

    argv: list[str]
    env: dict[bytes, bytes]
    descriptors: dict[int, int]
    """Number in the launched process -> place of the descriptor."""
    report: list[int]
    """Numbers at which the launched process gets the report socket."""
    stage: list[int]
    """Places of the sources to stage: what is staged takes their places."""
    identity: tuple[int, int] | None
    """The (uid, gid) to become; None keeps the launcher's."""
    terminal: int
    """Place of the caller's terminal, -1 without one."""
    terminal_state: list[Any]
    """What to put it back to, as termios.tcgetattr gives it."""
    enter: list[int]
    """Places of the mount namespace to be in, and of the user namespace that it belongs to; empty
    for one of its own."""
    worker: int
    """Place of the pidfd of the process that serves the home, -1 without one."""
    limits: dict[str, Any]
    """What the launcher holds: `groups`, a limit by its name, in `places` (`cgroups.Places`), and
    `timeout`, in seconds."""
    record: int
    """Place of the descriptor that the record of a traced run goes to, -1 without one."""
    execs: int
    """How many programs are executed before the record begins."""


class Step(NamedTuple):
    """The step before the launch that failed, with its errno; an empty name when it was launched."""

    name: str
    errno: int


PASSED_ON = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class Outcome(NamedTuple):
    """How it went: a wait status, all that was reported, what the isolation printed, and the signal
    that was to end it before the command ran, or 0. `untraced` is why the tracer ended first, and
    whether that was a failure of its plugin."""

    status: int
    reports: list[dict[str, Any]]
    diagnostics: bytes
    early_signal: int = 0
    reached: dict[str, int] | None = None
    """How often each limit was reached."""
    untraced: tuple[str, bool] | None = None
