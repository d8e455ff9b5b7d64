"""What to say when a command failed and the sandbox may be why: one line at most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from art_core.agents import presets, toolchain

if TYPE_CHECKING:
    from art_core.config.options import Options
    from art_core.config.settings import Settings
    from art_core.contracts import Workspace


class Planned(Protocol):
    """What hints read of the plan of a run."""

    options: Options
    settings: Settings
    workspace: Workspace

    @property
    def hidden(self) -> Sequence[str]: ...

    def variables(self, *, plain: bool = False) -> Mapping[bytes, bytes]: ...


class Hints:
    """The hints of one sandbox."""

    def __init__(self, run: Planned) -> None:
        self._run = run
        self._env = os.environ
        self._chosen = run.options.agent or run.settings.for_workspace(run.workspace.path).agent

    def not_found(self, name: str) -> str | None:
        """What would show a program that was not found."""
        if (preset := self._preset(name)) is not None or self._run.settings.toolchains == "off":
            return preset
        path, run = self._env.get("PATH", ""), self._run
        return toolchain.hint(name, caller_path=path, hidden=run.hidden, workspace=run.workspace.real)

    def failed(self, name: str) -> str | None:
        """What may be behind the failure of a program: there is a preset for it, or its name means
        another one inside than for the caller."""
        if (preset := self._preset(name)) is not None:
            return preset
        inside = os.fsdecode(self._run.variables(plain=True)[b"PATH"])
        return toolchain.difference(name, caller_path=self._env.get("PATH", ""), inside=inside)

    def _preset(self, command: str) -> str | None:
        program = os.path.basename(command)
        if self._chosen or not presets.exists(program, self._run.settings, self._env):
            return None
        return f"{program} has a preset that gives it what it needs: art --agent {program} -- {program}"
