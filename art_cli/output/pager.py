"""Output that may be long: through a pager on a terminal, as it is everywhere else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import BinaryIO

from art_cli.output.console import complain

_DEFAULT = "less"
_DEFAULTS = {"LESS": "FRX", "LV": "-c"}
"""What git tells the pagers that it knows, where the user told them nothing (git-var(1), GIT_PAGER)."""
_SHELL = re.compile(r"[|&;<>()$`\\\"'*?\[#~=%\n]")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


class Page:
    """Where lines are written. `colour` says whether they may have colours."""

    def __init__(self, out: BinaryIO, *, colour: bool, bare: bool = False) -> None:
        """`bare`: a terminal reads it with no pager between, so nothing else may drive it."""
        self._out = out
        self._bare = bare
        self.colour = colour

    def line(self, text: bytes, colour: str = "") -> None:
        """Write a line without its end, in a colour (the parameters of SGR, as in `1;31`)."""
        self._out.write(self._shown(text, colour) + b"\n")

    def text(self, text: bytes, colour: str = "") -> None:
        """Write something that the user shall see at once, and go on in the same line."""
        self._out.write(self._shown(text, colour))
        self._out.flush()

    def _shown(self, text: bytes, colour: str) -> bytes:
        if self._bare:
            text = _CONTROL.sub(lambda found: b"^%c" % (found[0][-1] ^ 0x40 & 0x7F), text)
        return b"\x1b[%sm%s\x1b[m" % (colour.encode(), text) if colour and self.colour else text


def coloured(env: Mapping[str, str] = os.environ) -> bool:
    """Whether standard output is a terminal that shows colours, and nobody asked for none (no-color.org)."""
    return sys.stdout.isatty() and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def _pager() -> str:
    for name in ("GIT_PAGER", "PAGER"):
        if name in os.environ:
            return "" if os.environ[name].strip() == "cat" else os.environ[name].strip()
    return _DEFAULT if shutil.which(_DEFAULT) else ""


def _started(pager: str) -> subprocess.Popen[bytes] | None:
    """The pager; None where none is wanted, or it is not there."""
    # A shell in between would be ended by an interrupt that the pager takes for itself.
    words = ["/bin/sh", "-c", pager] if _SHELL.search(pager) else pager.split()
    if not words:
        return None
    try:
        return subprocess.Popen(words, stdin=subprocess.PIPE, env={**_DEFAULTS, **os.environ})
    except OSError as error:
        complain(f"the pager {words[0]!r} cannot be started: {error.strerror}; GIT_PAGER and PAGER name one")
        return None


@contextmanager
def paged(*, wanted: bool = True) -> Iterator[Page]:
    """A page that is read through a pager where standard output is a terminal. Who leaves the pager early
    ends the work in the block, and nothing else."""
    sys.stdout.flush()
    terminal = wanted and sys.stdout.isatty()
    reader = _started(_pager()) if terminal else None
    if reader is None:
        yield Page(sys.stdout.buffer, colour=wanted and coloured(), bare=terminal)
        sys.stdout.buffer.flush()
        return
    assert reader.stdin is not None
    try:
        with suppress(BrokenPipeError):
            yield Page(reader.stdin, colour=coloured())  # type: ignore[arg-type]
    finally:
        # What an interrupt means is up to the pager from now on.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(BrokenPipeError):
            reader.stdin.close()
        reader.wait()
        signal.signal(signal.SIGINT, before)
