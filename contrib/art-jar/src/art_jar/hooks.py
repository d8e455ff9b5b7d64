"""The plugin's entry point: a home in a directory of JSON files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import Context, Provider, Reason, Stores
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_jar.store import Jars


class Settings(NamedTuple):
    """`[plugins.jar]`. `megabytes` is how much the files of one home may hold: all of it is in memory."""

    megabytes: int = 256


def _create(context: Context) -> Jars:
    from art_jar.store import Jars

    return Jars(context.settings.megabytes << 20)


def _probe(context: Context) -> Sequence[Reason]:
    found = []
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        found.append(
            Reason("/dev/fuse cannot be opened", "modprobe fuse; in a container: --device /dev/fuse")
        )
    return found


@hookimpl
def art_stores() -> Iterable[Provider[Stores]]:
    return [
        Provider(
            name="jar",
            summary="a directory of JSON files, for homes that are small",
            contract=1,
            create=_create,
            capabilities=frozenset({"durable", "live", "numbers", "renames"}),
            settings=Settings,
            probe=_probe,
        )
    ]
