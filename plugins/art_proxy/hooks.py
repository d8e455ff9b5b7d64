"""The plugin's entry point: the gateway of a filtered network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from art_core.contracts import Context, Provider, Reason
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_core.gateways import Gateway
    from art_proxy.gateway import Proxy


def _create(context: Context) -> Proxy:
    from art_proxy.gateway import create

    return create()


def _probe(context: Context) -> Sequence[Reason]:
    from art_proxy.gateway import reasons

    return reasons()


@hookimpl
def art_gateways() -> Iterable[Provider[Gateway]]:
    return [
        Provider(
            name="proxy",
            summary="a proxy (HTTP, CONNECT, SOCKS5) that reaches what rules allow",
            contract=1,
            create=_create,
            probe=_probe,
        )
    ]
