"""The environment of the command: built from nothing, with what was asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from art_core.config import regular_file
from art_core.errors import UsageError

PATH = "/usr/local/bin:/usr/bin:/bin"
_NAME = re.compile(rb"[^=\0]+\Z")
_FIXED = (b"HOME", b"PWD")


def build(
    caller: Mapping[bytes, bytes],
    *,
    home: str,
    cwd: str,
    user: str,
    shell: str,
    keep: Sequence[str],
    given: Mapping[bytes, bytes] = {},
    requests: Sequence[str] = (),
    files: Sequence[str] = (),
    path_first: Sequence[str] = (),
    path_last: Sequence[str] = (),
) -> dict[bytes, bytes]:
    """The whole environment.

    `keep` are names or patterns (`LC_*`) of the caller's variables that are always passed; `given`
    wins over them.
    `files` (lines NAME=VALUE) and `requests` (NAME, NAME=VALUE or a pattern) come after, each
    winning over what came before; `path_first` goes in front of PATH, `path_last` behind. Raises UsageError.
    """
    env: dict[bytes, bytes] = {}
    for pattern in keep:
        env.update(matching(caller, os.fsencode(pattern)))
    env.update(
        {
            b"PATH": PATH.encode(),
            b"USER": os.fsencode(user),
            b"LOGNAME": os.fsencode(user),
            b"SHELL": os.fsencode(shell),
            b"ART": b"1",
            **given,
        }
    )
    for name in files:
        env.update(_read(name))
    for request in requests:
        env.update(_requested(caller, request))
    if path_first or path_last:
        env[b"PATH"] = b":".join([*map(os.fsencode, path_first), env[b"PATH"], *map(os.fsencode, path_last)])
    env[b"HOME"] = os.fsencode(home)
    env[b"PWD"] = os.fsencode(cwd)
    return env


def matching(caller: Mapping[bytes, bytes], pattern: bytes) -> dict[bytes, bytes]:
    """The caller's variables that a name, or a pattern such as `LC_*`, means."""
    if b"*" not in pattern:
        return {pattern: caller[pattern]} if pattern in caller else {}
    parts = re.compile(b".*".join(map(re.escape, pattern.split(b"*"))), re.DOTALL)
    return {name: value for name, value in caller.items() if name not in _FIXED and parts.fullmatch(name)}


def _requested(caller: Mapping[bytes, bytes], request: str) -> dict[bytes, bytes]:
    name, given, value = os.fsencode(request).partition(b"=")
    checked_name(name, f"-e {request.partition('=')[0]}")
    return {name: value} if given else matching(caller, name)


def checked_name(name: bytes, where: str) -> None:
    """Raises UsageError for what cannot be a variable, or is ART's own."""
    if not _NAME.match(name):
        raise UsageError(f"{where}: this is no name of a variable; write NAME, NAME=VALUE or 'PREFIX_*'")
    if name in _FIXED:
        raise UsageError(f"{where}: {os.fsdecode(name)} is ART's own inside and cannot be set")


def _read(path: str) -> dict[bytes, bytes]:
    """The variables of a file of NAME=VALUE lines; empty lines and those with `#` are skipped."""
    try:
        with regular_file.reading(os.path.expanduser(path)) as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise UsageError(f"--env-file {path}: {error.strerror}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        name, given, value = line.removeprefix(b"export ").partition(b"=")
        if not given or b"\0" in line:
            raise UsageError(f"--env-file {path}, line {number}: not of the form NAME=VALUE")
        name, value = name.strip(), value.strip()
        checked_name(name, f"--env-file {path}, line {number}")
        if len(value) >= 2 and value[:1] == value[-1:] and value[:1] in (b'"', b"'"):
            value = value[1:-1]
        found[name] = value
    return found
