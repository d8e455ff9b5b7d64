"""git on the host, in the workspace of an attacker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.attackers import Attacker

OWNER = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "init.defaultBranch=main"]


def git(attacker: Attacker, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
    """git on the host, as the caller."""
    done = attacker.caller.run(["git", "-C", attacker.workspace, *OWNER, *words])
    assert done.returncode == 0, done.stderr
    return done


def own(attacker: Attacker) -> None:
    """Give the workspace to the caller."""
    for path in (attacker.workspace, *attacker.workspace.rglob("*")):
        os.chown(path, attacker.caller.uid, attacker.caller.gid, follow_symlinks=False)
