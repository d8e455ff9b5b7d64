"""Settings: where they come from, and what is said when one is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from art_core.config import dirs
from art_core.config.obeyed_files import PROTECT
from art_core.config.settings import ENV_PASS, Settings, WorkspaceDefaults, load, with_override
from art_core.errors import SettingsError


def loaded(tmp_path: Path, *texts: str, env: Mapping[str, str] | None = None) -> Settings:
    files = []
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        files.append(str(file))
    return load(env or {}, files)


def test_without_files_everything_is_built_in() -> None:
    found = load({}, ["/nowhere/config.toml"])
    assert (found.store, found.isolation, found.tracer, found.network) == (
        "sqlite",
        "bwrap",
        "ptrace",
        "host",
    )
    assert (found.protect, found.env_pass) == (PROTECT, ENV_PASS)


def test_a_later_file_wins_key_by_key(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        '[sandbox]\nisolation = "a"\nnetwork = "none"',
        '[sandbox]\nisolation = "b"',
    )
    assert (found.isolation, found.network) == ("b", "none")


def test_variables_win_over_files(tmp_path: Path) -> None:
    found = loaded(tmp_path, '[sandbox]\nisolation = "a"', env={"ART_ISOLATION": "v", "ART_DB": "x.db"})
    assert (found.isolation, found.database) == ("v", "x.db")
    assert found.sources["isolation"] == "ART_ISOLATION"


def test_an_empty_variable_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, env={"ART_DB": "", "ART_ISOLATION": ""}).isolation == "bwrap"


def test_all_tables(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        """
        [sandbox]
        toolchains = "auto"
        root_as = "root"
        masks = ["/srv/secret"]
        protect = [".envrc"]
        [env]
        pass = ["TERM"]
        [plugins]
        disabled = ["binds"]
        only = ["bwrap"]
        [plugins.bwrap]
        tmp_size = "1G"
        [workspace."/srv/ws/"]
        db = "/srv/ws.db"
        name = "other"
        seed = ["~/.x", "/srv/y"]
        """,
    )
    assert (found.toolchains, found.root_as, found.masks) == ("auto", "root", ("/srv/secret",))
    assert (found.protect, found.env_pass) == ((".envrc",), ("TERM",))
    assert (found.plugins_disabled, found.plugins_only) == (("binds",), ("bwrap",))
    assert found.plugin_settings == {"bwrap": {"tmp_size": "1G"}}
    assert found.for_workspace("/srv/ws") == WorkspaceDefaults("/srv/ws.db", "other", ("~/.x", "/srv/y"))
    assert found.for_workspace("/srv/else") == WorkspaceDefaults()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sandbox]\nisolaton = 'x'", r"0\.toml: sandbox\.isolaton: unknown key; did you mean isolation\?"),
        ("[sandbox]\nzzz = 'x'", r"sandbox\.zzz: unknown key; known: gateway, isolation, masks"),
        ("[sandbx]", r"unknown table 'sandbx'; did you mean sandbox\?"),
        ("sandbox = 1", r"0\.toml: sandbox must be a table"),
        ("[sandbox]\nstore = 1", r"sandbox\.store: must be a text"),
        ("[sandbox]\nmasks = 'x'", r"sandbox\.masks: must be a list of texts"),
        ("[sandbox]\nmasks = [1]", r"sandbox\.masks: must be a list of texts"),
        ("[sandbox]\nnetwork = 'off'", r"sandbox\.network: 'off' is none of host, none, filtered"),
        ("[env]\nkeep = []", r"env\.keep: unknown key"),
        ("[network]\nalow = []", r"network\.alow: unknown key; did you mean allow\?"),
        ("[network]\nallow = 'x'", r"network\.allow: must be a list of texts"),
        ("[plugins]\nonyl = []", r"plugins\.onyl: unknown key; did you mean only\?"),
        ("[plugins]\nonly = 'x'", r"plugins\.only: must be a list of texts"),
        ("[workspace.'rel']\ndb = 'x'", r'workspace\."rel": a workspace is named by its absolute path'),
        ("[workspace.'/x']\ndbb = 'x'", r'workspace\."/x"\.dbb: unknown key; did you mean db\?'),
        ("[workspace]\n'/x' = 1", r'workspace\."/x" must be a table'),
        ("a = 1\nb = = 2", r"0\.toml: this is not TOML: .*line 2"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        loaded(tmp_path, text)


def test_a_wrong_choice_in_a_variable_names_the_variable() -> None:
    with pytest.raises(SettingsError, match="ART_NETWORK: 'x' is none of host, none, filtered"):
        load({"ART_NETWORK": "x"}, [])


def test_a_file_that_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="it cannot be read: Is a directory"):
        load({}, [str(tmp_path)])


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="this is not TOML"):
        load({}, [str(tmp_path / "x")])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1G", "1G"), ("3", 3), ("true", True), ('"3"', "3"), ("[1]", [1]), ("", ""), ("a=b", "a=b")],
)
def test_an_override_sets_a_plugins_own_key(text: str, value: object) -> None:
    found = with_override(with_override(Settings(), "plugins.p.other=x"), f"plugins.p.key={text}")
    assert found.plugin_settings == {"p": {"other": "x", "key": value}}
    assert found.sources["plugins.p.key"] == "-c"


@pytest.mark.parametrize("text", ["", "x", "plugins.p=1", "sandbox.store=1", "plugins..k=1", "plugins.p.k"])
def test_an_override_of_another_form_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError, match=r"write -c plugins\.NAME\.KEY=VALUE"):
        with_override(Settings(), text)


def test_directories_follow_xdg() -> None:
    env = {"HOME": "/home/ann", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "relative"}
    assert dirs.state_dir(env) == "/s/art"
    assert dirs.cache_dir(env) == "/home/ann/.cache/art"
    assert dirs.config_files(env) == ("/etc/art/config.toml", "/home/ann/.config/art/config.toml")


def test_without_home_the_account_says_where_it_is() -> None:
    import pwd

    assert dirs.state_dir({}) == pwd.getpwuid(os.getuid()).pw_dir + "/.local/state/art"
