"""Attackers: commands in a sandbox that try to break one promise."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.callers import Caller

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


CONNECT = """
import errno, socket, sys
answers = []
for address in sys.argv[1:]:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect("\\0" + address[1:] if address.startswith("@") else address)
        answers.append("connected")
    except OSError as error:
        answers.append(errno.errorcode[error.errno])
print(ascii(answers))
"""
