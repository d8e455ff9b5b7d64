"""The hooks of ART's core. A plugin implements any of them with `@hookimpl`.

Each takes no argument, costs nothing to call and returns records: what is expensive waits
behind `Provider.create`. `docs/hooks.md` shows a working example of each.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from art_core.contracts import Isolation, MountSource, Provider, Stores, Tracer

PROJECT = "art"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def art_stores() -> Iterable[Provider[Stores]]:  # type: ignore[empty-body]
    """Stores that can hold a home (`--store NAME`)."""


@hookspec
def art_isolations() -> Iterable[Provider[Isolation]]:  # type: ignore[empty-body]
    """Ways to keep a command apart from the host (`--isolation NAME`)."""


@hookspec
def art_mount_sources() -> Iterable[Provider[MountSource]]:  # type: ignore[empty-body]
    """Places that say what a workspace wants mounted; all that are installed are asked."""


@hookspec
def art_tracers() -> Iterable[Provider[Tracer]]:  # type: ignore[empty-body]
    """Recorders of system calls (`--tracer NAME`)."""
