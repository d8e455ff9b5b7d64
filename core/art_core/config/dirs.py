"""Where settings, state and caches live (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from collections.abc import Mapping

SYSTEM_CONFIG = "/etc/art/config.toml"


def config_files(env: Mapping[str, str]) -> tuple[str, ...]:
    """The settings files, whether they exist or not; later ones win."""
    return SYSTEM_CONFIG, os.path.join(_base(env, "XDG_CONFIG_HOME", ".config"), "config.toml")


def state_dir(env: Mapping[str, str]) -> str:
    """What ART remembers outside any workspace: approvals, sessions."""
    return _base(env, "XDG_STATE_HOME", ".local/state")


def cache_dir(env: Mapping[str, str]) -> str:
    """What can be found out again."""
    return _base(env, "XDG_CACHE_HOME", ".cache")


def _base(env: Mapping[str, str], variable: str, default: str) -> str:
    value = env.get(variable, "")
    # The specification has relative values ignored.
    return os.path.join(value if value.startswith("/") else os.path.join(_home(env), default), "art")


def _home(env: Mapping[str, str]) -> str:
    home = env.get("HOME", "")
    if home.startswith("/"):
        return home
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"
