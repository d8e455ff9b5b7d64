"""What a preset grants on this host: which of its entries exist here, and what a run does about them.

An entry that is not there is left out without a word: a preset names every place where an agent may be.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from art_core.contracts import Mount
from art_core.environment import matching
from art_core.hosttree import within
from art_core.presets import FLAGS, Entry, Preset

_NUMBERS = re.compile(r"(\d+)")


class Row(NamedTuple):
    """An entry, and what of it there is here: host paths, names of variables, or its own text; empty
    when it is absent."""

    entry: Entry
    found: Sequence[str]


class Granted:
    """What a preset grants to a caller. It looks at the host when it is asked, and changes nothing."""

    def __init__(self, preset: Preset, env: Mapping[str, str]) -> None:
        self.preset = preset
        self._env = env
        self._home = env.get("HOME", "")

    @cached_property
    def rows(self) -> Sequence[Row]:
        """All entries, in the order of the preset."""
        return [Row(entry, self._found(entry)) for entry in self.preset.entries]

    def _found(self, entry: Entry) -> Sequence[str]:
        if entry.key == "pass":
            caller = {os.fsencode(name): b"" for name in self._env}
            return sorted(os.fsdecode(name) for name in matching(caller, os.fsencode(entry.text)))
        if entry.key in ("path", "expose"):
            return [path for path in self._expanded(entry.text) if os.path.isdir(path) or entry.key == "expose"]
        if entry.key in ("seeds", "shares"):
            return self._expanded(entry.text)
        if entry.key == "devices" and entry.text.startswith("/"):
            return [entry.text] if os.path.exists(entry.text) else []
        return [entry.text]

    def _expanded(self, text: str) -> list[str]:
        """The paths of the host that an entry means: what is on the caller's PATH first, as it is there,
        then the newest version."""
        if text.startswith("~/") and not self._home.startswith("/"):
            return []
        top, rest = (self._home, text[2:]) if text.startswith("~/") else ("/", text[1:])
        if "*" not in rest:
            path = os.path.join(top, rest)
            return [path] if os.path.exists(path) else []
        on_path = [os.path.realpath(directory) for directory in self._env.get("PATH", "").split(":") if directory]

        def order(path: str) -> tuple[int, list[tuple[int, str]]]:
            real = os.path.realpath(path)
            parts = [(-int(part), "") if part.isdigit() else (0, part) for part in _NUMBERS.split(path)]
            return on_path.index(real) if real in on_path else len(on_path), parts

        pattern = os.path.join(glob.escape(top), "*".join(map(glob.escape, rest.split("*"))))
        return sorted(glob.glob(pattern), key=order)

    # --- what a run does about them --------------------------------------------------------------

    @property
    def passed(self) -> list[str]:
        """Variables of the caller, or patterns of their names."""
        return self.preset.texts("pass")

    @property
    def variables(self) -> dict[bytes, bytes]:
        """Variables to set."""
        return {
            os.fsencode(entry.text): os.fsencode(entry.value)
            for entry in self.preset.entries
            if entry.key == "set"
        }

    def path(self) -> list[str]:
        """Directories for PATH."""
        return list(dict.fromkeys(path for row in self.rows if row.entry.key == "path" for path in row.found))

    def mounts(self, hidden: Sequence[str], taken: Sequence[str], workspace: str) -> list[Mount]:
        """What is shown read-only at its own place: where it is `hidden`, and not shown already by what is
        mounted at one of `taken`, and does not hold the workspace."""
        wanted: dict[str, Mount] = {}
        for row in self.rows:
            if row.entry.key not in ("path", "expose"):
                continue
            for path in row.found:
                for guest in dict.fromkeys((os.path.realpath(path), path)):
                    if any(within(guest, top) for top in hidden):
                        wanted.setdefault(guest, Mount(source=path, guest=guest, origin=row.entry.origin))
        tops = [*taken, *wanted]
        return [
            mount
            for guest, mount in wanted.items()
            if guest not in taken
            and not any(within(guest, top) for top in tops if top != guest)
            and not within(workspace, guest)
        ]

    def domains(self) -> list[str]:
        """Rules for a network that is filtered."""
        return self.preset.texts("domains")

    def asked(self, options: Any) -> dict[str, Any]:
        """The options of a run that the preset adds to, those of `options` after its own."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.entry.key in ("seeds", "shares", "devices"):
                found.setdefault(row.entry.key, []).extend(row.found)
        changed: dict[str, Any] = {
            key: [*dict.fromkeys((*paths, *getattr(options, key)))] for key, paths in found.items() if paths
        }
        return changed | {key: True for key in FLAGS if self.preset.texts(key)}
