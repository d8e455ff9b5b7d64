"""The wait loop: seize the launched process, follow all it starts, record their calls.

What would be gone is fetched while the program stands still. Stops are those of ptrace(2).
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from signal import SIGTRAP

from art_core.contracts import Child
from art_core.errors import ArtError
from art_ptrace.process import stops
from art_ptrace.process.tracees import Tracee, Tracees
from art_ptrace.process.waits import events
from art_ptrace.record.output import Output
from art_ptrace.record.writers import RecordWriter
from art_ptrace.syscalls import numbers
from art_ptrace.syscalls.calls import Call, Found, call
from art_ptrace.syscalls.selection import Selection

_EXECS = frozenset({"execve", "execveat"})
_MOST_ATTEMPTS = 64
_SAYS_S = 0.02
_STOPPED = 0x7F
_EXEC_STOP = SIGTRAP | stops.EVENT_EXEC << 8
_SECCOMP_STOP = SIGTRAP | stops.EVENT_SECCOMP << 8
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000


class Loop:
    """Follows one launched process and all that comes of it.

    Nothing is recorded before the child's `execs` programs were executed: that is the isolation. The next
    one is the command, and whoever appears from then on is its. A process that the isolation forks later,
    in a sandbox that stays open, is the isolation's too until it executes a program.
    """

    def __init__(
        self, child: Child, selection: Selection, writer: RecordWriter, output: Output, machine: str
    ) -> None:
        self._child = child
        self._selection = selection
        self._everything = selection.names is None
        self._writer = writer
        self._output = output
        self._native, _ = numbers.native(machine)
        self._calls: dict[int, Call] = {}
        self._execs_left = child.execs + 1
        self._tracees = Tracees()
        self._isolation: set[int] = set()
        """What the isolation forked and was not met yet."""
        self._status = 0

    def run(self) -> int:
        """Trace until nothing is left; return the launched process's wait status."""
        failed = stops.seize(self._child.pid)
        if failed not in (0, errno.ESRCH):  # When it ended by itself, the launcher knows why.
            raise ArtError(f"the sandbox cannot be traced: {os.strerror(failed)}; `art doctor` tells more")
        self._child.release()
        by_tid = self._tracees.by_tid
        syscall_stop, seccomp_stop = stops.SYSCALL_STOP, _SECCOMP_STOP
        for tid, status in events():
            tracee = by_tid.get(tid)
            if status & 0xFF != _STOPPED:
                self._ended(tid, tracee, status)
                continue
            if tracee is None:
                tracee = self._tracees.add(tid, recorded=self._execs_left <= 0)
                if tracee.recorded and self._is_isolations(tracee):
                    tracee.recorded = False
            stop = status >> 8
            if stop == syscall_stop:
                self._syscall(tracee)
            elif stop == seccomp_stop:
                self._selected(tracee)
            elif stop >> 8 == stops.EVENT_STOP:
                self._group_stop(tracee, stop & 0xFF)
            elif stop == _EXEC_STOP:
                self._executed(tid)
            elif stop >> 8:
                self._forked(tracee)
            else:
                self._signal(tracee, stop)
        self._writer.finish()
        self._output.flush()
        return self._status

    # --- stops ---------------------------------------------------------------------------------

    def _go_on(self, tracee: Tracee, signal: int = 0) -> None:
        """Let a thread run until the next stop that matters. It may have been killed meanwhile."""
        wanted = tracee.call is not None or (self._everything and tracee.recorded)
        stops.request(stops.SYSCALL if wanted else stops.CONT, tracee.tid, 0, signal)

    def _syscall(self, tracee: Tracee) -> None:
        """A call begins or ends."""
        request, tid = stops.request, tracee.tid
        if request(stops.GET_SYSCALL_INFO, tid, stops.INFO_SIZE, stops.INFO_AT) < 0:
            return  # It was killed; its end comes next.
        call = tracee.call
        if call is None:
            op, architecture, number = stops.entry(stops.info)
            if op == stops.ENTRY and tracee.recorded:
                self._begins(tracee, self._call(architecture, number), stops.values(stops.info))
            elif op:
                self._go_on(tracee)
            return  # Else it is not there any more: another thread executed, and has its id now.
        op, result = stops.result(stops.info)
        if op == stops.EXIT:
            tracee.call = None
            found = tracee.found
            if call.after is not None:
                found = {**(found or {}), **call.after(tracee.read, tracee.values, result)}
            if self._writer.looks:
                self._ends(tracee, call, found, result)
            request(stops.SYSCALL if tracee.recorded and self._everything else stops.CONT, tid, 0, 0)
            if not self._writer.looks:
                self._ends(tracee, call, found, result)
        elif op:
            self._go_on(tracee)

    def _begins(self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None = None) -> None:
        """Fetch what stands in memory, if that was not done yet, and let the call be made."""
        if found is None and call.before is not None:
            found = call.before(tracee.read, values)
        if self._writer.timed:
            tracee.began = time.monotonic_ns()
        stops.request(stops.SYSCALL, tracee.tid, 0, 0)
        tracee.values, tracee.found = values, found
        if call.never_returns:
            self._writer.unfinished(tracee, call, values, found)
        else:
            tracee.call = call

    def _ends(self, tracee: Tracee, call: Call, found: Found | None, result: int) -> None:
        if tracee.recorded:
            self._writer.call(tracee, call, tracee.values, found, result)
        else:
            self._tried(tracee, call, tracee.values, found, result)

    def _call(self, architecture: int, number: int) -> Call:
        key = number if architecture == self._native else architecture << 32 | number
        found = self._calls.get(key)
        if found is None:
            if len(self._calls) > 1024:  # A program may make up numbers.
                self._calls.clear()
            found = self._calls[key] = call(architecture, number)
        return found

    def _selected(self, tracee: Tracee) -> None:
        """The filter stopped a call, right before it is made."""
        if tracee.call is not None:  # Seen at its beginning already.
            self._go_on(tracee)
            return
        request, tid = stops.request, tracee.tid
        if request(stops.GET_SYSCALL_INFO, tid, stops.INFO_SIZE, stops.INFO_AT) < 0:
            return
        _, architecture, number = stops.entry(stops.info)
        values = stops.values(stops.info)
        call = self._call(architecture, number)
        if not (call.name in _EXECS if not tracee.recorded else self._selection.holds(call.name)):
            request(stops.CONT, tid, 0, 0)
            return
        found = None
        if tracee.recorded and call.name in self._selection.partly:
            found = call.before(tracee.read, values) if call.before is not None else {}
            if not _writes(call, values, found):
                request(stops.CONT, tid, 0, 0)
                return
        self._begins(tracee, call, values, found)

    def _forked(self, tracee: Tracee) -> None:
        """A fork or a clone: its child tells of itself, perhaps before."""
        if not tracee.recorded and self._execs_left <= 0:
            child = stops.event_message(tracee.tid)
            if child not in self._tracees.by_tid:
                self._isolation.add(child)
        self._go_on(tracee)

    def _is_isolations(self, tracee: Tracee) -> bool:
        """Whether the isolation forked it. Its word is waited for, since it stops right after; what lost its
        parent before that stop has another one now, which says nothing."""
        if tracee.tid in self._isolation:
            self._isolation.discard(tracee.tid)
            return True
        parent = self._tracees.by_tid.get(tracee.parent)
        until = time.monotonic() + _SAYS_S
        while parent is not None and not parent.recorded and time.monotonic() < until:
            if stops.forked(parent.tid) == tracee.tid:
                return True
            os.sched_yield()
        return False

    def _executed(self, tid: int) -> None:
        tracee, superseded = self._tracees.execute(tid, stops.event_message(tid) or tid)
        if superseded is not None and superseded.recorded:
            self._end_call(superseded)
            self._writer.superseded(superseded, tracee.inside)
        if not tracee.recorded:
            self._execs_left = max(0, self._execs_left - 1)
            tracee.recorded = not self._execs_left
            tracee.attempts.clear()
            if self._execs_left or not self._shown_exec():
                tracee.call = None
        self._go_on(tracee)

    def _shown_exec(self) -> bool:
        """Whether the exec that began the command is wanted."""
        return self._selection.holds("execve")

    def _tried(
        self, tracee: Tracee, call: Call, values: Sequence[int], found: Found | None, result: int
    ) -> None:
        """An exec failed before the command began: it is the command's if no other succeeds."""
        if self._execs_left <= 1 and len(tracee.attempts) < _MOST_ATTEMPTS and self._shown_exec():
            tracee.attempts.append((call, values, found, result, tracee.began))

    def _group_stop(self, tracee: Tracee, number: int) -> None:
        if number not in stops.GROUP_STOPS:
            self._go_on(tracee)  # A thread that begins, or one that was continued.
            return
        stops.request(stops.LISTEN, tracee.tid, 0, 0)
        if tracee.recorded:
            self._writer.stopped(tracee, number)

    def _signal(self, tracee: Tracee, number: int) -> None:
        info = stops.signal_info(tracee.tid) if tracee.recorded else None
        self._go_on(tracee, number)
        if tracee.recorded:
            self._writer.signal(tracee, number, info)

    def _ended(self, tid: int, tracee: Tracee | None, status: int) -> None:
        self._isolation.discard(tid)  # It was killed before it was met: its number may come again.
        if tid == self._child.pid:
            self._status = status
        if tracee is None:
            if self._execs_left > 0 or tid == self._child.pid:
                return
            tracee = self._tracees.add(tid, recorded=True)
        if tracee.attempts and not tracee.recorded:
            for call, values, found, result, began in tracee.attempts:
                tracee.began = began
                self._writer.call(tracee, call, values, found, result)
            self._writer.ended(tracee, status)
        elif tracee.recorded:
            self._end_call(tracee)
            self._writer.ended(tracee, status)
        self._tracees.remove(tracee)

    def _end_call(self, tracee: Tracee) -> None:
        """A thread that is gone does not come back from its call."""
        if tracee.call is not None:
            self._writer.unfinished(tracee, tracee.call, tracee.values, tracee.found)


def _writes(call: Call, values: Sequence[int], found: Found | None) -> bool:
    """Whether a call of the preset `agent` that says in memory what it is about changes or reaches
    something; what the filter could see, it has seen."""
    if call.name == "openat2":
        how = found.get(2) if found else None
        return not isinstance(how, bytes) or bool(int.from_bytes(how[:8], "little") & _WRITING)
    if call.name == "sendmsg":
        message = found.get(1) if found else None
        return not isinstance(message, tuple) or bool(message[0])
    if call.name in ("open", "openat"):
        return bool(values[1 if call.name == "open" else 2] & _WRITING)
    return True
