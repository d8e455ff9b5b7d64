"""docs/architecture.md: the files that it names are there, and no folder is left out of its map."""

from __future__ import annotations

import re

from tests.support.places import ROOT
from tests.support.sources import ORDER, PARTS

PAGE = (ROOT / "docs/architecture.md").read_text()


def test_the_files_that_it_names_are_there() -> None:
    files = {f"/{path.relative_to(ROOT)}" for folder in PARTS.values() for path in folder.rglob("*.py")}
    named = set(re.findall(r"`([a-z_/]+\.py)`", PAGE))
    assert named and {name for name in named if not any(file.endswith(f"/{name}") for file in files)} == set()


def test_its_map_has_every_folder() -> None:
    names = {name for folders in ORDER.values() for name in folders if name} | set(PARTS)
    assert {
        name for name in names if not re.search(rf"\b{name}\b", PAGE.partition("## Processes")[0])
    } == set()
