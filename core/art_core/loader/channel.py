"""What would bring a part that is missing, in the words of whoever packaged ART (channel.toml)."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

OTHERWISE = "install the distribution that provides it"


@cache
def _table() -> dict[str, Any]:
    import tomllib

    path = os.path.join(os.path.dirname(__file__), "channel.toml")
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError):
        return {}


def brings(kind: str, name: str) -> str | None:
    """The command that brings the plugin (or the `library`) of that name; None when unknown."""
    table = _table().get(kind)
    command = table.get(name) if isinstance(table, dict) else None
    return command if isinstance(command, str) else None


def cure(kind: str, name: str) -> str:
    """The command that brings the plugin of that name (or the `library`, or the `program`), or who has it."""
    return brings(kind, name) or (f"pip install {name}" if kind == "library" else OTHERWISE)
