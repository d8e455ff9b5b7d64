"""`art plugins`, and the commands that plugins bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from art_cli.commands.plugins import table
from art_core.loader.plugins import PluginRow
from tests.support.callers import Caller
from tests.support.made_plugins import MakePlugin

COMMANDS = """
    import sys
    import click
    from art_core.errors import ArtError
    from art_core.hookspecs import hookimpl

    @click.command()
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @click.option("-m", "--message", default="hello")
    def greet(words, message):
        print(message, *words)

    @click.command()
    @click.argument("how")
    def fail(how):
        if how == "known":
            raise ArtError("this is known")
        if how == "status":
            sys.exit(9)
        raise ValueError("this is not")

    @hookimpl
    def art_cli_commands():
        return [greet, fail]
"""


def rows(caller: Caller, *words: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = caller.art("plugins", "--json", *words, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    return {row["name"]: row for row in json.loads(done.stdout)["plugins"]}


def test_the_plugins_that_ship_with_art_are_listed(plain: Caller) -> None:
    found = rows(plain)
    (bwrap,), (binds,) = found["bwrap"]["provides"], found["binds"]["provides"]
    assert (bwrap["kind"], bwrap["name"]) == ("isolation", "bwrap")
    assert (binds["kind"], binds["name"], binds["settings"]) == ("mount_source", "binds", [])
    assert {row["state"] for row in found.values()} == {"ok"}
    assert found["bwrap"]["distribution"] == "art-runtime"


def test_the_list_for_people_has_a_line_for_each(plain: Caller) -> None:
    lines = plain.art("plugins").stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["binds", "ok"],
        ["bwrap", "ok"],
        ["cowfs", "ok"],
        ["proxy", "ok"],
        ["ptrace", "ok"],
    ]


def test_settings_of_plugins_are_shown_with_where_they_are_from(plain: Caller, tmp_path: Path) -> None:
    config = plain.place / "plugin-settings/art"
    config.mkdir(parents=True)
    file = config / "config.toml"
    file.write_text('[plugins.bwrap]\ntmp_size = "2G"\nforeign_architectures = 1\n[plugins.bwarp]\na = 1\n')
    env = {"XDG_CONFIG_HOME": str(config.parent)}
    wrong = plain.art("plugins", env=env).stdout.decode()
    assert f"    {file}: plugins.bwrap.foreign_architectures: must be true or false, not 1\n" in wrong
    assert wrong.endswith("[plugins.bwarp] is read by no plugin here; did you mean bwrap?\n")
    file.write_text('[plugins.bwrap]\ntmp_size = "2G"\n')
    shown = plain.art("plugins", env=env).stdout.decode()
    assert f'    plugins.bwrap.tmp_size = "2G"  ({file})\n' in shown and "home_size" not in shown
    override = ["-c", "plugins.bwrap.foreign_architectures=true"]
    shown = plain.art("plugins", "-v", *override, env=env).stdout.decode()
    assert '    plugins.bwrap.home_size = ""  (default)\n' in shown
    assert "    plugins.bwrap.foreign_architectures = true  (-c)\n" in shown
    settings = rows(plain, env=env)["bwrap"]["provides"][0]["settings"]
    assert {"key": "tmp_size", "value": "2G", "source": str(file)} in settings
    refused = plain.art("-c", "plugins.bwarp.tmp_size=2G", "true", env=env)
    assert refused.stderr == (
        b"art: error: -c: plugins.bwarp.tmp_size: no plugin here provides 'bwarp'; did you mean bwrap?\n"
    )


def test_a_plugin_that_is_left_out_is_listed_with_the_reason(plain: Caller) -> None:
    for words in (["--no-plugin", "binds"], ["--no-plugin=binds"]):
        row = rows(plain, *words)["binds"]
        assert (row["state"], row["reason"]) == ("disabled", "by --no-plugin")
    done = plain.art("--no-plugin=binds", "plugins")
    assert b"by --no-plugin" in done.stdout


def test_a_broken_plugin_is_a_row_with_its_reason(plain: Caller, make_plugin: MakePlugin) -> None:
    env = make_plugin("crooked", "art", "raise RuntimeError('\\x1b[2J it fell')")
    row = rows(plain, env=env)["crooked"]
    assert row["state"] == "broken"
    assert "it fell" in row["reason"]
    shown = plain.art("plugins", env=env).stdout
    assert b"it fell; --no-plugin crooked leaves it out" in shown
    assert b"\x1b" not in shown


def test_a_run_goes_on_beside_a_broken_plugin(plain: Caller, make_plugin: MakePlugin, tmp_path: Path) -> None:
    env = make_plugin("crooked", "art", "raise RuntimeError('it fell')")
    assert plain.art("--allow-home", "true", env=env).returncode == 0


def test_a_command_of_a_plugin_is_called_by_its_name(plain: Caller, make_plugin: MakePlugin) -> None:
    env = make_plugin("polite", "art.cli", COMMANDS)
    assert rows(plain, env=env)["polite"]["version"] == "1.5"
    assert plain.art("x", "greet", "a", "b", env=env).stdout == b"hello a b\n"
    assert plain.art("x", "greet", "-m", "bye", env=env).stdout == b"bye\n"
    assert b"greet" in plain.art("x", "--help", env=env).stdout


def test_a_command_of_a_plugin_fails_as_arts_own_do(plain: Caller, make_plugin: MakePlugin) -> None:
    env = make_plugin("polite", "art.cli", COMMANDS)
    known, unknown = plain.art("x", "fail", "known", env=env), plain.art("x", "fail", "how", env=env)
    assert (known.returncode, known.stderr) == (125, b"art: error: this is known\n")
    assert unknown.returncode == 125
    assert unknown.stderr.endswith(b"failed: ValueError: this is not\n")
    assert b"polite" in unknown.stderr
    assert plain.art("x", "fail", "status", env=env).returncode == 9
    assert plain.art("x", "fail", env=env).returncode == 2


def test_a_command_that_no_plugin_brings_names_the_nearest(plain: Caller, make_plugin: MakePlugin) -> None:
    env = make_plugin("polite", "art.cli", COMMANDS)
    done = plain.art("x", "great", env=env)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"did you mean greet?" in done.stderr
    assert plain.art("--no-plugin", "polite", "x", "greet", env=env).returncode == 125


def test_two_plugins_with_one_command_are_an_error_that_names_both(
    plain: Caller, make_plugin: MakePlugin
) -> None:
    make_plugin("polite", "art.cli", COMMANDS)
    env = make_plugin("civil", "art.cli", COMMANDS)
    done = plain.art("x", "greet", env=env)
    assert done.returncode == 125
    assert b"polite" in done.stderr and b"civil" in done.stderr


def test_a_table_without_plugins_says_so() -> None:
    assert table([]) == ["no plugin is installed"]


def test_a_row_has_its_reason_and_its_cure_below_it() -> None:
    row = PluginRow("a", "dist", "1", "/x", "not installed", "the module is not there", "pip install b")
    assert table([row]) == ["a  not installed    dist 1", "    the module is not there; pip install b"]
