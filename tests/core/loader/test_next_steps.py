"""Each plugin that ships with ART can be left out, and every refusal says how to get it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from art_core.config.settings import Settings
from art_core.errors import PluginError
from art_core.loader.plugins import KINDS, Plugins
from tests.core.loader.distributions import distribution, importable

DEFAULTS = {
    "bwrap": ("isolation", "bwrap"),
    "cowfs": ("store", "sqlite"),
    "ptrace": ("tracer", "ptrace"),
    "proxy": ("gateway", "proxy"),
    "binds": ("mount_source", "binds"),
}
"""The plugin, and the kind and the name of what it provides."""
FILE = "/home/ann/.config/art/config.toml"
Load = Callable[[str], Plugins]


def load(settings: Settings | None = None, env: Mapping[str, str] = {}, **more: object) -> Plugins:
    return Plugins.load(settings or Settings(), env={"HOME": "/home/ann", **env}, **more)  # type: ignore[arg-type]


def disabled(name: str) -> Settings:
    return Settings(plugins_disabled=(name,), sources={"plugins_disabled": FILE})


def only_others(name: str) -> Settings:
    others = tuple(other for other in DEFAULTS if other != name)
    return Settings(plugins_only=others, sources={"plugins_only": FILE})


WAYS: Mapping[str, tuple[Load, str]] = {
    "the option": (lambda name: load(disabled=[name]), "leave --no-plugin {} out"),
    "the variable": (
        lambda name: load(env={"ART_DISABLE_PLUGINS": name}),
        "take {} out of ART_DISABLE_PLUGINS",
    ),
    "a file": (lambda name: load(disabled(name)), f"take {{}} out of plugins.disabled in {FILE}"),
    "a file's list": (lambda name: load(only_others(name)), "add {} to it"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plugin", DEFAULTS)
def test_what_is_left_out_is_told_with_the_way_back(plugin: str, way: str) -> None:
    loaded, step = WAYS[way]
    kind, name = DEFAULTS[plugin]
    with pytest.raises(PluginError) as raised:
        loaded(plugin).create(kind, name)
    said = str(raised.value)
    assert said.startswith(f"there is no {kind.replace('_', ' ')} {name!r}; installed: none; ")
    assert step.format(plugin) in said.partition("; to get it: ")[2]
    assert "\n" not in said


@pytest.mark.parametrize("plugin", DEFAULTS)
def test_a_name_that_is_wrong_is_told_with_the_nearest(plugin: str) -> None:
    kind, name = DEFAULTS[plugin]
    with pytest.raises(PluginError, match=f"installed: {name}.*choose another; did you mean {name}\\?"):
        load().create(kind, f"{name}x")


@pytest.mark.parametrize("plugin", DEFAULTS)
def test_a_second_plugin_of_the_name_takes_the_place_of_one_that_is_left_out(
    plugin: str, tmp_path: Path
) -> None:
    """Nobody has to change a file of either. Until one is left out, neither is used."""
    kind, name = DEFAULTS[plugin]
    text = f"""
        from art_core.contracts import Provider
        from art_core.hookspecs import hookimpl

        @hookimpl
        def {KINDS[kind]}():
            return [Provider(name={name!r}, summary="s", contract=1, create=lambda context: "another")]
    """
    distribution(tmp_path, "other", {"other_plugin": text}, {"other": "other_plugin"})
    with importable(tmp_path):
        with pytest.raises(
            PluginError, match=f"--no-plugin other or --no-plugin {plugin}|--no-plugin {plugin} or"
        ):
            load().create(kind, name)
        assert load(disabled=[plugin]).create(kind, name) == "another"


def test_one_distribution_that_is_installed_twice_is_told_so(tmp_path: Path) -> None:
    for name in ("first", "second"):
        distribution(tmp_path, name, {"empty_plugin": ""}, {"empty": "empty_plugin"})
    with importable(tmp_path):
        _, row = [row for row in load().rows() if row.name == "empty"]
    assert (row.state, row.cure) == ("broken", "uninstall one of them")
    assert row.reason.startswith("empty_plugin is empty (first 1.0, ")
