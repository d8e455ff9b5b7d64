"""The record as text, an event a line, as strace(1) prints it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from art_ptrace.process.tracees import Tracee
from art_ptrace.record.output import Output
from art_ptrace.structures import signals
from art_ptrace.syscalls.calls import Call, Found, unfetched
from art_ptrace.values import constants

_COLUMN = 39
"""Where the results begin, as strace has it."""


class Lines:
    """See `writers.RecordWriter`."""

    timed = looks = False

    def __init__(self, output: Output) -> None:
        self._write = output.write

    def call(
        self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None, result: int
    ) -> None:
        line = f"{tracee.prefix}{call.name}({call.text(values, found, result)})".ljust(_COLUMN)
        shown = result if result >= 0 and call.plain else call.result(values, result, found)
        self._write(f"{line} = {shown}\n")

    def unfinished(self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None) -> None:
        text = call.text(values, unfetched(found), None)
        line = f"{tracee.prefix}{call.name}({text})"
        self._write(f"{line:<{_COLUMN}} = ?\n")

    def signal(self, tracee: Tracee, number: int, info: bytes | None) -> None:
        name = constants.SIGNALS.get(number, str(number))
        about = "" if info is None else f" {signals.signal_info(info)}"
        self._write(f"{tracee.prefix}--- {name}{about} ---\n")

    def stopped(self, tracee: Tracee, number: int) -> None:
        self._write(f"{tracee.prefix}--- stopped by {constants.SIGNALS.get(number, str(number))} ---\n")

    def superseded(self, tracee: Tracee, by: int) -> None:
        self._write(f"{tracee.prefix}+++ superseded by execve in pid {by} +++\n")

    def ended(self, tracee: Tracee, status: int) -> None:
        self._write(f"{tracee.prefix}+++ {_end(status)} +++\n")

    def finish(self) -> None: ...


def _end(status: int) -> str:
    if os.WIFEXITED(status):
        return f"exited with {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    core = " (core dumped)" if os.WCOREDUMP(status) else ""
    return f"killed by {constants.SIGNALS.get(number, str(number))}{core}"
