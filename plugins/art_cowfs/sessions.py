"""What ran when. See `art_core.history.Session`."""

from __future__ import annotations

from art_core.history import Session


def listed(path: str) -> list[Session]:
    """All of them, the oldest first."""
    return []
