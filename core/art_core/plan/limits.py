"""What a run may use: memory, processes, processors, time, and what its database may grow by."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from art_core.config.settings import LIMITS
from art_core.config.sizes import size_of
from art_core.contracts import Exit, Provider
from art_core.errors import IsolationError, SettingsError, StoreError, UsageError

if TYPE_CHECKING:
    from art_core.config.options import Options
    from art_core.config.settings import Settings
    from art_core.plan.overlay import Overlay

TIMED_OUT = 124
"""The exit status of a command whose time ran out, as timeout(1) has it."""
CONTROLLED = ("memory", "pids", "cpus")
NO_GROUP = "no control group can be made here"
_KILLED = 9
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Limits(NamedTuple):
    """What was asked for: bytes, a number of processes (threads count), processors, seconds, bytes.
    `texts` has each as it was written."""

    memory: int | None = None
    pids: int | None = None
    cpus: float | None = None
    timeout: float | None = None
    disk: int | None = None
    texts: Mapping[str, str] = {}

    def shown(self, name: str) -> str:
        """A limit as its option."""
        return f"--{name} {self.texts[name]}"


def of(options: Options, settings: Settings) -> Limits:
    """The limits of a run: those that were typed, else those of the settings. Raises UsageError or
    SettingsError."""
    values: dict[str, int | float] = {}
    texts: dict[str, str] = {}
    for name in LIMITS:
        typed = getattr(options, name)
        text = typed if typed is not None else settings.limits.get(name)
        if text is None:
            continue
        value = _READERS[name](text)
        if value is None:
            where = settings.sources.get("limits", "settings")
            wrong, how = (
                f"{text}: {_WRONG[name]}",
                f"--{name}" if typed is not None else f"{where}: limits.{name}",
            )
            raise (UsageError if typed is not None else SettingsError)(f"{how} {wrong}")
        values[name], texts[name] = value, text
    return Limits(**values, texts=texts) if values else Limits()  # type: ignore[arg-type]


def _duration(text: str) -> float | None:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", text)
    return float(found[1]) * _SECONDS[found[2]] or None if found else None


def _count(text: str) -> int | None:
    return int(text) or None if re.fullmatch(r"[0-9]{1,7}", text) else None


def _processors(text: str) -> float | None:
    found = float(text) if re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,3})?", text) else 0.0
    return found if found >= 0.01 and math.isfinite(found) else None


_READERS: Mapping[str, Callable[[str], int | float | None]] = {
    "memory": size_of,
    "pids": _count,
    "cpus": _processors,
    "timeout": _duration,
    "disk": size_of,
}
_WRONG = {
    "memory": "this is not a size; write 512M, 4G or 1.5G",
    "pids": "this is not a number of processes; write 512",
    "cpus": "this is not a number of processors; write 2 or 0.5",
    "timeout": "this is not a time; write 90, 30s, 10m or 1h",
    "disk": "this is not a size; write 512M, 10G or 1.5G",
}


def sentence(name: str, limits: Limits, count: int) -> str:
    """What a user is told of a limit that was reached."""
    shown = limits.shown(name)
    if name == "memory":
        what = "a process" if count == 1 else f"{count} processes"
        return f"{shown}: memory ran out, and the kernel ended {what}"
    if name == "pids":
        return f"{shown}: there were as many processes as that, and {count} more could not be made"
    if name == "disk":
        return f"{shown}: the database grew by as much as that, and writing failed"
    return f"{shown}: time ran out, and the command was ended"


class HeldLimits:
    """How the limits of a run are held on this host: by control groups, or by what a process may have
    (setrlimit(2)) where there are none."""

    def __init__(self, limits: Limits) -> None:
        """Raises IsolationError for a limit that cannot be held."""
        self.limits = limits
        self.rlimits: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.reached: dict[str, int] = {}
        grouped: dict[str, Any] = {}
        self.order: dict[str, Any] = {"groups": grouped, "timeout": limits.timeout}
        wanted = {name: value for name in CONTROLLED if (value := getattr(limits, name)) is not None}
        if not wanted:
            return
        from art_core.host import cgroups

        places = cgroups.find()
        self.order["places"] = tuple(places)
        for name, value in wanted.items():
            if places.holds(name):
                grouped[name] = value
            else:
                self._hold_otherwise(name, value)

    def _hold_otherwise(self, name: str, value: Any) -> None:
        import resource

        shown = self.limits.shown(name)
        if name == "cpus":
            raise IsolationError(f"{shown}: {NO_GROUP}, and nothing else holds it; `art doctor` tells more")
        if name == "memory":
            self.rlimits.append((resource.RLIMIT_DATA, value))
            self.notes.append(f"{shown}: {NO_GROUP}, so it holds for each process, not for all together")
        else:
            self.rlimits.append((resource.RLIMIT_NPROC, value))

    def end(self, ended: Exit, reached: Mapping[str, int]) -> Exit:
        """What an end means, given which limits were reached and how often."""
        self.reached.update(reached)
        if reached.get("timeout"):
            return Exit(TIMED_OUT, "limit", sentence("timeout", self.limits, 1))
        if reached.get("memory") and ended.code == 128 + _KILLED:
            self.reached.pop("memory")
            return Exit(
                ended.code,
                "limit",
                f"{self.limits.shown('memory')}: memory ran out, and the command was ended",
            )
        return ended

    def growth(self, provider: Provider[Any]) -> int:
        """How many bytes a store may grow by, 0 for any. Raises StoreError when it cannot be told so."""
        if self.limits.disk is not None and "growth" not in provider.capabilities:
            raise StoreError(
                f"the store {provider.name!r} cannot do {self.limits.shown('disk')} (capability growth); "
                "choose another with --store NAME"
            )
        return self.limits.disk or 0

    def notices(self, overlay: Overlay | None) -> list[str]:
        """What a user should be told at the end of limits that did not end the command."""
        if overlay is not None and self.limits.disk is not None and (count := overlay.full()):
            self.reached["disk"] = count
        found = [(name, count) for name, count in self.reached.items() if name != "timeout"]
        return [sentence(name, self.limits, count) for name, count in found]
