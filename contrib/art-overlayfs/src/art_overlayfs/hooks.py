"""The plugin's entry point: homes in ART's database, mounted by the kernel's overlayfs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import Context, Provider, Reason, Stores
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_overlayfs.store import Databases


class Settings(NamedTuple):
    """`[plugins.overlayfs]`. `directory` is where changes are kept until they are in the database, and what
    only the database has as directories; empty: ART's state and cache. `cache_mb` bounds the latter."""

    directory: str = ""
    cache_mb: int = 4096


def _create(context: Context) -> Databases:
    from art_overlayfs.store import create

    return create(context)


def _probe(context: Context) -> Sequence[Reason]:
    from art_overlayfs.store import reasons

    return reasons(context)


@hookimpl
def art_stores() -> Iterable[Provider[Stores]]:
    return [
        Provider(
            name="overlayfs",
            summary="the kernel's overlayfs over the workspace, brought into the SQLite database at the end",
            contract=1,
            create=_create,
            probe=_probe,
            capabilities=frozenset({"durable", "files", "history", "maintenance"}),
            settings=Settings,
        )
    ]
