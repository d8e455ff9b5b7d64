"""What a store can do beyond its contract: looked for, and refused in words where it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from art_core.contracts import Provider, Store
from art_core.errors import PluginError
from art_core.store.history import CAPABILITY, HistoryStore

if TYPE_CHECKING:
    from art_core.loader.plugins import Plugins


def keeps_history(provider: Provider[Any], *, asked: str = "") -> bool:
    """Whether a store does. Raises PluginError when it does not and something `asked` for it."""
    if CAPABILITY in provider.capabilities:
        return True
    if asked:
        raise PluginError(
            f"{asked}: the store {provider.name!r} keeps no branches, snapshots and sessions (capability "
            f"{CAPABILITY}); choose another with --store NAME"
        )
    return False


def history_of(plugins: Plugins, name: str, store: Store) -> HistoryStore:
    """The history of a store, which was opened by the provider `name`. Raises PluginError."""
    keeps_history(plugins.provider("store", name), asked="this command")
    return store  # type: ignore[return-value]
