"""A workspace with a database beside it, as a caller types commands on them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.callers import Caller, own


class Kept:
    """A workspace with a database beside it."""

    def __init__(self, caller: Caller, workspace: Path) -> None:
        self.caller = caller
        self.workspace = workspace
        self.database = workspace.parent / "workspace.db"
        (workspace / "src").mkdir()
        (workspace / "main.py").write_bytes(b"x" * 1234)
        (workspace / "src/deep.py").write_text("deep\n")
        (workspace / "link").symlink_to("main.py")
        own(caller, workspace)

    def art(self, *words: str | Path, command: str = "run") -> subprocess.CompletedProcess[bytes]:
        sides: list[str | Path] = ["-m", "workspace/", "-d", "workspace.db"]
        return self.caller.art(command, *sides, *words, cwd=self.workspace.parent)

    def shell(self, script: str) -> subprocess.CompletedProcess[bytes]:
        return self.art("-i=false", "--", "sh", "-c", script)

    def push(self, *options: str) -> subprocess.CompletedProcess[bytes]:
        return self.art(*options, command="push")

    def pull(self, *options: str) -> subprocess.CompletedProcess[bytes]:
        return self.art(*options, command="pull")
