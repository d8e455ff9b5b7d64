"""Finding, blocking and loading plugins, and choosing among what they provide.

A plugin that is missing, blocked or broken is a row that says why and what cures it; it never
keeps the others from working. What to use is chosen by name, never by the order of loading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from art_core.config import dirs
from art_core.config.settings import Settings, nearest
from art_core.contracts import CONTRACT_VERSIONS, Context, Provider
from art_core.errors import ArtError, PluginError, SettingsError
from art_core.hookspecs import PROJECT
from art_core.loader import entry_points, plugin_settings
from art_core.loader.entry_points import EntryPoint

if TYPE_CHECKING:
    import pluggy

    from art_core.contracts import TraceRequest
    from art_core.loader.recipe import Plan

KINDS: Mapping[str, str] = {
    "store": "art_stores",
    "isolation": "art_isolations",
    "mount_source": "art_mount_sources",
    "tracer": "art_tracers",
    "gateway": "art_gateways",
}
"""Kind of provider -> the hook that answers with it."""

_OPTION = "--no-plugin"
_NEWER = "upgrade art-runtime"
"""The cure for what was written against a newer ART."""

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
        sources = settings.sources
        taken_out = f"plugins.disabled in {sources.get('plugins_disabled', 'the settings')}"
        blocked = dict.fromkeys(settings.plugins_disabled, taken_out)
        blocked |= dict.fromkeys(filter(None, variable), "ART_DISABLE_PLUGINS")
        blocked |= dict.fromkeys(disabled, _OPTION)
        for entry in entry_points.scan(group, path):
            only = settings.plugins_only
            if entry.name in blocked:
                by = blocked[entry.name]
                cure = f"leave {by} {entry.name} out" if by == _OPTION else f"take {entry.name} out of {by}"
                plugins._note(entry, "disabled", f"by {by}", cure)
            elif only is not None and entry.name not in only:
                by = f"plugins.only in {sources.get('plugins_only', 'the settings')}"
                plugins._note(entry, "disabled", f"by {by}", f"add {entry.name} to it")
            else:
                plugins._load(entry)
        if group == PROJECT:
            plugins._check_overrides()
        return plugins

    # --- loading -------------------------------------------------------------------------------

    def _note(self, entry: EntryPoint, state: State, reason: str = "", cure: str = "", **more: Any) -> None:
        self._rows.append(PluginRow(*_identity(entry), state, reason, cure, **more))

    def _load(self, entry: EntryPoint) -> None:
        try:
            plugin = _imported(entry)
        except ImportError as error:
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
        cure = f"--no-plugin {entry.name} leaves it out"
        if type(error).__name__ in ("TypeError", "PluginValidationError"):  # Another hook, another field.
            cure = f"{_NEWER}, if it was written for a newer one; {cure}"
        self._note(entry, "broken", _words(error), cure)

    def _note_missing(self, entry: EntryPoint, error: ImportError) -> None:
        from art_core.loader import channel

        missing = error.name or ""
        if missing.partition(".")[0] == "art_core":
            self._note(entry, "unsupported contract", f"this ART lacks what it imports: {error}", _NEWER)
            return
        if not isinstance(error, ModuleNotFoundError):
            self._note_broken(entry, error)
            return
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
            spoken = CONTRACT_VERSIONS[kind]
            if provider.contract != spoken:
                cure = _NEWER if provider.contract > spoken else f"upgrade {entry.distribution}"
                what = f"{kind} {provider.name} speaks contract {provider.contract}, this ART {spoken}"
                self._note(entry, "unsupported contract", what, cure)
                return
        same = next((other for other, loaded in self._loaded if loaded is plugin), None)
        if same is not None:
            self._note(entry, "broken", f"{entry.module} is {_place(same)} already", "uninstall one of them")
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
                f"two plugins provide the {_spoken(kind)} {name!r}: {both}; {_ways_apart(found)}"
            )
        raise PluginError(self.absence(kind, name))

    def absence(self, kind: str, name: str) -> str:
        """Why there is no provider of that name, what is there instead, and what brings it."""
        installed = sorted({source.provider.name for source in self._sources[kind]})
        words = [f"there is no {_spoken(kind)} {name!r}", f"installed: {', '.join(installed) or 'none'}"]
        failed = [row for row in self.rows() if row.state != "ok"]
        words += [f"plugin {row.name} is {row.state} ({row.reason})" for row in failed]
        words.append(f"to get it: {' or '.join(self._ways_to(kind, name, failed))}")
        return "; ".join(words)

    def _ways_to(self, kind: str, name: str, failed: Sequence[PluginRow]) -> Sequence[str]:
        """What may bring a provider. A plugin that was not asked may provide anything."""
        from art_core.loader import channel

        ways = [row.cure for row in failed if row.state in ("disabled", "unsupported contract")]
        own = [row for row in failed if row.name in (name, kind) and row.cure not in ways]
        ways += [f"install {row.distribution} anew" if row.state == "broken" else row.cure for row in own]
        brought = channel.brings(kind, name)
        if brought is not None and not any(row.name == name for row in failed):
            ways.append(brought)
        if not ways:
            others = sorted({source.provider.name for source in self._sources[kind]})
            near = nearest(name, others).removeprefix("; ") if others else ""
            ways = [channel.OTHERWISE, *([f"choose another; {near}"] if near else [])]
        return list(dict.fromkeys(ways))

    # --- using ---------------------------------------------------------------------------------

    def context(self, provider: Provider[Any]) -> Context:
        """What the provider is created and probed with. Raises SettingsError on a wrong setting."""
        below = os.path.join("plugins", provider.name)
        return Context(
            settings=plugin_settings.checked(provider, self._settings),
            state_dir=os.path.join(dirs.state_dir(self._env), below),
            cache_dir=os.path.join(dirs.cache_dir(self._env), below),
            uid=os.getuid(),
            gid=os.getgid(),
        )

    def settings_of(self, kind: str, name: str) -> Sequence[plugin_settings.Setting]:
        """The provider's settings as they are used. Raises PluginError, and SettingsError on a wrong one."""
        return plugin_settings.shown(self.provider(kind, name), self._settings)

    def settings_of_nobody(self) -> Mapping[str, str]:
        """`[plugins.NAME]` that no plugin here reads: NAME, and what it may have been meant for."""
        names = sorted({source.provider.name for sources in self._sources.values() for source in sources})
        unread = [name for name in self._settings.plugin_settings if name not in names]
        return {name: nearest(name, names) for name in unread}

    def _check_overrides(self) -> None:
        """Raises SettingsError for a `-c` that no plugin reads. What a file says may be for one that is left
        out, or not installed now."""
        for name, near in self.settings_of_nobody().items():
            for key in self._settings.plugin_settings[name]:
                if self._settings.sources.get(f"plugins.{name}.{key}") == "-c":
                    raise SettingsError(f"-c: plugins.{name}.{key}: no plugin here provides {name!r}{near}")

    def create(self, kind: str, name: str) -> Any:
        """What a provider creates. Raises ArtError or OSError as it does, and PluginError for
        anything else."""
        source = self._source(kind, name)
        context = self.context(source.provider)
        with self.guard(kind, name):
            return source.provider.create(context)

    def tracing_plan(self, name: str, request: TraceRequest) -> Plan:
        """What a tracing process has to know to create the tracer of that name, and what to ask of it."""
        from art_core.loader.recipe import Plan

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
        except Exception as error:
            library = error.name or "" if isinstance(error, ImportError) else ""
            if library.partition(".")[0] == "art_core":
                raise PluginError(
                    f"the {_spoken(kind)} {name!r} was written for a newer ART ({_words(error)}); {_NEWER}"
                ) from error
            if isinstance(error, ModuleNotFoundError):
                from art_core.loader import channel

                library = library.partition(".")[0]
                raise PluginError(
                    f"the {_spoken(kind)} {name!r} needs the library {library}, which is not installed; "
                    f"to get it: {channel.cure('library', library)}"
                ) from error
            entry = self._source(kind, name).entry
            raise PluginError(
                f"plugin {entry.name} ({entry.distribution}, {entry.version}) failed: {_words(error)}"
            ) from error


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


def _ways_apart(sources: Sequence[_Source]) -> str:
    """How to keep only one of them."""
    names = sorted({source.entry.name for source in sources})
    if len(names) == 1:
        return "uninstall one of them"
    return "leave one out: " + " or ".join(f"{_OPTION} {name}" for name in names)


def _place(entry: EntryPoint) -> str:
    return f"{entry.name} ({entry.distribution} {entry.version}, {entry.location})"


def _spoken(kind: str) -> str:
    return kind.replace("_", " ")
