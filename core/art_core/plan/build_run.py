"""Builds the `Run` of one command from what was prepared, and has the isolation plan its launch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.contracts import HOME, Launch, Mount, Run
from art_core.errors import UsageError
from art_core.view import masks, mounts
from art_core.view.identity import account_files, closed_directory

if TYPE_CHECKING:
    from art_core.plan.preparation import Preparation


class PlannedLaunch(NamedTuple):
    """A launch, and what the launcher must do before it."""

    argv: Sequence[bytes]
    launch: Launch
    stage: Sequence[int]
    identity: tuple[int, int] | None


def plan_launch(
    preparation: Preparation,
    argv: Sequence[bytes],
    *,
    terminal: bool,
    hide_values: bool = False,
    door_fd: int = -1,
    commands_fd: int = -1,
) -> PlannedLaunch:
    """What runs a command; `hide_values` leaves out what the user's variables hold. `door_fd` takes
    what the isolation listens on; for `commands_fd` see `contracts.Run`."""
    if terminal:
        preparation.require_capabilities({"terminal": "a terminal"})
    if preparation.watch is not None and not hide_values:
        preparation.watch.begin()
    run = build_run(
        preparation,
        argv,
        terminal=terminal,
        hide_values=hide_values,
        door_fd=door_fd,
        commands_fd=commands_fd,
    )
    host_ids = preparation.identity.host_ids
    of_host = (
        mount.fd for mount in preparation.mounts if mount.fd >= 0 and not _is_in_home(preparation, mount)
    )
    stage = [] if host_ids is None else list(of_host)
    with preparation.plugins.guard("isolation", preparation.isolation_name):
        return PlannedLaunch(argv, preparation.isolation.plan(run), stage, host_ids)


def build_run(
    preparation: Preparation,
    argv: Sequence[bytes],
    *,
    terminal: bool,
    hide_values: bool,
    door_fd: int,
    commands_fd: int,
) -> Run:
    """What an isolation has to bring about for a command: see `plan_launch`. Raises UsageError, and
    MountError for a place that a command has changed since."""
    overlay, lent, host_ids = preparation.overlay, preparation.lent, preparation.identity.host_ids
    env = preparation.variables()
    if hide_values:
        plain = preparation.variables(plain=True)
        env.update({name: b"..." for name, value in env.items() if plain.get(name) != value})
    seeds_fd = -1
    if lent is not None and not hide_values:
        seeds_fd = lent.archive(preparation.mounts, kept=overlay is not None)
    run = Run(
        argv=argv,
        env=env,
        cwd=preparation.workdir,
        home=None if overlay is None else overlay.mounted,
        mounts=preparation.mounts if hide_values else _placed(preparation),
        masks=_all_masks(preparation),
        files=[*account_files(preparation.identity, HOME), *preparation.covers],
        uid=preparation.identity.uid,
        gid=preparation.identity.gid,
        network=preparation.network,
        terminal=terminal,
        nested=preparation.options.nested,
        listen=() if preparation.egress is None else preparation.egress.listen,
        listen_fd=door_fd,
        rlimits=() if preparation.held is None else preparation.held.rlimits,
        filters=() if preparation.recording is None else preparation.recording.filters,
        commands_fd=commands_fd,
        seeds_fd=seeds_fd,
    )
    if run.nested and host_ids is None and os.getuid() == 0 and mounts.writes_to_host(run):
        raise UsageError(
            "--nested: root of a sandbox in this one could leave files here that run as root, because it "
            "keeps root's uid (root_as, or a workspace that others may not enter); add --db FILE, or "
            "call ART as an ordinary user"
        )
    return run


def _placed(preparation: Preparation) -> Sequence[Mount]:
    """What is mounted, as far as its places are there by now: a command may have changed them since."""
    if preparation.overlay is not None:
        preparation.overlay.make_mount_points(preparation.mounts, preparation.aliases)
        return preparation.mounts
    from art_core.view import mount_points

    return mount_points.still_there(preparation.mounts)


def _is_in_home(preparation: Preparation, mount: Mount) -> bool:
    """Whether the source is of the mounted home, whose files are the command's own already."""
    return preparation.overlay is not None and mount.fd == preparation.overlay.workspace_fd


def _all_masks(preparation: Preparation) -> Sequence[str]:
    """The masks, directories that the sandbox may not enter but something is mounted in, and file systems
    that are not for it.

    With root's own uid the kernel hides nothing that others may not read: it is masked.
    """
    places = [*(mount.guest for mount in preparation.mounts), *preparation.masks]
    closed = {closed_directory(path, preparation.identity) for path in places}
    found = [*preparation.masks, *sorted(path for path in closed if path is not None)]
    found += masks.closed_mounts((preparation.identity.host_ids or (os.getuid(),))[0])
    if os.getuid() == 0 and preparation.identity.host_ids is None and preparation.options.masks:
        found += masks.private_paths()
    return found
