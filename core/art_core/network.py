"""Which network a run has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_core.contracts import Network
from art_core.errors import UsageError
from art_core.settings import Settings

if TYPE_CHECKING:
    from art_core.egress import Egress
    from art_core.planning import Options
    from art_core.plugins import Plugins


def chosen(options: Options, settings: Settings, plugins: Plugins) -> tuple[Network, Egress | None]:
    """The network that was asked for, and the way out of one that is filtered; rules that were typed
    ask for such a one. Raises UsageError, and what `Egress` raises."""
    if options.allow_domains and options.network not in (None, "filtered"):
        raise UsageError(
            f"--allow-domain needs --network filtered, and --network {options.network} was given"
        )
    network = "filtered" if options.allow_domains else options.network or settings.network
    if network != "filtered":
        return network, None
    from art_core.egress import Egress

    gateway = options.gateway or settings.gateway
    return network, Egress(plugins, gateway, options.allow_domains, settings)
