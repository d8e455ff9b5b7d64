"""Drives an isolation as core does: plan, launch through the launcher, watch, ask what it meant.

Called by root, the launched process is an unused ordinary user and mounts are staged for it, as
in `art_core.launch.mount_stage`; called by a plain user it is that user.
"""

from __future__ import annotations

import ast
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from art_core.contracts import Exit, Isolation, Launch, Mount, Origin, Provider, Run
from art_core.errors import ArtError
from art_core.launch.client import Launcher, Streams
from art_core.loader.recipe import Plan
from art_core.testing.rules import Rule

PATH = b"/usr/local/bin:/usr/bin:/bin"
INSIDE_ID = 1000
"""The uid and gid a root caller's command sees as its own (SANDBOX rule: files stay root's outside)."""
STAND_IN = 65520
"""The ordinary user that a root caller's sandbox is on the host."""
PATIENCE_S = 30.0
"""How long anything may take; a sandbox starts within a small part of a second."""


def is_root() -> bool:
    return os.geteuid() == 0


def interpreter() -> str:
    """A Python that is visible inside and that anybody may execute."""
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    candidates = ["/usr/bin/python3", base] if is_root() else [base, "/usr/bin/python3"]
    return next(path for path in candidates if os.access(path, os.X_OK))


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what came out of it."""

    exit: Exit
    stdout: bytes
    stderr: bytes
    reports: Sequence[Mapping[str, object]]
    diagnostics: bytes
    status: int
    """The launched process's, as waitpid(2) gives it."""
    untraced: str | None = None
    """Why the tracer ended before its command."""

    def __str__(self) -> str:
        why = self.exit.why[-500:] or "no reason given"
        shown = [f"exit status {self.exit.code} by {self.exit.by} ({why})"]
        streams = {"stdout": self.stdout, "stderr": self.stderr, "diagnostics": self.diagnostics}
        shown += [f"{name} {content[-500:]!r}" for name, content in streams.items() if content]
        shown += [f"the tracer ended first ({self.untraced})"] if self.untraced is not None else []
        return ", ".join(shown)


class Running:
    """A command in its sandbox. Leaving the context ends both."""

    def __init__(self, driver: Driver, launcher: Launcher, ends: tuple[int, int, int]) -> None:
        self._driver = driver
        self._launcher = launcher
        self._stdin, self._stdout, self._stderr = ends
        self._received = {self._stdout: b"", self._stderr: b""}
        self._open = {self._stdout, self._stderr}

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launcher.signal(signal.SIGKILL)
        self._launcher.close()
        for fd in {self._stdin, self._stdout, self._stderr} - {-1}:
            os.close(fd)

    def line(self) -> str:
        """Wait for the next whole line on standard output."""
        until = time.monotonic() + PATIENCE_S
        while b"\n" not in self._received[self._stdout]:
            if self._stdout not in self._open:
                self._driver.rule.broken(f"the command ended early: {self.finish()}")
            self._read(until, "a line of output")
        line, _, rest = self._received[self._stdout].partition(b"\n")
        self._received[self._stdout] = rest
        return os.fsdecode(line.rstrip(b"\r"))

    def send(self, data: bytes) -> None:
        """Write all of `data` to standard input; what the command prints meanwhile is kept."""
        view = memoryview(data)
        until = time.monotonic() + PATIENCE_S
        os.set_blocking(self._stdin, False)
        while view:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                self._read(until, "standard input to be read", writing=True)
            except BrokenPipeError:
                return

    def close_input(self) -> None:
        if self._stdin not in (-1, self._stdout):
            os.close(self._stdin)
            self._stdin = -1

    @property
    def launcher_pid(self) -> int:
        return self._launcher.pid

    def close_launcher(self) -> None:
        """What happens when the supervisor dies: its end of the launcher's socket closes."""
        self._launcher.close()

    def read_to_end(self, what: str = "the end of all output") -> tuple[bytes, bytes]:
        """Standard output and error until nobody holds them any more."""
        until = time.monotonic() + PATIENCE_S
        while self._open:
            self._read(until, what)
        return self._received[self._stdout], self._received[self._stderr]

    @property
    def silent(self) -> bool:
        """Whether nobody holds standard output and error any more."""
        return not self._open

    def read_some(self) -> None:
        """Wait a little for output, or for its end."""
        for fd in select.select(self._open, [], [], 0.05)[0]:
            self._take(fd)

    def finish(self) -> Ran:
        """Close the input, wait for the end, and ask the isolation what it meant."""
        self.close_input()
        stdout, stderr = self.read_to_end()
        outcome = self._launcher.result()
        status, reports, diagnostics = outcome.status, outcome.reports, outcome.diagnostics
        ended = self._driver.ask_exit(status, reports, diagnostics)
        untraced = None if outcome.untraced is None else str(outcome.untraced[0])
        return Ran(ended, stdout, stderr, reports, diagnostics, status, untraced)

    def _read(self, until: float, what: str, *, writing: bool = False) -> None:
        """Read what is there, or wait for something (with `writing`, for room in standard input)."""
        left = max(0.0, until - time.monotonic())
        readable, writable, _ = select.select(self._open, [self._stdin] if writing else [], [], left)
        if not readable and not writable and time.monotonic() >= until:
            self._driver.rule.broken(f"after {PATIENCE_S:.0f} s there was still not {what}")
        for fd in readable:
            self._take(fd)

    def _take(self, fd: int) -> None:
        try:
            chunk = os.read(fd, 1 << 16)
        except OSError:
            chunk = b""  # EIO: nobody holds the other side of the terminal (pty(7))
        self._received[fd] += chunk
        if not chunk:
            self._open.discard(fd)


class Driver:
    """Runs commands in one isolation, for one rule."""

    def __init__(self, provider: Provider[Isolation], context: Any, rule: Rule, place: str) -> None:
        self.rule = rule
        self.place = place
        self.capabilities = provider.capabilities
        self.isolation: Isolation = self._ask("create", provider.create, context)
        self.python = interpreter()

    def run_for(self, argv: Sequence[bytes | str], **wishes: Any) -> Run:
        """The `Run` of a command: of ordinary shape but for what is wished."""
        inside = (INSIDE_ID, INSIDE_ID) if is_root() else (os.getuid(), os.getgid())
        plain: dict[str, Any] = {
            "argv": tuple(os.fsencode(word) for word in argv),
            "env": {b"PATH": PATH},
            "cwd": "/",
            "uid": inside[0],
            "gid": inside[1],
        }
        return Run(**(plain | wishes))

    def plan(self, run: Run) -> Launch:
        launch: Launch = self._ask("plan", self.isolation.plan, run)
        return launch

    def ask_exit(self, status: int, reports: Sequence[Mapping[str, object]], diagnostics: bytes) -> Exit:
        ended: Exit = self._ask("exit", self.isolation.exit, status, reports, diagnostics)
        return ended

    def _ask(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ArtError as error:
            self.rule.broken(f"{what}() refused: {error}")
        except Exception as error:
            self.rule.broken(f"{what}() raised {error!r}")

    def start(
        self,
        *argv: bytes | str,
        between: Callable[[], None] | None = None,
        trace: tuple[Plan, int] | None = None,
        **wishes: Any,
    ) -> Running:
        """Start a command; `between` is called when the sources are pinned and all is planned. `trace`
        says how to trace it, and where the record goes."""
        with ExitStack() as opened:
            run = self.run_for(argv, **wishes)
            run, stage = self.pin(run, opened)
            launch = self.plan(run)
            if between is not None:
                between()
            launcher = Launcher(traced=trace is not None)
            if trace is not None:
                launcher.trace(trace[0])
            opened_now, streams = self._streams(opened, terminal=run.terminal)
            running = Running(self, launcher, opened_now)
            try:
                identity = (STAND_IN, STAND_IN) if is_root() else None
                record = None if trace is None else trace[1]
                launcher.order(launch, streams, stage=stage, identity=identity, record=record)
            except ArtError as error:
                running.__exit__(None, None, None)
                self.rule.broken(f"the planned program could not be launched: {error}")
            return running

    def pin(self, run: Run, opened: ExitStack) -> tuple[Run, list[int]]:
        """Open the sources of all mounts but devices, as core does: given by descriptor, which
        for root is to be staged."""
        mounts: list[Mount] = []
        stage: list[int] = []
        for mount in run.mounts:
            if mount.device:
                mounts.append(mount)
                continue
            fd = os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            if is_root():
                stage.append(fd)
            mounts.append(mount._replace(fd=fd, directory=directory))
        return run._replace(mounts=tuple(mounts)), stage

    def _streams(self, opened: ExitStack, *, terminal: bool) -> tuple[tuple[int, int, int], Streams]:
        """Our ends of the command's 0, 1 and 2, and its own, which close when it is launched."""
        err_read, err_write = os.pipe()
        if terminal:
            ours, theirs = os.openpty()
            ends, streams = (ours, ours, err_read), Streams(theirs, theirs, err_write)
        else:
            in_read, in_write = os.pipe()
            out_read, out_write = os.pipe()
            ends, streams = (in_write, out_read, err_read), Streams(in_read, out_write, err_write)
        for fd in set(streams):
            opened.callback(os.close, fd)
            if is_root():
                os.fchown(fd, STAND_IN, STAND_IN)
        return ends, streams

    def run(self, *argv: bytes | str, input: bytes = b"", **wishes: Any) -> Ran:
        """Run a command to its end, whatever that is."""
        with self.start(*argv, **wishes) as running:
            running.send(input)
            return running.finish()

    def output(self, *argv: bytes | str, input: bytes = b"", **wishes: Any) -> bytes:
        """What a command that has to succeed prints."""
        ran = self.run(*argv, input=input, **wishes)
        self.succeeded(ran)
        return ran.stdout

    def succeeded(self, ran: Ran) -> None:
        self.rule.holds(ran.exit.code == 0, f"the command of the test failed: {ran}")

    def script(self, source: str, *arguments: bytes | str) -> list[bytes | str]:
        """A command that runs Python source inside."""
        return [self.python, "-I", "-S", "-c", source, *arguments]

    def learn(self, source: str, *arguments: bytes | str, **wishes: Any) -> Any:
        """Run Python source inside that prints the `ascii` of one value; return the value."""
        printed = self.output(*self.script(source, *arguments), **wishes)
        try:
            return ast.literal_eval(printed.decode("ascii"))
        except (ValueError, SyntaxError):
            self.rule.broken(f"the test's own script printed {printed[:500]!r}")

    def path(self, name: str) -> str:
        """A path on the host that is also visible inside, at the same place."""
        return os.path.join(self.place, name)

    def make_directory(self, name: str, mode: int = 0o755) -> str:
        path = self.path(name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def make_file(self, name: str, content: bytes = b"host", mode: int = 0o644) -> str:
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path


def shown(source: str, guest: str, *, writable: bool = False) -> Mount:
    """A mount as a user asks for it."""
    return Mount(source=source, guest=guest, writable=writable, origin=Origin("the conformance kit"))


def owned_by_command(path: str) -> None:
    """Give a file to the host's user that the command is, so that only the isolation says no."""
    if is_root():
        os.chown(path, STAND_IN, STAND_IN)
