"""Which network and which limits were asked for; what serves them is loaded for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from art_core.contracts import Network
from art_core.errors import UsageError
from art_core.settings import LIMITS, Settings

if TYPE_CHECKING:
    from art_core.egress import Egress
    from art_core.limits import Held
    from art_core.options import Options
    from art_core.plugins import Plugins


def network(options: Options, settings: Settings, plugins: Plugins) -> tuple[Network, Egress | None]:
    """The network that was asked for, and the way out of one that is filtered; rules that were typed
    ask for such a one. Raises UsageError, and what `Egress` raises."""
    if options.allow_domains and options.network not in (None, "filtered"):
        raise UsageError(
            f"--allow-domain needs --network filtered, and --network {options.network} was given"
        )
    chosen = "filtered" if options.allow_domains else options.network or settings.network
    if chosen != "filtered":
        return chosen, None
    from art_core.egress import Egress

    gateway = options.gateway or settings.gateway
    return chosen, Egress(plugins, gateway, options.allow_domains, settings)


def limits(options: Options, settings: Settings, *, overlay: bool) -> Held | None:
    """How the limits of a run are held; None without any. Raises what `limits.of` and `Held` do."""
    if not settings.limits and all(getattr(options, name) is None for name in LIMITS):
        return None
    from art_core.limits import Held, of

    found = of(options, settings)
    if options.disk is not None and not overlay:
        raise UsageError(
            f"{found.shown('disk')}: this limits what a database grows by, and in direct mode the workspace "
            "is the host's own; add --db FILE, or leave it out"
        )
    return Held(found)
