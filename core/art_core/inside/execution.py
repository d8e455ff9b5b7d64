"""Becoming the command, inside the sandbox: the last step of an isolation's init, and of an open sandbox.

The function is marshalled and made a function again by an interpreter inside, so it has no globals and
imports what it needs by itself.
"""

from __future__ import annotations

from types import CodeType


def code_inside() -> CodeType:
    """The code of `art_core.inside.commands`, which is not executed here."""
    from importlib.util import find_spec

    spec = find_spec("art_core.inside.commands")
    assert spec is not None and spec.loader is not None
    code: CodeType = spec.loader.get_code("art_core.inside.commands")  # type: ignore[attr-defined]
    return code


def execute(
    argv: list[bytes],
    env: dict[bytes, bytes],
    cwd: bytes,
    report_fd: int,
    rlimits: tuple[tuple[int, int], ...] = (),
) -> None:
    """Execute `argv` in `cwd` with `rlimits` (setrlimit(2)), looked up in the PATH of `env` as execvp(3)
    does. What failed is written to `report_fd` (`contracts.Launch.report_fds`). Does not return."""
    import os

    def fail(number: int, status: int, found: bytes = b"", what: str = "found") -> None:
        os.write(report_fd, f'{{"exec-errno": {number}, "{what}": "{found.hex()}"}}'.encode())
        os._exit(status)

    if rlimits:
        import resource

        for number, value in rlimits:
            _, hard = resource.getrlimit(number)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
    try:
        os.chdir(cwd)
    except (OSError, ValueError) as error:
        fail(getattr(error, "errno", 0) or 22, 125, cwd, "cwd")
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
