#!/usr/bin/env python3
"""Writes docs/settings.md, from the table of keys and variables (`art_core.config.keys`).

    python3 contrib/site/settings_page.py

Run it with ART and the plugins that ship with it importable; `make docs` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path

from art_core.config import settings
from art_core.config.keys import KEYS, VARIABLES, Key
from art_core.config.settings import Settings
from art_core.loader.plugin_settings import defaults_of
from art_core.loader.plugins import KINDS, Plugins

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/settings.md"
_MOST = 30
"""So many values of a default are shown."""
_FRONT = """\
# Settings

Made from `core/art_core/config/keys.py` by `contrib/site/settings_page.py`; a test holds that it is
current.

Settings are read from `/etc/art/config.toml`, then from `$XDG_CONFIG_HOME/art/config.toml` (without the
variable `~/.config/art/config.toml`), then from the variables below, then from the options of the command
line. What is read later wins, key by key. An unknown table or key is an error that names the file and the
key. `art plugins` says which plugins there are, [agents.md](agents.md) what stands in the table of a preset.
"""


def page() -> str:
    """The text of the page."""
    example = (settings.__doc__ or "").partition("\n\n")[2].strip()
    parts = [_FRONT, f"```toml\n{example}\n```\n"]
    for table, keys in KEYS.items():
        heading = 'workspace."/abs/path"' if table == "workspace" else table
        rows = "".join(
            _row(f"{name} = {key.value}", f"{key.help}{_default(key)}") for name, key in keys.items()
        )
        parts.append(f"## `[{heading}]`\n\n| key | meaning |\n|---|---|\n{rows}")
    rows = "".join(_row(f"{name}={one.value}", one.help) for name, one in VARIABLES.items())
    parts.append(f"## Variables\n\n| variable | meaning |\n|---|---|\n{rows}")
    for name, made in sorted(_of_plugins().items()):
        about = " ".join(cleandoc(made.__doc__ or "").partition("\n\n")[2].split())
        rows = "".join(f"| `{key}` | `{_toml(value)}` |\n" for key, value in defaults_of(made).items())
        parts.append(f"## `[plugins.{name}]`\n\n{about}\n\n| key | default |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _row(term: str, meaning: str) -> str:
    shown = term.replace("|", "\\|")
    return f"| `{shown}` | {meaning} |\n"


def _default(key: Key) -> str:
    default = getattr(Settings(), key.field) if key.field else None
    if not default:
        return ""
    words = [str(one) for one in default] if isinstance(default, tuple) else [str(default)]
    if len(words) > _MOST:
        return f"; default: {len(words)} names, which [sandbox.md](sandbox.md) has"
    return "; default: " + ", ".join(f"`{word}`" for word in words)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _of_plugins() -> Mapping[str, type]:
    """Of those that ship with ART."""
    return dict(_settings_of(Plugins.load(Settings(), env={})))


def _settings_of(plugins: Plugins) -> Iterator[tuple[str, type]]:
    for kind in KINDS:
        for provider in plugins.providers(kind):
            made = provider.settings
            if made is not None and (ROOT / "plugins" / made.__module__.partition(".")[0]).is_dir():
                yield provider.name, made


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.exit(0)
