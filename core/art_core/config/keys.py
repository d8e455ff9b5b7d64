"""The table of all keys of config.toml and of all ART_* variables.

`art_core.config.settings` reads by it, and the manual page art-config.toml(5) and docs/settings.md are made
from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Key(NamedTuple):
    """A key or a variable: what its `value` looks like, and the field of `Settings` that it sets, which has
    its default; none where it is read elsewhere."""

    value: str
    help: str
    field: str = ""

    @property
    def is_list(self) -> bool:
        return self.value.startswith("[")

    @property
    def choices(self) -> Sequence[str]:
        """The only values that there are; empty for any."""
        return self.value.split("|") if "|" in self.value else ()


KEYS: Mapping[str, Mapping[str, Key]] = {
    "sandbox": {
        "store": Key("NAME", "the plugin that opens the database, as --store", "store"),
        "isolation": Key("NAME", "the plugin that makes the sandbox, as --isolation", "isolation"),
        "tracer": Key("NAME", "the plugin that records system calls, as --tracer", "tracer"),
        "gateway": Key("NAME", "the plugin that filters the network, as --gateway", "gateway"),
        "network": Key(
            "host|none|filtered", "the host's network, none, or only what is allowed, as --network", "network"
        ),
        "toolchains": Key(
            "hint|auto|off",
            "what happens when a command is not found inside and lies in a home on the caller's PATH: "
            "the options that would show it are told, or used, or neither",
            "toolchains",
        ),
        "root_as": Key(
            "mapped|root",
            "what a sandbox is that root starts: another user, to whom the workspace is shown as its own, "
            "or root without its powers",
            "root_as",
        ),
        "workdir": Key(
            "home|host",
            "where a command works: in the workspace below the home, or at its own path on the host, as "
            "--workdir",
            "workdir",
        ),
        "masks": Key("[PATH, ...]", "more paths that are hidden in a sandbox", "masks"),
        "protect": Key(
            "[PATH, ...]",
            "what programs of the host run or obey by themselves, as ends of paths (*.x, .git/config): "
            "read-only inside, and told when they appear",
            "protect",
        ),
    },
    "env": {
        "pass": Key(
            "[NAME, ...]", "variables that the command always gets; patterns such as LC_*", "env_pass"
        ),
    },
    "network": {
        "allow": Key(
            "[HOST[:PORT], ...]",
            "names and addresses that a filtered network reaches, as --allow-domain",
            "network_allow",
        ),
    },
    "limits": {
        "memory": Key("SIZE", "what all of a run together may take: 512M, 4G"),
        "pids": Key("N", "how many processes and threads there may be at once"),
        "cpus": Key("N", "how many processors a run may keep busy: 2, 0.5"),
        "timeout": Key("TIME", "how long a run may last: 90, 30s, 10m, 1h"),
        "disk": Key("SIZE", "what the database may grow by in a run"),
    },
    "plugins": {
        "disabled": Key(
            "[NAME, ...]", "plugins that are left out before they are imported", "plugins_disabled"
        ),
        "only": Key("[NAME, ...]", "the only plugins that are not left out", "plugins_only"),
    },
    "workspace": {
        "db": Key("FILE", "the database of this workspace, as --db"),
        "name": Key("NAME", "its name inside, as --name"),
        "agent": Key("NAME", "the preset of its runs, as --agent"),
        "seed": Key("[PATH[:GUEST], ...]", "private views of host paths in the home, as --seed"),
    },
    "agents": {
        "implied": Key("true|false", "a command that is called like a preset gets it", "agents_implied"),
    },
}
"""Table -> key. `workspace` has one table for each workspace, named by its absolute path; `plugins`
one for each plugin besides, whose keys are the plugin's own, and `agents` one for each preset."""

VARIABLES: Mapping[str, Key] = {
    "ART_DB": Key("FILE", "the database, as --db", "database"),
    "ART_MOUNT": Key("DIR", "the host directory to work in, as --mount", "mount"),
    "ART_STORE": Key("NAME", "as sandbox.store", "store"),
    "ART_ISOLATION": Key("NAME", "as sandbox.isolation", "isolation"),
    "ART_TRACER": Key("NAME", "as sandbox.tracer", "tracer"),
    "ART_NETWORK": Key("host|none|filtered", "as sandbox.network", "network"),
    "ART_GATEWAY": Key("NAME", "as sandbox.gateway", "gateway"),
    "ART_TOOLCHAINS": Key("hint|auto|off", "as sandbox.toolchains", "toolchains"),
    "ART_ROOT_AS": Key("mapped|root", "as sandbox.root_as", "root_as"),
    "ART_WORKDIR": Key("home|host", "as sandbox.workdir", "workdir"),
    "ART_DISABLE_PLUGINS": Key("NAME,...", "plugins that are left out, besides those of plugins.disabled"),
    "ART_DEBUG": Key("1", "adds a traceback to what is told of a failure"),
}
"""Variable -> what it sets. One that is empty is as one that is not there."""
