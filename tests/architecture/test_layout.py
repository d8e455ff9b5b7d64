"""Where a module lives: folders through which imports run downhill, and a small core below them all."""

from __future__ import annotations

import re
from collections import Counter

from tests.support.places import ROOT
from tests.support.sources import CONTRIB, ORDER, PARTS, graph, loops

SMALL = ("", "store", "config", "loader")
"""The folders of the core that know nothing else of it."""
MOST = 14
MANY = {"art_cli.commands": "one module a command"}
"""Folders with more modules, and why."""
NOUNS = {"testing"}
"""Names that end like a participle and are none."""

GRAPH = graph()
PACKAGES = {
    ".".join([part, *path.parent.relative_to(folder).parts])
    for part, folder in (PARTS | CONTRIB).items()
    for path in folder.rglob("__init__.py")
}


def folder_of(module: str) -> str:
    """The folder of a module. What a package offers by its own name stands above all that is in it."""
    return f"{module}.__init__" if module in PACKAGES else module.rpartition(".")[0]


def arrows() -> dict[str, set[str]]:
    """Folder -> the folders that its modules import from."""
    found: dict[str, set[str]] = {}
    for module, used in GRAPH.items():
        here = folder_of(module)
        found.setdefault(here, set()).update({folder_of(one) for one in used if one not in PACKAGES} - {here})
    return found


def rank(folder: str) -> int | None:
    """The place of a folder in the order of its part; one within another has that one's."""
    part, *names = folder.removesuffix(".__init__").split(".")
    if part not in ORDER or folder.endswith(".__init__"):
        return None
    return ORDER[part].index(names[0] if names else "")


def test_no_group_of_folders_imports_each_other_in_a_loop() -> None:
    assert loops(arrows()) == []


def test_a_folder_imports_those_below_it_alone() -> None:
    upwards = [
        f"{here} -> {there}"
        for here, used in arrows().items()
        for there in sorted(used)
        if here.split(".")[0] == there.split(".")[0]
        and (mine := rank(here)) is not None
        and (other := rank(there)) is not None
        and other > mine
    ]
    assert upwards == []


def test_the_small_core_imports_nothing_else_of_the_core() -> None:
    small = {".".join(filter(None, ("art_core", name))) for name in SMALL}
    used = {there for here, those in arrows().items() if here in small for there in those}
    assert {there for there in used if there.startswith("art_core")} <= small


def test_a_folder_has_few_enough_modules_to_look_through() -> None:
    counts = Counter(
        folder_of(module) for module in GRAPH if module not in PACKAGES and module.partition(".")[0] in PARTS
    )
    assert {folder for folder, count in counts.items() if count > MOST} == set(MANY)


def test_a_module_is_named_by_a_noun() -> None:
    names = {module.rpartition(".")[2] for module in GRAPH if module not in PACKAGES} - NOUNS
    assert {name for name in names if re.search(r"(ing|ed)$", name)} == set()


def test_the_empty_front_of_a_package_costs_nothing() -> None:
    fronts = [path for folder in PARTS.values() for path in folder.rglob("__init__.py")]
    heavy = {str(path.relative_to(ROOT)) for path in fronts if "import " in path.read_text()}
    assert heavy == {
        "art_cli/commands/__init__.py",
        "core/art_core/__init__.py",
        "core/art_core/testing/__init__.py",
    }
