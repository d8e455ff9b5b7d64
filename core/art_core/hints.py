"""What to say when a command failed and the sandbox may be why: one line at most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from art_core import environment, presets, toolchain
from art_core.settings import Settings


class Hints:
    """The hints of one sandbox. `hidden` is what its command cannot see, `path_first` what stands in front
    of its PATH; `preset_named`: a preset was chosen, or none was asked for."""

    def __init__(
        self,
        settings: Settings,
        env: Mapping[str, str],
        *,
        hidden: Sequence[str],
        workspace: str,
        path_first: Sequence[str],
        preset_named: bool,
    ) -> None:
        self._settings, self._env = settings, env
        self._hidden, self._workspace = hidden, workspace
        self._inside = ":".join([*path_first, environment.PATH])
        self._preset_named = preset_named

    def not_found(self, name: str) -> str | None:
        """What would show a program that was not found."""
        if (preset := self._preset(name)) is not None or self._settings.toolchains == "off":
            return preset
        path = self._env.get("PATH", "")
        return toolchain.hint(name, caller_path=path, hidden=self._hidden, workspace=self._workspace)

    def failed(self, name: str) -> str | None:
        """What may be behind the failure of a program: there is a preset for it, or its name means
        another one inside than for the caller."""
        if (preset := self._preset(name)) is not None:
            return preset
        return toolchain.difference(name, caller_path=self._env.get("PATH", ""), inside=self._inside)

    def _preset(self, command: str) -> str | None:
        program = os.path.basename(command)
        if self._preset_named or not presets.exists(program, self._settings, self._env):
            return None
        return f"{program} has a preset that gives it what it needs: art --agent {program} -- {program}"
