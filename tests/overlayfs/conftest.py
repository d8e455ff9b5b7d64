"""ART with the plugin of contrib/art-overlayfs, each from its own wheel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ROOT, Caller, Installed, build, locked, make_venv

SOURCE = ROOT / "contrib/art-overlayfs"


@pytest.fixture(scope="session")
def with_overlayfs(installed: Installed) -> Path:
    """The `bin` of a virtual environment with both, pytest and hypothesis."""
    place = installed.bin_dir.parent.parent / "overlayfs"
    with locked(f"{place}.lock"):
        if not place.exists():
            wheel = build("wheel", SOURCE, place.parent / "dist-overlayfs")
            make_venv(place, f"{installed.wheel}[overlay]", str(wheel), "pytest", "hypothesis")
    return place / "bin"


@pytest.fixture
def overlaid(caller: Caller, with_overlayfs: Path) -> Caller:
    """Root, then a plain user, who call that `art`; the store is the one of their settings."""
    return replace(caller, art_program=with_overlayfs / "art", env={**caller.env, "ART_STORE": "overlayfs"})
