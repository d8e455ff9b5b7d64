"""Tools of the caller that the sandbox does not show: where they are, and what would show them.

Homes are masked, and many toolchains live in one. A hint is complete: it names every directory
that must be exposed for the tool to run, the interpreter of a script and the targets of links too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from art_core.config import regular_file
from art_core.contracts import Mount, Origin

_SHEBANG_LIMIT = 256
_LINKS_LIMIT = 16


def find(name: str, path: str) -> str | None:
    """The executable file that `name` means on a PATH, as execvp(3) finds it; None without one."""
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if _executable(candidate):
            return os.path.abspath(candidate)
    return None


def _executable(path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and os.access(path, os.X_OK)


def hint(name: str, *, caller_path: str, hidden: Sequence[str], workspace: str = "/nowhere") -> str | None:
    """The options that would make the caller's `name`, which was not found inside, work there, in one line;
    None when there is no such program, or nothing keeps it from working.

    A name with a slash is one of the `workspace` (its host path), whose files are never masked.
    """
    found = os.path.normpath(os.path.join(workspace, name)) if "/" in name else find(name, caller_path)
    if found is None:
        return None if "/" in name else _off_path(name, find(name, ADMINISTRATION))
    needed: list[str] = []
    for path in _needs(found):
        if _hidden(path, hidden) and not _within(path, workspace):
            directory = _tree_of(path)
            if not any(_within(directory, other) for other in needed):
                needed = [other for other in needed if not _within(other, directory)] + [directory]
    if not needed:
        return None if "/" in name or _within(found, workspace) else _off_path(name, found)
    import shlex

    options = [word for directory in needed for word in ("--expose", directory)]
    if "/" not in name:
        options += ["--path", os.path.dirname(found)]
    command = f"art {shlex.join(options)} -- {shlex.quote(name)}"
    if "/" in name:
        return f"it needs {needed[0]}, which is masked inside; to show it: {command}"
    return f"{name} is at {found}, which is masked inside; to show it: {command}"


def _off_path(name: str, found: str | None) -> str | None:
    """The option for a program that the sandbox shows, in a directory that is not on its PATH."""
    if found is None:
        return None
    import shlex

    directory = os.path.dirname(found)
    command = f"art {shlex.join(['--path', directory])} -- {shlex.quote(name)}"
    return f"{name} is at {found}, which is not on PATH inside; to put it there: {command}"


ADMINISTRATION = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where the programs for administrators are (hier(7)), which not every caller has on PATH."""

AUTOMATIC = (
    *(".pyenv/versions", ".nvm/versions", ".local/share/uv/python", ".rustup/toolchains", ".cargo/bin"),
)
"""Folders of a home that hold tools and no credentials; shown with the setting toolchains = auto."""


def exposed(env: Mapping[str, str], hidden: Sequence[str]) -> tuple[list[Mount], list[str]]:
    """The mounts that the setting `toolchains = "auto"` asks for, and what goes in front of PATH for them:
    the caller's own directories of PATH that lie in one."""
    home = env.get("HOME", "")
    if not home.startswith("/"):
        return [], []
    mounts = []
    for folder in AUTOMATIC:
        path = os.path.realpath(os.path.join(home, folder))
        if os.path.isdir(path) and _hidden(path, hidden):
            mounts.append(Mount(source=path, guest=path, origin=Origin("the setting toolchains", folder)))
    directories = [os.path.realpath(directory) for directory in env.get("PATH", "").split(":") if directory]
    shown = [
        directory
        for directory in dict.fromkeys(directories)
        if any(_within(directory, mount.guest) for mount in mounts)
    ]
    return mounts, shown


def difference(name: str, *, caller_path: str, inside: str) -> str | None:
    """One line when `name` is another file inside than for the caller; None when it is the same,
    or missing on either side."""
    if "/" in name:
        return None
    mine, theirs = find(name, caller_path), find(name, inside)
    if mine is None or theirs is None or os.path.realpath(mine) == os.path.realpath(theirs):
        return None
    return f"{name} is {theirs} in the sandbox, not your {mine}"


def _needs(path: str) -> Iterator[str]:
    """The files that must be there for an executable to run: itself, what it links to, and the
    interpreter that its first line names."""
    seen: set[str] = set()
    todo = [path]
    while todo and len(seen) < _LINKS_LIMIT:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        if os.path.islink(current):
            target = os.path.join(os.path.dirname(current), os.readlink(current))
            todo.append(os.path.normpath(target))
            todo.append(os.path.realpath(current))
        elif (interpreter := _interpreter(current)) is not None:
            todo.append(interpreter)
        if (base := _base_of_environment(current)) is not None:
            todo.append(base)


def _base_of_environment(path: str) -> str | None:
    """The interpreter that a virtual environment was made with, when `path` is its own."""
    prefix = os.path.dirname(os.path.dirname(path))
    if not os.path.basename(path).startswith("python"):
        return None
    try:
        with regular_file.reading(os.path.join(prefix, "pyvenv.cfg")) as file:
            lines = os.fsdecode(file.read(8192)).splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip().startswith("/"):
            return os.path.join(value.strip(), os.path.basename(path))
    return None


def _interpreter(path: str) -> str | None:
    try:
        with regular_file.reading(path) as file:
            line = file.read(_SHEBANG_LIMIT).split(b"\n", 1)[0]
    except OSError:
        return None
    if not line.startswith(b"#!"):
        return None
    words = line[2:].split()
    return os.fsdecode(words[0]) if words and words[0].startswith(b"/") else None


def _tree_of(path: str) -> str:
    """The directory to expose for a tool: the prefix above its `bin`, so that its libraries come
    along; but never a home or its `.local`, which hold more than tools."""
    directory = os.path.dirname(path)
    prefix = os.path.dirname(directory)
    if os.path.basename(directory) in ("bin", "sbin") and _is_prefix(prefix):
        return prefix
    return directory


def _is_prefix(path: str) -> bool:
    if os.path.basename(path) == ".local" or path == os.path.expanduser("~"):
        return False
    return any(os.path.isdir(os.path.join(path, name)) for name in ("lib", "lib64", "libexec"))


def _hidden(path: str, hidden: Sequence[str]) -> bool:
    return any(_within(path, top) for top in hidden)


def _within(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
