"""The supervisor's side of the launcher: start it, hand it a launch, signal, wait."""

from __future__ import annotations

import contextlib
import marshal
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from art_core.errors import IsolationError
from art_core.host.service import forget, keep_private, sealed, start_process

if TYPE_CHECKING:
    from art_core.contracts import Launch
    from art_core.loader.recipe import Plan


class Streams(NamedTuple):
    """The descriptors that become the command's 0, 1 and 2."""

    stdin: int
    stdout: int
    stderr: int


class Terminal(NamedTuple):
    """The caller's terminal, and the state that it is put back to if the supervisor is killed."""

    fd: int
    state: list[Any]


class LaunchFailed(IsolationError):
    """The isolation could not be executed: `step` says where it stopped, `errno` why."""

    def __init__(self, step: str, number: int, program: str) -> None:
        what = {"execute": f"{program} could not be executed", "stage": "the workspace could not be staged"}
        what["limit"] = "the limits could not be set"
        super().__init__(
            f"{what.get(step, f'the sandbox could not be prepared ({step})')}: {os.strerror(number)}"
        )
        self.step = step
        self.errno = number


class Launcher:
    """A launcher process that waits for its order. Start it early: it prepares meanwhile.

    One that is `traced` starts a process that traces, which waits for its plan: call `trace`, then `order`.
    """

    def __init__(self, *, traced: bool = False) -> None:
        from art_core.host import messages
        from art_core.launch import order

        # In the launcher every other descriptor is closed, so the number must not be 0, 1 or 2.
        self._control, theirs = messages.pair()
        keep_private(self._control)
        self.pid = start_process("art_core.launch.launcher", theirs.fileno())
        theirs.close()
        self._control.send(order.TRACED if traced else order.UNTRACED)

    def trace(self, plan: Plan) -> None:
        """Say how to trace what will be ordered. What goes wrong with it, `result` tells."""
        with contextlib.suppress(OSError):
            self._control.send(marshal.dumps(tuple(plan)))

    def order(
        self,
        launch: Launch,
        streams: Streams,
        *,
        stage: Sequence[int] = (),
        identity: tuple[int, int] | None = None,
        terminal: Terminal | None = None,
        worker: int | None = None,
        limits: Mapping[str, Any] | None = None,
        record: int | None = None,
    ) -> None:
        """Launch, and return when the isolation is executing. The streams and sources stay the
        caller's to close, and so does `record`, where a traced run's goes. When the process of the pidfd
        `worker` ends, so does the sandbox; so it does with the process that traces.
        Raises LaunchFailed, or IsolationError when the launcher is gone."""
        from art_core.host import messages
        from art_core.launch import order

        descriptors: list[int] = [streams.stdin, streams.stdout, streams.stderr]
        targets = {0: 0, 1: 1, launch.stderr_fd: 2}
        own = []
        places: dict[int, int] = {}
        for number, content in launch.files.items():
            if isinstance(content, bytes):
                content = sealed(content)
                own.append(content)
            targets[number] = places.setdefault(content, len(descriptors))
            if targets[number] == len(descriptors):
                descriptors.append(content)
        if terminal is not None:
            descriptors.append(terminal.fd)
        terminal_place = -1 if terminal is None else len(descriptors) - 1
        entered = [] if launch.enter is None else [launch.enter.mnt_fd]
        if launch.enter is not None and launch.enter.user_fd is not None:
            entered.append(launch.enter.user_fd)
        enter_places = range(len(descriptors), len(descriptors) + len(entered))
        descriptors += entered
        worker_place = -1
        if worker is not None:
            worker_place = len(descriptors)
            descriptors.append(worker)
        record_place = -1
        if record is not None:
            record_place = len(descriptors)
            descriptors.append(record)
        message = order.Order(
            argv=list(launch.argv),
            env=dict(launch.env),
            descriptors=targets,
            report=list(launch.report_fds),
            stage=[places[source] for source in dict.fromkeys(stage) if source in places],
            identity=identity,
            terminal=terminal_place,
            terminal_state=[] if terminal is None else terminal.state,
            enter=list(enter_places),
            worker=worker_place,
            limits=dict(limits or {}),
            record=record_place,
            execs=launch.execs,
        )
        try:
            messages.send(self._control, marshal.dumps(tuple(message)), descriptors)
        except OSError as error:
            raise IsolationError(
                f"the launcher process ended before it was used ({error.strerror})"
            ) from None
        finally:
            for fd in own:
                os.close(fd)
        step = order.Step(*self._receive())
        if step.name:
            raise LaunchFailed(step.name, step.errno, launch.argv[0])

    def signal(self, number: int) -> None:
        """Pass a signal on to the command; SIGKILL ends the whole sandbox. Callable from a handler."""
        with contextlib.suppress(OSError):
            self._control.send(bytes((number,)))

    def fileno(self) -> int:
        """Readable when `result` can be called without waiting (or the launcher died)."""
        return self._control.fileno()

    def result(self) -> Any:
        """Wait for the end of what was ordered; a `launcher.Outcome`."""
        from art_core.launch import order

        return order.Outcome(*self._receive())

    def _receive(self) -> Any:
        from art_core.host import messages

        try:
            data = self._control.recv(messages.MESSAGE_LIMIT)
        except OSError:
            data = b""
        if not data:
            raise IsolationError("the launcher process was killed; the sandbox was ended with it")
        return marshal.loads(data)

    def close(self) -> None:
        """Let go; ends the sandbox if it still runs. Idempotent."""
        if self.pid:
            forget(self._control)
            self._control.close()
            pid, self.pid = self.pid, 0
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
