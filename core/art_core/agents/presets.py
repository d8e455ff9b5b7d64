"""Presets: what an agent needs of its user's host, as data.

A preset is a TOML table: a file `agents/NAME.toml` that ships with ART, stands beside a settings file
(/etc/art/agents, ~/.config/art/agents), or a table `[agents.NAME]` in one. Of several with one name
the last wins; `extends` adds to another preset, or to the one of the same name that it replaces.

summary = "what it is"
commands = ["claude"]           # what it is called
extends = "tools"
pass = ["ANTHROPIC_*"]          # variables of the caller
path = ["~/.local/bin"]         # directories for PATH, shown read-only at their own place
expose = ["~/.nvm/versions"]    # shown read-only at their own place
seeds = ["~/.claude.json"]      # in the home inside, copy-on-write
shares = ["~/.claude/token"]    # the host's own, read-write
domains = ["api.example.com"]   # when the network is filtered
devices = ["/dev/kvm"]
git = true                      # also ssh_agent, gpg_agent
set = { IS_SANDBOX = "1" }      # variables
leaks = { "~/.claude.json" = "what stands in it" }

A workspace is never read for presets. What one grants on a host is in `art_core.agents.provision`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from art_core.config import dirs
from art_core.config.options import NO_PRESET
from art_core.config.settings import Settings, nearest, read_toml
from art_core.contracts import Origin
from art_core.errors import ArtError, SettingsError, UsageError

BUILT_IN = os.path.dirname(__file__)
LISTS = ("pass", "path", "expose", "seeds", "shares", "domains", "devices")
FLAGS = ("git", "ssh_agent", "gpg_agent")
KEYS = ("summary", "commands", "extends", *LISTS, *FLAGS, "set", "leaks")
_PATHS = ("path", "expose", "seeds", "shares")
_GLOBS = ("path", "expose")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_*]*\Z")
_ARTS_OWN = ("HOME", "PWD", "PATH")


class PresetEntry(NamedTuple):
    """One thing that a preset grants: the key it stands under, its text, and where it was written.

    `value` is that of a variable to set; `leaks` says what could be learnt through it.
    """

    key: str
    text: str
    origin: Origin
    value: str = ""
    leaks: str = ""


class Preset(NamedTuple):
    """A preset with what it extends. `file` is where it stands, `bases` the names it was built on."""

    name: str
    file: str
    summary: str = ""
    commands: Sequence[str] = ()
    entries: Sequence[PresetEntry] = ()
    bases: Sequence[str] = ()

    def check(self) -> None:
        """Raises SettingsError for a domain that is none; the rest is checked when it is read."""
        from art_core.network.destinations import parse

        for entry in self.entries:
            if entry.key == "domains":
                parse(entry.text, entry.origin, SettingsError)

    def texts(self, key: str) -> list[str]:
        """What it grants under one key."""
        return [entry.text for entry in self.entries if entry.key == key]


class _Source(NamedTuple):
    """A table, and where it is: a `file`, and the `prefix` of its keys in there."""

    file: str
    prefix: str
    table: Mapping[str, Any]

    def origin(self, key: str) -> Origin:
        return Origin(self.file, f"{self.prefix}{key}")


def directories(env: Mapping[str, str]) -> list[str]:
    """Where files of presets are looked for; later ones win."""
    return [BUILT_IN, *(_beside(config) for config in dirs.config_files(env))]


def _beside(config: str) -> str:
    return os.path.join(os.path.dirname(config), "agents")


def names(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """The names of all presets, in order."""
    found = set(settings.agents)
    for directory in directories(env):
        try:
            listed = os.listdir(directory)
        except OSError:
            continue
        found |= {name.removesuffix(".toml") for name in listed if name.endswith(".toml")}
    return sorted(name for name in found if _NAME.match(name) and name != NO_PRESET)


def exists(name: str, settings: Settings, env: Mapping[str, str]) -> bool:
    """Whether there is a preset of that name. Reads no file."""
    if not _NAME.match(name):
        return False
    places = [os.path.join(directory, f"{name}.toml") for directory in directories(env)]
    return name in settings.agents or any(map(os.path.isfile, places))


def find(name: str, settings: Settings, env: Mapping[str, str], *, where: str = "") -> Preset:
    """The preset of that name. Raises UsageError where there is none (SettingsError when the name stands in
    the settings, at `where`), and SettingsError that names the file and the key of what is wrong in it."""
    sources = _sources(name, settings, env) if _NAME.match(name) else []
    if not sources:
        error: type[ArtError] = SettingsError if where else UsageError
        place = f"{where}: " if where else ""
        known = nearest(name, names(settings, env))
        raise error(f"{place}there is no preset {name!r}{known}; see: art agents")
    return _built(name, sources, settings, env, ())


def of_command(command: str, settings: Settings, env: Mapping[str, str]) -> Preset | None:
    """The preset that a command's name stands for; one that is called like it goes first. Another one
    that is wrong is passed over."""
    program = os.path.basename(command)
    for name in sorted(names(settings, env), key=lambda name: name != program):
        try:
            preset = find(name, settings, env)
        except SettingsError:
            if name == program:
                raise
            continue
        if program in preset.commands:
            return preset
    return None


def _sources(name: str, settings: Settings, env: Mapping[str, str]) -> list[_Source]:
    """All tables of that name; later ones win."""
    tables = dict(settings.agents.get(name, ()))
    found = []
    for config in ("", *dirs.config_files(env)):
        file = os.path.join(_beside(config) if config else BUILT_IN, f"{name}.toml")
        table = read_toml(file)
        if table is not None:
            found.append(_Source(file, "", table))
        if config in tables:
            found.append(_Source(config, f"agents.{name}.", tables.pop(config)))
    return found + [_Source(file, f"agents.{name}.", table) for file, table in tables.items()]


def _built(
    name: str, sources: Sequence[_Source], settings: Settings, env: Mapping[str, str], above: Sequence[str]
) -> Preset:
    """The preset of the last source, on top of what it extends."""
    *earlier, source = sources
    preset = _parsed(name, source)
    base_name = _text(source, "extends")
    if not base_name:
        return preset
    where = source.origin("extends")
    if base_name == name:
        if not earlier:
            raise SettingsError(f"{where}: there is no other preset {name!r} that this one could extend")
        return _joined(_built(name, earlier, settings, env, above), preset)
    if base_name in above:
        raise SettingsError(f"{where}: {name!r} and {base_name!r} extend each other")
    bases = _sources(base_name, settings, env) if _NAME.match(base_name) else []
    if not bases:
        raise SettingsError(
            f"{where}: there is no preset {base_name!r}{nearest(base_name, names(settings, env))}"
        )
    return _joined(_built(base_name, bases, settings, env, [*above, name]), preset)


def _joined(base: Preset, preset: Preset) -> Preset:
    """The entries of both; what stands in both counts where it was written last. A flag that the
    later one has as false is taken out."""
    own = {(entry.key, entry.text) for entry in preset.entries}
    kept = [entry for entry in base.entries if (entry.key, entry.text) not in own]
    entries = [entry for entry in (*kept, *preset.entries) if entry.key not in FLAGS or entry.value]
    same = base.name == preset.name
    return preset._replace(
        summary=preset.summary or (base.summary if same else ""),
        commands=preset.commands or (base.commands if same else ()),
        entries=entries,
        bases=[*base.bases, base.name],
    )


# --- one table ---------------------------------------------------------------------------------


def _parsed(name: str, source: _Source) -> Preset:
    for key in source.table:
        if key not in KEYS:
            raise SettingsError(f"{source.origin(key)}: unknown key{nearest(key, KEYS)}")
    leaks = _texts_by_name(source, "leaks")
    entries = [entry for key in LISTS for entry in _listed(source, key, leaks)]
    for variable, value in _texts_by_name(source, "set").items():
        origin = source.origin(f"set.{variable}")
        _check_variable(origin, variable, _VARIABLE)
        entries.append(PresetEntry("set", variable, origin, value))
    for key in FLAGS:
        if key in source.table:
            if not isinstance(source.table[key], bool):
                raise SettingsError(f"{source.origin(key)}: must be true or false")
            entries.append(PresetEntry(key, key, source.origin(key), "on" if source.table[key] else ""))
    known = {entry.text for entry in entries}
    for text in leaks:
        if text not in known:
            raise SettingsError(f'{source.origin("leaks")}."{text}": nothing of this name is granted here')
    return Preset(
        name,
        source.file,
        _text(source, "summary"),
        [text for text, _ in _texts(source, "commands")],
        entries if source.table.get("extends") else [e for e in entries if e.key not in FLAGS or e.value],
    )


def _listed(source: _Source, key: str, leaks: Mapping[str, str]) -> list[PresetEntry]:
    entries = []
    for text, origin in _texts(source, key):
        if key == "pass":
            _check_variable(origin, text, _PATTERN)
        elif key in _PATHS:
            _check_path(origin, text, globs=key in _GLOBS)
        entries.append(PresetEntry(key, text, origin, leaks=leaks.get(text, "")))
    return entries


def _check_variable(origin: Origin, name: str, form: re.Pattern[str]) -> None:
    if not form.match(name):
        raise SettingsError(f"{origin}: {name!r} is no name of a variable")
    if name in _ARTS_OWN:
        raise SettingsError(f"{origin}: {name} is ART's own inside")


def _check_path(origin: Origin, path: str, *, globs: bool) -> None:
    """A path of the host: absolute or in the home, never the whole of either."""
    head, _, rest = path.partition("/")
    parts = rest.split("/")
    if head not in ("", "~") or not rest:
        raise SettingsError(f"{origin}: {path!r} must be ~/... or an absolute path, and not the home itself")
    if ".." in parts or "." in parts or "" in parts or "\0" in path:
        raise SettingsError(f"{origin}: {path!r} holds '..', '.' or an empty part")
    if "*" in path and (not globs or "*" in parts[0] or "**" in path):
        allowed = "below the first directory" if globs else "in path and expose"
        raise SettingsError(f"{origin}: {path!r}: a * can stand {allowed} only")


def _text(source: _Source, key: str) -> str:
    value = source.table.get(key, "")
    if not isinstance(value, str):
        raise SettingsError(f"{source.origin(key)}: must be a text")
    return value


def _texts(source: _Source, key: str) -> list[tuple[str, Origin]]:
    value = source.table.get(key, [])
    if not isinstance(value, list):
        raise SettingsError(f"{source.origin(key)}: must be a list of texts")
    found = []
    for index, item in enumerate(value):
        origin = source.origin(f"{key}[{index}]")
        if not isinstance(item, str) or not item:
            raise SettingsError(f"{origin}: must be a text")
        found.append((item, origin))
    return found


def _texts_by_name(source: _Source, key: str) -> dict[str, str]:
    value = source.table.get(key, {})
    if not isinstance(value, dict):
        raise SettingsError(f"{source.origin(key)}: must be a table of texts")
    for name, item in value.items():
        if not isinstance(item, str) or "\0" in item:
            raise SettingsError(f"{source.origin(key)}.{name}: must be a text")
    return value
