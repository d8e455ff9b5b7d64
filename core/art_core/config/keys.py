"""What each key of config.toml means, for the manual page art-config.toml(5).

`art_core.config.settings` reads the file and refuses what is not here; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Key(NamedTuple):
    """A key: what its `value` looks like, and the field of `Settings` that has its default."""

    value: str
    help: str
    field: str = ""


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
