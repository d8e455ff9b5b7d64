"""Which preset, database, network and limits, and what of the caller's own were asked for; what serves them
is loaded for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from art_core.config.options import NO_PRESET
from art_core.config.settings import LIMITS, Settings
from art_core.contracts import MAIN, Network
from art_core.errors import PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from art_core.agents.provision import Provision
    from art_core.config.options import Options
    from art_core.config.settings import WorkspaceDefaults
    from art_core.contracts import Mount, Workspace
    from art_core.lending.loans import Lent
    from art_core.loader.plugins import Plugins
    from art_core.network.egress import Egress
    from art_core.plan.limits import HeldLimits
    from art_core.view.identity import Identity


class RunPlan(Protocol):
    """Who asks: `plan.preparation.Preparation`."""

    options: Options
    settings: Settings
    identity: Identity
    provision: Provision | None


def preset(options: Options, settings: Settings, directory: str, env: Mapping[str, str]) -> Provision | None:
    """The preset that was asked for, for the workspace at an absolute path, and what it grants here. Raises
    what `presets.find` raises."""
    name = options.agent or settings.for_workspace(directory).agent
    if name is None or name == NO_PRESET:
        return None
    from art_core.agents import presets
    from art_core.agents.provision import Provision

    where = "" if options.agent else settings.sources.get(f"workspace.{directory}.agent", "settings")
    return Provision(presets.find(name, settings, env, where=where), env)


def database(options: Options, settings: Settings, defaults: WorkspaceDefaults) -> str | None:
    """The locator of the database, None in direct mode. Raises PluginError for what cannot be without one."""
    locator = options.database or defaults.database or settings.database
    if locator is None and options.branch not in (None, MAIN):
        raise PluginError(f"--branch {options.branch}: branches need a database; add --db FILE")
    if locator is None and options.snapshot:
        raise PluginError("--snapshot: snapshots need a database; add --db FILE")
    return locator


def tools(
    asking: RunPlan, workspace: Workspace, env: Mapping[str, str], hidden: Sequence[str], taken: Sequence[str]
) -> tuple[list[Mount], list[str], list[str]]:
    """The caller's own toolchains: what shows them, less what is mounted at a guest path of `taken`, and what
    goes in front of PATH and behind it."""
    shown: list[Mount] = []
    first: list[str] = []
    if asking.settings.toolchains == "auto":
        from art_core.agents import toolchain

        shown, first = toolchain.exposed(env, hidden)
    if asking.provision is None:
        return shown, first, []
    taken = [*taken, *(mount.guest for mount in shown)]
    shown += asking.provision.mounts(hidden, taken, workspace.real)
    in_front, behind = asking.provision.path()
    return shown, [*first, *in_front], behind


def workdir(options: Options, settings: Settings, guest: str, aliases: Sequence[str]) -> str:
    """The working directory of the commands: `guest`, or the workspace's own path on the host, which is the
    first of `aliases`. Raises UsageError where it is asked for and left out."""
    chosen = options.workdir or settings.workdir
    if chosen == "host" and not options.alias:
        raise UsageError("--workdir host needs the workspace at its own path, and --no-alias leaves it out")
    return aliases[0] if chosen == "host" and aliases else guest


def network(
    options: Options, settings: Settings, plugins: Plugins, provision: Provision | None
) -> tuple[Network, Egress | None]:
    """The network that was asked for, and the way out of one that is filtered; rules that were typed
    ask for such a one, those of a preset do not. Raises UsageError, and what `Egress` raises."""
    if options.allow_domains and options.network not in (None, "filtered"):
        raise UsageError(
            f"--allow-domain needs --network filtered, and --network {options.network} was given"
        )
    chosen = "filtered" if options.allow_domains else options.network or settings.network
    if chosen != "filtered":
        return chosen, None
    from art_core.network.egress import Egress

    gateway = options.gateway or settings.gateway
    more = () if provision is None else provision.domains()
    return chosen, Egress(plugins, gateway, options.allow_domains, settings, more)


def limits(options: Options, settings: Settings, *, overlay: bool) -> HeldLimits | None:
    """How the limits of a run are held; None without any. Raises what `limits.of` and `HeldLimits` do."""
    if not settings.limits and all(getattr(options, name) is None for name in LIMITS):
        return None
    from art_core.plan.limits import HeldLimits, of

    found = of(options, settings)
    if options.disk is not None and not overlay:
        raise UsageError(
            f"{found.shown('disk')}: this limits what a database grows by, and in direct mode the workspace "
            "is the host's own; add --db FILE, or leave it out"
        )
    return HeldLimits(found)


def lent(asking: RunPlan, workspace: Workspace, env: Mapping[str, str]) -> Lent | None:
    """What of the caller's own is lent to the sandbox, opened; None for nothing. Raises what `lender.lend`
    does."""
    options, settings = asking.options, asking.settings
    wishes = () if asking.provision is None else asking.provision.wishes()
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
    from art_core.lending import lender

    asked = [*lender.wishes_of(options, settings, workspace), *wishes]
    return lender.lend(asked, workspace, env, stand_in=asking.identity.host_ids is not None)
