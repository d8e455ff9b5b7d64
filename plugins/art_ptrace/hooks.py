"""The plugin's entry point: system calls recorded with ptrace(2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from art_core.contracts import Context, Provider, Reason, Tracer
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_ptrace.tracer import Ptrace


def _create(context: Context) -> Ptrace:
    from art_ptrace.tracer import create

    return create()


def _probe(context: Context) -> Sequence[Reason]:
    from art_ptrace.tracer import reasons

    return reasons()


@hookimpl
def art_tracers() -> Iterable[Provider[Tracer]]:
    return [
        Provider(
            name="ptrace",
            summary="ptrace: every system call, or those chosen at full speed for all others",
            contract=1,
            create=_create,
            capabilities=frozenset({"jsonl", "summary", "classes", "agent", "commands"}),
            probe=_probe,
        )
    ]
