"""What a preset grants on this host: which of its entries exist here, and what a run does about them.

An entry that is not there is left out without a word: a preset names every place where an agent may be.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from art_core.agents.presets import FLAGS, Preset, PresetEntry
from art_core.contracts import Mount
from art_core.errors import SettingsError
from art_core.host.tree import within
from art_core.view.environment import matching

if TYPE_CHECKING:
    from art_core.gateways import Destination
    from art_core.lending.loans import LoanRequest

LENT: Mapping[str, Literal["seed", "share", "device", "git", "ssh-agent", "gpg-agent"]] = {
    "seeds": "seed",
    "shares": "share",
    "devices": "device",
    "git": "git",
    "ssh_agent": "ssh-agent",
    "gpg_agent": "gpg-agent",
}
"""What each key of a preset is called by `art_core.lending.lender`."""
_NUMBERS = re.compile(r"(\d+)")


class Row(NamedTuple):
    """An entry, and what of it there is here: host paths, names of variables, or its own text; empty
    when it is absent."""

    entry: PresetEntry
    found: Sequence[str]


class Provision:
    """What a preset grants to a caller. It looks at the host when it is asked, and changes nothing."""

    def __init__(self, preset: Preset, env: Mapping[str, str]) -> None:
        self.preset = preset
        self._env = env
        self._home = env.get("HOME", "")

    @cached_property
    def rows(self) -> Sequence[Row]:
        """All entries, in the order of the preset."""
        return [Row(entry, self._found(entry)) for entry in self.preset.entries]

    def _found(self, entry: PresetEntry) -> Sequence[str]:
        if entry.key == "pass":
            caller = {os.fsencode(name): b"" for name in self._env}
            return sorted(os.fsdecode(name) for name in matching(caller, os.fsencode(entry.text)))
        if entry.key == "path":
            return [path for path in self._expanded(entry.text) if os.path.isdir(path)]
        if entry.key in ("expose", "seeds", "shares"):
            return self._expanded(entry.text)
        if entry.key == "set" and entry.value.startswith("~/"):
            return [entry.text] if self._expanded(entry.value) else []
        if entry.key == "devices" and entry.text.startswith("/"):
            return [entry.text] if os.path.exists(entry.text) else []
        return [entry.text]

    def _expanded(self, text: str) -> list[str]:
        """The paths of the host that an entry means, the newest version first."""
        if text.startswith("~/") and not self._home.startswith("/"):
            return []
        top, rest = (self._home, text[2:]) if text.startswith("~/") else ("/", text[1:])
        if "*" not in rest:
            path = os.path.join(top, rest)
            return [path] if os.path.exists(path) else []

        def newest_first(path: str) -> list[tuple[int, str]]:
            return [(-int(part), "") if part.isdigit() else (0, part) for part in _NUMBERS.split(path)]

        pattern = os.path.join(glob.escape(top), "*".join(map(glob.escape, rest.split("*"))))
        return sorted(glob.glob(pattern), key=newest_first)

    # --- what a run does about them --------------------------------------------------------------

    @property
    def passed(self) -> list[str]:
        """Variables of the caller, or patterns of their names."""
        return self.preset.texts("pass")

    @property
    def variables(self) -> dict[bytes, bytes]:
        """Variables to set; a value in the home is where it is on the host."""
        found = {}
        for row in self.rows:
            if row.entry.key == "set" and row.found:
                value = row.entry.value
                found[os.fsencode(row.entry.text)] = os.fsencode(
                    self._expanded(value)[0] if value.startswith("~/") else value
                )
        return found

    def path(self) -> tuple[list[str], list[str]]:
        """Directories for PATH: in front what is on the caller's, in that order, and behind the rest."""
        found = dict.fromkeys(path for row in self.rows if row.entry.key == "path" for path in row.found)
        theirs = [
            os.path.realpath(directory) for directory in self._env.get("PATH", "").split(":") if directory
        ]
        places = {path: theirs.index(real) for path in found if (real := os.path.realpath(path)) in theirs}
        return sorted(places, key=places.__getitem__), [path for path in found if path not in places]

    def mounts(self, hidden: Sequence[str], taken: Sequence[str], workspace: str) -> list[Mount]:
        """What is shown read-only at its own place: where it is `hidden`, and not shown already by what is
        mounted at one of `taken`, and does not hold the workspace. A link that leads to the whole home, or
        above it, is none of a tool's."""
        wanted: dict[str, Mount] = {}
        home = os.path.realpath(self._home)
        shown = [row for row in self.rows if row.entry.key in ("path", "expose")]
        for entry, path in ((row.entry, path) for row in shown for path in row.found):
            real = os.path.realpath(path)
            for guest in () if within(home, real) else dict.fromkeys((real, path)):
                if any(within(guest, top) for top in hidden):
                    wanted.setdefault(guest, Mount(source=path, guest=guest, origin=entry.origin))
        tops = [*taken, *wanted]
        return [
            mount
            for guest, mount in wanted.items()
            if guest not in taken
            and not any(within(guest, top) for top in tops if top != guest)
            and not within(workspace, guest)
        ]

    def domains(self) -> list[Destination]:
        """Rules for a network that is filtered. Raises SettingsError that names the file and the key."""
        from art_core.network.destinations import parse

        entries = [entry for entry in self.preset.entries if entry.key == "domains"]
        return [parse(entry.text, entry.origin, SettingsError) for entry in entries]

    def wishes(self) -> list[LoanRequest]:
        """What is lent of the caller's own, as far as it is there."""
        from art_core.lending.loans import LoanRequest

        return [
            LoanRequest(LENT[row.entry.key], "" if row.entry.key in FLAGS else text, row.entry.origin, True)
            for row in self.rows
            if row.entry.key in LENT
            for text in row.found
        ]
