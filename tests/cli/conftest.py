"""A plugin of somebody else's, on the path of a caller."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

import pytest

from tests.support.callers import Caller
from tests.support.made_plugins import MakePlugin


@pytest.fixture
def make_plugin(plain: Caller) -> Iterator[MakePlugin]:
    """Makes a distribution with one plugin: a name, its entry-point group and its source. Returns the
    variables that bring it onto the path."""
    place = plain.place / "plugins"

    def make(name: str, group: str, source: str) -> dict[str, str]:
        info = place / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}_plugin\n")
        (place / f"{name}_plugin.py").write_text(textwrap.dedent(source))
        return {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}

    yield make
    shutil.rmtree(place, ignore_errors=True)
