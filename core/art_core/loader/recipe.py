"""How a process of its own makes a provider, in values that can be handed over."""

from __future__ import annotations

from typing import Any, NamedTuple


class Plan(NamedTuple):
    """How a tracing process makes its tracer, in values that marshal(3) knows."""

    module: str
    attribute: str
    provider: str
    settings: dict[str, Any] | None
    """What `Provider.settings` is made of; None when the provider has none."""
    state_dir: str
    cache_dir: str
    uid: int
    gid: int
    request: tuple[Any, ...]
    """A `TraceRequest`."""
