"""Linked git worktrees: their repository lies elsewhere, and git needs it.

The common directory is offered at its own host path, writable so that commits work, with what
runs by itself (hooks, configuration) read-only on top. It is an offer: a run goes on without it.
See gitrepository-layout(5) and git-worktree(1). No git is run, and what the workspace claims is
believed only when the repository says the same.
"""

from __future__ import annotations

import os

from art_core.contracts import Mount, Origin, Workspace
from art_core.host import openat
from art_core.host.tree import within

_ORIGIN = Origin("the workspace is a linked git worktree")
_READ_ONLY = ("hooks", "config", "config.worktree", "commondir", "modules", "worktrees", "info/attributes")
_OWN = ("commondir", "gitdir", "config.worktree")


def offer(workspace: Workspace) -> list[Mount]:
    """The mounts that git in a linked worktree needs; empty for any other workspace."""
    found = directories(workspace)
    if found is None:
        return []
    common, own = found
    top = Mount(source=common, guest=common, writable=True, origin=_ORIGIN)
    mounts = [top]
    fixed = [os.path.join(common, name) for name in _READ_ONLY]
    fixed += [os.path.join(own, name) for name in _OWN]
    present = [path for path in fixed if os.path.lexists(path) and not os.path.islink(path)]
    mounts += [top._replace(source=path, guest=path, writable=False) for path in present]
    # Of the other worktrees nothing is written: git takes settings from where their commondir leads. Renaming
    # a directory away and putting a copy in its place would go around what lies in it.
    step = own
    while step != common:
        if step not in present:
            mounts.append(top._replace(source=step, guest=step))
        step = os.path.dirname(step)
    return mounts


def directories(workspace: Workspace) -> tuple[str, str] | None:
    """The common directory and the worktree's own, when both sides point at each other."""
    pointer = openat.first_line(workspace.fd, ".git")
    if pointer is None or not pointer.startswith("gitdir: "):
        return None
    own = os.path.realpath(os.path.join(workspace.real, pointer.removeprefix("gitdir: ")))
    try:
        fd = openat.pin(own)
    except OSError:
        return None
    try:
        back, common_pointer = openat.first_line(fd, "gitdir"), openat.first_line(fd, "commondir")
    finally:
        os.close(fd)
    if back is None or common_pointer is None:
        return None
    if os.path.realpath(os.path.dirname(back)) != workspace.real:
        return None
    common = os.path.realpath(os.path.join(own, common_pointer))
    if not within(own, common) or not os.path.isfile(os.path.join(common, "HEAD")):
        return None
    if within(workspace.real, common) or within(common, workspace.real):
        return None
    return common, own
