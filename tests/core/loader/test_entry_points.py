"""Finding entry points, compared with what importlib.metadata finds."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.loader.entry_points import parse, scan
from tests.core.loader.distributions import distribution


def found(group: str, *path: Path) -> list[tuple[str, str, str]]:
    return [(point.name, point.module, point.attribute) for point in scan(group, [str(p) for p in path])]


@pytest.mark.parametrize("group", ["art", "console_scripts", "pytest11", "distutils.commands"])
def test_the_real_environment_gives_what_importlib_metadata_gives(group: str) -> None:
    theirs = {(point.name, point.value) for point in importlib.metadata.entry_points(group=group)}
    ours = {(point.name, ":".join(filter(None, (point.module, point.attribute)))) for point in scan(group)}
    assert ours == {(name, value.replace(" ", "").partition("[")[0]) for name, value in theirs}
    assert ours or group == "distutils.commands"


def test_our_own_plugins_are_found() -> None:
    assert {("binds", "art_binds.hooks"), ("bwrap", "art_bwrap.hooks")} <= {
        (point.name, point.module) for point in scan("art")
    }


def test_an_entry_point_knows_its_distribution(tmp_path: Path) -> None:
    distribution(tmp_path, "my-dist", {}, {"x": "mod:attr.sub"}, version="2.3rc1")
    (point,) = scan("art", [str(tmp_path)])
    assert point == ("art", "x", "mod", "attr.sub", "my-dist", "2.3rc1", str(tmp_path))


def test_other_groups_are_not_found(tmp_path: Path) -> None:
    distribution(tmp_path, "d", {}, {"x": "mod"}, group="art.cli")
    assert found("art", tmp_path) == []
    assert found("art.cli", tmp_path) == [("x", "mod", "")]


def test_of_a_distribution_that_is_there_twice_the_first_on_the_path_counts(tmp_path: Path) -> None:
    distribution(tmp_path / "a", "My.Dist", {}, {"x": "first"})
    distribution(tmp_path / "b", "my_dist", {}, {"x": "second"})
    assert found("art", tmp_path / "a", tmp_path / "b") == [("x", "first", "")]
    assert found("art", tmp_path / "b", tmp_path / "a") == [("x", "second", "")]


def test_the_result_is_sorted_whatever_the_path(tmp_path: Path) -> None:
    distribution(tmp_path / "z", "z", {}, {"b": "m", "a": "m"})
    distribution(tmp_path / "y", "y", {}, {"c": "m", "a": "m"})
    names = [name for name, _, _ in found("art", tmp_path / "z", tmp_path / "y")]
    assert names == ["a", "a", "b", "c"]


def test_paths_that_are_no_directories_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"PK")
    distribution(tmp_path / "good", "d", {}, {"x": "m"})
    assert found("art", tmp_path / "archive.zip", tmp_path / "missing", tmp_path / "good") == [("x", "m", "")]


def test_egg_info_is_read_too(tmp_path: Path) -> None:
    info = tmp_path / "old-1.0-py3.11.egg-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[art]\nx = m\n")
    (point,) = scan("art", [str(tmp_path)])
    assert (point.distribution, point.version) == ("old", "1.0")


@pytest.mark.parametrize(
    "text", ["\xff\xfe", "[art]\nnonsense", "[art]\nx = ", "[art", "x = m", "[art]\n= m"]
)
def test_a_spoilt_file_gives_nothing(text: str, tmp_path: Path) -> None:
    info = tmp_path / "d-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(text.encode("latin-1"))
    assert found("art", tmp_path) == []


NAMES = st.text("abc.-_ 1", min_size=1, max_size=6).map(str.strip).filter(bool)
MODULES = st.from_regex(r"[a-z]+(\.[a-z]+)*", fullmatch=True)


@given(st.dictionaries(NAMES, st.tuples(MODULES, MODULES | st.just("")), max_size=4))
def test_it_parses_as_importlib_metadata_does(entries: dict[str, tuple[str, str]]) -> None:
    lines = [f"{name} = {module}{':' * bool(attr)}{attr}" for name, (module, attr) in entries.items()]
    text = "# comment\n[before]\nq = r\n[art]\n" + "\n".join(lines) + "\n[after]\ns = t\n"
    theirs = importlib.metadata.EntryPoints._from_text(text) if sys.version_info < (3, 12) else None  # type: ignore[attr-defined]
    ours = parse(text, "art")
    assert ours == [(name, module, attr) for name, (module, attr) in entries.items()]
    if theirs is not None:
        assert [(p.name, p.module, p.attr or "") for p in theirs if p.group == "art"] == ours
