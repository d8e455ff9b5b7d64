"""Hints for tools that a mask hides: complete, so that what is printed works as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from art_core.agents import toolchain
from art_core.agents.toolchain import difference, exposed, find, hint


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def hinted(name: str, path: Path, home: Path, **more: str) -> str | None:
    return hint(name, caller_path=f"/usr/bin:{path}", hidden=[str(home)], **more)


def test_a_tool_alone_in_a_directory_of_a_home(home: Path) -> None:
    tool = program(home / ".local/bin/tool")
    assert hinted("tool", tool.parent, home) == (
        f"tool is at {tool}, which is masked inside; to show it: "
        f"art --expose {tool.parent} --path {tool.parent} -- tool"
    )


def test_a_tool_with_libraries_brings_its_prefix(home: Path) -> None:
    tool = program(home / ".nvm/v20/bin/nodex")
    (home / ".nvm/v20/lib").mkdir()
    assert f"--expose {home}/.nvm/v20 --path {home}/.nvm/v20/bin -- nodex" in str(
        hinted("nodex", tool.parent, home)
    )


def test_the_interpreter_of_a_script_is_exposed_as_well(home: Path) -> None:
    python = program(home / "py/bin/python3")
    (home / "py/lib").mkdir()
    script = program(home / ".local/bin/black", f"#!{python}\n")
    said = str(hinted("black", script.parent, home))
    assert f"--expose {script.parent}" in said
    assert f"--expose {home}/py" in said


def test_a_link_brings_what_it_leads_to(home: Path) -> None:
    real = program(home / "share/tool/bin/tool")
    (home / "bin").mkdir()
    (home / "bin/tool").symlink_to(real)
    said = str(hinted("tool", home / "bin", home))
    assert f"--expose {home}/bin" in said
    assert f"--expose {real.parent}" in said


def test_a_visible_link_into_a_mask_is_hinted(home: Path, tmp_path: Path) -> None:
    real = program(home / "tool/tool")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tool").symlink_to(real)
    assert f"--expose {real.parent}" in str(hinted("tool", tmp_path / "bin", home))


def test_the_environment_of_a_workspace_brings_its_python(home: Path, tmp_path: Path) -> None:
    python = program(home / "py/bin/python3")
    (home / "py/lib").mkdir()
    venv = tmp_path / "ws/.venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python3").symlink_to(python)
    (venv / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    said = hinted(".venv/bin/python3", home, home, workspace=str(tmp_path / "ws"))
    assert said == (
        f"it needs {home}/py, which is masked inside; to show it: art --expose {home}/py -- .venv/bin/python3"
    )


def test_a_copied_environment_brings_it_too(home: Path, tmp_path: Path) -> None:
    program(home / "py/bin/python3")
    (home / "py/lib").mkdir()
    program(tmp_path / "ws/.venv/bin/python3")
    (tmp_path / "ws/.venv/pyvenv.cfg").write_text(f"home = {home}/py/bin\n")
    said = hinted(".venv/bin/python3", home, home, workspace=str(tmp_path / "ws"))
    assert f"--expose {home}/py " in str(said)


def test_a_workspace_in_a_masked_home_is_not_masked_itself(home: Path) -> None:
    program(home / "ws/run.sh")
    assert hinted("./run.sh", home, home, workspace=str(home / "ws")) is None


def test_no_hint_for_what_is_not_there(home: Path) -> None:
    assert hinted("missing", home, home) is None


def test_a_home_is_never_offered_as_a_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    tool = program(home / "bin/tool")
    (home / "lib").mkdir()
    assert f"--expose {home}/bin --path" in str(hinted("tool", tool.parent, home))


def test_words_are_quoted_for_a_shell(home: Path) -> None:
    tool = program(home / "my tools/tool")
    assert f"--expose '{tool.parent}' --path '{tool.parent}'" in str(hinted("tool", tool.parent, home))


def test_a_loop_of_links_ends(home: Path) -> None:
    (home / "a").symlink_to(home / "b")
    (home / "b").symlink_to(home / "a")
    assert hinted("./a", home, home, workspace="/srv") is None


def test_find_is_what_execvp_finds(tmp_path: Path) -> None:
    (tmp_path / "a/tool").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/tool").write_text("")
    third = program(tmp_path / "c/tool")
    assert find("tool", f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c") == str(third)
    assert find("tool", str(tmp_path)) is None


def test_folders_without_credentials_are_exposed_when_asked_for(home: Path) -> None:
    node = program(home / ".nvm/versions/node/v20/bin/node")
    program(home / ".ssh/tool")
    mounts, path = exposed({"HOME": str(home), "PATH": f"/usr/bin:{node.parent}:{home}/.ssh"}, [str(home)])
    assert [(mount.guest, mount.writable) for mount in mounts] == [(f"{home}/.nvm/versions", False)]
    assert path == [str(node.parent)]
    assert all(not folder.startswith((".ssh", ".config")) for folder in toolchain.AUTOMATIC)


def test_a_command_that_is_another_file_inside_is_told(tmp_path: Path) -> None:
    mine, theirs = program(tmp_path / "mine/tool"), program(tmp_path / "theirs/tool")
    said = difference("tool", caller_path=str(mine.parent), inside=str(theirs.parent))
    assert said == f"tool is {theirs} in the sandbox, not your {mine}"
    assert difference("tool", caller_path=str(mine.parent), inside=str(mine.parent)) is None
    assert difference("./tool", caller_path=str(mine.parent), inside=str(theirs.parent)) is None
    assert difference("tool", caller_path="/nowhere", inside=str(theirs.parent)) is None


def test_a_program_that_is_shown_and_not_on_path_is_told_with_the_option_for_it(tmp_path: Path) -> None:
    tool = program(tmp_path / "x/bin/tool")
    assert hint("tool", caller_path=str(tool.parent), hidden=[]) == (
        f"tool is at {tool}, which is not on PATH inside; to put it there: art --path {tool.parent} -- tool"
    )
    said = str(hint("ldconfig", caller_path="/usr/bin:/bin", hidden=[]))
    assert said.endswith("art --path /usr/sbin -- ldconfig")
