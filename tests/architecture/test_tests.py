"""Where a test lives: in a folder named like that of the code, with what tests share in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.sources import CONTRIB, PARTS

TESTS = ROOT / "tests"
WHOLE = {"architecture", "conformance", "contrib", "journeys", "packaging", "support", "threats"}
"""Folders of tests that are about the whole, not about one part."""


def test_the_folders_are_those_of_the_code() -> None:
    parts = {name.removeprefix("art_"): folder for name, folder in PARTS.items()}
    for path in _folders(TESTS):
        assert path.name in WHOLE or path.name in parts, path
        if folder := parts.get(path.name):
            assert {below.name for below in _folders(path)} <= {code.name for code in _folders(folder)}, path
    assert {path.name for path in _folders(TESTS / "contrib")} <= {
        name.removeprefix("art_") for name in CONTRIB
    }


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("conftest.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_a_conftest_holds_fixtures_and_hooks_alone(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            fixture = any("pytest.fixture" in ast.unparse(one) for one in node.decorator_list)
            assert fixture or node.name.startswith("pytest_"), f"{path}:{node.lineno}"
        else:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.Expr), f"{path}:{node.lineno}"


def test_no_test_takes_anything_from_another_test() -> None:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                last = node.module.rpartition(".")[2]
                assert not last.startswith(("test_", "conftest")), f"{path}:{node.lineno}"


def _folders(top: Path) -> list[Path]:
    """Those of sources: what another commit had leaves a folder of what was compiled."""
    folders = (path for path in top.iterdir() if path.is_dir() and path.name != "__pycache__")
    return [path for path in folders if any(path.rglob("*.py"))]
