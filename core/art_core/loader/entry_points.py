"""Finding plugins: the entry points of installed distributions.

`importlib.metadata` does the same and costs 40 ms at every start. Only the files that are needed
are read here: `entry_points.txt` of each distribution on the path (packaging.python.org, "Entry
points specification" and "Recording installed projects").
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

_SEPARATORS = re.compile(r"[-_.]+")
_REFERENCE = re.compile(r"\s*(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>[\w.]+)\s*)?(?:\[.*\]\s*)?\Z")


class EntryPoint(NamedTuple):
    """`name = module:attribute` in a group of a distribution that lies at `location`."""

    group: str
    name: str
    module: str
    attribute: str
    distribution: str
    version: str
    location: str


def scan(group: str, path: Sequence[str] | None = None) -> list[EntryPoint]:
    """The entry points of a group, sorted by name and distribution. Of a distribution that is
    there more than once the first on the path counts, as it does for imports."""
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for location in sys.path if path is None else path:
        for folder in _metadata_folders(location or "."):
            distribution, _, version = folder.rpartition(".")[0].partition("-")
            normalized = _SEPARATORS.sub("-", distribution).lower()
            if normalized in seen:
                continue
            seen.add(normalized)
            text = _read(f"{location or '.'}/{folder}/entry_points.txt")
            if group in text:
                for name, module, attribute in parse(text, group):
                    source = (_SEPARATORS.sub("-", distribution), version.partition("-")[0], location)
                    found.append(EntryPoint(group, name, module, attribute, *source))
    return sorted(found)


def _metadata_folders(location: str) -> list[str]:
    try:
        names = os.listdir(location)
    except OSError:
        return []
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info")))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def parse(text: str, group: str) -> list[tuple[str, str, str]]:
    """(name, module, attribute) of each entry of a group in an entry_points.txt."""
    found = []
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            inside = line[1:-1].strip() == group
        elif inside and line and not line.startswith(("#", ";")):
            name, equals, reference = line.partition("=")
            match = _REFERENCE.match(reference)
            if name.strip() and equals and match:
                found.append((name.strip(), match["module"], match["attribute"] or ""))
    return found
