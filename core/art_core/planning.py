"""Planning a run: from options, settings, plugins and the host to a `Run` for the isolation.

Everything that can be wrong is found here, before anything is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from art_core import environment, identity, masks, mounts, protect, staging, workspace
from art_core.contracts import Context, Exit, Isolation, Launch, Mount, Network, Origin, Run
from art_core.errors import PluginError, UsageError
from art_core.plugins import Plugins
from art_core.settings import Settings, load

HOME = "/home/agent"
Trust = Literal["refuse", "ask", "trust"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller may ask of a run; the command line's options of the same names.

    `binds` are `HOST:GUEST[:ro|rw]`, relative to the current directory. `env` are `NAME`,
    `NAME=VALUE` or patterns such as `ANTHROPIC_*`. `trust` says what happens to mounts that need
    approval and have none.
    """

    workspace: str = "."
    name: str | None = None
    database: str | None = None
    store: str | None = None
    isolation: str | None = None
    tracer: str | None = None
    trace: bool = False
    binds: Sequence[str] = ()
    expose: Sequence[str] = ()
    path: Sequence[str] = ()
    masks: bool = True
    env: Sequence[str] = ()
    env_files: Sequence[str] = ()
    nested: bool = False
    alias: bool = True
    network: Network | None = None
    unprotected: Sequence[str] = ()
    trust: Trust = "refuse"
    allow_home: bool = False
    no_plugins: Sequence[str] = ()
    overrides: Sequence[str] = ()


class Prepared(NamedTuple):
    """A launch, and what the launcher must do before it."""

    launch: Launch
    stage: Sequence[int]
    identity: tuple[int, int] | None


class Preparation:
    """Everything of a sandbox that does not depend on the command."""

    def __init__(
        self, options: Options, settings: Settings | None, ask: Callable[[str], bool] | None
    ) -> None:
        self.options = options
        self.settings = settings if settings is not None else load(os.environ)
        for override in options.overrides:
            self.settings = with_override(self.settings, override)
        self.plugins = Plugins.load(self.settings, disabled=options.no_plugins, env=os.environ)
        self._refuse_what_is_not_there()
        self.isolation: Isolation = self._create("isolation", options.isolation or self.settings.isolation)
        self.identity = identity.identify(os.getuid(), os.getgid(), self.settings.root_as)
        self.workspace = workspace.open_workspace(
            options.workspace, name=options.name, allow_home=options.allow_home
        )
