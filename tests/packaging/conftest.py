"""The distributions of the tree, each built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.installed_copies import build, checked
from tests.support.places import ROOT


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def unpacked_sdist(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the sdist unpacks to."""
    place = tmp_path_factory.mktemp("unpacked")
    checked(["tar", "-C", str(place), "-xzf", str(sdist)])
    (top,) = place.iterdir()
    return top
