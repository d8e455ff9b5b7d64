"""What a caller may ask of a sandbox; the command line's options of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from art_core.contracts import Network

Trust = Literal["refuse", "ask", "trust"]
NO_PRESET = "none"
"""What is typed to have no preset where the settings choose one."""


class Options(NamedTuple):
    """The options of one sandbox, each with a default.

    `binds` are `HOST:GUEST[:ro|rw]`, relative to the current directory. `env` are `NAME`,
    `NAME=VALUE` or patterns such as `ANTHROPIC_*`. `trace_syscalls` are names and classes; empty:
    all calls. `agent` names a preset (`art_core.agents.presets`). `seeds` and `shares` are `PATH[:GUEST]`,
    `devices` as `art_core.lending.devices` knows them. `trust` says what happens to mounts that need approval
    and have none.
    """

    workspace: str | None = None
    name: str | None = None
    database: str | None = None
    branch: str | None = None
    snapshot: bool = False
    moved: bool = False
    store: str | None = None
    isolation: str | None = None
    tracer: str | None = None
    trace: bool = False
    trace_log: str | None = None
    trace_syscalls: Sequence[str] = ()
    trace_format: Literal["text", "jsonl"] = "text"
    trace_summary: bool = False
    agent: str | None = None
    binds: Sequence[str] = ()
    expose: Sequence[str] = ()
    path: Sequence[str] = ()
    masks: bool = True
    env: Sequence[str] = ()
    env_files: Sequence[str] = ()
    nested: bool = False
    alias: bool = True
    workdir: Literal["home", "host"] | None = None
    network: Network | None = None
    allow_domains: Sequence[str] = ()
    gateway: str | None = None
    memory: str | None = None
    pids: str | None = None
    cpus: str | None = None
    timeout: str | None = None
    disk: str | None = None
    seeds: Sequence[str] = ()
    shares: Sequence[str] = ()
    git: bool = False
    ssh_agent: bool = False
    gpg_agent: bool = False
    devices: Sequence[str] = ()
    unprotected: Sequence[str] = ()
    trust: Trust = "refuse"
    allow_home: bool = False
    no_plugins: Sequence[str] = ()
    overrides: Sequence[str] = ()
