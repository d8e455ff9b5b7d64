"""The caller's name for commits, and nothing else of git's configuration, which may hold tokens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from art_core.contracts import Origin
from art_core.errors import UsageError
from art_core.lending.loans import Granted, Lent
from art_core.loader import channel

_PARTS = ("name", "email")
_ROLES = ("AUTHOR", "COMMITTER")
_TIMEOUT_S = 10


def lend(lent: Lent, env: Mapping[str, str], workspace: str, origin: Origin) -> None:
    """Add the variables. Raises UsageError."""
    found = variables(env, workspace, origin)
    lent.variables |= found
    names = " ".join(map(os.fsdecode, sorted(found)))
    lent.granted.append(Granted("your name and e-mail", names, origin, "they can be read"))


def variables(env: Mapping[str, str], workspace: str, origin: Origin) -> dict[bytes, bytes]:
    """GIT_AUTHOR_* and GIT_COMMITTER_* (git(1)): the caller's own variables, else what git is configured to
    use in the workspace. Raises UsageError when there is no name or no e-mail."""
    wanted = {f"GIT_{role}_{part.upper()}": part for role in _ROLES for part in _PARTS}
    found = {name: env[name] for name in wanted if env.get(name)}
    if len(found) < len(wanted):
        configured = _configured(workspace, origin)
        for name, part in wanted.items():
            if name not in found and part not in configured:
                raise UsageError(
                    f"{origin}: git knows no user.{part} of yours; git config --global user.{part} ..."
                )
            found.setdefault(name, configured.get(part, ""))
    return {os.fsencode(name): os.fsencode(value) for name, value in found.items()}


def _configured(workspace: str, origin: Origin) -> dict[str, str]:
    """user.name and user.email as git finds them in a directory; nothing is run by asking for them."""
    argv = ["git", "-C", workspace, "config", "-z", "--get-regexp", r"^user\.(name|email)$"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S)
    except FileNotFoundError:
        raise UsageError(f"{origin}: git is not installed; {channel.cure('program', 'git')}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{origin}: git did not answer within {_TIMEOUT_S} s") from None
    found = {}
    for entry in os.fsdecode(done.stdout).split("\0"):
        key, given, value = entry.partition("\n")
        if given and value.strip():
            found[key.removeprefix("user.").lower()] = " ".join(value.split())
    return found
