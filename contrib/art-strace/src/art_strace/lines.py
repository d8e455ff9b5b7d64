"""What strace prints, on its way to the record: without the isolation's calls, and a call on one line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_SUPERSEDED = re.compile(r"\+\+\+ superseded by execve in pid (\d+) \+\+\+")
_GLUED = re.compile(r".*?(\d+ +\+\+\+ superseded by execve in pid \d+ \+\+\+)")
"""What strace 6.1 may print when a thread executes a program: a part of the call again, then this."""
_TAKEN_OVER = re.compile(r"(.*) <pid changed to (\d+) \.\.\.>")
_EXEC = re.compile(r"(execve(?:at)?)\(")
_SUCCEEDED = re.compile(r"\) += 0$")
_NEVER_BACK = re.compile(r" <unfinished \.\.\.>(\) += \?)$")
_CUT_SHORT = ") = ?"


class Lines:
    """Takes strace's lines in their order and gives the record's.

    Nothing is recorded before `execs` programs were executed: that is the isolation, and the processes
    that were there by then are its own. `execs_wanted` are the calls of the two that execute programs
    that belong into the record; strace tells of both, since they are counted here.
    """

    def __init__(self, execs: int, execs_wanted: Collection[str]) -> None:
        self._execs_left = execs + 1
        self._execs_wanted = execs_wanted
        self._begun: dict[str, str] = {}
        self._isolation: set[str] = set()

    def take(self, line: str) -> Iterator[str]:
        """The record's lines, none or more, that `line` completes; all without an end."""
        process, _, text = line.partition(" ")
        text = text.lstrip()
        if text.endswith(_UNFINISHED):
            self._begun[process] = text.removesuffix(_UNFINISHED)
        elif glued := _GLUED.fullmatch(text):
            yield from self.take(glued[1])
        elif resumed := _RESUMED.fullmatch(text):
            yield from self._told(process, self._begun.pop(process, ""), resumed[1])
        elif taken_over := _TAKEN_OVER.fullmatch(text):
            yield from self._cut_short(taken_over[2])
            self._begun[taken_over[2]] = taken_over[1]
        elif superseded := _SUPERSEDED.fullmatch(text):
            # The thread that executed a program goes on under the number of its process.
            yield from self._told(process, text)
            if superseded[1] in self._begun:
                self._begun[process] = self._begun.pop(superseded[1])
        elif text.startswith("+++ "):
            yield from self._cut_short(process)
            yield from self._told(process, text)
            self._isolation.discard(process)
        elif not text.startswith("[ "):  # What strace thinks of a process.
            yield from self._told(process, _NEVER_BACK.sub(r"\1", text))

    def _cut_short(self, process: str) -> Iterator[str]:
        """A call that never came back."""
        if process in self._begun:
            yield from self._told(process, self._begun.pop(process), _CUT_SHORT)

    def _told(self, process: str, begun: str, rest: str = "") -> Iterator[str]:
        """A whole event, if it is one of the record."""
        if not begun:
            return
        text = begun + rest
        executed = _EXEC.match(text)
        if self._execs_left > 0:
            self._isolation.add(process)
            if not executed or not _SUCCEEDED.search(text):
                return
            self._execs_left -= 1
            if self._execs_left > 0:
                return
            self._isolation.remove(process)
        if process not in self._isolation and (not executed or executed[1] in self._execs_wanted):
            yield f"{process} {text}"
