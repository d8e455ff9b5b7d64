"""Waiting for what is traced, soon and fairly."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

from art_ptrace.process import stops

_TURNS = range(50 if len(os.sched_getaffinity(0)) > 1 else 0)
_AT_ONCE = stops.ALL_CHILDREN | os.WNOHANG
_UNFAIR = 8
"""So many stops are taken as they come before all that wait are looked for."""


def events() -> Iterator[tuple[int, int]]:
    """The stops and ends of all threads, as waitpid(2) gives them, until there are none any more.

    waitpid(2) looks for the first one that is ready, in the order in which they were born: the old ones of a
    crowd would never let a young one through. So now and then, and all the time while several are ready,
    everyone who waits is taken before anyone goes on.
    """
    waiting: deque[tuple[int, int]] = deque()
    taken = 0
    try:
        while True:
            yield _next()
            taken += 1
            if taken < _UNFAIR:
                continue
            taken = 0
            while (event := os.waitpid(-1, _AT_ONCE))[0]:
                waiting.append(event)
            if waiting:
                taken = _UNFAIR
            while waiting:
                yield waiting.popleft()
    except ChildProcessError:
        yield from waiting


def _next() -> tuple[int, int]:
    """The next one. Raises ChildProcessError.

    Before it sleeps it gives the processor away some times: a program that makes calls stops again soon,
    and waking this process on an idle processor takes longer than that (docs/decisions.md). Where there is
    one processor alone, the program has it meanwhile.
    """
    for _ in _TURNS:
        os.sched_yield()
        event = os.waitpid(-1, _AT_ONCE)
        if event[0]:
            return event
    return os.waitpid(-1, stops.ALL_CHILDREN)
