"""The record as text, as strace(1) prints it, and as JSON, an object a line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Protocol

from art_ptrace import constants
from art_ptrace.calls import Call, Found, unfetched
from art_ptrace.output import Output
from art_ptrace.structures import signals
from art_ptrace.tracees import Tracee

_COLUMN = 39
"""Where the results begin, as strace has it."""


class Writer(Protocol):
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


class Text:
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


class Json:
    """Objects with `ts` (nanoseconds since the epoch), `pid`, `tid` (the sandbox's), `host_pid`, `host_tid`
    and `comm`; for a call `syscall`, `args`, `ret`, `errno` and `duration` (nanoseconds)."""

    timed, looks = True, False

    def __init__(self, output: Output) -> None:
        self._write = output.write
        # Monotonic, so that no clock that is set makes a duration negative.
        self._epoch = time.time_ns() - time.monotonic_ns()

    def _put(self, tracee: Tracee, at: int, **more: object) -> None:
        process = tracee.process
        about = {
            "ts": self._epoch + at,
            "pid": process.inside,
            "tid": tracee.inside,
            "host_pid": process.pid,
            "host_tid": tracee.tid,
            "comm": process.comm,
        }
        self._write(json.dumps({**about, **more}) + "\n")

    def call(
        self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None, result: int
    ) -> None:
        now = time.monotonic_ns()
        failed = -4096 < result < 0
        self._put(
            tracee,
            tracee.began,
            syscall=call.name,
            args=call.arguments(values, found, result),
            ret=-1 if failed else result,
            errno=constants.ERRNO.get(-result, str(-result)) if failed else None,
            duration=now - tracee.began,
        )

    def unfinished(self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None) -> None:
        arguments = call.arguments(values, unfetched(found), None)
        self._put(
            tracee, tracee.began, syscall=call.name, args=arguments, ret=None, errno=None, duration=None
        )

    def signal(self, tracee: Tracee, number: int, info: bytes | None) -> None:
        about = None if info is None else signals.signal_info(info)
        self._put(tracee, time.monotonic_ns(), signal=constants.SIGNALS.get(number, str(number)), info=about)

    def stopped(self, tracee: Tracee, number: int) -> None:
        self._put(tracee, time.monotonic_ns(), stopped=constants.SIGNALS.get(number, str(number)))

    def superseded(self, tracee: Tracee, by: int) -> None:
        self._put(tracee, time.monotonic_ns(), superseded_by=by)

    def ended(self, tracee: Tracee, status: int) -> None:
        if os.WIFEXITED(status):
            self._put(tracee, time.monotonic_ns(), exited=os.WEXITSTATUS(status))
        else:
            number = os.WTERMSIG(status)
            self._put(tracee, time.monotonic_ns(), killed=constants.SIGNALS.get(number, str(number)))

    def finish(self) -> None: ...
