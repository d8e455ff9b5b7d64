"""ART with the plugin of contrib/art-strace, each from its own wheel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conftest import ROOT, Caller, Installed, build, locked, make_venv

SOURCE = ROOT / "contrib/art-strace"


@pytest.fixture(scope="session")
def with_strace(installed: Installed) -> Path:
    """The `bin` of a virtual environment with both, and pytest; ART's extra `trace` is not in it."""
    place = installed.bin_dir.parent.parent / "strace"
    with locked(f"{place}.lock"):
        if not place.exists():
            wheel = build("wheel", SOURCE, place.parent / "dist-strace")
            make_venv(place, f"{installed.wheel}[overlay]", str(wheel), "pytest")
    return place / "bin"


@pytest.fixture
def straced(caller: Caller, with_strace: Path) -> Caller:
    """Root, then a plain user, who call that `art`."""
    return replace(caller, art_program=with_strace / "art")
