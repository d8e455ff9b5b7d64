"""The small program between bwrap and the command.

It runs inside, as a child of bwrap's pid 1: takes the terminal, reports that it is about to
execute, executes, and reports the errno when that failed, because bwrap ends with 1 for its own
failures, a missing program and one that cannot be executed alike.

The code of `become_command` is marshalled and made a function again by the same interpreter, with
no globals, so it imports what it needs by itself.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any

from art_bwrap.filling import fill_home
from art_core.contracts import HOME


def become_command(
    argv: list[bytes],
    env: dict[bytes, bytes],
    cwd: bytes,
    stderr_fd: int,
    report_fd: int,
    terminal: bool,
    door_fd: int,
    listen: tuple[int, ...],
    rlimits: tuple[tuple[int, int], ...],
    seeds_fd: int,
    fill_home: CodeType | None,
    home: bytes,
) -> None:
    """Execute `argv` in `cwd`; `stderr_fd` becomes 2, and sockets that listen on the loopback ports
    `listen` are sent through `door_fd`. `fill_home` (`filling`) unpacks what comes from `seeds_fd` into
    `home`. Does not return."""
    # `signal` would import enum, which costs more than all the rest; `_signal` is built in.
    import _signal  # type: ignore[import-not-found]
    import os

    def fail(number: int, status: int, found: bytes = b"", what: str = "found") -> None:
        os.write(report_fd, f'{{"exec-errno": {number}, "{what}": "{found.hex()}"}}'.encode())
        os._exit(status)

    os.dup2(stderr_fd, 2)
    if door_fd >= 0:
        import _socket
        from array import array

        try:
            listening = []
            for port in listen:
                one = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
                listening.append(one)
                one.bind(("127.0.0.1", port))
                one.listen(4096)
            door = _socket.socket(fileno=door_fd)
            rights = array("i", [one.fileno() for one in listening])
            door.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
            for one in (*listening, door):
                one.close()
        except OSError as error:
            os.write(report_fd, b'{"exec": true}')
            fail(error.errno or 0, 125, b"", "listen")
    if fill_home is not None:
        try:
            make: Any = type(fail)
            make(fill_home, {})(seeds_fd, home)
        except OSError as error:
            os.write(report_fd, b'{"exec": true}')
            fail(error.errno or 0, 125, b"", "seeds")
    os.set_inheritable(report_fd, False)
    os.closerange(3, report_fd)
    os.closerange(report_fd + 1, 1 << 20)
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
        _signal.signal(ignored, _signal.SIG_DFL)
    os.setsid()
    if terminal:
        import fcntl

        for fd in (0, 1, 2):
            if os.isatty(fd):
                fcntl.ioctl(fd, 0x540E, 0)  # TIOCSCTTY, tty_ioctl(4)
                break
    if rlimits:
        import resource

        for number, value in rlimits:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    os.write(report_fd, b'{"exec": true}')
    try:
        os.chdir(cwd)
    except OSError as error:
        fail(error.errno or 0, 125, cwd, "cwd")
    name = argv[0]
    if b"/" in name:
        candidates = [name]
    elif name:
        path = env.get(b"PATH", b"/usr/bin:/bin")
        candidates = [(directory or b".") + b"/" + name for directory in path.split(b":")]
    else:
        candidates = []
    worst = 2
    found = b""
    for candidate in candidates:
        try:
            os.execve(candidate, argv, env)
        except OSError as error:
            number = error.errno or 0
        except ValueError:
            number = 22
        if number == 8:  # ENOEXEC: a script without a first line, which execvp(3) gives to sh
            try:
                with open(candidate, "rb") as file:
                    binary = b"\0" in file.read(128)
                if not binary:
                    os.execve(b"/bin/sh", [b"/bin/sh", candidate, *argv[1:]], env)
            except OSError:
                pass
        if number in (2, 20):  # ENOENT, ENOTDIR: of the file, or of its interpreter
            if os.path.lexists(candidate) and not found:
                found = candidate
            continue
        if number == 13:  # EACCES: go on looking, as execvp(3) does
            if os.path.isdir(candidate) and b"/" not in name:
                continue
            worst, found = 13, candidate
            continue
        fail(number, 126, candidate)
    fail(worst, 126 if found else 127, found)


def payload(
    argv: Sequence[bytes],
    env: Mapping[bytes, bytes],
    cwd: bytes,
    *,
    stderr_fd: int,
    report_fd: int,
    terminal: bool,
    door_fd: int = -1,
    listen: Sequence[int] = (),
    rlimits: Sequence[tuple[int, int]] = (),
    seeds_fd: int = -1,
) -> bytes:
    """The code and its arguments, for `bootstrap`."""
    what = (
        list(argv),
        dict(env),
        cwd,
        stderr_fd,
        report_fd,
        terminal,
        door_fd,
        tuple(listen),
        tuple(rlimits),
        seeds_fd,
        fill_home.__code__ if seeds_fd >= 0 else None,
        HOME.encode(),
    )
    return marshal.dumps((become_command.__code__, what))


def bootstrap(payload_fd: int) -> str:
    """The text for `python -c` that reads and executes a payload."""
    read = f"marshal.loads(open({payload_fd},'rb').read())"
    return f"import marshal;c,a={read};type(lambda:0)(c,{{}})(*a)"
