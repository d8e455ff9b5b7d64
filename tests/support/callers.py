"""Callers of ART: root and a plain user, each with a clean environment and directories of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import Account
from tests.support.installed_copies import Installed
from tests.support.places import TOKEN, Places, remove


@dataclass(frozen=True)
class Caller:
    """Somebody who calls ART, with a clean environment and a session of their own.

    `name` is "root" or "plain"; `user` is the account's name; `place` is a public directory of theirs.
    """

    name: str
    user: str
    uid: int
    gid: int
    home: Path
    place: Path
    art_program: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The caller's environment with `extra` added."""
        return {**self.env, **(extra or {})}

    def command(self, argv: Sequence[str | bytes | Path], env: Mapping[str, str] | None = None) -> list[str]:
        """`argv` as this caller, for who cannot switch users by themselves (pexpect); it keeps its pid."""
        become = []
        if os.geteuid() != self.uid:
            become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups"]
        variables = [f"{key}={value}" for key, value in self.environment(env).items()]
        return [*become, "env", "-i", *variables, *(os.fsdecode(word) for word in argv)]

    def popen(
        self, argv: Sequence[str | bytes | Path], *, env: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program as this caller; its pid is the program's own."""
        if os.geteuid() != self.uid:
            kwargs |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        kwargs = {"cwd": self.place, "start_new_session": True, "umask": 0o022, **kwargs}
        return subprocess.Popen([os.fsencode(word) for word in argv], env=self.environment(env), **kwargs)

    def run(
        self,
        argv: Sequence[str | bytes | Path],
        *,
        input: bytes | None = None,
        timeout: float = 60,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as this caller and collect its output; without `input` it reads /dev/null."""
        kwargs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        kwargs.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
        with self.popen(argv, **kwargs) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def art(
        self,
        *args: str | bytes | Path,
        cwd: Path | str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the installed `art` with these arguments."""
        return self.run(
            [self.art_program, *args], cwd=cwd or self.place, env=env, input=input, timeout=timeout
        )


def make_caller(name: str, request: pytest.FixtureRequest, installed: Installed, places: Places) -> Caller:
    if name == "root":
        if os.geteuid() != 0:
            pytest.fail("this test calls ART as root; run the tests as root: sudo make test", pytrace=False)
        home = places.install / f"root-home-{os.getpid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        account = Account("root", 0, 0, home)
    else:
        account = request.getfixturevalue("plain_user")
    place = places.work / f"{name}-{os.getpid()}"
    if not place.exists():
        place.mkdir()
        os.chown(place, account.uid, account.gid)
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        "LANG": "C.UTF-8",
        TOKEN: places.token,
    }
    return Caller(name, account.name, account.uid, account.gid, account.home, place, installed.art, env)


@contextlib.contextmanager
def fresh_directory(caller: Caller, name: str = "ws") -> Iterator[Path]:
    """A new directory of `caller`, removed at the end."""
    parent = caller.place / f"{time.monotonic_ns():x}"
    for directory in (parent, parent / name):
        directory.mkdir()
        os.chown(directory, caller.uid, caller.gid)
    try:
        yield parent / name
    finally:
        remove(parent)
        assert not parent.exists()


def own(caller: Caller, *tops: Path) -> None:
    for top in tops:
        for path in (top, *top.rglob("*")):
            os.chown(path, caller.uid, caller.gid, follow_symlinks=False)
