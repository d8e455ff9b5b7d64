"""What a plugin may import is on one page, and plugins import nothing else of ART."""

from __future__ import annotations

import re

import pytest

from art_cowfs import library
from tests.support.places import ROOT
from tests.support.sources import CONTRIB, PARTS, PLUGINS, graph

PAGE = (ROOT / "docs/plugin-api.md").read_text()
TABLED = set(re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE))
"""Modules, and packages with all their modules."""
GRAPH = graph()


def may_be_imported(module: str) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in TABLED)


@pytest.mark.parametrize("plugin", sorted(PLUGINS | set(CONTRIB)))
def test_a_plugin_imports_what_the_page_lists(plugin: str) -> None:
    used = {to for module, those in GRAPH.items() if module.partition(".")[0] == plugin for to in those}
    others = {module for module in used if module.partition(".")[0] != plugin}
    assert {module for module in others if not may_be_imported(module)} == set()


def test_all_that_the_page_lists_is_there() -> None:
    assert set(GRAPH) >= TABLED


def test_the_page_lists_the_contracts() -> None:
    roots = {name for name in GRAPH if name.count(".") == 1 and name.startswith("art_core.")}
    modules = {name for name in roots if (PARTS["art_core"] / f"{name.partition('.')[2]}.py").exists()}
    assert modules <= TABLED


def test_the_page_has_the_names_of_the_library() -> None:
    shown = re.findall(r"`(\w+)`", PAGE.partition("has these names")[2])
    assert shown == library.__all__
    assert all(getattr(library, name) is not None for name in shown)
