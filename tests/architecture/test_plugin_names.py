"""The core and the command line know no plugin by its name, but for the defaults in the settings."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_cli.syntax.options import BY_DEST
from art_core.config.settings import READ_BY, Settings
from tests.support.places import ROOT
from tests.support.sources import PARTS, PLUGINS, modules

SETTINGS = ROOT / "core/art_core/config/settings.py"
ENTRY_POINTS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["art"])
DEFAULTS = {getattr(Settings(), kind) for kind in ("store", "isolation", "tracer", "gateway")}
NAMES = ENTRY_POINTS | DEFAULTS | set(READ_BY.values())
"""Names of the plugins that ship with ART, and of what they provide."""


def words(path: Path) -> Iterator[tuple[str, int]]:
    """Every string of a module that is no documentation, with its line."""
    tree = ast.parse(path.read_bytes())
    said = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said:
            yield node.value, node.lineno


def of_conformance_kit(path: Path) -> bool:
    return "testing" in path.parts


@pytest.mark.parametrize("part", ["art_core", "art_cli"])
def test_no_plugin_is_known_by_its_name(part: str) -> None:
    found = []
    for path in modules(part):
        if path == SETTINGS or of_conformance_kit(path):
            continue
        for word, line in words(path):
            # An option of a run may be called like a plugin.
            an_option = part == "art_cli" and word in BY_DEST
            if (word in NAMES and not an_option) or any(module in word for module in PLUGINS):
                found.append(f"{path.relative_to(ROOT)}:{line}: {word}")
    assert found == []


@pytest.mark.parametrize("part", sorted(PARTS))
def test_only_the_channel_says_how_a_part_is_installed(part: str) -> None:
    """A packager replaces channel.toml; what stands elsewhere would stay pip's."""
    said = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in modules(part)
        for word, line in words(path)
        if "pip install" in word and path.name != "channel.py"
    ]
    assert said == []


def test_each_default_of_the_settings_is_a_plugin_that_ships_with_art() -> None:
    assert DEFAULTS | set(READ_BY.values()) <= ENTRY_POINTS | {"sqlite"}
