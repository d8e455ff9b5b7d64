"""Running commands in the sandbox: the object that the command line and other programs use.

from art_core import Sandbox

with Sandbox("ws/") as box:
    result = box.run(["make", "test"])
    print(result.status, result.stdout.decode())
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from art_core.attach import Attachment, Capture, deadline_after, passing_signals, wants_terminal
from art_core.contracts import Exit, Launch
from art_core.errors import FAILURE
from art_core.options import Options
from art_core.planning import Preparation, Prepared
from art_core.spawn import Launcher, LaunchFailed, Streams, Terminal

if TYPE_CHECKING:
    from types import TracebackType

    from art_core.egress import Watched
    from art_core.gateways import Refusal
    from art_core.lending import Granted
    from art_core.logged import Logged
    from art_core.settings import Settings

Command = Sequence[str | bytes]


class Result(NamedTuple):
    """How a command ended, and what it printed."""

    exit: Exit
    stdout: bytes
    stderr: bytes
    refusals: Sequence[Refusal] = ()
    """What it asked for and a filtered network refused."""

    @property
    def status(self) -> int:
        """The exit status, as a shell would see it: 128+N after signal N."""
        return self.exit.code


class _Started(NamedTuple):
    """A command that runs, how to learn its end, and its way out of a filtered network."""

    launcher: Launcher
    exit: Callable[[], Exit]
    passage: Watched | None


class TimeoutExpired(TimeoutError):
    """A command ran longer than it was given; it was ended. Holds what it printed until then."""

    def __init__(self, timeout_s: float, stdout: bytes, stderr: bytes) -> None:
        super().__init__(f"the command did not end within {timeout_s:g} s")
        self.stdout = stdout
        self.stderr = stderr


class Sandbox:
    """A sandbox over one workspace. Use it as a context manager, or call `close`.

    `workspace` is the host directory to work in (None: what the settings say, else the current
    one); the keyword arguments are the fields of
    `art_core.options.Options`, named as the command line's options are. Raises ArtError for
    everything a user can act on; nothing is started and nothing is changed then.
    """

    def __init__(
        self,
        workspace: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        launcher: Launcher | None = None,
        ask: Callable[[str], bool] | None = None,
        **options: Any,
    ) -> None:
        self._launcher = launcher
        self._passages: list[Watched] = []
        self._sessions: list[Logged] = []
        try:
            directory = None if workspace is None else os.fspath(workspace)
            self._preparation = Preparation(Options(workspace=directory, **options), settings, ask, launcher)
            try:
                self._preparation.settle()
            except BaseException:
                self._preparation.close()
                raise
        except BaseException:
            if launcher is not None:
                launcher.close()
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None
        for passage in self._passages:
            passage.close()
        self._preparation.close()

    def gateway_served(self) -> bool:
        """Whether every run so far had its way out of a filtered network."""
        return bool(self._passages) and all(passage.served() for passage in self._passages)

    def greetings(self) -> Sequence[str]:
        """What a user should be told before a run: what a store found out when it opened the home,
        and how a limit is held when that is not as one would think."""
        overlay, held = self._preparation.overlay, self._preparation.held
        notes = [] if held is None else held.notes
        if (lent := self._preparation.lent) is not None:
            notes = [*notes, *lent.greetings(kept=overlay is not None)]
        return notes if overlay is None else [*notes, *overlay.mounted.notes]

    def notices(self, exit: Exit, *, explained: bool = False) -> Sequence[str]:
        """What a user should be told after a run that ended so: what a store met, what a filtered network
        refused and nobody was told of, protected files that are new or changed, mounts left out. `explained`:
        why it failed was told."""
        overlay = self._preparation.overlay
        notes = () if overlay is None else overlay.notes()
        refused = [line for passage in self._passages for line in passage.lines]
        logged = [line for session in self._sessions for line in session.notes]
        left = self._preparation.notices(failed=exit.code != 0 and not explained)
        return [*notes, *logged, *refused, *left]

    def grants(self) -> Sequence[Granted]:
        """What of the caller's own is lent to the sandbox, each with who asked for it."""
        lent = self._preparation.lent
        return [] if lent is None else lent.granted

    def hint(self, argv: Command, exit: Exit) -> str | None:
        """One line when a command failed that needs something which could have been lent."""
        from art_core.missing import hint

        return hint(_encode(argv), exit.code, self._preparation.options, os.environ)

    def failure_note(self, argv: Command) -> str | None:
        """One line on what may be behind the failure of a command: there is a preset for it, or its name
        means another program inside than for the caller."""
        return self._preparation.failure_note(_encode(argv))

    def default_command(self) -> list[bytes]:
        """What runs when no command is given: the agent whose preset was asked for, else an interactive
        shell: the caller's if it is there inside, else bash, else sh."""
        return self._preparation.default_command()

    def plan(self, argv: Command, *, terminal: bool = False) -> Launch:
        """What would be executed, with the values of variables that were asked for left out.
        Starts nothing."""
        return self._preparation.launch(_encode(argv), terminal=terminal, hide_values=True).launch

    def run(self, argv: Command, *, input: bytes | None = None, timeout: float | None = None) -> Result:
        """Run a command to its end, with `input` as its standard input, and return what it printed.

        Raises TimeoutExpired after `timeout` seconds; the command and all it started are ended.
        """
        attachment = Attachment(self._preparation.stream_owner)
        capture = Capture(attachment, input)
        try:
            started = self._start(argv, capture.streams, attachment=attachment)
            launcher, passage = started.launcher, started.passage
            try:
                attachment.launched()
                in_time = attachment.run(launcher.fileno(), deadline=deadline_after(timeout), news=passage)
                if not in_time:
                    launcher.signal(signal.SIGKILL)
                    attachment.run(launcher.fileno())
                exit = started.exit()
            finally:
                launcher.close()
            stdout, stderr = capture.contents(1), capture.contents(2)
            if not in_time:
                assert timeout is not None
                raise TimeoutExpired(timeout, stdout, stderr)
            return Result(exit, stdout, stderr, () if passage is None else tuple(passage.refused))
        finally:
            attachment.close()
            capture.close()

    def popen(self, argv: Command) -> Process:
        """Start a command whose streams are pipes of the caller's."""
        pipes = [os.pipe() for _ in range(3)]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        try:
            if self._preparation.stream_owner is not None:
                for fd in theirs:
                    os.fchown(fd, *self._preparation.stream_owner)
            started = self._start(argv, Streams(*theirs))
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        return Process(started, ours)

    def execute(
        self,
        argv: Command,
        *,
        interactive: bool | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Exit:
        """Run a command on the caller's own standard streams, as the command line does.

        `interactive` None gives it a PTY when standard input and output are both terminals.
        While it runs, SIGTERM, SIGINT, SIGHUP and SIGQUIT to this process go to the command. `tell` is
        called with what a user should know at once, unless a PTY has the screen: then `notices` has it.
        """
        terminal = wants_terminal(interactive)
        attachment = Attachment(self._preparation.stream_owner)
        try:
            streams, state = attachment.caller_streams(terminal=terminal)
            started = self._start(
                argv,
                streams,
                terminal=terminal,
                state=state,
                tell=None if terminal else tell,
                attachment=attachment,
            )
            try:
                with passing_signals(started.launcher, attachment.relay):
                    attachment.launched()
                    attachment.run(started.launcher.fileno(), news=started.passage)
                    return started.exit()
            finally:
                started.launcher.close()
        finally:
            attachment.close()

    def _start(
        self,
        argv: Command,
        streams: Streams,
        *,
        terminal: bool = False,
        state: Terminal | None = None,
        tell: Callable[[str], None] | None = None,
        attachment: Attachment | None = None,
    ) -> _Started:
        """Launch; where root's workspace cannot be staged, once more without. A trace that has no log
        goes to standard error, through the relay of `attachment` where there is one."""
        held = self._preparation.held
        passage, egress = None, self._preparation.egress
        if egress is not None:
            passage = egress.open(self._preparation.identity.host_ids, tell)
            self._passages.append(passage)
        door_fd = -1 if passage is None else passage.door_fd
        recording = self._preparation.recording
        out_fd = -1
        if recording is not None:
            opened = recording.open()
            out_fd = opened if opened is not None else 2 if attachment is None else attachment.record()
        logged = self._begun(_encode(argv))
        while True:
            prepared = self._preparation.launch(_encode(argv), terminal=terminal, door_fd=door_fd)
            launcher = self._launcher or self._new_launcher()
            self._launcher = None
            try:
                launcher.order(
                    prepared.launch,
                    streams,
                    stage=prepared.stage,
                    identity=prepared.identity,
                    terminal=state,
                    worker=self._preparation.worker_fd,
                    limits=None if held is None else held.order,
                    record=None if recording is None else out_fd,
                )
            except LaunchFailed as error:
                launcher.close()
                if error.step != "stage" or not self._preparation.stop_mapping():
                    _not_started(logged, error)
                    raise
            except BaseException as error:
                launcher.close()
                _not_started(logged, error)
                raise
            else:
                return _Started(launcher, partial(self._exit, prepared, launcher, passage, logged), passage)

    def _new_launcher(self) -> Launcher:
        recording = self._preparation.recording
        launcher = Launcher(traced=recording is not None)
        if recording is not None:
            launcher.trace(recording.plan)
        return launcher

    def _begun(self, argv: Sequence[bytes]) -> Logged | None:
        """The run in the store's log."""
        overlay, recording = self._preparation.overlay, self._preparation.recording
        if overlay is None:
            return None
        trace = None if recording is None else recording.log
        logged = overlay.begin(argv, trace, snapshot=self._preparation.options.snapshot)
        if logged is not None:
            self._sessions.append(logged)
        return logged

    def _exit(
        self, prepared: Prepared, ended: Launcher, passage: Watched | None, logged: Logged | None
    ) -> Exit:
        outcome = ended.result()
        if passage is not None:
            passage.close()
        exit = self._preparation.exit(outcome, prepared)
        if logged is not None:
            logged.ended(exit, () if passage is None else list(passage.told))
        return exit


class Process:
    """A command that runs; its streams are binary files of the caller's."""

    def __init__(self, started: _Started, streams: Sequence[int]) -> None:
        self._launcher = started.launcher
        self._exit_of = started.exit
        self._exit: Exit | None = None
        self.stdin: BinaryIO = os.fdopen(streams[0], "wb", buffering=0)
        self.stdout: BinaryIO = os.fdopen(streams[1], "rb")
        self.stderr: BinaryIO = os.fdopen(streams[2], "rb")

    def wait(self) -> Exit:
        """Wait for the end. The command may wait for you: read its output or it can block."""
        if self._exit is None:
            try:
                self._exit = self._exit_of()
            finally:
                self._launcher.close()
        return self._exit

    def poll(self) -> Exit | None:
        """How it ended, None while it runs."""
        import select

        if self._exit is None and select.select([self._launcher], [], [], 0)[0]:
            return self.wait()
        return self._exit

    def send_signal(self, number: int) -> None:
        """Send a signal to the command; after SIGTERM, SIGHUP and SIGQUIT it has a grace to end."""
        self._launcher.signal(number)

    def kill(self) -> None:
        """End the command and everything it started."""
        self._launcher.signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the streams and end the command if it still runs."""
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        self._launcher.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False


def _not_started(logged: Logged | None, error: BaseException) -> None:
    if logged is not None:
        logged.ended(Exit(FAILURE, "isolation", str(error)), ())


def _encode(argv: Command) -> list[bytes]:
    if isinstance(argv, (str, bytes)) or not argv:
        raise TypeError("a command is a list of words, the program first")
    return [os.fsencode(word) for word in argv]
