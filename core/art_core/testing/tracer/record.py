"""What a tracer wrote, read back: text as docs/tracing.md describes it, a completed event a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from art_core.testing.rules import Rule

_LINE = re.compile(r"(\d+)(?:/\d+)? +(.+)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(?: (.+))?")
_END = re.compile(r"\+\+\+ (exited with \d+|killed by SIG\w+(?: \(core dumped\))?|superseded by .+) \+\+\+")
_SIGNAL = re.compile(r"--- (?:stopped by )?SIG\w+(?: \{.*\})? ---")


class RecordedCall(NamedTuple):
    """A line about a call: the thread that made it, by the host's number, and how it ended. `more` is
    what stands behind the result: an errno's name first, if it failed."""

    thread: int
    name: str
    arguments: str
    result: str
    more: str

    @property
    def failed(self) -> str:
        """The errno's name; empty when it did not fail."""
        return self.more.partition(" ")[0] if self.result == "-1" else ""


class End(NamedTuple):
    """A line about the end of a thread, and which line it is."""

    thread: int
    how: str
    place: int


class Record:
    """A whole record. Breaks the rule when a line of it is none of those that there are."""

    def __init__(self, rule: Rule, content: bytes) -> None:
        self._rule = rule
        self.content = content
        self.calls: list[RecordedCall] = []
        self.ends: list[End] = []
        self.signals: list[str] = []
        self.threads: list[int] = []
        """In the order in which they first appear."""
        self._last: dict[int, int] = {}
        rule.holds(content, "the record is empty")
        rule.holds(content.endswith(b"\n"), f"the last line is not whole: {content[-200:]!r}")
        for place, line in enumerate(content[:-1].decode("utf-8", "backslashreplace").split("\n")):
            self._take(place, line)

    def _take(self, place: int, line: str) -> None:
        known = _LINE.fullmatch(line)
        if known is None:
            self._rule.broken(f"a line begins with no process: {line!r}")
        thread, rest = int(known[1]), known[2]
        if thread not in self._last:
            self.threads.append(thread)
        self._last[thread] = place
        if call := _CALL.fullmatch(rest):
            self.calls.append(RecordedCall(thread, call[1], call[2], call[3], call[4] or ""))
        elif end := _END.fullmatch(rest):
            self.ends.append(End(thread, end[1], place))
        elif _SIGNAL.fullmatch(rest):
            self.signals.append(rest)
        else:
            self._rule.broken(f"a line is neither a call, a signal nor an end: {line!r}")

    def named(self, *names: str) -> Sequence[RecordedCall]:
        return [call for call in self.calls if call.name in names]

    def making(self, path: str) -> Sequence[RecordedCall]:
        """The calls that made a directory."""
        return [call for call in self.named("mkdir", "mkdirat") if f'"{path}"' in call.arguments]

    def running(self, program: str) -> Sequence[RecordedCall]:
        """The calls that executed a program, found by its name without directories."""
        wanted = re.compile(rf'"(?:[^"]*/)?{re.escape(program)}"')
        execs = self.named("execve", "execveat")
        return [call for call in execs if call.result == "0" and wanted.search(call.arguments.split(",")[0])]

    def endless(self) -> Sequence[int]:
        """Threads whose last line does not tell their end."""
        told = {(end.thread, end.place) for end in self.ends}
        return [thread for thread, place in self._last.items() if (thread, place) not in told]
