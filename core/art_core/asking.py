"""Which network, which limits and what of the caller's own were asked for; what serves them is loaded for
those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from art_core.contracts import Network
from art_core.errors import UsageError
from art_core.settings import LIMITS, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from art_core.contracts import Workspace
    from art_core.egress import Egress
    from art_core.identity import Identity
    from art_core.lending import Lent, Wish
    from art_core.limits import Held
    from art_core.options import Options
    from art_core.plugins import Plugins


class Asking(Protocol):
    """Who asks: `planning.Preparation`."""

    options: Options
    settings: Settings
    identity: Identity


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


def lent(
    asking: Asking, workspace: Workspace, env: Mapping[str, str], wishes: Sequence[Wish] = ()
) -> Lent | None:
    """What of the caller's own is lent to the sandbox, opened; None for nothing. `wishes` are more than
    the options and the settings have. Raises what `lending.lend` does."""
    options, settings = asking.options, asking.settings
    typed = (
        options.seeds,
        options.shares,
        options.devices,
        options.git,
        options.ssh_agent,
        options.gpg_agent,
    )
    if not any((*typed, settings.for_workspace(workspace.path).seeds, wishes)):
        return None
    from art_core import lending

    asked = [*lending.wishes_of(options, settings, workspace), *wishes]
    return lending.lend(asked, workspace, env, stand_in=asking.identity.host_ids is not None)
