"""The launcher: the process between the supervisor and the isolation.

It is started before anything else is loaded, is the parent of the launched process (in a traced run
its grandparent: `art_core.launch.tracer_process` is between them), and is tied to the supervisor by a
socket: when that closes, however the supervisor ended, it kills the sandbox, then the isolation, and puts the
terminal back. It holds none of the caller's streams.

The conversation on the socket (SOCK_SEQPACKET): whether the run is traced, and if it is, a
`recipe.Plan`; descriptors in batches, then one order; later one byte for each signal to pass on.
The answers are a step and one `Outcome`. All are marshalled tuples.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from art_core.launch.order import PASSED_ON, Outcome

if TYPE_CHECKING:
    from art_core.host.cgroups import Group
    from art_core.host.messages import Socket
    from art_core.launch.tracer_link import TracerLink

_SO_PASSCRED = 16
GRACE_S = 5.0
"""How long a command that was asked to end may take."""
_LEFT_S = 5.0
"""How long the isolation may take to end after the command has: its process 1 may have been stopped from
inside."""
_STUCK_S = 10.0
"""How long a sandbox that was killed may take to be gone: its processes may wait for the one that serves
its home, which nothing interrupts."""
_DIAGNOSTICS_LIMIT = 64 * 1024
_MESSAGES_AT_ONCE = 256
"""Messages of reports that are taken before signals and ends are looked at again."""
_ENDING = PASSED_ON - {signal.SIGINT}
_TO_GROUP = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})


def serve(control_fd: int) -> NoReturn:
    """Be the launcher, on a socket to the supervisor. Never returns."""
    status = 1
    try:
        from art_core.host.messages import Socket
        from art_core.host.service import detach

        detach(control_fd)
        control = Socket(fileno=control_fd)
        from art_core.host.messages import MESSAGE_LIMIT, receive
        from art_core.launch.order import TRACED

        traced = control.recv(1) == TRACED
        launched = _Launched(control, traced=traced)
        plan = control.recv(MESSAGE_LIMIT) if traced else b""
        launched.prepare(plan)
        received = receive(control)
        if received is None:
            launched.abandon()
        else:
            launched.launch(*received)
            with contextlib.suppress(OSError):
                control.send(marshal.dumps(launched.step))
            outcome = launched.watch()
            if launched.may_try_again(outcome):
                outcome = _tried_again(control, plan, received) or outcome
            with contextlib.suppress(OSError):
                control.send(marshal.dumps(tuple(outcome)))
        status = 0
    except BaseException:
        if os.environ.get("ART_DEBUG"):
            import traceback

            traceback.print_exc()
    finally:
        os._exit(status)


def _tried_again(control: Socket, plan: bytes, received: tuple[bytes, list[int]]) -> Outcome | None:
    """What a second launch came to, the same as the first; None when it came to nothing."""
    for descriptor in received[1]:
        with contextlib.suppress(OSError):
            os.lseek(descriptor, 0, os.SEEK_SET)
    launched = _Launched(control, traced=bool(plan))
    launched.prepare(plan)
    launched.launch(*received)
    outcome = launched.watch()
    return outcome if launched.step == ("", 0) else None


class _Launched:
    """The launched process, from its fork to its end. When it is `traced`, the process that is forked
    here traces, and forks it in turn."""

    def __init__(self, control: Socket, *, traced: bool) -> None:
        import _socket

        from art_core.host.messages import pair

        self.control = control
        self.report, report_child = pair()
        self.report.setsockopt(_socket.SOL_SOCKET, _SO_PASSCRED, 1)
        self.report.setblocking(False)
        self.diagnostics_fd, diagnostics_child = os.pipe()
        self.failure_fd, failure_child = os.pipe()
        self.orders, orders_child = pair()
        channel, channel_child = pair() if traced else (None, None)
        self.pid = os.fork()
        if self.pid == 0:
            # The tie to the supervisor, and our ends of everything, are the launcher's alone.
            for ours in (control, self.report, self.orders, channel):
                if ours is not None:
                    ours.close()
            ends = orders_child, report_child.fileno(), diagnostics_child, failure_child
            from art_core.launch.child import become

            if channel_child is not None:
                from art_core.launch.tracer_process import trace

                trace(channel_child, lambda ready, gate: become(*ends, ready=ready, gate=gate))
            become(*ends)
        for theirs in (report_child, orders_child, channel_child):
            if theirs is not None:
                theirs.close()
        os.close(diagnostics_child)
        os.close(failure_child)
        self.pidfd = os.pidfd_open(self.pid)
        self.launched_pid, self.launched_fd = self.pid, self.pidfd
        self.tracing: TracerLink | None = None
        if channel is not None:
            from art_core.launch.tracer_link import TracerLink

            self.tracing = TracerLink(channel)
        # Loaded while the supervisor still plans: the launch itself then costs no import.
        from art_core.launch.reports import Reports

        self.told = Reports(self.report)
        self.step = ("", 0)
        self.terminal_fd = self.worker_fd = -1
        self.terminal_state: list[Any] = []
        self.diagnostics = b""
        self.reports: list[dict[str, Any]] = []
        self.init_fd = -1
        self.command_fd = -1
        self.command_pid = 0
        self.early_signal = 0
        self.deadline: float | None = None
        self.time_out: float | None = None
        self.stuck: float | None = None
        self.given_up = False
        self.reached: dict[str, int] = {}
        self.group: Group | None = None
        self.held: list[int] = []

    def prepare(self, plan: bytes) -> None:
        """Tell the process that traces, if there is one, how to."""
        if self.tracing is not None and plan:
            self.tracing.prepare(plan)

    def abandon(self) -> None:
        """There will be no order."""
        self.orders.close()
        if self.tracing is not None:
            self.tracing.abandon()
        os.waitpid(self.pid, 0)

    def launch(self, content: bytes, descriptors: list[int]) -> None:
        """Pass the order on, and wait until it is executed or failed."""
        from art_core.host.messages import send
        from art_core.launch.order import Order

        order = Order(*marshal.loads(content))
        met = self.tracing.meet() if self.tracing is not None else None
        if met is not None:
            self.launched_pid, self.launched_fd = met
        if order.limits and not self._set_limits(order.limits):
            self.orders.close()
            if self.tracing is not None:
                self.tracing.abandon()
            return
        if self.tracing is not None:
            self.tracing.go(order.execs, descriptors[order.record])
        with contextlib.suppress(OSError):
            send(self.orders, content, descriptors)
        self.orders.close()
        self.held = [fd for at, fd in enumerate(descriptors) if at not in (order.terminal, order.worker)]
        if order.worker >= 0:
            self.worker_fd = descriptors[order.worker]
        if order.terminal >= 0:
            self.terminal_fd = descriptors[order.terminal]
            self.terminal_state = order.terminal_state
        failure = os.read(self.failure_fd, 4096)
        if failure:
            self.step = marshal.loads(failure)
            self._let_go()
        os.close(self.failure_fd)

    def _set_limits(self, limits: Mapping[str, Any]) -> bool:
        """Put the process that becomes the isolation into a group; False when that failed."""
        if limits["groups"]:
            from art_core.host.cgroups import Group, Places

            try:
                self.group = Group(Places(*limits["places"]), limits["groups"], self.launched_pid)
            except (OSError, KeyError) as error:
                self.step = ("limit", getattr(error, "errno", None) or errno.EACCES)
                return False
        if limits["timeout"] is not None:
            self.time_out = time.monotonic() + limits["timeout"]
        return True

    def watch(self) -> Outcome:
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.report, select.POLLIN)
        poll.register(self.diagnostics_fd, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        if self.worker_fd >= 0:
            poll.register(self.worker_fd, select.POLLIN)
        ended, watched = False, -1
        while not ended and not self.given_up:
            if self.command_fd >= 0 and watched < 0:
                watched = self.command_fd
                poll.register(watched, select.POLLIN)
            for fd, _ in poll.poll(self._patience()):
                if fd == self.control.fileno():
                    if not self._obey():
                        poll.unregister(self.control)
                elif fd == self.report.fileno():
                    if not self._read_reports():
                        poll.unregister(self.report)
                elif fd == self.diagnostics_fd:
                    if not self._read_diagnostics():
                        poll.unregister(self.diagnostics_fd)
                elif fd == self.worker_fd:
                    poll.unregister(fd)
                    self.kill()
                elif fd == watched:
                    poll.unregister(fd)
                    self.deadline = min(self.deadline or float("inf"), time.monotonic() + _LEFT_S)
                else:
                    ended = True
            if self.time_out is not None and time.monotonic() >= self.time_out:
                self._end_for_time()
            if self.deadline is not None and time.monotonic() >= self.deadline:
                self.deadline = None
                self.kill()
            if self.stuck is not None and time.monotonic() >= self.stuck:
                self._end_what_is_waited_for()
        status: int = signal.SIGKILL
        if not self.given_up:
            _, status = os.waitpid(self.pid, 0)
        untraced = None
        if self.tracing is not None:
            status, untraced = self.tracing.status(), self.tracing.failure
            if untraced is not None:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(self.launched_fd, signal.SIGKILL)
        self._kill_init()
        self._see_it_gone()
        self._drain()
        if self.group is not None:
            self.reached |= self.group.reached()
            self.group.remove()
        outcome = Outcome(status, self.reports, self.diagnostics, self.early_signal, self.reached, untraced)
        if not self.may_try_again(outcome):
            self._let_go()
        return outcome

    def may_try_again(self, outcome: Outcome) -> bool:
        """Whether the isolation failed before the command ran, perhaps because the host changed
        while the sandbox was built: a directory that was to be shown is gone, say. Nothing has
        been read from the streams then, and a second launch finds the host as it is now."""
        return bool(self.held) and os.WIFEXITED(outcome.status) and bool(outcome.diagnostics)

    def _let_go(self) -> None:
        """Close our copies of what the launched process has, so that its end is seen by others."""
        while self.held:
            os.close(self.held.pop())

    def _patience(self) -> float | None:
        """Milliseconds until the command's time or its grace is over; None for ever."""
        limits = (self.deadline, self.time_out, self.stuck)
        until = min((at for at in limits if at is not None), default=None)
        # Rounded up: poll(2) would wait for nothing in the last millisecond, again and again.
        return None if until is None else max(0.0, (until - time.monotonic()) * 1000 + 1)

    def _end_for_time(self) -> None:
        """Ask the command to end because its time ran out; it has a grace."""
        self.time_out = None
        self.reached["timeout"] = 1
        if self.command_fd < 0:
            self.kill()
            return
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.command_fd, signal.SIGTERM)
        self.deadline = min(self.deadline or float("inf"), time.monotonic() + GRACE_S)

    def _end_what_is_waited_for(self) -> None:
        """The sandbox was killed and is still there: end the process that serves its home, and where that is
        no help leave it to the kernel."""
        self.stuck = time.monotonic() + _STUCK_S
        if self.worker_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.worker_fd, signal.SIGKILL)
            self.worker_fd = -1
        else:
            self.given_up = True

    def _see_it_gone(self) -> None:
        """The isolation has ended; so do all processes inside, unless one waits for the home's server."""
        if self.init_fd >= 0 and self.worker_fd >= 0:
            gone = select.poll()
            gone.register(self.init_fd, select.POLLIN)
            if not gone.poll(_STUCK_S * 1000):
                self._end_what_is_waited_for()

    def _obey(self) -> bool:
        """Pass a signal on; False when the supervisor is gone."""
        try:
            message = self.control.recv(16)
        except OSError:
            message = b""
        if not message:
            self.kill()
            self._restore_terminal()
            return False
        number = message[0]
        if self.command_fd < 0:
            self._read_reports()  # Perhaps the command runs, and the report was not read yet.
        if number == signal.SIGKILL or self.command_fd < 0:
            if number != signal.SIGWINCH:
                if self.command_fd < 0:
                    self.early_signal = number
                self.kill()
            return True
        with contextlib.suppress(OSError):
            if number in _TO_GROUP:
                os.killpg(self.command_pid, number)
            else:
                signal.pidfd_send_signal(self.command_fd, number)
        if number in _ENDING and self.deadline is None:
            self.deadline = time.monotonic() + GRACE_S
        return True

    def kill(self) -> None:
        """End the sandbox: first the init of its pid namespace, then the isolation."""
        self._let_go()
        if self.stuck is None:
            self.stuck = time.monotonic() + _STUCK_S
        if self.init_fd < 0:
            # The isolation is between its fork and its first report: wait for one or the other.
            wait = select.poll()
            wait.register(self.report, select.POLLIN)
            wait.register(self.pidfd, select.POLLIN)
            until = time.monotonic() + 1.0
            while self.init_fd < 0 and time.monotonic() < until:
                ready = [fd for fd, _ in wait.poll(100)]
                if self.report.fileno() in ready and not self._read_reports():
                    break
                if self.pidfd in ready:
                    break
        self._kill_init()
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.launched_fd, signal.SIGKILL)

    def _kill_init(self) -> None:
        if self.init_fd >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)

    def _restore_terminal(self) -> None:
        if self.terminal_fd >= 0:
            import termios

            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.terminal_fd, termios.TCSANOW, self.terminal_state)

    def _read_diagnostics(self) -> bool:
        chunk = os.read(self.diagnostics_fd, 4096)
        if len(self.diagnostics) < _DIAGNOSTICS_LIMIT:
            self.diagnostics += chunk
        return bool(chunk)

    def _note(self, value: dict[str, Any], sender: int) -> None:
        """Keep an object if its sender may say so: the launched process speaks of the sandbox,
        the process that becomes the command of its own execution."""
        if sender == self.launched_pid:
            child = value.get("child-pid")
            if isinstance(child, int) and self.init_fd < 0:
                with contextlib.suppress(OSError):
                    self.init_fd = os.pidfd_open(child)
            self.reports.append(value)
        elif value.get("exec") is True and not self.command_pid:
            self._let_go()
            self.command_pid = sender
            with contextlib.suppress(OSError):
                self.command_fd = os.pidfd_open(sender)
            self.reports.append(value)
        elif "exec-errno" in value and sender == self.command_pid:
            self.reports.append(value)

    def _read_reports(self) -> bool:
        """Take what has come, without waiting: a report may have been taken since poll(2) told of it, to
        know whether a signal goes to the command. False when no more will come."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MESSAGES_AT_ONCE):
                found = self.told.read()
                if found is None:
                    return False
                for value, sender in found:
                    if len(self.reports) < 64:
                        self._note(value, sender)
        return True

    def _drain(self) -> None:
        self._read_reports()
        os.set_blocking(self.diagnostics_fd, False)
        with contextlib.suppress(BlockingIOError):
            while self._read_diagnostics():
                pass
