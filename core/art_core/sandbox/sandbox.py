"""Running commands in the sandbox: the object that the command line and other programs use.

from art_core import Sandbox

with Sandbox("ws/", database="ws.db") as box:
    done = box.run(["make", "test"], timeout=600)
    print(done.status, done.stdout.decode())
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from art_core.config.options import Options
from art_core.contracts import Exit, Launch
from art_core.errors import IsolationError, UsageError
from art_core.launch.client import Launcher, Streams, Terminal
from art_core.plan.build_run import PlannedLaunch, plan_launch
from art_core.plan.outcome import exit_of, notices
from art_core.plan.preparation import Preparation
from art_core.sandbox.attachment import Attachment, passing_signals, wants_terminal
from art_core.sandbox.starter import Starter, not_started
from art_core.sandbox.streams import DEVNULL, PIPE, Command, Path

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Unpack

    from art_core.config.settings import Settings
    from art_core.lending.loans import Granted
    from art_core.network.egress import WatchedPassage
    from art_core.plan.run_log import LoggedRun
    from art_core.sandbox.process import How, Process, Result
    from art_core.sandbox.session import OpenSandbox
    from art_core.sandbox.stored_home import StoredHome
    from art_core.store.history import Point
    from art_core.transfer.changes import Change


class _RunningCommand(NamedTuple):
    """A command that runs, how to learn its end, and its way out of a filtered network."""

    launcher: Launcher
    exit: Callable[[], Exit]
    passage: WatchedPassage | None


class Sandbox:
    """A sandbox over one workspace. Use it as a context manager, or call `close`.

    `workspace` is the host directory to work in (None: what the settings say, else the current
    one); the keyword arguments are the fields of
    `art_core.config.options.Options`, named as the command line's options are. Raises ArtError for
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
        self._pid = os.getpid()
        self._lock, self._asking = allocate_lock(), allocate_lock()
        self._session: OpenSandbox | None = None
        self._closed = False
        self._logged: list[LoggedRun] = []
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
        self._launching = Starter(self._preparation, launcher)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what still runs, keep the home, and let go of everything. Idempotent; in a process that was
        forked it does nothing. Raises StoreError when not all of the home reached the database."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            session, self._session, self._closed = self._session, None, True
        with ExitStack() as closing:
            closing.callback(self._preparation.close)
            closing.callback(self._launching.close)
            if session is not None:
                closing.callback(session.close)

    def gateway_served(self) -> bool:
        """Whether every run had its way out of a filtered network; asked when the sandbox is closed."""
        return bool(self._launching.passages) and all(
            passage.served() for passage in self._launching.passages
        )

    def greetings(self) -> Sequence[str]:
        """What a user should be told before a run: what a store found out when it opened the home,
        and how a limit is held when that is not as one would think."""
        overlay, held = self._preparation.overlay, self._preparation.held
        notes = [*self._preparation.notes, *([] if held is None else held.notes)]
        if (lent := self._preparation.lent) is not None:
            notes = [*notes, *lent.greetings(kept=overlay is not None)]
        return notes if overlay is None else [*notes, *overlay.mounted.notes]

    def notices(self, exit: Exit, *, explained: bool = False) -> Sequence[str]:
        """What a user should be told after a run that ended so: what a store met, what a filtered network
        refused and nobody was told of, protected files that are new or changed, mounts left out. `explained`:
        why it failed was told."""
        overlay = self._preparation.overlay
        notes = () if overlay is None else overlay.notes()
        refused = [line for passage in self._launching.passages for line in passage.lines]
        logged = [line for one in self._logged for line in one.notes]
        left = notices(self._preparation, failed=exit.code != 0 and not explained)
        return [*notes, *logged, *refused, *left]

    def grants(self) -> Sequence[Granted]:
        """What of the caller's own is lent to the sandbox, each with who asked for it."""
        lent = self._preparation.lent
        return [] if lent is None else lent.granted

    def hint(self, argv: Command, exit: Exit) -> str | None:
        """One line when a command failed that needs something which could have been lent."""
        from art_core.agents.failure_hints import hint

        preparation = self._preparation
        return hint(_encode(argv), exit.code, preparation.options, os.environ, preparation.workspace)

    def failure_note(self, argv: Command) -> str | None:
        """One line on what may be behind the failure of a command: there is a preset for it, or its name
        means another program inside than for the caller."""
        from art_core.agents.hints import Hints

        return Hints(self._preparation).failed(os.fsdecode(_encode(argv)[0]))

    def default_command(self) -> list[bytes]:
        """What runs when no command is given: the agent whose preset was asked for, else an interactive
        shell: the caller's if it is there inside, else bash, else sh."""
        return self._preparation.default_command()

    def plan(self, argv: Command, *, terminal: bool = False) -> Launch:
        """What would be executed, with the values of variables that were asked for left out.
        Starts nothing."""
        return plan_launch(self._preparation, _encode(argv), terminal=terminal, hide_values=True).launch

    # --- many commands in one sandbox ----------------------------------------------------------

    @overload
    def start(self, argv: Command, *, text: Literal[False] = ..., **how: Unpack[How]) -> Process[bytes]: ...

    @overload
    def start(self, argv: Command, *, text: Literal[True], **how: Unpack[How]) -> Process[str]: ...

    def start(self, argv: Command, *, text: bool = False, **how: Unpack[How]) -> Process[Any]:
        """Start a command in the sandbox, which is open from the first one on. Without more its
        standard input is empty, and its output and error are pipes; with `text` of str (UTF-8). Raises
        ArtError."""
        from art_core.sandbox.process import Pipes

        session, words = self._opened(), _encode(argv)
        command = session.command(words, how.get("cwd"), how.get("env") or {})
        pipes = Pipes.made(
            how.get("stdin", DEVNULL),
            how.get("stdout", PIPE),
            how.get("stderr", PIPE),
            self._preparation.stream_owner,
        )
        logged = None
        try:
            logged = self._launching.begun(words)
            return session.start(command, pipes, logged, text=text)
        except BaseException as error:
            pipes.close()
            not_started(logged, error)
            raise

    @overload
    def run(
        self,
        argv: Command,
        *,
        input: bytes | None = ...,
        timeout: float | None = ...,
        check: bool = ...,
        text: Literal[False] = ...,
        **how: Unpack[How],
    ) -> Result[bytes]: ...

    @overload
    def run(
        self,
        argv: Command,
        *,
        input: str | None = ...,
        timeout: float | None = ...,
        check: bool = ...,
        text: Literal[True],
        **how: Unpack[How],
    ) -> Result[str]: ...

    def run(
        self,
        argv: Command,
        *,
        input: Any = None,
        timeout: float | None = None,
        check: bool = False,
        text: Any = False,
        **how: Unpack[How],
    ) -> Result[Any]:
        """Run a command to its end, with `input` as its standard input, and return what it printed; for the
        rest see `start`. Raises TimeoutExpired after `timeout` seconds, when the command and all that it
        started have been ended, and with `check` CommandFailed for a status that is not 0."""
        if input is not None:
            how["stdin"] = PIPE
        process: Process[Any] = self.start(argv, text=text, **how)
        with process:
            result = process.communicate(input, timeout)
        if check:
            result.check()
        return result

    def read(self, path: Path, *, at: str | None = None) -> bytes:
        """The contents of a file inside, as a command sees it, or of one in the home `at` a snapshot or a
        branch. A path is relative to the workspace, and `~` is the home. Raises OSError; for a snapshot
        StoreError."""
        if at is None:
            return self._moved("read", path)
        with self._kept() as kept:
            return kept.read(path, at)

    def write(self, path: Path, contents: bytes | str, *, append: bool = False) -> None:
        """Write a file inside, as a command would. Raises OSError."""
        data = contents.encode() if isinstance(contents, str) else contents
        self._moved("append" if append else "write", path, data)

    def listdir(self, path: Path = ".") -> list[str]:
        """The names in a directory inside, in byte order. Raises OSError."""
        return [os.fsdecode(name) for name in self._moved("list", path).split(b"\0")[:-1]]

    def _moved(self, what: str, path: Path, data: bytes = b"") -> bytes:
        return self._opened().move(what, path, data, self._preparation.stream_owner)

    def snapshot(self, name: str | None = None) -> Point:
        """Keep the home as it is now, under a name or one made of the time. Raises StoreError."""
        with self._kept() as kept:
            return kept.snapshot(name)

    def snapshots(self) -> Sequence[Point]:
        """The snapshots of the database, the oldest first. Raises StoreError."""
        with self._kept() as kept:
            return kept.snapshots()

    def diff(self, since: str | None = None) -> Sequence[Change]:
        """What changed in the workspace: against the host's files, or since a snapshot. Raises ArtError."""
        with self._kept() as kept:
            return kept.diff(since)

    @contextmanager
    def _kept(self) -> Iterator[StoredHome]:
        """What the database has, for one thread at a time."""
        from art_core.sandbox.stored_home import StoredHome

        self._refuse_forked()
        with self._asking:
            yield StoredHome(self._preparation)

    def _opened(self) -> OpenSandbox:
        """The sandbox, launched when the first command comes."""
        from art_core.sandbox.session import OpenSandbox

        self._refuse_forked()
        with self._lock:
            if self._session is None:
                if self._closed:
                    raise IsolationError("this sandbox was closed; open another")
                needed = {"commands": "many commands in one sandbox"}
                self._preparation.require_capabilities(needed)
                out_fd = None
                if (recording := self._preparation.recording) is not None:
                    recording.require(needed)
                    if (out_fd := recording.open()) is None:
                        raise UsageError(
                            "trace: the record of an open sandbox goes to a file: trace_log=FILE"
                        )
                passage = self._launching.passage(None)
                launch = partial(self._launching.launch, passage=passage, out_fd=out_fd)
                self._session = OpenSandbox(self._preparation, launch, passage)
            return self._session

    def _refuse_forked(self) -> None:
        if os.getpid() != self._pid:
            raise IsolationError(
                f"this sandbox belongs to process {self._pid}, from which this one was forked; open another"
            )

    def execute(
        self,
        argv: Command,
        *,
        interactive: bool | None = None,
        tell: Callable[[str], None] | None = None,
        output: int | None = None,
    ) -> Exit:
        """Run a command on the caller's own standard streams, as the command line does, in a sandbox of its
        own. With `output`, a descriptor, what it prints goes there and it has no input.

        `interactive` None gives it a PTY when standard input and output are both terminals.
        While it runs, SIGTERM, SIGINT, SIGHUP and SIGQUIT to this process go to the command. `tell` is
        called with what a user should know at once, unless a PTY has the screen: then `notices` has it.
        """
        terminal = output is None and wants_terminal(interactive)
        attachment = Attachment(self._preparation.stream_owner)
        try:
            streams, state = attachment.caller_streams(terminal=terminal, output=output)
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
        terminal: bool,
        state: Terminal | None,
        tell: Callable[[str], None] | None,
        attachment: Attachment,
    ) -> _RunningCommand:
        """Launch one command. A trace that has no log goes to standard error, through the relay of the
        attachment."""
        passage = self._launching.passage(tell)
        recording = self._preparation.recording
        out_fd = None
        if recording is not None:
            opened = recording.open()
            out_fd = attachment.record() if opened is None else opened
        logged = self._launching.begun(_encode(argv))
        try:
            prepared, launcher = self._launching.launch(
                streams,
                -1,
                argv=_encode(argv),
                terminal=terminal,
                state=state,
                passage=passage,
                out_fd=out_fd,
            )
        except BaseException as error:
            not_started(logged, error)
            raise
        return _RunningCommand(launcher, partial(self._exit, prepared, launcher, passage, logged), passage)

    def _exit(
        self,
        prepared: PlannedLaunch,
        ended: Launcher,
        passage: WatchedPassage | None,
        logged: LoggedRun | None,
    ) -> Exit:
        outcome = ended.result()
        if passage is not None:
            passage.close()
        exit = exit_of(self._preparation, outcome, prepared)
        if logged is not None:
            self._logged.append(logged)
            logged.ended(exit, () if passage is None else list(passage.told))
        return exit


def _encode(argv: Command) -> list[bytes]:
    if isinstance(argv, (str, bytes, os.PathLike)) or not argv:
        raise TypeError("a command is a list of words, the program first")
    return [os.fsencode(word) for word in argv]
