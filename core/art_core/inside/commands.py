"""Process 1 of a sandbox that stays open: it starts the commands that come, and sees to their end.

An isolation with the capability `commands` runs this module's code (`execution.code_inside`) inside, confined
as a command is, as process 1 of a pid namespace, and calls `serve`. Nothing of ART's may be there, so it
imports nothing of it.

On the socket of the sandbox (SOCK_SEQPACKET) comes one message for each command, with descriptors: the
marshalled order (`run` and a command, or what `_move` does and a path), a channel, and its 0, 1 and 2. On the
channel come the numbers of signals, a byte each, and go JSON objects as those of
`contracts.Launch.report_fds`; it is closed when all has been said.

Each command has a keeper, a process to which all that it leaves falls (PR_SET_CHILD_SUBREAPER, prctl(2)):
whatever a command starts stays below its keeper, also what made a session of its own, and can be ended with
it.
A command can kill a keeper, or stop it, since they are of one user: then process 1 ends all that it had.
Process 1 and the keepers are not dumpable, so that no command can trace them or open what they hold
(ptrace(2), PTRACE_MODE_ATTACH), and process 1 gets no signal from inside (pid_namespaces(7)).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import ctypes
import errno
import marshal
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

_NAME = b"art-session"
_PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 4, 15, 36
_SIGKILL, _SIGTERM = 9, 15
_TO_GROUP = (1, 2, 3)
"""SIGHUP, SIGINT and SIGQUIT go to all of the command's process group, as a terminal sends them."""
_GRACE_S = 5.0
"""How long a command whose time ran out may take to end."""
_PATIENCE_S = 1.0
"""How long what a command started may go on making processes after it was told to end."""
_FLAGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_LOOKS = 3
"""So many looks in a row that find no process are believed."""
_ESCAPING = 99
"""A keeper's exit status: its command makes processes faster than they can be ended."""

Execute = Callable[[list[bytes], dict[bytes, bytes], bytes, int, Any], None]


def serve(commands_fd: int, execute: Execute, rlimits: Any) -> NoReturn:
    """Be process 1. Never returns."""
    try:
        _hide()
        _Server(_socket.socket(fileno=commands_fd), execute, rlimits).run()
    finally:
        os._exit(1)


def _prctl(option: int, value: Any) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _hide() -> None:
    """Be out of reach of the commands, and of `pkill python`."""
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NAME, _NAME)
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5)
    if end - start > len(_NAME):
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, _NAME, len(_NAME))


class _Wakes:
    """A descriptor that is readable when a child has ended."""

    def __init__(self) -> None:
        self.fd, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)

    def clear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)


def _ended_children(options: int = 0) -> list[tuple[int, int]]:
    """Pids and wait statuses of those that have ended; pid 0 at the end when there are no others."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | options)
        except ChildProcessError:
            return [*found, (0, 0)]
        if not pid:
            return found
        found.append((pid, status))


class _Server:
    def __init__(self, commands: _socket.socket, execute: Execute, rlimits: Any) -> None:
        self._commands = commands
        self._execute = execute
        self._rlimits = rlimits
        self._keepers: set[int] = set()
        self._sweep: _Sweep | None = None

    def run(self) -> None:
        """Start what comes, until nobody can send anything any more."""
        wakes = _Wakes()
        poll = select.poll()
        poll.register(self._commands, select.POLLIN)
        poll.register(wakes.fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll(None if self._sweep is None else self._sweep.pause_ms):
                if fd == wakes.fd:
                    wakes.clear()
                elif not self._start_next():
                    return
            self._reap()

    def _reap(self) -> None:
        for pid, status in _ended_children(os.WUNTRACED):
            if os.WIFSTOPPED(status):
                os.kill(pid, _SIGKILL)  # Nobody stops a keeper but a command that wants to outlive its time.
                continue
            known = pid in self._keepers
            self._keepers.discard(pid)
            if known and os.WIFEXITED(status) and os.WEXITSTATUS(status) == _ESCAPING:
                os.kill(-1, _SIGKILL)
            elif pid and (not known or status) and self._sweep is None:
                self._sweep = _Sweep()  # A keeper did not end by itself: what it had is nobody's.
        if self._sweep is not None and (done := self._sweep.go_on(self._keepers)) is not None:
            self._sweep = None
            if not done:
                os.kill(-1, _SIGKILL)

    def _start_next(self) -> bool:
        data, ancillary, flags, _ = self._commands.recvmsg(16, 256, _socket.MSG_CMSG_CLOEXEC)
        fds: list[int] = []
        for _, _, content in ancillary:
            fds += memoryview(content).cast("i").tolist()
        if not data or flags & _socket.MSG_CTRUNC:  # A command took our descriptors away (prlimit(2)).
            return False
        try:
            pid = os.fork()
        except OSError as error:
            _tell(_socket.socket(fileno=os.dup(fds[1])), f'{{"start-errno": {error.errno}}}')
        else:
            if pid == 0:
                self._commands.close()
                try:
                    _attend(fds, self._execute, self._rlimits)
                finally:
                    os._exit(1)
            self._keepers.add(pid)
        for fd in fds:
            os.close(fd)
        return True


def _tell(channel: _socket.socket, text: str) -> None:
    """Whoever asked may be gone."""
    with suppress(OSError):
        channel.send(text.encode(), _socket.MSG_NOSIGNAL)


def _attend(fds: list[int], execute: Execute, rlimits: Any) -> None:
    """Do what was ordered, in a process of its own."""
    with open(fds[0], "rb") as file:
        file.seek(0)
        order = marshal.load(file)
    channel = _socket.socket(fileno=fds[1])
    what, argv, env, cwd, time_s, traced = order
    wakes = _Wakes()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        pid = os.fork()
    except OSError as error:
        _tell(channel, f'{{"start-errno": {error.errno}}}')
        return
    if pid == 0:
        try:
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.setsid()
            for number, fd in enumerate(fds[2:]):
                os.dup2(fd, number)
            if traced:  # A tracer that is no root reads from this process what it is about to execute.
                _prctl(_PR_SET_DUMPABLE, 1)
            if what == "run":
                execute(argv, env, cwd, channel.fileno(), rlimits)
            _move(what, argv[0], cwd, channel.fileno())
        finally:
            os._exit(0 if what != "run" else 125)
    for fd in fds[2:]:
        os.close(fd)
    _Keeper(channel, wakes, pid, time_s).run()


def _move(what: str, path: bytes, cwd: bytes, report_fd: int) -> None:
    """Bring a file to descriptor 1 (`read`), or descriptor 0 into it (`write`, `append`), or the names in a
    directory to 1, each ended by NUL (`list`). An errno is reported."""
    try:
        os.chdir(cwd)
        if what == "list":
            for name in sorted(os.listdir(path)):
                _write(1, name + b"\0")
            return
        flags = _FLAGS[what] | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(path, flags, 0o666)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise IsADirectoryError(errno.EISDIR, "")
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "")
        source, sink = (fd, 1) if what == "read" else (0, fd)
        while block := os.read(source, 1 << 16):
            _write(sink, block)
        os.close(fd)
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or errno.EINVAL
        os.write(report_fd, b'{"file-errno": %d}' % number)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


class _Keeper:
    """Watches one command, its child, and what falls to it."""

    def __init__(self, channel: _socket.socket, wakes: _Wakes, command: int, time_s: float | None) -> None:
        self._channel = channel
        self._wakes = wakes
        self._command = command
        self._deadline = None if time_s is None else time.monotonic() + time_s
        self._timed_out = False
        self._status: int | None = None
        self._sweep: _Sweep | None = None

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakes.fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll(self._patience()):
                if fd == self._wakes.fd:
                    self._wakes.clear()
                elif not self._obey():
                    poll.unregister(fd)
            self._mind_time()
            for pid, status in _ended_children():
                if pid == self._command:
                    self._status = status
                # What is told to end is told of when all of it has ended.
                if self._status is not None and (self._sweep is None or not pid):
                    self._tell_end()
                if not pid:
                    os._exit(0)
            if self._sweep is not None and self._sweep.go_on(set()) is False:
                os._exit(_ESCAPING)

    def _patience(self) -> float | None:
        if self._sweep is not None:
            return self._sweep.pause_ms
        if self._deadline is None or self._status is not None:
            return None
        return max(0.0, (self._deadline - time.monotonic()) * 1000 + 1)

    def _tell_end(self) -> None:
        if self._command:
            self._command = 0
            assert self._status is not None
            code = os.waitstatus_to_exitcode(self._status)
            reached = '{"reached": "timeout"}' * self._timed_out
            _tell(self._channel, f'{reached}{{"exit-code": {128 - code if code < 0 else code}}}')

    def _obey(self) -> bool:
        """Pass signals on; False when nobody is there to send any."""
        try:
            numbers = self._channel.recv(64)
        except OSError:
            numbers = b""
        if not numbers and self._status is None:
            self._end_all()  # Whoever let go of a command that runs does not want it.
        for number in numbers:
            if number == _SIGKILL:
                self._end_all()
            elif self._status is None:
                self._signal(number)
        return bool(numbers)

    def _signal(self, number: int) -> None:
        try:
            if number in _TO_GROUP:
                os.killpg(self._command, number)
            else:
                os.kill(self._command, number)
        except ProcessLookupError:  # It has not made its group yet.
            os.kill(self._command, number)

    def _end_all(self) -> None:
        if self._sweep is None:
            self._sweep = _Sweep()

    def _mind_time(self) -> None:
        if self._deadline is None or self._status is not None or time.monotonic() < self._deadline:
            return
        if self._timed_out:
            self._deadline = None
            self._end_all()
            return
        self._timed_out = True
        self._deadline += _GRACE_S
        self._signal(_SIGTERM)


class _Sweep:
    """Ends all that is below this process. It takes several looks: a process may make another one between
    the look and its end, but not after it was killed."""

    def __init__(self) -> None:
        self._killed: set[int] = set()
        self._until = time.monotonic() + _PATIENCE_S
        self._clean = 0

    @property
    def pause_ms(self) -> int:
        """How long to wait for the next look."""
        return 50 if self._clean >= _LOOKS else bool(self._clean)

    def go_on(self, spared: set[int]) -> bool | None:
        """Kill what is new below, save the children `spared` and what is below those. True when some looks
        in a row found nothing, False when that takes too long, None to be called again. What has ended
        is to be waited for before."""
        me = os.readlink("/proc/self")
        own = me == str(os.getpid())
        below, found = {me}, False
        with os.scandir("/proc") as entries:
            for entry in entries:
                name = entry.name
                if not name.isdigit() or _parent(name) not in below:
                    continue
                pid = int(name) if own else _own_number(name)
                if pid in spared:
                    continue
                below.add(name)
                if pid > 0 and pid not in self._killed:
                    self._killed.add(pid)
                    found = True
                    with suppress(ProcessLookupError):
                        os.kill(pid, _SIGKILL)
                if time.monotonic() > self._until and found:
                    return False
        self._clean = 0 if found else self._clean + 1
        return True if self._clean >= _LOOKS else None


def _parent(name: str) -> str:
    """The parent of a process of /proc, zombies too: one whose first thread has ended looks like one, and
    goes on. Empty when it is gone."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[1].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _own_number(name: str) -> int:
    """The number in this pid namespace of a process of /proc, which is the host's; -1 when it is gone."""
    with suppress(OSError), open(f"/proc/{name}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NSpid:"):
                return int(line.split()[-1])
    return -1
