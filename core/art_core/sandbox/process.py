"""A command that runs in an open sandbox: its streams, its end, and waiting for both.

Nothing here waits by itself but `wait` and `communicate`: what is waited for are descriptors, so a caller
with a loop of its own (`art_core.sandbox.aio`) drives the same code.
"""

from __future__ import annotations

import os
import select
import signal
import time
from _thread import allocate_lock
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, Literal, NamedTuple, TypedDict, TypeVar

from art_core.errors import ArtError
from art_core.launch.reports import objects
from art_core.sandbox import relay
from art_core.sandbox.streams import DEVNULL, PIPE, STDOUT, Path

if TYPE_CHECKING:
    from art_core.contracts import Exit
    from art_core.gateways import Refusal
    from art_core.host.messages import Socket

Printing = TypeVar("Printing")
_CHUNK = relay.PIPE_SIZE
_MESSAGE = 1 << 16
_SHOWN = 300
_MOST_REPORTS = 8
_MOST_MESSAGES = 64
"""How many are taken at once: what is inside may send more and more."""


class How(TypedDict, total=False):
    """How a command is started: each stream PIPE or DEVNULL, `stderr` STDOUT as well; `cwd` is a directory
    inside, relative to the workspace or with `~` for the home; `env` are variables beside those of the
    sandbox."""

    stdin: int
    stdout: int
    stderr: int
    cwd: Path | None
    env: Mapping[str, str] | None


class Result(NamedTuple, Generic[Printing]):
    """How a command ended, and what it printed: bytes, or str with `text=True`."""

    argv: Sequence[str]
    exit: Exit
    stdout: Printing
    stderr: Printing
    refusals: Sequence[Refusal] = ()
    """What was asked for while it ran and a filtered network refused."""

    @property
    def status(self) -> int:
        """The exit status, as a shell would see it: 128+N after signal N."""
        return self.exit.code

    def check(self) -> None:
        """Raises CommandFailed unless the status is 0."""
        if self.exit.code:
            raise CommandFailed(self)


class CommandFailed(ArtError):
    """A command that was to succeed did not; `result` is how it ended."""

    def __init__(self, result: Result[Any]) -> None:
        ended = result.exit
        why = ended.why if ended.by not in ("command", "signal") else ""
        if not why:
            printed = result.stderr or result.stdout
            text = printed.decode("utf-8", "replace") if isinstance(printed, bytes) else printed
            why = text.strip().rpartition("\n")[2]
        super().__init__(f"{result.argv[0]!r} ended with {ended.code}" + f": {why[:_SHOWN]}" * bool(why))
        self.result = result


class TimeoutExpired(ArtError, TimeoutError):
    """A command ran longer than it was given; it was ended with all that it started. Holds what it printed
    until then, as `Result` has it."""

    def __init__(self, timeout_s: float, stdout: Any, stderr: Any) -> None:
        super().__init__(f"the command did not end within {timeout_s:g} s")
        self.stdout = stdout
        self.stderr = stderr


class Waits(NamedTuple):
    """What can be gone on with: one of these descriptors is readable or writable, or it is `until`
    (time.monotonic; None: for ever)."""

    readable: Sequence[int]
    writable: Sequence[int]
    until: float | None


class Pipes(NamedTuple):
    """The command's ends of its streams, and ours (-1 where there is none). Ours are close-on-exec."""

    theirs: list[int]
    ours: list[int]

    @classmethod
    def made(cls, stdin: int, stdout: int, stderr: int, owner: tuple[int, int] | None) -> Pipes:
        """Of PIPE, DEVNULL and STDOUT. `owner` is who must own an end that can be reopened through /proc."""
        theirs: list[int] = []
        ours: list[int] = []
        try:
            for number, wanted in enumerate((stdin, stdout, stderr)):
                if wanted == PIPE:
                    ends = relay.pipe()
                    theirs.append(ends[number > 0])
                    ours.append(ends[number == 0])
                    if owner is not None:
                        os.fchown(theirs[-1], *owner)
                elif wanted == STDOUT and number == 2:
                    theirs.append(os.dup(theirs[1]))
                    ours.append(-1)
                elif wanted == DEVNULL:
                    theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
                    ours.append(-1)
                else:
                    raise TypeError("a stream is PIPE or DEVNULL, standard error STDOUT as well")
        except BaseException:
            cls(theirs, ours).close()
            raise
        return cls(theirs, ours)

    def given(self) -> None:
        """The command has its ends: close our copies, so that their end is seen. Idempotent."""
        while self.theirs:
            os.close(self.theirs.pop())

    def close(self) -> None:
        self.given()
        while self.ours:
            if (fd := self.ours.pop()) >= 0:
                os.close(fd)


class Ended(NamedTuple):
    """What is left to do when a command has ended: what its reports mean, and telling the log."""

    exit: Callable[[Sequence[Mapping[str, object]]], Exit]
    refusals: Callable[[], Sequence[Refusal]]


class Process(Generic[AnyStr]):
    """A command that runs. `stdin`, `stdout` and `stderr` are files of the caller's, None where there is no
    pipe. Use it as a context manager, or call `close`: a command that still runs is ended then."""

    def __init__(
        self, argv: Sequence[str], channel: Socket, pipes: Pipes, ended: Ended, *, text: bool
    ) -> None:
        self.argv = argv
        self._channel = channel
        self._ended = ended
        self._text = text
        self._reports: list[Mapping[str, object]] = []
        self._lock = allocate_lock()
        self._over = False
        self._exit: Exit | None = None
        stdin, stdout, stderr = pipes.ours
        pipes.ours.clear()
        self.stdin: IO[AnyStr] | None = _file(stdin, "w", text)
        self.stdout: IO[AnyStr] | None = _file(stdout, "r", text)
        self.stderr: IO[AnyStr] | None = _file(stderr, "r", text)

    def __enter__(self) -> Process[AnyStr]:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self.close()
        return False

    def fileno(self) -> int:
        """Readable when the command has ended, or will in a moment."""
        return self._channel.fileno()

    @property
    def exit(self) -> Exit | None:
        """How it ended; None while it is not known that it did."""
        return self._exit

    def look(self) -> bool:
        """Take what has come, without waiting; True when the command has ended, or nothing more will come."""
        with self._lock:
            for _ in range(_MOST_MESSAGES):  # Whoever waits for it looks again.
                if self._over:
                    break
                try:
                    data = self._channel.recv(_MESSAGE, _MSG_DONTWAIT)
                except BlockingIOError:
                    return False
                except OSError:
                    data = b""
                found, _ = objects(data.decode("utf-8", "replace"))
                self._reports += found[: _MOST_REPORTS - len(self._reports)]
                self._over = not data or any("exit-code" in one or "start-errno" in one for one in found)
            return self._over

    def settle(self) -> Exit:
        """What the end means, once `look` was true; it is told to the store's log."""
        with self._lock:
            if self._exit is None:
                self._exit = self._ended.exit(self._reports)
            return self._exit

    def poll(self) -> Exit | None:
        """How it ended, None while it runs."""
        return self.settle() if self._exit is None and self.look() else self._exit

    def wait(self, timeout: float | None = None) -> Exit:
        """Wait for the end. The command may wait for you: read its output, or it can block. Raises
        TimeoutExpired after `timeout` seconds; the command goes on then."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.look():
            if not wait_for(Waits([self.fileno()], [], until)):
                assert timeout is not None
                raise TimeoutExpired(timeout, None, None)
        return self.settle()

    def communicate(self, input: AnyStr | None = None, timeout: float | None = None) -> Result[AnyStr]:
        """Write `input`, read all output, and wait for the end. Raises TimeoutExpired after `timeout`
        seconds; the command is ended then, with all that it started."""
        return self.collected(drive(self.talk(input, timeout)), timeout)

    def collected(self, printed: Printed, timeout: float | None) -> Result[AnyStr]:
        """The result of what `talk` came to. Raises TimeoutExpired."""
        exit = self.settle()
        stdout, stderr = (
            data.decode("utf-8", "replace") if self._text else data
            for data in (printed.stdout, printed.stderr)
        )
        if not printed.in_time:
            assert timeout is not None
            raise TimeoutExpired(timeout, stdout, stderr)
        return Result(self.argv, exit, stdout, stderr, self._ended.refusals())  # type: ignore[arg-type]

    def talk(self, input: AnyStr | None, timeout: float | None) -> Talk:
        """Yields what to wait for, and is sent what was ready, until the command has ended and all that it
        printed was read. What it leaves running may hold its streams: that is not waited for."""
        data = input.encode() if isinstance(input, str) else input
        return _talk(self, data or b"", None if timeout is None else time.monotonic() + timeout)

    def send_signal(self, number: int) -> None:
        """Send a signal to the command: SIGHUP, SIGINT and SIGQUIT to all of its process group. SIGKILL ends
        all that the command started as well."""
        if not self._over or number == signal.SIGKILL:
            with suppress(OSError):  # Perhaps nobody is there any more.
                self._channel.send(bytes((number,)), _MSG_NOSIGNAL)

    def terminate(self) -> None:
        """Ask the command to end (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and everything it started, what it left running too."""
        self.send_signal(signal.SIGKILL)

    def abandon(self) -> None:
        """End the command if it still runs, without waiting for that."""
        if self._channel.fileno() >= 0 and not self.look():
            self.kill()

    def close(self) -> None:
        """Close the streams; a command that still runs is ended, and waited for. Idempotent."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                _close(stream)
        if self._channel.fileno() >= 0:
            self.abandon()
            with suppress(ArtError):  # The sandbox is gone: that was told, or is by whoever closes it.
                self.wait()
            self._channel.close()


_MSG_DONTWAIT, _MSG_NOSIGNAL = 0x40, 0x4000  # socket(2); the module `socket` is slow to load.


def _file(fd: int, mode: Literal["r", "w"], text: bool) -> Any:
    if fd < 0:
        return None
    if text:
        lines = 1 if mode == "w" else -1
        return open(fd, mode, lines, encoding="utf-8", errors="replace", newline="\n")
    return open(fd, f"{mode}b", buffering=0 if mode == "w" else -1)


class Printed(NamedTuple):
    """What a command printed, and whether it ended in time."""

    stdout: bytes
    stderr: bytes
    in_time: bool


Talk = Generator[Waits, Sequence[int], Printed]


def _talk(process: Process[Any], data: bytes, until: float | None) -> Talk:
    printed = bytearray(), bytearray()
    outputs: dict[int, bytearray] = {}
    for stream, kept in zip((process.stdout, process.stderr), printed, strict=True):
        if stream is not None:
            os.set_blocking(stream.fileno(), False)
            outputs[stream.fileno()] = kept
    left = memoryview(data)
    stdin, in_time = process.stdin, True
    if stdin is not None:
        os.set_blocking(stdin.fileno(), False)
    while True:
        if stdin is not None and not left:
            _close(stdin)
            stdin = None
        writing = [] if stdin is None else [stdin.fileno()]
        ready = yield Waits([process.fileno(), *outputs], writing, until)
        if not ready and until is not None and time.monotonic() >= until:
            in_time, until = False, None
            process.kill()
        if writing and writing[0] in ready:
            left = left[_written(writing[0], left) :]
        ended = process.fileno() in ready and process.look()
        for fd in [fd for fd in outputs if ended or fd in ready]:
            # One read takes all that a pipe holds: what writes on after the end is not followed.
            chunk = _read(fd)
            outputs[fd] += chunk or b""
            if chunk == b"":
                del outputs[fd]
        if ended:
            return Printed(bytes(printed[0]), bytes(printed[1]), in_time)


def _written(fd: int, data: memoryview) -> int:
    """How much of it was taken; all of it when nobody will read more."""
    try:
        return os.write(fd, data[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)


def _close(stream: IO[Any]) -> None:
    with suppress(BrokenPipeError):  # What was written last was never read.
        stream.close()


def _read(fd: int) -> bytes | None:
    """What has come; b"" at the end, None when nothing has."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


def wait_for(waits: Waits) -> list[int]:
    """Wait; the descriptors that are ready, none when the time is over."""
    poll = select.poll()
    for fd in waits.readable:
        poll.register(fd, select.POLLIN)
    for fd in waits.writable:
        poll.register(fd, select.POLLOUT)
    patience = None if waits.until is None else max(0.0, (waits.until - time.monotonic()) * 1000 + 1)
    return [fd for fd, _ in poll.poll(patience)]


def drive(talk: Talk) -> Printed:
    """Go through with it, waiting in this thread."""
    try:
        waits = next(talk)
        while True:
            waits = talk.send(wait_for(waits))
    except StopIteration as end:
        printed: Printed = end.value
        return printed
