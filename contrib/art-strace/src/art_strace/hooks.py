"""The plugin's entry point: system calls recorded by strace(1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import Context, Provider, Reason, Tracer
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_strace.tracer import Strace


class Settings(NamedTuple):
    """`[plugins.strace]`. `program` is the strace to use; empty: the first on PATH."""

    program: str = ""


def _create(context: Context) -> Strace:
    from art_strace.tracer import create

    return create(context.settings.program)


def _probe(context: Context) -> Sequence[Reason]:
    from art_strace.tracer import reasons

    return reasons(context.settings.program)


@hookimpl
def art_tracers() -> Iterable[Provider[Tracer]]:
    return [
        Provider(
            name="strace",
            summary="strace: its own text, whatever its version knows",
            contract=1,
            create=_create,
            capabilities=frozenset({"classes"}),
            settings=Settings,
            probe=_probe,
        )
    ]
