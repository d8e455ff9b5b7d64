"""ART's core: contracts, hooks, and the sandbox itself.

`from art_core import Sandbox` is the way in for programs. Names are loaded when they are asked
for, because a plugin that imports `art_core.hookspecs` must not pay for the sandbox.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_core.errors import ArtError
    from art_core.sandbox.aio import AsyncProcess, AsyncSandbox
    from art_core.sandbox.process import CommandFailed, Process, Result, TimeoutExpired
    from art_core.sandbox.sandbox import Sandbox
    from art_core.sandbox.streams import DEVNULL, PIPE, STDOUT

_HOMES = {
    "errors": ("ArtError",),
    "sandbox.sandbox": ("Sandbox",),
    "sandbox.streams": ("DEVNULL", "PIPE", "STDOUT"),
    "sandbox.process": ("CommandFailed", "Process", "Result", "TimeoutExpired"),
    "sandbox.aio": ("AsyncProcess", "AsyncSandbox"),
}
__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "ArtError",
    "AsyncProcess",
    "AsyncSandbox",
    "CommandFailed",
    "Process",
    "Result",
    "Sandbox",
    "TimeoutExpired",
]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"art_core.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
