"""The hooks of ART's core. A plugin implements any of them with `@hookimpl`.

Each takes no argument, costs nothing to call and returns records: what is expensive waits
behind `Provider.create`. `docs/hooks.md` shows a working example of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from art_core.contracts import Isolation, MountSource, Provider, Stores, Tracer

if TYPE_CHECKING:
    from art_core.gateways import Gateway

PROJECT = "art"
Function = TypeVar("Function", bound=Callable[..., object])


def hookimpl(function: Function) -> Function:
    """Mark a function as the implementation of the hook of its name.

    Sets what `pluggy.HookimplMarker("art")` sets, without importing pluggy, which would be a tenth
    of a start; a plugin may use pluggy's marker as well.
    """
    setattr(function, f"{PROJECT}_impl", {})
    return function


def hookspec(function: Function) -> Function:
    """Mark a function as the specification of a hook, as `pluggy.HookspecMarker("art")` does."""
    setattr(function, f"{PROJECT}_spec", {"firstresult": False, "historic": False, "warn_on_impl": None})
    return function


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


@hookspec
def art_gateways() -> Iterable[Provider[Gateway]]:  # type: ignore[empty-body]
    """Ways out of a sandbox whose network is filtered (`--gateway NAME`)."""
