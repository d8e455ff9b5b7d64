"""Loading plugins, and choosing among what they provide."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from art_core.config.settings import Settings
from art_core.errors import ArtError, PluginError, SettingsError
from art_core.loader.plugins import KINDS, PluginRow, Plugins
from tests.core.loader.distributions import distribution, importable

GOOD = """
from typing import Literal, NamedTuple
from art_core.contracts import MountSet, Provider
from art_core.hookspecs import hookimpl

class Settings(NamedTuple):
    size: str = ""
    count: int = 3
    flag: bool = False
    how: Literal["fast", "safe"] = "safe"

class Source:
    def __init__(self, context):
        self.context = context
    def load(self, workspace):
        return MountSet()

@hookimpl
def art_mount_sources():
    return [Provider(name="NAME", summary="s", contract=CONTRACT, create=Source, settings=Settings)]
"""


HOOK = "from art_core.hookspecs import hookimpl\n@hookimpl\ndef "


def good(name: str = "one", contract: int = 1) -> str:
    return GOOD.replace("NAME", name).replace("CONTRACT", str(contract))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "site"
    place.mkdir()
    with importable(place):
        yield place


def load(site: Path, settings: Settings | None = None, **more: Any) -> Plugins:
    env: Mapping[str, str] = more.pop("env", {"HOME": "/home/ann"})
    return Plugins.load(settings or Settings(), env=env, path=[str(site)], **more)


def row(plugins: Plugins, name: str) -> PluginRow:
    (found,) = [row for row in plugins.rows() if row.name == name]
    return found


def test_a_plugin_provides(site: Path) -> None:
    distribution(site, "d", {"one": good()}, {"one": "one"})
    plugins = load(site)
    assert row(plugins, "one").state == "ok"
    assert row(plugins, "one").provides == [("mount_source", "one")]
    assert plugins.provider("mount_source", "one").summary == "s"


def test_an_entry_point_may_name_an_object(site: Path) -> None:
    text = good() + "\nclass plugin:\n    art_mount_sources = staticmethod(art_mount_sources)\n"
    distribution(site, "d", {"one": text}, {"one": "one:plugin"})
    assert row(load(site), "one").state == "ok"


def test_pluggys_own_marker_is_as_good(site: Path) -> None:
    marker = "import pluggy\nhookimpl = pluggy.HookimplMarker('art')"
    text = good().replace("from art_core.hookspecs import hookimpl", marker)
    distribution(site, "d", {"one": text}, {"one": "one"})
    plugins = load(site)
    assert plugins.provider("mount_source", "one").name == "one"
    assert row(plugins, "one").state == "ok"


def test_our_markers_set_what_pluggys_do() -> None:
    import pluggy

    from art_core import hookspecs

    ours, theirs = pluggy.PluginManager("art"), pluggy.PluginManager("art")
    ours.add_hookspecs(hookspecs)
    specified = {name for name in vars(ours.hook) if name.startswith("art_")}
    assert specified == {"art_stores", "art_isolations", "art_mount_sources", "art_tracers", "art_gateways"}

    def art_stores() -> list[object]:
        return []

    def his_stores() -> list[object]:
        return []

    marked = pluggy.HookimplMarker("art")(his_stores)
    parse = theirs.parse_hookimpl_opts
    mine = type("Mine", (), {"art_stores": staticmethod(hookspecs.hookimpl(art_stores))})
    his = type("His", (), {"art_stores": staticmethod(marked)})
    defaults = parse(his, "art_stores")
    assert defaults is not None
    assert ours.register(mine) and ours.hook.art_stores() == [[]]
    assert {**defaults, **(parse(mine, "art_stores") or {})} == defaults


@pytest.mark.parametrize("way", ["argument", "variable", "disabled", "only"])
def test_a_blocked_plugin_is_not_even_imported(way: str, site: Path) -> None:
    distribution(site, "d", {"bad": "raise SystemExit('imported')"}, {"bad": "bad"})
    plugins = {
        "argument": lambda: load(site, disabled=["bad"]),
        "variable": lambda: load(site, env={"HOME": "/", "ART_DISABLE_PLUGINS": "x, bad,"}),
        "disabled": lambda: load(site, Settings(plugins_disabled=("bad",))),
        "only": lambda: load(site, Settings(plugins_only=("other",))),
    }[way]()
    assert row(plugins, "bad").state == "disabled"
    assert row(plugins, "bad").reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("def x(:", "SyntaxError"),
        (HOOK + "art_storse(): pass", "art_storse"),
        (
            HOOK + "art_stores(): raise ValueError('two\\nlines')",
            "ValueError: two lines",
        ),
        (
            HOOK + "art_stores(): return ['x']",
            "not a Provider",
        ),
        (HOOK + "art_stores(x): return []", "art_stores"),
    ],
)
def test_a_plugin_that_fails_is_a_row_and_hurts_no_other(text: str, reason: str, site: Path) -> None:
    import re

    distribution(site, "bad", {"bad": text}, {"bad": "bad"})
    distribution(site, "good", {"one": good()}, {"one": "one"})
    plugins = load(site)
    failed = row(plugins, "bad")
    assert failed.state == ("unavailable" if "library" in reason else "broken")
    assert re.search(reason, failed.reason)
    assert "\n" not in failed.reason
    assert failed.cure
    assert row(plugins, "one").state == "ok"


def test_a_module_that_is_not_there_is_not_installed(site: Path) -> None:
    distribution(site, "d", {}, {"gone": "gone_package.hooks"})
    assert row(load(site), "gone").state == "not installed"


def test_a_folder_of_leftovers_is_not_installed(site: Path) -> None:
    distribution(site, "d", {}, {"gone": "leftover"})
    (site / "leftover/__pycache__").mkdir(parents=True)
    assert row(load(site), "gone").state == "not installed"


def test_a_folder_of_leftovers_above_the_module_is_not_installed(site: Path) -> None:
    distribution(site, "d", {}, {"gone": "leftover2.hooks"})
    (site / "leftover2/__pycache__").mkdir(parents=True)
    assert row(load(site), "gone").state == "not installed"


def test_a_missing_library_is_unavailable_with_the_command_that_brings_it(site: Path) -> None:
    distribution(site, "d", {"needy": "import pyfuse3_not_really"}, {"needy": "needy"})
    found = row(load(site), "needy")
    assert (found.state, found.reason) == ("unavailable", "it needs the library pyfuse3_not_really")
    assert found.cure == "pip install pyfuse3_not_really"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("version", "cure"), [(99, "upgrade art-runtime"), (0, "upgrade d")])
def test_another_version_of_a_contract_is_not_used(kind: str, version: int, cure: str, site: Path) -> None:
    text = good(contract=version).replace("art_mount_sources", KINDS[kind])
    distribution(site, "d", {"one": text}, {"one": "one"})
    plugins = load(site)
    found = row(plugins, "one")
    assert (found.state, found.cure) == ("unsupported contract", cure)
    with pytest.raises(PluginError, match=f"speaks contract {version}, this ART 1.*to get it: {cure}"):
        plugins.create(kind, "one")


@pytest.mark.parametrize(
    "text",
    [
        "import art_core.of_tomorrow",
        "from art_core.contracts import Future",
        good().replace('summary="s"', 'summary="s", future=1'),
        HOOK + "art_futures(): return []",
    ],
)
def test_what_was_written_for_a_newer_art_is_a_row_with_the_next_step(text: str, site: Path) -> None:
    distribution(site, "d", {"one": text}, {"one": "one"})
    found = row(load(site), "one")
    assert found.state in ("unsupported contract", "broken")
    assert "upgrade art-runtime" in found.cure


def test_two_providers_of_one_name_are_an_error_that_names_both(site: Path) -> None:
    distribution(site, "first", {"one": good("same")}, {"one": "one"})
    distribution(site, "second", {"two": good("same")}, {"two": "two"}, version="2.0")
    plugins = load(site)
    with pytest.raises(
        PluginError, match=r"'same': one \(first 1\.0, .*\) and two \(second 2\.0, .*--no-plugin"
    ):
        plugins.provider("mount_source", "same")
    assert load(site, disabled=["two"]).provider("mount_source", "same").name == "same"


def test_what_is_missing_is_told_with_what_is_there_and_what_failed(site: Path) -> None:
    distribution(site, "bad", {"bad": "1/0"}, {"bad": "bad"})
    distribution(site, "good", {"one": good()}, {"one": "one"})
    with pytest.raises(
        PluginError,
        match=r"no mount source 'x'; installed: one; plugin bad is broken \(ZeroDivisionError: division by",
    ):
        load(site).provider("mount_source", "x")


def test_a_known_part_that_is_missing_is_told_with_the_command_that_installs_it(site: Path) -> None:
    with pytest.raises(PluginError, match=r"to get it: pip install 'art-runtime\[bwrap\]'"):
        load(site).provider("isolation", "bwrap")


def test_providers_are_sorted_by_name(site: Path) -> None:
    distribution(site, "a", {"m1": good("zz")}, {"m1": "m1"})
    distribution(site, "b", {"m2": good("aa")}, {"m2": "m2"})
    assert [provider.name for provider in load(site).providers("mount_source")] == ["aa", "zz"]


def test_a_provider_is_created_with_its_settings_and_places(site: Path) -> None:
    distribution(site, "d", {"one": good()}, {"one": "one"})
    settings = Settings(plugin_settings={"one": {"size": "big"}})
    context = load(site, settings).create("mount_source", "one").context
    assert context.settings == ("big", 3, False, "safe")
    assert context.state_dir == "/home/ann/.local/state/art/plugins/one"
    assert (context.uid, context.gid) == (os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"siez": "x"}, r"plugins\.one\.siez: unknown key; did you mean size\?"),
        ({"size": 3}, r"plugins\.one\.size: must be a text, not 3"),
        ({"count": True}, r"plugins\.one\.count: must be a whole number, not True"),
        ({"flag": 1}, r"plugins\.one\.flag: must be true or false, not 1"),
        ({"how": "slow"}, r"/etc/art/config\.toml: plugins\.one\.how: 'slow' is none of fast, safe"),
    ],
)
def test_a_wrong_setting_of_a_plugin_is_an_error(given: dict[str, object], said: str, site: Path) -> None:
    distribution(site, "d", {"one": good()}, {"one": "one"})
    with pytest.raises(SettingsError, match=said):
        sources = {f"plugins.one.{key}": "/etc/art/config.toml" for key in given}
        load(site, Settings(plugin_settings={"one": given}, sources=sources)).create("mount_source", "one")


def failing(error: str) -> str:
    return good().replace("self.context = context", f"raise {error}")


def test_a_failure_of_a_plugin_names_it(site: Path) -> None:
    distribution(site, "d", {"one": failing("KeyError('x')")}, {"one": "one"}, version="1.5")
    with pytest.raises(PluginError, match=r"plugin one \(d, 1\.5\) failed: KeyError: 'x'"):
        load(site).create("mount_source", "one")


def test_errors_for_the_user_and_of_the_system_pass(site: Path) -> None:
    distribution(site, "a", {"m1": failing("__import__('art_core').ArtError('said')")}, {"m1": "m1"})
    distribution(site, "b", {"m2": failing("OSError(28, 'full')").replace('"one"', '"two"')}, {"m2": "m2"})
    plugins = load(site)
    with pytest.raises(ArtError, match="said"):
        plugins.create("mount_source", "one")
    with pytest.raises(OSError) as raised:
        plugins.create("mount_source", "two")
    assert raised.value.errno == 28
