"""Opening a database for a command that looks at it or after it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from art_cli.output.console import note
from art_cli.syntax.shared_options import given, settings_with
from art_core.autorun import planted_links
from art_core.config import dirs
from art_core.config.settings import Settings
from art_core.contracts import Store, Stores, Workspace
from art_core.errors import PluginError, UsageError, WorkspaceError
from art_core.host.tree import within
from art_core.loader.plugins import Plugins
from art_core.store.files import Files
from art_core.view import known_databases, masks
from art_core.view.workspace import absolute, open_workspace


class OpenedStore(NamedTuple):
    """A store, the name of what provides it, and what the command line says of the workspace."""

    store: Store
    provider: str
    plugins: Plugins
    locator: str
    directory: str
    """As typed, or the default."""
    named: str | None
    """The workspace's name, where it is not the directory's."""
    settings: Settings
    chosen: bool
    """Whether somebody named the directory."""
    moved: bool


def sides(options: Mapping[str, Any]) -> tuple[Settings, Plugins, str, str]:
    """The settings and plugins, the host directory as typed, and the database's locator. Raises UsageError
    without a database."""
    chosen = given(options)
    settings = settings_with(chosen.get("overrides", ()))
    plugins = Plugins.load(settings, disabled=chosen.get("no_plugins", ()), env=os.environ)
    directory = chosen.get("mount") or settings.mount or "."
    defaults = settings.for_workspace(absolute(directory))
    locator = chosen.get("database") or defaults.database or settings.database
    if locator is None:
        raise UsageError("name the database: -d FILE")
    if "://" not in locator:
        planted_links.refuse("--db", locator, workspaces(directory))
    return settings, plugins, directory, locator


def workspaces(directory: str) -> list[str]:
    """The host directory, where it may be one that sandboxes wrote to: not the user's own home."""
    real = os.path.realpath(absolute(directory))
    homes = masks.home_directories(os.environ.get("HOME"))
    return [] if any(within(home, real) for home in homes) else [real]


@contextmanager
def opened(
    options: Mapping[str, Any], capability: str = "", mode: Literal["read", "write", "create"] = "write"
) -> Iterator[OpenedStore]:
    """The database that the options name. Raises UsageError without one, and PluginError when its store
    lacks the capability that is needed; what fails inside is told as the plugin's failure."""
    settings, plugins, directory, locator = sides(options)
    defaults = settings.for_workspace(absolute(directory))
    name = options.get("store") or settings.store
    if capability and capability not in plugins.provider("store", name).capabilities:
        raise PluginError(
            f"the store {name!r} cannot do this (capability {capability}); choose another with --store NAME"
        )
    stores: Stores = plugins.create("store", name)
    with plugins.guard("store", name):
        store = stores.open(locator, mode)
        for line in known_databases.remember(dirs.state_dir(os.environ), store.hidden()):
            note(line)
        try:
            yield OpenedStore(
                store,
                name,
                plugins,
                locator,
                directory,
                options.get("name") or defaults.name,
                settings,
                bool(options.get("mount") or settings.mount),
                bool(options.get("moved")),
            )
        finally:
            store.close()


@contextmanager
def workspace_of(
    found: OpenedStore, files: Files, *, note_absence: bool = True
) -> Iterator[Workspace | None]:
    """The workspace whose host directory shows through: the one that was named, or the current directory
    where the database knows that as a workspace; None when it is not there."""
    path = absolute(found.directory)
    name = found.named or os.path.basename(path)
    known = files.workspace_at(name) if name else None
    if not found.chosen and known != os.path.realpath(path):
        yield None
        return
    if not os.path.lexists(path):
        if note_absence:
            note(f"{path} is not there: only what the database has of {name!r} is seen")
        yield None
        return
    workspace = open_workspace(found.directory, name=found.named, moved=found.moved)
    try:
        if known not in (None, workspace.real) and not found.moved:
            raise WorkspaceError(
                f"the workspace {name!r} of this database is {known!r}, not {workspace.real!r}; add --moved "
                "if it was moved here, or say which one is meant with --name"
            )
        yield workspace
    finally:
        os.close(workspace.fd)
