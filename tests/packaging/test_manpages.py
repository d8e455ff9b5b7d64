"""The manual pages: every command, option and key is in them, and roff has nothing to complain of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import click
import pytest

from art_cli.syntax.options import BY_NAME, RUN, SUBCOMMANDS
from art_core.config.keys import KEYS, VARIABLES
from art_core.config.settings import load
from art_core.errors import SettingsError
from contrib.packaging.manpages import main

COMMANDS = [name for name in SUBCOMMANDS if name != RUN]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("man")
    assert main([str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def shown(folder: Path) -> Mapping[str, str]:
    """Each page as a reader sees it, on one line a paragraph and without hyphenation."""
    pages = {}
    for path in folder.iterdir():
        argv = ["man", "--no-hyphenation", "--no-justification", "--local-file", str(path)]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=True,
            env={"MANWIDTH": "1000", "PATH": "/usr/bin:/bin"},
        )
        pages[path.name] = done.stdout
    return pages


def test_there_is_a_page_for_each_command_and_each_file(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "art.1",
        *(f"art-{name}.1" for name in SUBCOMMANDS),
        "art-config.toml.5",
        "art-binds.json.5",
    }


def test_roff_has_nothing_to_complain_of(folder: Path) -> None:
    for path in folder.iterdir():
        argv = ["man", "--warnings", "--encoding=utf-8", "--local-file", str(path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stderr == "", path
        if shutil.which("mandoc"):
            lint = subprocess.run(
                ["mandoc", "-T", "lint", "-W", "warning", str(path)], capture_output=True, text=True
            )
            assert lint.stdout + lint.stderr == ""


def test_the_page_of_a_run_has_every_option_command_and_variable(shown: Mapping[str, str]) -> None:
    page = shown["art.1"]
    assert [name for name in BY_NAME if not re.search(rf"(?<![\w-]){name}(?![\w-])", page)] == []
    assert [name for name in SUBCOMMANDS if f"art {name}" not in page] == []
    assert [name for name in VARIABLES if name not in page] == []
    assert shown["art-run.1"] == page


def _leaves(command: click.Command, path: str) -> dict[str, click.Command]:
    found = {path: command}
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            found |= _leaves(inner, f"{path} {name}")
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_a_command_has_all_of_its_help(name: str, shown: Mapping[str, str]) -> None:
    page = " ".join(shown[f"art-{name}.1"].split())
    command = import_module(f"art_cli.commands.{name}").command
    for path, leaf in _leaves(command, f"art {name}").items():
        assert path in page
        for parameter in leaf.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for option in (*parameter.opts, *parameter.secondary_opts):
                    assert option in page, f"{path} {option}"
                assert " ".join((parameter.help or "").split()) in page
        first = (leaf.help or "").partition("\n\n")[0]
        assert " ".join(first.split()) in page


# --- the settings ------------------------------------------------------------------------------

UNKNOWN = "zzzz9"


def known(tmp_path: Path, text: str) -> set[str]:
    """What the settings say that they know where `text` has a name that they do not."""
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load({}, [str(file)])
    return set(str(caught.value).rpartition("known: ")[2].split(", "))


def test_every_table_and_key_that_the_settings_know_is_explained(tmp_path: Path) -> None:
    assert known(tmp_path, f"[{UNKNOWN}]") == set(KEYS)
    for table in set(KEYS) - {"agents", "workspace"}:
        assert known(tmp_path, f"[{table}]\n{UNKNOWN} = 1") == set(KEYS[table]), table
    assert known(tmp_path, f'[workspace."/x"]\n{UNKNOWN} = "1"') == set(KEYS["workspace"])


def test_the_page_of_the_settings_has_each_of_them(shown: Mapping[str, str]) -> None:
    page = shown["art-config.toml.5"]
    for table, keys in KEYS.items():
        assert f"[{table}" in page
        for name, key in keys.items():
            assert f"{name} = {key.value}" in page
            assert key.help in page
    for setting in ("[plugins.bwrap]", 'program = ""', "foreign_architectures = false"):
        assert setting in page


def test_the_page_of_binds_has_each_key(shown: Mapping[str, str]) -> None:
    page = shown["art-binds.json.5"]
    for key in ("host", "guest", "readonly"):
        assert re.search(rf"^ +{key}\s", page, re.MULTILINE), key
    assert "art trust -m DIR" in page
