"""The environment of the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_core.errors import UsageError
from art_core.view import environment

CALLER = {
    b"TERM": b"xterm",
    b"LC_ALL": b"C.UTF-8",
    b"SECRET": b"s3cret",
    b"ANTHROPIC_KEY": b"k",
    b"ANTHROPIC_URL": b"u",
    b"HOME": b"/home/ann",
    b"PATH": b"/home/ann/bin",
}


def build(**more: object) -> dict[bytes, bytes]:
    fields: dict[str, object] = {
        "home": "/home/agent",
        "cwd": "/home/agent/ws",
        "user": "ann",
        "shell": "/bin/bash",
        "keep": ("TERM", "LC_*"),
        **more,
    }
    return environment.build(CALLER, **fields)  # type: ignore[arg-type]


def test_it_is_built_from_nothing_with_what_is_kept() -> None:
    assert build() == {
        b"HOME": b"/home/agent",
        b"PWD": b"/home/agent/ws",
        b"PATH": b"/usr/local/bin:/usr/bin:/bin",
        b"USER": b"ann",
        b"LOGNAME": b"ann",
        b"SHELL": b"/bin/bash",
        b"ART": b"1",
        b"TERM": b"xterm",
        b"LC_ALL": b"C.UTF-8",
    }


def test_a_variable_is_passed_by_name() -> None:
    assert build(requests=["SECRET"])[b"SECRET"] == b"s3cret"


def test_a_variable_that_the_caller_lacks_is_not_passed() -> None:
    assert b"MISSING" not in build(requests=["MISSING"])


def test_variables_are_passed_by_pattern() -> None:
    found = build(requests=["ANTHROPIC_*"])
    assert (found[b"ANTHROPIC_KEY"], found[b"ANTHROPIC_URL"]) == (b"k", b"u")
    assert b"SECRET" not in found


def test_a_pattern_for_all_leaves_home_and_pwd_alone() -> None:
    found = build(requests=["*"])
    assert (found[b"HOME"], found[b"SECRET"]) == (b"/home/agent", b"s3cret")


def test_a_variable_is_set() -> None:
    assert build(requests=["A=b=c", "E="])[b"A"] == b"b=c"
    assert build(requests=["E="])[b"E"] == b""


def test_path_may_be_overridden() -> None:
    assert build(requests=["PATH=/x"])[b"PATH"] == b"/x"


def test_directories_go_in_front_of_path() -> None:
    assert build(path_first=["/a", "/b"])[b"PATH"] == b"/a:/b:/usr/local/bin:/usr/bin:/bin"


@pytest.mark.parametrize("name", ["HOME", "PWD"])
def test_home_and_pwd_cannot_be_set(name: str) -> None:
    with pytest.raises(UsageError, match=f"-e {name}: {name} is ART's own inside"):
        build(requests=[f"{name}=/x"])


@pytest.mark.parametrize("request_", ["", "=x", "A\0B=x"])
def test_what_is_no_name_is_an_error(request_: str) -> None:
    with pytest.raises(UsageError, match="no name of a variable"):
        build(requests=[request_])


def test_variables_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nA=1\nexport B = two words \nC='quoted'\nD=\n")
    found = build(files=[str(file)])
    assert [found[name] for name in (b"A", b"B", b"C", b"D")] == [b"1", b"two words", b"quoted", b""]


def test_what_is_typed_wins_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=file")
    assert build(files=[str(tmp_path / "env")], requests=["A=typed"])[b"A"] == b"typed"


def test_a_line_that_is_none_names_file_and_number(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=1\nnonsense\n")
    with pytest.raises(UsageError, match="env, line 2: not of the form NAME=VALUE"):
        build(files=[str(tmp_path / "env")])


def test_a_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(UsageError, match="--env-file /nowhere/env: No such file"):
        build(files=["/nowhere/env"])


@given(st.binary(max_size=40).filter(lambda value: b"\0" not in value))
def test_any_value_passes_unchanged(value: bytes) -> None:
    import os

    assert build(requests=[f"A={os.fsdecode(value)}"])[b"A"] == value
