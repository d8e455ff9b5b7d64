"""Somebody who lends: a home of their own for each test, and a workspace with a database beside it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.callers import Caller

Done = subprocess.CompletedProcess[bytes]


SECRET = "canary-of-the-home"


class Lender:
    """Who lends: a home, hidden as homes are, and `ws` beside it."""

    def __init__(self, caller: Caller, top: Path) -> None:
        self.caller = caller
        self.home, self.workspace, self.database = top / "home", top / "ws", top / "ws.db"
        self.home.mkdir(mode=0o700)
        self.write("private/key", SECRET)
        self.own()

    def own(self) -> None:
        """Give everything to the caller."""
        for directory in (self.home, self.workspace):
            for path in (directory, *directory.rglob("*")):
                os.chown(path, self.caller.uid, self.caller.gid, follow_symlinks=False)

    def write(self, name: str, contents: str | bytes, mode: int = 0o600) -> Path:
        """A file of the home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        path.chmod(mode)
        self.own()
        return path

    def art(
        self, *words: str | Path, kept: bool = False, command: str = "run", env: dict[str, str] | None = None
    ) -> Done:
        database: list[str | Path] = ["-d", self.database] if kept else []
        variables = {"HOME": str(self.home), **(env or {})}
        return self.caller.art(
            command, "-m", self.workspace, *database, *words, env=variables, cwd=self.workspace.parent
        )

    def shell(
        self, script: str, *options: str | Path, kept: bool = False, env: dict[str, str] | None = None
    ) -> Done:
        return self.art("-i=false", *options, "--", "sh", "-c", script, kept=kept, env=env)

    def python(self, script: str, *options: str | Path, kept: bool = False) -> Done:
        return self.art("-i=false", *options, "--", "/usr/bin/python3", "-c", script, kept=kept)

    def popen(
        self, script: str, *options: str | Path, kept: bool = False, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A shell script that goes on with each line of its input."""
        database: list[str | Path] = ["-d", self.database] if kept else []
        argv: list[str | bytes | Path] = [self.caller.art_program, "-m", self.workspace, *database]
        argv += ["-i=false", *options, "--", "sh", "-c", script]
        return self.caller.popen(
            argv,
            env={"HOME": str(self.home), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def state(self) -> dict[str, tuple[object, ...]]:
        """Everything of the home, as it is: what ART keeps there left out."""
        found: dict[str, tuple[object, ...]] = {}
        for path in [self.home, *self.home.rglob("*")]:
            name = str(path.relative_to(self.home))
            if name.startswith((".cache", ".local", ".gnupg")) or name == ".":
                continue
            status = path.lstat()
            contents = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            links = os.listxattr(path, follow_symlinks=False)
            found[name] = (
                status.st_mode,
                status.st_ino,
                status.st_mtime_ns,
                status.st_nlink,
                contents,
                *links,
            )
        return found
