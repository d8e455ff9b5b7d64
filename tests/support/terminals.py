"""Programs of a caller on a new terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from tests.support.callers import Caller

PROMPT = "inside> "


@contextmanager
def terminal(caller: Caller, *argv: str | Path, env: dict[str, str] | None = None) -> Iterator[pexpect.spawn]:
    """A program of the caller's on a new terminal."""
    words = caller.command(argv, {"TERM": "xterm", "PS1": PROMPT, **(env or {})})
    with pexpect.spawn(words[0], words[1:], cwd=caller.place, timeout=20, dimensions=(24, 80)) as child:
        child.delaybeforesend = None
        yield child


def ended(child: pexpect.spawn) -> int:
    child.expect(pexpect.EOF)
    child.close()
    status: int = child.exitstatus if child.exitstatus is not None else 128 + child.signalstatus
    return status
