"""ART's core: contracts, hooks, and the sandbox itself.

`from art_core import Sandbox` is the way in for programs. Names are loaded when they are asked
for, because a plugin that imports `art_core.hookspecs` must not pay for the sandbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_core.errors import ArtError
    from art_core.sandbox import Process, Result, Sandbox, TimeoutExpired

__all__ = ["ArtError", "Process", "Result", "Sandbox", "TimeoutExpired"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("art_core.errors" if name == "ArtError" else "art_core.sandbox"), name)
