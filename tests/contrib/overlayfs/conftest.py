"""ART with the plugin of contrib/art-overlayfs, each from its own wheel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.callers import Caller


@pytest.fixture
def overlaid(caller: Caller, with_overlayfs: Path) -> Caller:
    """Root, then a plain user, who call that `art`; the store is the one of their settings."""
    return replace(caller, art_program=with_overlayfs / "art", env={**caller.env, "ART_STORE": "overlayfs"})
