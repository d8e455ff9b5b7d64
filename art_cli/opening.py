"""Opening a database for a command that looks at it or after it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from art_cli.commands.sharing import settings_with
from art_core.contracts import Store, Stores
from art_core.errors import PluginError, UsageError
from art_core.plugins import Plugins
from art_core.settings import Settings
from art_core.workspace import absolute


class Opened(NamedTuple):
    """A store, the name of what provides it, and what the command line says of the workspace."""

    store: Store
    provider: str
    locator: str
    directory: str
    """As typed, or the default."""
    named: str | None
    """The workspace's name, where it is not the directory's."""
    settings: Settings


@contextmanager
def opened(
    options: Mapping[str, Any], capability: str, mode: Literal["read", "write", "create"] = "write"
) -> Iterator[Opened]:
    """The database that the options name. Raises UsageError without one, and PluginError when its store
    lacks the capability; what fails inside is told as the plugin's failure."""
    settings = settings_with(options.get("overrides", ()))
    plugins = Plugins.load(settings, disabled=options.get("no_plugins", ()), env=os.environ)
    directory = options.get("mount") or settings.mount or "."
    defaults = settings.for_workspace(absolute(directory))
    locator = options.get("database") or defaults.database or settings.database
    if locator is None:
        raise UsageError("name the database: -d FILE")
    name = options.get("store") or settings.store
    if capability not in plugins.provider("store", name).capabilities:
        raise PluginError(
            f"the store {name!r} cannot do this (capability {capability}); choose another with --store"
        )
    stores: Stores = plugins.create("store", name)
    with plugins.guard("store", name):
        store = stores.open(locator, mode)
        try:
            yield Opened(store, name, locator, directory, options.get("name") or defaults.name, settings)
        finally:
            store.close()
