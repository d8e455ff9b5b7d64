"""An open sandbox: one launch, and many commands in it. See `art_core.inside.commands`."""

from __future__ import annotations

import _socket
import marshal
import os
import select
from _thread import allocate_lock
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from art_core.contracts import HOME, Exit
from art_core.errors import FAILURE, IsolationError
from art_core.host import messages
from art_core.host.service import forget, keep_private, sealed
from art_core.launch.client import Launcher, Streams
from art_core.launch.order import Outcome
from art_core.plan.outcome import exit_of
from art_core.sandbox.process import Ended, Pipes, Process
from art_core.sandbox.streams import DEVNULL, PIPE, Path
from art_core.view.environment import checked_name

if TYPE_CHECKING:
    from art_core.gateways import Refusal
    from art_core.network.egress import WatchedPassage
    from art_core.plan.build_run import PlannedLaunch
    from art_core.plan.preparation import Preparation
    from art_core.plan.run_log import LoggedRun

Launch = Callable[[Streams, int], "tuple[PlannedLaunch, Launcher]"]
"""Launches what was planned, with these streams and the socket on which commands come."""
_CLOSED = "the sandbox was closed"
_ENDING_MS = 200
"""A command's channel may close so long before process 1 has ended."""
_KILLED = Exit(128 + 9, "signal", "the command was ended by signal 9")


class Command(NamedTuple):
    """What to start: the words, and variables beside those of the sandbox; PWD is where."""

    argv: Sequence[bytes]
    env: Mapping[bytes, bytes]


class OpenSandbox:
    """The sandbox, from its launch to `close`. Its methods may be called from several threads."""

    def __init__(self, preparation: Preparation, launch: Launch, passage: WatchedPassage | None) -> None:
        self._preparation = preparation
        self._passage = passage
        self._lock = allocate_lock()
        self._over: str | None = None
        self._env = preparation.variables()
        self._commands, theirs = messages.pair()
        keep_private(self._commands)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._prepared, self._launcher = launch(Streams(null, null, null), theirs.fileno())
        except BaseException:
            self._let_go()
            raise
        finally:
            theirs.close()
            os.close(null)

    def _let_go(self) -> None:
        forget(self._commands)
        self._commands.close()

    def command(self, argv: Sequence[bytes], cwd: Path | None, env: Mapping[str, str]) -> Command:
        """What `start` takes. Raises UsageError for a variable that cannot be set."""
        variables = {}
        for name, value in env.items():
            checked_name(os.fsencode(name), f"env {name}")
            variables[os.fsencode(name)] = os.fsencode(value)
        return Command(argv, {**variables, b"PWD": self._directory(cwd)})

    def start(self, command: Command, pipes: Pipes, logged: LoggedRun | None, *, text: bool) -> Process[Any]:
        """Start a command; the pipes become the process's. Raises IsolationError when the sandbox is not
        there any more."""
        held = self._preparation.held
        time_s = None if held is None else held.limits.timeout
        traced = self._preparation.recording is not None
        what = ("run", list(command.argv), {**self._env, **command.env}, command.env[b"PWD"], time_s, traced)
        told = 0 if self._passage is None else len(self._passage.refused)
        channel = self._send(what, pipes.theirs)
        pipes.given()
        ended = Ended(partial(self._exit, command.argv, logged), partial(self._refused_since, told))
        return Process([os.fsdecode(word) for word in command.argv], channel, pipes, ended, text=text)

    def move(self, what: str, path: Path, data: bytes, owner: tuple[int, int] | None) -> bytes:
        """Have a file read or written by a process inside (`commands._move`). A relative path is one of the
        workspace. Raises OSError."""
        numbers: list[int] = []

        def end(reports: Sequence[Mapping[str, object]]) -> Exit:
            numbers.extend(number for one in reports if isinstance(number := one.get("file-errno"), int))
            return self._meaning([inside], reports)

        inside = from_home(path)
        pipes = Pipes.made(PIPE, PIPE, DEVNULL, owner)
        try:
            channel = self._send((what, [inside], {}, self._directory(None), None, False), pipes.theirs)
            pipes.given()
            process = Process[bytes]([], channel, pipes, Ended(end, tuple), text=False)
        except BaseException:
            pipes.close()
            raise
        with process:
            done = process.communicate(data)
        if numbers:
            raise OSError(numbers[0], os.strerror(numbers[0]), os.fsdecode(path))
        if done.status:
            raise IsolationError(f"{os.fsdecode(path)}: what {what}s it was ended: {done.exit.why}")
        return done.stdout

    def _directory(self, cwd: Path | None) -> bytes:
        workdir = os.fsencode(self._preparation.workdir)
        return workdir if cwd is None else os.path.join(workdir, from_home(cwd))

    def _send(self, what: tuple[Any, ...], fds: Sequence[int]) -> _socket.socket:
        """Order something; the channel on which it is told of."""
        try:
            return send(self._commands, what, fds)
        except OSError:
            gone = self._gone(sure=True)
            assert gone is not None
            raise gone from None

    # --- ends ----------------------------------------------------------------------------------

    def _exit(
        self, argv: Sequence[bytes], logged: LoggedRun | None, reports: Sequence[Mapping[str, object]]
    ) -> Exit:
        exit = self._meaning(argv, reports)
        if logged is not None:
            told = [] if self._passage is None else list(self._passage.told)
            logged.ended(exit, told)
        return exit

    def _meaning(self, argv: Sequence[bytes], reports: Sequence[Mapping[str, object]]) -> Exit:
        for one in reports:
            if isinstance(number := one.get("start-errno"), int):
                why = f"the command cannot be started: {os.strerror(number)}"
                return Exit(FAILURE, "isolation", why)
        if not any(isinstance(one.get("exit-code"), int) for one in reports):
            if self._over == _CLOSED:
                return _KILLED._replace(why=_CLOSED)
            if (gone := self._gone()) is not None:
                raise gone
            return _KILLED
        reached = {"timeout": 1} if {"reached": "timeout"} in reports else {}
        outcome = Outcome(0, [{"exec": True}, *map(dict, reports)], b"", reached=reached)
        with self._lock:
            return exit_of(self._preparation, outcome, self._prepared._replace(argv=argv))

    def _refused_since(self, told: int) -> Sequence[Refusal]:
        if self._passage is None:
            return ()
        with self._lock:
            self._passage.look()
        return tuple(self._passage.refused[told:])

    def _gone(self, *, sure: bool = False) -> IsolationError | None:
        """Why no more commands run here; None while they do. `sure`: they do not."""
        with self._lock:
            if self._over is None and (sure or self._is_left()):
                self._over = self._why_it_ended()
            return None if self._over is None else IsolationError(self._over)

    def _is_left(self) -> bool:
        """Whether process 1 has ended: nobody has the other end of our socket."""
        poll = select.poll()
        poll.register(self._commands, 0)
        return bool(poll.poll(_ENDING_MS))

    def _why_it_ended(self) -> str:
        try:
            outcome = self._launcher.result()
        except IsolationError as error:
            return str(error)
        worker = self._preparation.worker_fd
        if worker is not None and select.select([worker], [], [], 0)[0]:
            return "the sandbox was ended: the process that served its home was killed"
        executed = any(report.get("exec") is True for report in outcome.reports)
        if outcome.untraced is not None or not executed:
            return exit_of(self._preparation, outcome, self._prepared).why
        return "the sandbox has ended, by what a command did to it or from outside; open another"

    def close(self) -> None:
        """End what still runs, and the sandbox. Idempotent."""
        if self._commands.fileno() < 0:
            return
        with self._lock:
            try:
                if self._over is None:
                    self._over = _CLOSED
                    self._launcher.signal(9)
                    with suppress(IsolationError):
                        # Which limits were reached.
                        exit_of(self._preparation, self._launcher.result(), self._prepared)
            finally:
                self._let_go()
                self._launcher.close()


def send(commands: messages.Socket, what: tuple[Any, ...], fds: Sequence[int]) -> messages.Socket:
    """Order something of `art_core.inside.commands`; the channel on which it is told of. Raises OSError."""
    ours, theirs = messages.pair()
    content = sealed(marshal.dumps(what))
    try:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [content, theirs.fileno(), *fds]))]
        commands.sendmsg([b"+"], rights, _socket.MSG_NOSIGNAL)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(content)
    return ours


def from_home(typed: Path) -> bytes:
    """`~/x` is a path of the home."""
    path = os.fsencode(typed)
    return os.fsencode(HOME) + path[1:] if path == b"~" or path.startswith(b"~/") else path
