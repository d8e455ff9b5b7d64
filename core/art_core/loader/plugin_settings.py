"""A plugin's own settings, `[plugins.NAME]`: checked against what it declares, and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from art_core.config.settings import Settings, nearest
from art_core.contracts import Provider
from art_core.errors import SettingsError

_SPOKEN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class Setting(NamedTuple):
    """A key as it is used: `source` is the file, the variable or the option it is from, empty for the
    default."""

    key: str
    value: object
    source: str


def defaults_of(settings: type[Any]) -> Mapping[str, object]:
    """The keys of a plugin's settings with their defaults: of a NamedTuple, or of a dataclass."""
    if issubclass(settings, tuple):
        return dict(settings._field_defaults)  # type: ignore[attr-defined]
    from dataclasses import fields

    return {field.name: field.default for field in fields(settings)}


def checked(provider: Provider[Any], settings: Settings) -> Any:
    """What the provider is created with. Raises SettingsError that names the source, the key and what may
    stand there."""
    given = settings.plugin_settings.get(provider.name, {})
    known = {} if provider.settings is None else defaults_of(provider.settings)
    for key, value in given.items():
        where = f"{_source(provider, key, settings)}: plugins.{provider.name}.{key}"
        if key not in known:
            raise SettingsError(f"{where}: {_unknown(provider, key, list(known))}")
        choices = _choices(provider.settings, key)
        if choices and value not in choices:
            raise SettingsError(f"{where}: {value!r} is none of {', '.join(map(str, choices))}")
        kind = type(known[key])
        if kind in _SPOKEN and type(value) is not kind:
            raise SettingsError(f"{where}: must be {_SPOKEN[kind]}, not {value!r}")
    return None if provider.settings is None else provider.settings(**given)


def shown(provider: Provider[Any], settings: Settings) -> Sequence[Setting]:
    """Every key that the provider has. Raises SettingsError as `checked` does."""
    made = checked(provider, settings)
    given = settings.plugin_settings.get(provider.name, {})
    keys = () if provider.settings is None else defaults_of(provider.settings)
    return [
        Setting(key, getattr(made, key), _source(provider, key, settings) if key in given else "")
        for key in keys
    ]


def _source(provider: Provider[Any], key: str, settings: Settings) -> str:
    return settings.sources.get(f"plugins.{provider.name}.{key}", "settings")


def _unknown(provider: Provider[Any], key: str, known: Sequence[str]) -> str:
    return f"unknown key{nearest(key, known)}" if known else f"{provider.name} has no settings; take it out"


def _choices(settings: type[Any] | None, key: str) -> Sequence[object]:
    """The values of a key that is annotated with a Literal; empty for any other."""
    if settings is None or "Literal" not in str(settings.__annotations__.get(key)):
        return ()
    from typing import get_args, get_type_hints

    return get_args(get_type_hints(settings)[key])
