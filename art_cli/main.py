"""The program `art`.

A run takes the short way: its command line is split without a library, and the launcher is
started before anything else is imported, so that it prepares in the meantime.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from art_cli.output.console import complain
from art_cli.syntax.argv import Split, split
from art_cli.syntax.options import RUN
from art_core.errors import FAILURE, ArtError

_INTERRUPTED = 130
_NOBODY_READS = 141
"""As a shell sees a program that SIGPIPE ended."""


def main() -> NoReturn:
    """Do what the command line says; ends the process."""
    # Collections during the imports cost 5 ms of a start and find nothing.
    gc.disable()
    _open_standard_streams()
    status = guarded(sys.argv[1:])
    # What is left to the interpreter's own end are milliseconds and nothing else.
    os._exit(_flushed(status))


def guarded(argv: Sequence[str]) -> int:
    """Do what the words after `art` ask for; every failure becomes one line and a status."""
    debug = os.environ.get("ART_DEBUG") == "1"
    try:
        return _serve(argv)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _drop_output()
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        status, message = _explained(error)
        complain(message)
        return status


def _serve(argv: Sequence[str]) -> int:
    chosen = split(argv)
    if chosen.options.get("version"):
        print(f"art {_version()}")
        return 0
    if chosen.subcommand not in (None, RUN):
        return _serve_subcommand(chosen)
    if chosen.options.get("help"):
        from art_cli.syntax.help import overview, page_of_run

        print(page_of_run() if chosen.subcommand else overview(), end="")
        return 0
    return _run(chosen)


def _run(chosen: Split) -> int:
    from art_core.launch.client import Launcher

    launcher = Launcher(traced=chosen.traced)
    from art_cli.run.run import run

    return run(chosen, launcher)


def _serve_subcommand(chosen: Split) -> int:
    name = chosen.subcommand
    assert name is not None
    from art_cli.commands import call

    return call(name, chosen.words)


def _explained(error: Exception) -> tuple[int, str]:
    if isinstance(error, ArtError):
        return error.status, str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return FAILURE, f"{where}{error.strerror}; set ART_DEBUG=1 for a traceback"
    said = f"{type(error).__name__}: {error}"
    return FAILURE, f"internal error: {said}; set ART_DEBUG=1 for a traceback"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    # A packager may ship the command line as a part of its own.
    for distribution in ("art-runtime", "art-cli"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "(version unknown: not installed)"


def _open_standard_streams() -> None:
    """Whatever is opened next must not become 0, 1 or 2 by chance, and be taken for a stream."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open("/dev/null", os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _flushed(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _drop_output()
    except OSError as error:
        complain(f"standard output: {error.strerror}")
        return FAILURE
    return status


def _drop_output() -> int:
    os.dup2(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC), 1)
    return _NOBODY_READS
