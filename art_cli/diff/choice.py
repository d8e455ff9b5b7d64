"""Choosing what a pull carries, one file after the other, with what changed in it shown."""

from __future__ import annotations

import sys

from art_cli.diff.patches import Patches, pairs, text_of
from art_cli.output.pager import Page, coloured
from art_cli.output.quotes import readable
from art_cli.stores.transfer import TransferPrinter
from art_core.transfer.changes import Change, host_and_point, what_changed
from art_core.transfer.decisions import Decision
from art_core.transfer.host_files import HostTree
from art_core.trees import TreeReader

_HELP = """\
y - carry this one
n - leave it; a later pull offers it again
a - carry this one and all that follow
d - leave this one and all that follow
q - end: what was chosen until now is carried
? - print this
"""
_QUESTION, _HELPING = "1;34", "1;31"


class ChangeChooser:
    """Asks for each change. See `pull.Confirm`."""

    def __init__(self, telling: TransferPrinter) -> None:
        self._telling = telling
        self._rest: bool | None = None
        """The answer to all questions that are left."""
        self._page = Page(sys.stdout.buffer, colour=coloured(), bare=sys.stdout.isatty())

    def __call__(self, decision: Decision, host: HostTree, tree: TreeReader) -> bool:
        if self._rest is not None:
            return self._rest
        self._telling.clear()
        sys.stdout.flush()
        return self._answer(self._show(decision, host, tree))

    def _show(self, decision: Decision, host: HostTree, tree: TreeReader) -> str:
        """Print what changed; return the question."""
        sides = host_and_point(host, tree)
        before, after = decision.present, decision.entry
        change = Change(before, after, what_changed(before, after, sides))
        some = pairs(change, sides)
        for pair in some:
            try:
                Patches(self._page).write(pair, text_of(pair) if pair.differ else None)
            except OSError as error:
                self._page.line(f"{readable(change.path)}: it cannot be read: {error.strerror}".encode())
        slash = "/" * ("dir" in [entry.kind for entry in (before, after) if entry is not None])
        what = ", ".join(change.what) or "nothing else"
        if not some or change.what == ("renamed",):
            self._page.line(f"{readable(change.path)}{slash}: {what}".encode(), "1")
        if after is None:
            return f"Delete {readable(change.path)}{slash} on the host"
        return f"Carry {readable(change.path)}{slash} to the host"

    def _answer(self, question: str) -> bool:
        while True:
            self._telling.asking = True
            try:
                self._page.text(f"{question} [y,n,q,a,d,?]? ".encode(), _QUESTION)
                line = sys.stdin.readline()
            finally:
                self._telling.asking = False
            if not line:
                self._page.line(b"")
            answer = line.strip().lower()[:1] if line else "q"
            if answer in ("a", "d", "q"):
                self._rest = answer == "a"
                return self._rest
            if answer in ("y", "n"):
                return answer == "y"
            for help in _HELP.splitlines():
                self._page.line(help.encode(), _HELPING)
