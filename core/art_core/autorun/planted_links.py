"""Links that a sandbox may have put into a workspace, in the way of a path that a user types.

What a workspace holds was written by sandboxes, in direct mode or by a pull: a link in it must not
decide which file of the host an option opens.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from art_core.config import dirs
from art_core.errors import UsageError, WorkspaceError
from art_core.host import openat
from art_core.host.tree import within

_LINKS_LIMIT = 40
"""Links in one path (path_resolution(7))."""
_OF_THE_KERNEL = ("/dev", "/proc")
"""/dev/stderr and /dev/fd/N are links that no sandbox can make."""


def refuse_workspace(typed: str, env: Mapping[str, str], state_dir: str) -> None:
    """Refuse a workspace to which a link in another workspace leads that sandboxes have written. The shell's
    current directory counts as it was gone to ($PWD). Raises UsageError with the way on."""
    here = env.get("PWD", "")
    with contextlib.suppress(OSError):
        if not (here.startswith("/") and os.path.samefile(here, ".")):
            here = os.getcwd()
        refuse("-m", os.path.join(here, os.path.expanduser(typed)), (), known=f"{state_dir}/obeyed")


def refuse_own(top: str, env: Mapping[str, str], homes: Sequence[str]) -> None:
    """Refuse a workspace in which ART's own settings, state or cache lie, or a link on the way to them: a
    command there would decide what the next run does on the host. One that holds a home was consented to.
    Raises WorkspaceError."""
    if any(within(home, top) for home in homes):
        return
    places = [("cache", dirs.cache_dir(env)), ("state", dirs.state_dir(env))]
    for config in dirs.config_files(env):
        agents = os.path.join(os.path.dirname(config), "agents")
        with contextlib.suppress(OSError):
            places += [("settings", os.path.join(agents, name)) for name in os.listdir(agents)]
        places += [("settings", agents), ("settings", config)]
    for what, path in places:
        try:
            refuse(what, path, [top])
            found = within(os.path.realpath(path), top)
        except UsageError:
            found = True
        if found:
            raise WorkspaceError(
                f"ART's own {what}, {path}, lie in the workspace {top}, where a command could change them "
                "for the next run; move them out of it, or keep its changes with `-d DATABASE`"
            )


def refuse(
    option: str, typed: str, tops: Sequence[str], *, last: bool = False, known: str | None = None
) -> None:
    """Refuse a path that leads through a link which lies in one of the directories; with `last` also one
    that is a link itself, wherever it lies, and with `known` one in a workspace of which a listing is kept
    there (`art_core.autorun.finder_cache`). Raises UsageError with the way on."""
    reals = [os.path.realpath(top) for top in tops]
    todo = openat.parts_of(os.path.abspath(os.path.expanduser(typed)))[::-1]
    here = "/"
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        path = os.path.join(here, part)
        try:
            target = os.readlink(path)
        except OSError:
            here = path
            continue
        links += 1
        if links > _LINKS_LIMIT:
            return  # Whoever opens it is told.
        is_planted = any(within(here, real) for real in reals) or _is_known(known, here)
        is_last = last and not todo and not any(within(here, top) for top in _OF_THE_KERNEL)
        last = last and bool(todo)
        if is_planted or is_last:
            what = "file" if known is None else "directory"
            where = ", in a workspace, where a sandbox can put one" if is_planted else ""
            raise UsageError(f"{option} {typed}: {path} is a link to {target}{where}; name the {what} itself")
        todo += openat.parts_of(target)[::-1]
        here = "/" if target.startswith("/") else here


def _is_known(directory: str | None, path: str) -> bool:
    if directory is None:
        return False
    from art_core.autorun.finder_cache import is_known

    return is_known(directory, path)
