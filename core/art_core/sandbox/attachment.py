"""Attaching a launched command to the caller's own streams.

The command gets a PTY or pipes, never a caller's descriptor.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from art_core.launch.client import Launcher, Streams, Terminal
from art_core.sandbox import relay
from art_core.sandbox.relay import Channel, Relay


def is_terminal(fd: int) -> bool:
    """isatty(3), False also for a descriptor that is closed."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def wants_terminal(interactive: bool | None) -> bool:
    """Whether a command on the caller's 0 and 1 gets a PTY; `interactive` is the user's word."""
    return interactive if interactive is not None else is_terminal(0) and is_terminal(1)


class Attachment:
    """The command's ends of the streams, and the relay between ours and the caller's."""

    def __init__(self, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._theirs: set[int] = set()
        self._inputs: list[Channel] = []
        self._outputs: list[Channel] = []
        self._stack = contextlib.ExitStack()
        self._stdin_terminal: Channel | None = None
        self._caller_terminal: Any = None
        self.relay = Relay(self._inputs, self._outputs)

    def _their(self, fd: int) -> int:
        """Mark an end as the command's; it may reopen it through /proc, so it must own it."""
        if self._owner is not None:
            os.fchown(fd, *self._owner)
        self._theirs.add(fd)
        return fd

    def input(self, source: int) -> int:
        read, write = relay.pipe()
        self._inputs.append(Channel(source, write, owned=(write,)))
        return self._their(read)

    def output(self, sink: int) -> int:
        read, write = relay.pipe()
        self._outputs.append(Channel(read, sink, owned=(read,)))
        return self._their(write)

    def record(self) -> int:
        """An end whose lines go to the caller's standard error, as a terminal that is raw wants them."""
        read, write = relay.pipe()
        self._outputs.append(Channel(read, 2, owned=(read,), change=self._as_shown))
        self._theirs.add(write)
        return write

    def _as_shown(self, lines: bytes) -> bytes:
        raw = self._caller_terminal is not None and self._caller_terminal.raw and is_terminal(2)
        return lines.replace(b"\n", b"\r\n") if raw else lines

    def caller_streams(self, *, terminal: bool, output: int | None = None) -> tuple[Streams, Terminal | None]:
        """Attach to the caller's 0, 1 and 2, or to `output` and nothing. With `terminal` those that are
        terminals become a PTY."""
        if output is not None:
            nothing, end = relay.pipe()
            os.close(end)
            return Streams(self._their(nothing), self.output(output), self.output(output)), None
        if not terminal:
            return Streams(self.input(0), self.output(1), self.output(2)), None
        ours, theirs = os.openpty()
        self._their(theirs)
        at_terminal = [is_terminal(fd) for fd in range(3)]
        state = self._take_terminal(at_terminal, ours)
        if at_terminal[0]:
            end = os.dup(ours)
            self._stdin_terminal = Channel(0, end, owned=(end,), watch=_unwatched)
            self._inputs.append(self._stdin_terminal)
        # Where standard output is redirected, what goes to /dev/tty still has to be seen.
        shown = 1 if at_terminal[1] else 0 if at_terminal[0] else 2
        watch = self._caller_terminal.modes.see if self._caller_terminal else _unwatched
        self._outputs.append(Channel(ours, shown, owned=(ours,), watch=watch))
        streams = Streams(
            theirs if at_terminal[0] else self.input(0),
            theirs if at_terminal[1] else self.output(1),
            theirs if at_terminal[2] else self.output(2),
        )
        return streams, state

    def _take_terminal(self, at_terminal: list[bool], pty: int) -> Terminal | None:
        from art_core.sandbox.terminal import CallerTerminal

        fd = next((fd for fd in (0, 1, 2) if at_terminal[fd]), None)
        if fd is None:
            return None
        self._caller_terminal = self._stack.enter_context(CallerTerminal(fd, pty, typed=at_terminal[0]))
        return Terminal(fd, self._caller_terminal.state)

    def launched(self) -> None:
        """The command has its ends; close our copies of them, so that their end is seen."""
        while self._theirs:
            os.close(self._theirs.pop())

    def run(self, finished_fd: int, *, news: relay.News | None = None) -> None:
        """Relay until the command ended."""
        self.relay.run(finished_fd, before_wait=self._mind_foreground, news=news)

    def _mind_foreground(self) -> None:
        if self._stdin_terminal is not None:
            self._stdin_terminal.paused = not self._caller_terminal.in_foreground()

    def close(self) -> None:
        self.launched()
        self.relay.close()
        self._stack.close()


def _unwatched(output: bytes) -> None:
    """A PTY is copied, never spliced: its line discipline decides how much moves."""


@contextlib.contextmanager
def passing_signals(launcher: Launcher, woken: relay.Relay) -> Iterator[None]:
    """While inside, signals that would end this program go to the command instead.

    A signal that comes just before a wait does not interrupt it, and Python runs no handler until
    the wait is over: so each one is also written to a pipe that the relay waits for (signal.set_wakeup_fd).
    A signal that was ignored when this program started stays ignored.
    """
    from art_core.launch.order import PASSED_ON

    def pass_on(number: int, frame: FrameType | None) -> None:
        launcher.signal(number)

    woken.signals_fd, written_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(written_fd, warn_on_full_buffer=False)
    previous = {
        number: signal.signal(number, pass_on)
        for number in PASSED_ON
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(written_fd)
        os.close(woken.signals_fd)
        woken.signals_fd = -1
