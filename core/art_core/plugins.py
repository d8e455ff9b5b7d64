"""Finding, blocking and loading plugins, and choosing among what they provide.

A plugin that is missing, blocked or broken is a row that says why and what cures it; it never
keeps the others from working. What to use is chosen by name, never by the order of loading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from art_core import dirs, entrypoints
from art_core.contracts import CONTRACT_VERSIONS, Context, Provider
from art_core.entrypoints import EntryPoint
from art_core.errors import ArtError, PluginError, SettingsError
from art_core.hookspecs import PROJECT
from art_core.settings import Settings

if TYPE_CHECKING:
    import pluggy

    from art_core.contracts import TraceRequest
    from art_core.tracing import Plan

KINDS: Mapping[str, str] = {
    "store": "art_stores",
    "isolation": "art_isolations",
    "mount_source": "art_mount_sources",
    "tracer": "art_tracers",
    "gateway": "art_gateways",
}
"""Kind of provider -> the hook that answers with it."""

State = Literal["ok", "disabled", "not installed", "unavailable", "broken", "unsupported contract"]


class PluginRow(NamedTuple):
    """What became of one entry point; `provides` are kind and name of its providers."""

    name: str
    distribution: str
    version: str
    location: str
    state: State
    reason: str = ""
    cure: str = ""
    provides: Sequence[tuple[str, str]] = ()

    @property
    def kinds(self) -> Sequence[str]:
        return sorted({kind for kind, _ in self.provides})


class _Source(NamedTuple):
    """A provider and the plugin it came from."""

    provider: Provider[Any]
    entry: EntryPoint


class Plugins:
    """The plugins of one program run. Built explicitly, by `load`."""

    def __init__(
        self, settings: Settings, env: Mapping[str, str], group: str, hookspecs: Sequence[Any]
    ) -> None:
        self._settings = settings
        self._env = env
        self._group = group
        self._hookspecs = hookspecs
        self._loaded: list[tuple[EntryPoint, Any]] = []
        self._manager: pluggy.PluginManager | None = None
        self._rows: list[PluginRow] = []
        self._sources: dict[str, list[_Source]] = {kind: [] for kind in KINDS}

    @classmethod
    def load(
        cls,
        settings: Settings,
        *,
        disabled: Sequence[str] = (),
        env: Mapping[str, str],
        path: Sequence[str] | None = None,
        group: str = PROJECT,
        hookspecs: Sequence[Any] | None = None,
    ) -> Plugins:
        """Load every plugin of a group that is not blocked: by `disabled`, by the variable
        ART_DISABLE_PLUGINS (names and commas) or by the settings."""
        if hookspecs is None:
            from art_core import hookspecs as core

            hookspecs = [core]
        plugins = cls(settings, env, group, hookspecs)
        variable = [name.strip() for name in env.get("ART_DISABLE_PLUGINS", "").split(",")]
        blocked = {**dict.fromkeys(settings.plugins_disabled, "the setting plugins.disabled")}
        blocked |= dict.fromkeys(filter(None, variable), "ART_DISABLE_PLUGINS")
        blocked |= dict.fromkeys(disabled, "--no-plugin")
        for entry in entrypoints.scan(group, path):
            only = settings.plugins_only
            if only is not None and entry.name not in only:
                blocked.setdefault(entry.name, "the setting plugins.only")
            if entry.name in blocked:
                plugins._note(entry, "disabled", f"by {blocked[entry.name]}")
            else:
                plugins._load(entry)
        return plugins

    # --- loading -------------------------------------------------------------------------------

    def _note(self, entry: EntryPoint, state: State, reason: str = "", cure: str = "", **more: Any) -> None:
        self._rows.append(PluginRow(*_identity(entry), state, reason, cure, **more))

    def _load(self, entry: EntryPoint) -> None:
        try:
            plugin = _imported(entry)
        except ModuleNotFoundError as error:
            self._note_missing(entry, error)
            return
        except Exception as error:
            self._note_broken(entry, error)
            return
        try:
            self._collect(entry, plugin)
        except Exception as error:
            self._note_broken(entry, error)

    def _note_broken(self, entry: EntryPoint, error: Exception) -> None:
        self._note(entry, "broken", _words(error), f"--no-plugin {entry.name} leaves it out")

    def _note_missing(self, entry: EntryPoint, error: ModuleNotFoundError) -> None:
        from art_core import channel

        missing = error.name or ""
        if entry.module == missing or entry.module.startswith(f"{missing}."):
            kinds = (channel.brings(kind, entry.name) for kind in KINDS)
            cure = next(filter(None, kinds), channel.OTHERWISE)
            self._note(entry, "not installed", f"the module {entry.module} is not there", cure)
            return
        library = missing.partition(".")[0]
        cure = channel.cure("library", library)
        self._note(entry, "unavailable", f"it needs the library {library}", cure)

    def _collect(self, entry: EntryPoint, plugin: Any) -> None:
        """Ask the plugin alone, so that one that fails hurts no other."""
        found: list[tuple[str, Provider[Any]]] = []
        for kind, hook in KINDS.items():
            implementation = getattr(plugin, hook, None)
            if not callable(implementation) or getattr(implementation, f"{PROJECT}_impl", None) is None:
                continue
            for provider in implementation() or ():
                if not isinstance(provider, Provider):
                    raise TypeError(f"{hook} answered {type(provider).__name__}, not a Provider")
                found.append((kind, provider))
        for kind, provider in found:
            if provider.contract > CONTRACT_VERSIONS[kind]:
                self._note(
                    entry,
                    "unsupported contract",
                    f"{kind} {provider.name} speaks contract {provider.contract}, "
                    f"this ART {CONTRACT_VERSIONS[kind]}",
                    "upgrade art-runtime",
                )
                return
        for kind, provider in found:
            self._sources[kind].append(_Source(provider, entry))
        self._loaded.append((entry, plugin))
        self._note(entry, "ok", provides=[(kind, provider.name) for kind, provider in found])

    # --- choosing ------------------------------------------------------------------------------

    @property
    def manager(self) -> pluggy.PluginManager:
        """pluggy's manager with every plugin that loaded, checked against the specifications: a
        misspelt hook or a wrong parameter makes a plugin broken. Built when it is first asked for;
        a run needs only providers."""
        if self._manager is None:
            import pluggy

            self._manager = pluggy.PluginManager(PROJECT)
            for module in self._hookspecs:
                self._manager.add_hookspecs(module)
            for entry, plugin in self._loaded:
                self._register(self._manager, entry, plugin)
        return self._manager

    def _register(self, manager: pluggy.PluginManager, entry: EntryPoint, plugin: Any) -> None:
        unique = f"{entry.name} ({entry.distribution})"
        try:
            manager.register(plugin, unique)
            manager.check_pending()
        except Exception as error:
            if manager.has_plugin(unique):
                manager.unregister(plugin)
            self._rows = [row for row in self._rows if row[:4] != _identity(entry)]
            self._note_broken(entry, error)

    @property
    def hook(self) -> Any:
        """All loaded plugins at once, for groups whose answers are no providers."""
        return self.manager.hook

    def rows(self) -> Sequence[PluginRow]:
        """Every entry point, sorted by name and distribution, fully checked."""
        self.manager  # noqa: B018 - building it checks
        return sorted(self._rows, key=lambda row: (row.name, row.distribution))

    def providers(self, kind: str) -> Sequence[Provider[Any]]:
        """All providers of a kind, sorted by name. Raises PluginError on a name that is there twice."""
        names = sorted({source.provider.name for source in self._sources[kind]})
        return [self.provider(kind, name) for name in names]

    def provider(self, kind: str, name: str) -> Provider[Any]:
        """The one provider of that name. Raises PluginError that says what is there instead."""
        return self._source(kind, name).provider

    def _source(self, kind: str, name: str) -> _Source:
        found = [source for source in self._sources[kind] if source.provider.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            both = " and ".join(_place(source.entry) for source in found)
            raise PluginError(
                f"two plugins provide the {_spoken(kind)} {name!r}: {both}; leave one out: --no-plugin NAME"
            )
        raise PluginError(self.absence(kind, name))

    def absence(self, kind: str, name: str) -> str:
        """Why there is no provider of that name, what is there instead, and what brings it."""
        from art_core import channel

        words = [f"there is no {_spoken(kind)} {name!r}"]
        installed = sorted(source.provider.name for source in self._sources[kind])
        words.append(f"installed: {', '.join(installed) or 'none'}")
        cure = channel.brings(kind, name)
        failed = [row for row in self.rows() if row.state != "ok"]
        words += [f"plugin {row.name} is {row.state} ({row.reason})" for row in failed]
        own = next((row for row in failed if row.name in (name, kind) and row.cure), None)
        if own is not None:
            cure = own.cure
        if cure:
            words.append(f"to get it: {cure}")
        return "; ".join(words)

    # --- using ---------------------------------------------------------------------------------

    def context(self, provider: Provider[Any]) -> Context:
        """What the provider is created and probed with. Raises SettingsError on a wrong setting."""
        below = os.path.join("plugins", provider.name)
        return Context(
            settings=self._plugin_settings(provider),
            state_dir=os.path.join(dirs.state_dir(self._env), below),
            cache_dir=os.path.join(dirs.cache_dir(self._env), below),
            uid=os.getuid(),
            gid=os.getgid(),
        )

    def _plugin_settings(self, provider: Provider[Any]) -> Any:
        given = self._settings.plugin_settings.get(provider.name, {})
        if provider.settings is None and not given:
            return None
        known = {} if provider.settings is None else defaults_of(provider.settings)
        for key, value in given.items():
            source = self._settings.sources.get(f"plugins.{provider.name}.{key}", "settings")
            where = f"{source}: plugins.{provider.name}.{key}"
            if key not in known:
                from art_core.settings import nearest

                raise SettingsError(f"{where}: unknown key{nearest(key, list(known)) if known else ''}")
            default = known[key]
            if isinstance(default, (bool, int, str)) and type(value) is not type(default):
                raise SettingsError(f"{where}: must be of type {type(default).__name__}")
        return None if provider.settings is None else provider.settings(**given)

    def create(self, kind: str, name: str) -> Any:
        """What a provider creates. Raises ArtError or OSError as it does, and PluginError for
        anything else."""
        source = self._source(kind, name)
        context = self.context(source.provider)
        with self.guard(kind, name):
            return source.provider.create(context)

    def tracing_plan(self, name: str, request: TraceRequest) -> Plan:
        """What a tracing process has to know to create the tracer of that name, and what to ask of it."""
        from art_core.tracing import Plan

        source = self._source("tracer", name)
        context = self.context(source.provider)
        return Plan(
            module=source.entry.module,
            attribute=source.entry.attribute,
            provider=name,
            settings=dict(self._settings.plugin_settings.get(name, {})) if source.provider.settings else None,
            state_dir=context.state_dir,
            cache_dir=context.cache_dir,
            uid=context.uid,
            gid=context.gid,
            request=tuple(request),
        )

    @contextmanager
    def guard(self, kind: str, name: str) -> Iterator[None]:
        """Around calls into what a plugin created: a failure names the plugin."""
        try:
            yield
        except (ArtError, OSError):
            raise
        except ModuleNotFoundError as error:
            from art_core import channel

            library = (error.name or "").partition(".")[0]
            raise PluginError(
                f"the {_spoken(kind)} {name!r} needs the library {library}, which is not installed; "
                f"to get it: {channel.cure('library', library)}"
            ) from error
        except Exception as error:
            entry = self._source(kind, name).entry
            raise PluginError(
                f"plugin {entry.name} ({entry.distribution}, {entry.version}) failed: {_words(error)}"
            ) from error


def defaults_of(settings: type[Any]) -> Mapping[str, object]:
    """The keys of a plugin's settings with their defaults: of a NamedTuple, or of a dataclass."""
    if issubclass(settings, tuple):
        return dict(settings._field_defaults)  # type: ignore[attr-defined]
    from dataclasses import fields

    return {field.name: field.default for field in fields(settings)}


def _imported(entry: EntryPoint) -> Any:
    import sys

    __import__(entry.module)
    found: Any = sys.modules[entry.module]
    if getattr(found, "__file__", None) is None:
        # A folder that only holds leftovers imports as an empty namespace package.
        raise ModuleNotFoundError(f"No module named {entry.module!r}", name=entry.module)
    for attribute in filter(None, entry.attribute.split(".")):
        found = getattr(found, attribute)
    return found


def _words(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _identity(entry: EntryPoint) -> tuple[str, str, str, str]:
    """The first fields of an entry point's row."""
    return entry.name, entry.distribution, entry.version, entry.location


def _place(entry: EntryPoint) -> str:
    return f"{entry.name} ({entry.distribution} {entry.version}, {entry.location})"


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")
