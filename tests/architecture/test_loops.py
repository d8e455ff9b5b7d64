"""Imports never lead back: neither from module to module, nor from folder to folder."""

from __future__ import annotations

from pathlib import Path

from tests.support.sources import graph, loops


def test_no_group_of_modules_imports_each_other_in_a_loop() -> None:
    assert loops(graph()) == []


def test_a_loop_would_be_found(tmp_path: Path) -> None:
    for name, source in (
        ("one", "def later() -> None:\n    from part.two import x\n"),
        ("two", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import three\n"),
        ("three", "import part.one\n"),
        ("four", "from part import one\n"),
    ):
        (tmp_path / f"{name}.py").write_text(source)
    found = graph({"part": tmp_path})
    assert found["part.four"] == {"part.one"}
    assert loops(found) == [["part.one", "part.three", "part.two"]]
