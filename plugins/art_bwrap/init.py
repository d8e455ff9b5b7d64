"""The small program between bwrap and the command, or the commands of a sandbox that stays open.

It runs inside, as a child of bwrap's pid 1: takes the terminal, reports that it is about to
execute, executes, and reports the errno when that failed, because bwrap ends with 1 for its own
failures, a missing program and one that cannot be executed alike. Where it starts many commands it is
pid 1 itself.

The code of `become_command` is marshalled and made a function again by the same interpreter, with
no globals, so it imports what it needs by itself.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any

from art_bwrap.home_seeds import fill_home
from art_core.contracts import HOME
from art_core.inside.execution import execute


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
    execute: CodeType,
    serve: CodeType | None,
    commands_fd: int,
) -> None:
    """Execute `argv` in `cwd` (`art_core.inside.execution`); `stderr_fd` becomes 2, and sockets that listen
    on the loopback ports `listen` are sent through `door_fd`. `fill_home` (`home_seeds`) unpacks what comes
    from `seeds_fd` into `home`. With `serve` (`art_core.inside.commands`) start the commands that come on
    `commands_fd` instead. Does not return."""
    # `signal` would import enum, which costs more than all the rest; `_signal` is built in.
    import _signal  # type: ignore[import-not-found]
    import os

    def fail(number: int, what: str) -> None:
        os.write(report_fd, f'{{"exec": true}}{{"exec-errno": {number}, "{what}": ""}}'.encode())
        os._exit(125)

    make: Any = type(fail)
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
            fail(error.errno or 0, "listen")
    if fill_home is not None:
        try:
            make(fill_home, {})(seeds_fd, home)
        except OSError as error:
            fail(error.errno or 0, "seeds")
    os.set_inheritable(report_fd, False)
    last = 2
    for kept in sorted({report_fd, commands_fd} - {-1}):
        os.closerange(last + 1, kept)
        last = kept
    os.closerange(last + 1, 1 << 20)
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGINT):
        _signal.signal(ignored, _signal.SIG_DFL)
    os.setsid()
    if terminal:
        import fcntl

        for fd in (0, 1, 2):
            if os.isatty(fd):
                fcntl.ioctl(fd, 0x540E, 0)  # TIOCSCTTY, tty_ioctl(4)
                break
    os.write(report_fd, b'{"exec": true}')
    if serve is not None:
        os.close(report_fd)
        names: dict[str, Any] = {"__name__": "art_core.inside.commands"}
        exec(serve, names)
        names["serve"](commands_fd, make(execute, {}), rlimits)
    make(execute, {})(argv, env, cwd, report_fd, rlimits)


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
    commands_fd: int = -1,
) -> bytes:
    """The code and its arguments, for `bootstrap`."""
    serve = None
    if commands_fd >= 0:
        from art_core.inside.execution import code_inside

        serve = code_inside()
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
        execute.__code__,
        serve,
        commands_fd,
    )
    return marshal.dumps((become_command.__code__, what))


def bootstrap(payload_fd: int) -> str:
    """The text for `python -c` that reads and executes a payload."""
    read = f"marshal.loads(open({payload_fd},'rb').read())"
    return f"import marshal;c,a={read};type(lambda:0)(c,{{}})(*a)"
