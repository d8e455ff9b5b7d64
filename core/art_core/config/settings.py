"""Settings: built-in, /etc/art/config.toml, the user's config.toml, ART_* variables; later wins.

[sandbox]
network = "none"
masks = ["/srv/secrets"]

[env]
pass = ["TERM", "LANG"]

[network]
allow = ["github.com", "*.githubusercontent.com"]

[limits]
memory = "4G"
pids = 512

[plugins]
disabled = ["binds"]

[plugins.bwrap]
tmp_size = "2G"

[workspace."/home/ann/project"]
db = "/home/ann/project.db"
seed = ["~/.config/gh"]
agent = "claude"

[agents]
implied = true

[agents.claude]
extends = "claude"
pass = ["MY_TOKEN"]
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from art_core.config import dirs, regular_file
from art_core.config.keys import KEYS, VARIABLES, Key
from art_core.config.obeyed_files import PROTECT
from art_core.errors import SettingsError

ENV_PASS = (
    *("TERM", "COLORTERM", "NO_COLOR", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
    ),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
)
"""Variables of the caller that the command always gets."""

READ_BY: Mapping[str, str] = {".art/config/binds.json": "binds"}
"""Files of a workspace and the mount source that reads each: where it is missing, that is told."""

LIMITS = tuple(KEYS["limits"])


class WorkspaceDefaults(NamedTuple):
    """What `[workspace."/abs/path"]` says of one directory."""

    database: str | None = None
    name: str | None = None
    seeds: Sequence[str] = ()
    agent: str | None = None


class Settings(NamedTuple):
    """All settings. `sources` says for each key that was set where it was."""

    store: str = "sqlite"
    isolation: str = "bwrap"
    tracer: str = "ptrace"
    gateway: str = "proxy"
    network: Literal["host", "none", "filtered"] = "host"
    network_allow: Sequence[str] = ()
    toolchains: Literal["hint", "auto", "off"] = "hint"
    root_as: Literal["mapped", "root"] = "mapped"
    workdir: Literal["home", "host"] = "home"
    masks: Sequence[str] = ()
    protect: Sequence[str] = PROTECT
    env_pass: Sequence[str] = ENV_PASS
    database: str | None = None
    mount: str | None = None
    plugins_disabled: Sequence[str] = ()
    plugins_only: Sequence[str] | None = None
    plugin_settings: Mapping[str, Mapping[str, Any]] = {}
    workspaces: Mapping[str, WorkspaceDefaults] = {}
    limits: Mapping[str, str] = {}
    agents: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {}
    """Tables of presets by name, each with its file; `art_core.agents.presets` reads them."""
    agents_implied: bool = False
    sources: Mapping[str, str] = {}

    def for_workspace(self, path: str) -> WorkspaceDefaults:
        """The defaults of the workspace at an absolute path."""
        return self.workspaces.get(path, _NO_DEFAULTS)


_NO_DEFAULTS = WorkspaceDefaults()


def load(env: Mapping[str, str], files: Sequence[str] | None = None) -> Settings:
    """The settings of a caller. Raises SettingsError that names the file and the key."""
    collected = _Collected()
    for file in dirs.config_files(env) if files is None else files:
        content = read_toml(file)
        if content is not None:
            collected.take_file(file, content)
    for name, variable in VARIABLES.items():
        if variable.field and env.get(name):
            collected.put(variable.field, _chosen(variable.choices, env[name], name), name)
    return collected.settings()


def with_override(settings: Settings, text: str) -> Settings:
    """The settings with `plugins.NAME.KEY=VALUE` (the command line's `-c`). A value that is TOML is
    taken as that, any other as a text."""
    key, given, value = text.partition("=")
    parts = key.strip().split(".")
    if not given or len(parts) != 3 or parts[0] != "plugins" or not all(parts):
        raise SettingsError(f"-c {text}: write -c plugins.NAME.KEY=VALUE")
    _, name, option = parts
    merged = {
        **settings.plugin_settings,
        name: {**settings.plugin_settings.get(name, {}), option: _parsed(value)},
    }
    return settings._replace(
        plugin_settings=merged, sources={**settings.sources, f"plugins.{name}.{option}": "-c"}
    )


def _parsed(value: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def read_toml(file: str) -> Mapping[str, Any] | None:
    """The tables of a file; None when there is none. Raises SettingsError that names it."""
    try:
        opened = regular_file.reading(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        # Somebody else's directory above it: then it is not this user's file.
        if not os.path.lexists(file):
            return None
        raise SettingsError(f"{file}: it cannot be read: Permission denied") from None
    except OSError as error:
        raise SettingsError(f"{file}: it cannot be read: {error.strerror}") from None
    import tomllib

    with opened:
        try:
            return tomllib.load(opened)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: this is not TOML: {error}") from None
        except OSError as error:
            raise SettingsError(f"{file}: it cannot be read: {error.strerror}") from None


def _chosen(choices: Sequence[str], value: str, where: str) -> str:
    if choices and value not in choices:
        raise SettingsError(f"{where}: {value!r} is none of {', '.join(choices)}")
    return value


def nearest(word: str, known: Sequence[str]) -> str:
    """A suggestion to add to "unknown ...", empty when nothing is near."""
    import difflib

    found = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else f"; known: {', '.join(sorted(known))}"


class _Collected:
    """Values by field of `Settings`, as files and variables set them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.plugins: dict[str, dict[str, Any]] = {}
        self.workspaces: dict[str, WorkspaceDefaults] = {}
        self.limits: dict[str, str] = {}
        self.agents: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}

    def put(self, name: str, value: object, where: str) -> None:
        self.values[name] = value
        self.sources[name] = where

    def settings(self) -> Settings:
        return Settings(
            **self.values,
            plugin_settings=self.plugins,
            workspaces=self.workspaces,
            limits=self.limits,
            agents=self.agents,
            sources=self.sources,
        )

    def take_file(self, file: str, content: Mapping[str, Any]) -> None:
        takers = {
            "limits": self._take_limits,
            "plugins": self._take_plugins,
            "workspace": self._take_workspaces,
            "agents": self._take_agents,
        }
        for table, entries in content.items():
            if table not in KEYS:
                raise SettingsError(f"{file}: unknown table {table!r}{nearest(table, list(KEYS))}")
            found = _table(file, table, entries)
            if table in takers:
                takers[table](file, found)
                continue
            for key, value in found.items():
                where = f"{file}: {table}.{key}"
                known = _known(table, key, where)
                self.put(known.field, _value(known, value, where), file)

    def _take_limits(self, file: str, entries: Mapping[str, Any]) -> None:
        for key, value in entries.items():
            where = f"{file}: limits.{key}"
            _known("limits", key, where)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            self.limits[key] = str(value) if number else _text(where, value)
            self.sources["limits"] = file

    def _take_plugins(self, file: str, entries: Mapping[str, Any]) -> None:
        for key, value in entries.items():
            where = f"{file}: plugins.{key}"
            if key in KEYS["plugins"] or not isinstance(value, dict):
                known = _known("plugins", key, where)
                self.put(known.field, _value(known, value, where), file)
                continue
            self.plugins.setdefault(key, {}).update(value)
            self.sources.update({f"plugins.{key}.{option}": file for option in value})

    def _take_workspaces(self, file: str, entries: Mapping[str, Any]) -> None:
        for path, value in entries.items():
            where = f'{file}: workspace."{path}"'
            if not path.startswith("/"):
                raise SettingsError(f"{where}: a workspace is named by its absolute path")
            table = _table(file, f'workspace."{path}"', value)
            for key in table:
                _known("workspace", key, f"{where}.{key}")
            texts = {key: _text(f"{where}.{key}", value) for key, value in table.items() if key != "seed"}
            seeds = _texts(f"{where}.seed", table.get("seed", []))
            top = os.path.normpath(path)
            self.workspaces[top] = WorkspaceDefaults(
                texts.get("db"), texts.get("name"), seeds, texts.get("agent")
            )
            for key in table:
                self.sources[f"workspace.{top}.{key}"] = f"{where}.{key}" if key == "agent" else file

    def _take_agents(self, file: str, entries: Mapping[str, Any]) -> None:
        for key, value in entries.items():
            if key != "implied":
                self.agents.setdefault(key, []).append((file, _table(file, f"agents.{key}", value)))
            elif isinstance(value, bool):
                self.put("agents_implied", value, file)
            else:
                raise SettingsError(f"{file}: agents.implied: must be true or false")


def _table(file: str, name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{file}: {name} must be a table")
    return cast(Mapping[str, Any], value)


def _known(table: str, key: str, where: str) -> Key:
    known = KEYS[table].get(key)
    if known is None:
        raise SettingsError(f"{where}: unknown key{nearest(key, list(KEYS[table]))}")
    return known


def _value(key: Key, value: object, where: str) -> object:
    return _texts(where, value) if key.is_list else _chosen(key.choices, _text(where, value), where)


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{where}: must be a text")
    return value


def _texts(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f"{where}: must be a list of texts")
    return tuple(value)
