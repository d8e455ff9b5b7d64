"""What a record is written by: text, JSON or a summary, each loaded only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from art_core.contracts import TraceRequest
from art_ptrace.process.tracees import Tracee
from art_ptrace.record.output import Output
from art_ptrace.syscalls.calls import Call, Found


class RecordWriter(Protocol):
    """Takes what happened, in the order in which it ended."""

    timed: bool
    """It wants to know when a call began."""
    looks: bool
    """It looks at the program itself, which has to stand still while a call is written."""

    def call(
        self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None, result: int
    ) -> None:
        """A call ended."""

    def unfinished(self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None) -> None:
        """A call will never end: the thread ended in it."""

    def signal(self, tracee: Tracee, number: int, info: bytes | None) -> None:
        """A signal reached a thread."""

    def stopped(self, tracee: Tracee, number: int) -> None:
        """A thread stopped with its process (SIGTSTP and its kin)."""

    def superseded(self, tracee: Tracee, by: int) -> None:
        """A thread ended because another one of its process executed a program."""

    def ended(self, tracee: Tracee, status: int) -> None:
        """A thread ended, with a wait status."""

    def finish(self) -> None:
        """All has ended."""


def load(request: TraceRequest) -> Callable[[Output], RecordWriter]:
    """The kind of writer that a request asks for."""
    as_json = request.format == "jsonl"
    if request.summary:
        from art_ptrace.record.summary import Summary

        return partial(Summary, as_json=as_json)
    if as_json:
        from art_ptrace.record.jsonl import Objects

        return Objects
    from art_ptrace.record.text import Lines

    return Lines
