"""Every hook is documented with its exact signature, and has a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from art_core.contracts import CONTRACT_VERSIONS
from tests.support.places import ROOT

SPECS = [ROOT / "core/art_core/hookspecs.py", ROOT / "art_cli/plugin_commands/hookspecs.py"]


def signatures(path: Path) -> dict[str, str]:
    """Name of each hook in a module of specifications -> its signature as written."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("art_"):
            assert node.returns, f"{node.name} does not say what it returns"
            found[node.name] = f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
    return found


HOOKS = {name: text for path in SPECS if path.exists() for name, text in signatures(path).items()}


def test_the_page_has_the_versions_of_the_contracts() -> None:
    page = (ROOT / "docs/hooks.md").read_text().partition("## Versions")[2].partition("## The hooks")[0]
    rows = re.findall(r"^\| ([a-z_]+) \| (\d+) \|$", page, re.MULTILINE)
    assert {name: int(version) for name, version in rows} == CONTRACT_VERSIONS


def test_the_core_has_its_five_hooks() -> None:
    assert set(signatures(SPECS[0])) == {
        "art_stores",
        "art_isolations",
        "art_mount_sources",
        "art_tracers",
        "art_gateways",
    }


def test_the_command_line_has_its_own_hook() -> None:
    assert set(signatures(SPECS[1])) == {"art_cli_commands"}


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_the_page_of_hooks_shows_the_exact_signature(hook: str) -> None:
    assert HOOKS[hook] in (ROOT / "docs/hooks.md").read_text()


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_every_hook_has_a_test(hook: str) -> None:
    me = Path(__file__)
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != me]
    assert any(re.search(rf"\b{hook}\b", text) for text in tests), f"no test mentions {hook}"
