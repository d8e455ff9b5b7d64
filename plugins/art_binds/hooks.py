"""The plugin's entry point: mounts that a workspace asks for in .art/config/binds.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from art_core.contracts import Context, MountSource, Provider
from art_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from art_binds.source import BindsFile


def _create(context: Context) -> BindsFile:
    from art_binds.source import BindsFile

    return BindsFile()


@hookimpl
def art_mount_sources() -> Iterable[Provider[MountSource]]:
    return [
        Provider(name="binds", summary="the workspace's .art/config/binds.json", contract=1, create=_create)
    ]
