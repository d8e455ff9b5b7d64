"""The plugin's entry point: isolation by namespaces alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import Context, Isolation, Provider, Reason
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_unshare.isolation import Unshare


class Settings(NamedTuple):
    """`[plugins.unshare]`. `tmp_megabytes` is the size of /tmp, and of a home that is not kept."""

    tmp_megabytes: int = 1024


def _create(context: Context) -> Unshare:
    from art_unshare.isolation import create

    return create(context.settings.tmp_megabytes)


def _probe(context: Context) -> Sequence[Reason]:
    from art_unshare.isolation import reasons

    return reasons()


@hookimpl
def art_isolations() -> Iterable[Provider[Isolation]]:
    return [
        Provider(
            name="unshare",
            summary="namespaces for mounts and users; processes and the network stay the host's",
            contract=1,
            create=_create,
            capabilities=frozenset({"mounts", "masks"}),
            settings=Settings,
            probe=_probe,
        )
    ]
