"""What of the caller's own is lent to a sandbox: seeds, shares, devices, agents that hold keys, and a name
for commits. Loaded for who asks for any of it.

A seed is a private view: the sandbox's changes stay in it, and the host's files are never written. A share
is the host's own file or directory. Both are named by the user, so they may lie in what is masked; a share
writes to the host, so it is approved as a bind is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from art_core.config import dirs
from art_core.contracts import HOME, Mount, Origin, Workspace
from art_core.errors import MountError, SettingsError, UsageError
from art_core.host.tree import within
from art_core.lending.loans import Lent, LoanRequest, overlap
from art_core.view import masks, mounts

if TYPE_CHECKING:
    from art_core.config.options import Options
    from art_core.config.settings import Settings


class _Places(NamedTuple):
    """What paths are relative to, and where they may not lead."""

    cwd: str
    home: str
    workspace: Workspace
    homes: Sequence[str]
    state_dir: str


def wishes_of(options: Options, settings: Settings, workspace: Workspace) -> list[LoanRequest]:
    """What the options ask for, and the seeds that the settings have for the workspace."""
    where = settings.sources.get(f"workspace.{workspace.path}.seed", "")
    found = [LoanRequest("seed", text, Origin(f"--seed {text}")) for text in options.seeds]
    found += [
        LoanRequest("seed", text, Origin(where, "seed"))
        for text in settings.for_workspace(workspace.path).seeds
    ]
    found += [LoanRequest("share", text, Origin(f"--share {text}")) for text in options.shares]
    found += [LoanRequest("device", text, Origin(f"--device {text}")) for text in options.devices]
    found += [LoanRequest("git", "", Origin("--git"))] if options.git else []
    found += [LoanRequest("ssh-agent", "", Origin("--ssh-agent"))] if options.ssh_agent else []
    return found + ([LoanRequest("gpg-agent", "", Origin("--gpg-agent"))] if options.gpg_agent else [])


def lend(
    wishes: Sequence[LoanRequest], workspace: Workspace, env: Mapping[str, str], *, stand_in: bool
) -> Lent:
    """Open what is wished for. Raises UsageError and MountError that name the origin. `stand_in`: the
    sandbox runs as another user than the caller."""
    try:
        cwd = os.getcwd()
    except FileNotFoundError:
        cwd = ""  # It was removed: a relative path leads nowhere, an absolute one where it says.
    home = os.path.normpath(env.get("HOME", "/"))
    homes = masks.home_directories(env.get("HOME"))
    places = _Places(cwd, home, workspace, homes, os.path.realpath(dirs.state_dir(env)))
    lent = Lent()
    try:
        for wish in wishes:
            try:
                _grant(lent, wish, places, env, stand_in=stand_in)
            except UsageError:
                # No name for commits, no agent of keys: what is not there.
                if not wish.optional or wish.kind in ("seed", "share", "device"):
                    raise
    except BaseException:
        lent.close()
        raise
    return lent


def _grant(lent: Lent, wish: LoanRequest, places: _Places, env: Mapping[str, str], *, stand_in: bool) -> None:
    if wish.kind in ("seed", "share"):
        mount = _located(wish, places)
        if wish.optional and not os.path.lexists(mount.source):
            return
        if wish.optional and wish.kind == "seed" and any(overlap(s.guest, mount.guest) for s in lent.seeds):
            return
        opened = mounts.opened(mount)
        try:
            _refuse_forbidden(opened, places)
        except MountError:
            os.close(opened.fd)
            raise
        (lent.seed if wish.kind == "seed" else lent.share)(opened)
    elif wish.kind == "device":
        from art_core.lending import devices

        devices.lend(lent, wish.text, wish.origin, optional=wish.optional, stand_in=stand_in)
    elif wish.kind == "git":
        from art_core.lending import git_identity

        git_identity.lend(lent, env, places.workspace.real, wish.origin)
    else:
        from art_core.lending import key_agents

        if wish.kind == "ssh-agent":
            key_agents.lend_ssh(lent, env, places.home, wish.origin)
        else:
            key_agents.lend_gpg(lent, env, places.home, wish.origin)


def _located(wish: LoanRequest, places: _Places) -> Mount:
    """The host path and the guest of a wish. Raises UsageError."""
    host, guest = wish.text, ""
    before, parted, after = wish.text.rpartition(":")
    if parted and before and after.startswith(("/", "~/")):
        host, guest = before, after
    path = host
    if path == "~" or path.startswith("~/"):
        path = places.home + path[1:]
    if wish.origin.pointer and not path.startswith("/"):
        raise SettingsError(f"{wish.origin}: {host!r} is relative; write an absolute path, or one with ~/")
    path = os.path.normpath(os.path.join(places.cwd, path))
    if not guest:
        if path == places.home or not within(path, places.home):
            raise UsageError(
                f"{wish.origin}: {path} does not lie in your home {places.home}; "
                f"say where in the home it appears: {host}:~/NAME"
            )
        guest = f"{HOME}/{path[len(places.home.rstrip('/')) + 1 :]}"
    return Mount(
        source=path,
        guest=_checked_guest(wish, guest, places.workspace),
        origin=wish.origin,
        writable=wish.kind == "share",
    )


def _checked_guest(wish: LoanRequest, guest: str, workspace: Workspace) -> str:
    if guest.startswith("~/"):
        guest = f"{HOME}{guest[1:]}"
    parts = guest.split("/")
    if ".." in parts or "\0" in guest:
        raise UsageError(f"{wish.origin}: {guest!r} is no path in the home; write it without '..'")
    guest = "/" + "/".join(part for part in parts if part not in ("", "."))
    if guest == HOME or not within(guest, HOME):
        raise UsageError(f"{wish.origin}: {guest!r} does not lie in the home inside, {HOME}")
    top = f"{HOME}/{workspace.name}"
    if overlap(guest, top):
        raise UsageError(f"{wish.origin}: {guest!r} is in the workspace's way, {top}")
    return guest


def _refuse_forbidden(mount: Mount, places: _Places) -> None:
    for path in (*places.homes, places.state_dir):
        if within(path, mount.source):
            what = "is" if path == mount.source else "holds"
            raise MountError(
                f"{mount.origin}: {mount.source} {what} {path}, all of which is never lent; "
                "name the files in it that are needed"
            )
    if within(mount.source, places.state_dir):
        raise MountError(f"{mount.origin}: {mount.source} is ART's own state, which is never lent")
