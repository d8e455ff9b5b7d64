"""The git of the host, asked about a repository of the host's: with no settings but the repository's own, and
without running or fetching what they name."""

from __future__ import annotations

import os
import subprocess

_SAFE = (
    *("--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "core.alternateRefsCommand=", "-c", "core.commitGraph=false", "-c", "core.multiPackIndex=false"),
)
"""Of the last two files the sandbox may have written its own."""
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
}
_TIMEOUT_S = 60


def ask(directory: int, *words: str, text: bytes = b"") -> tuple[int, str]:
    """The status of a command of git's in the directory of a descriptor, which holds a repository, and the
    first line of what it complained; -1 where there is no git. Git looks for no repository above, and does
    not trust one of another user's (git-config(1), safe.directory)."""
    kept = {name: os.environ[name] for name in ("PATH", "SUDO_UID") if name in os.environ}
    try:
        above = os.path.dirname(os.readlink(f"/proc/self/fd/{directory}"))
        done = subprocess.run(
            ["git", *_SAFE, *words],
            cwd=f"/proc/self/fd/{directory}",
            env=kept | _ENVIRONMENT | {"GIT_CEILING_DIRECTORIES": above},
            input=text,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return -1, str(error)
    return done.returncode, done.stderr.decode("utf-8", "replace").partition("\n")[0]
