"""The programs that every machine has."""

from __future__ import annotations

import subprocess
from pathlib import PurePath

EVERYWHERE = ["coreutils", "util-linux", "diffutils", "procps", "findutils"]


def programs() -> set[str]:
    """The programs in Debian's packages that every machine has."""
    listed = subprocess.run(["dpkg", "-L", *EVERYWHERE], capture_output=True, text=True, check=True)
    paths = (PurePath(line) for line in listed.stdout.splitlines())
    return {path.name for path in paths if path.parent.name in {"bin", "sbin"}}
