"""The plugin's entry point: homes in a layered SQLite database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from art_core.contracts import Context, Provider, Reason, Stores
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_cowfs.store import Databases


def _create(context: Context) -> Databases:
    from art_cowfs.store import Databases

    return Databases(context.state_dir)


def _probe(context: Context) -> Sequence[Reason]:
    from art_cowfs.store import reasons

    return reasons()


@hookimpl
def art_stores() -> Iterable[Provider[Stores]]:
    return [
        Provider(
            name="sqlite",
            summary="a layered file system in one SQLite file, copy-on-write over the workspace",
            contract=1,
            create=_create,
            probe=_probe,
            capabilities=frozenset(
                {
                    "durable",
                    "files",
                    "growth",
                    "history",
                    "live",
                    "maintenance",
                    "numbers",
                    "renames",
                    "seeds",
                    "shares",
                }
            ),
        )
    ]
