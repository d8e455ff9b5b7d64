"""The record as JSON, an object a line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence

from art_ptrace.process.tracees import Tracee
from art_ptrace.record.output import Output
from art_ptrace.structures import signals
from art_ptrace.syscalls.calls import Call, Found, unfetched
from art_ptrace.values import constants


class Objects:
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
