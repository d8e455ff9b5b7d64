"""Control groups (cgroups(7)): what a run gets together, held by the kernel.

The launcher makes a group in which the sandbox runs, and removes it at the end. It is made where the
caller may: as a scope of systemd's (the user's manager, root: the system's), else below the group
that the caller is in. Version 2 is asked first, and the hierarchies of version 1 otherwise.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

CONTROLLERS = {"memory": "memory", "pids": "pids", "cpus": "cpu"}
"""Limit -> the controller that holds it."""
PREFIX = "art-"
LEAF = "run"
"""The group below the limited one that the sandbox is in: it is the top of what a sandbox can ever see
(cgroup_namespaces(7)), so that even one that mounts control groups cannot change its limits."""
_PERIOD_US = 100_000
_GONE_S = 5.0
_SCOPE_S = 5.0
SYSTEMD = "/run/systemd/system"


class Places(NamedTuple):
    """Where groups can be made: `groups` by controller, the directory above; `version` of each;
    with `systemd` a scope is to be asked for first, and `groups` is empty."""

    version: int = 0
    groups: Mapping[str, str] = {}
    systemd: bool = False

    def holds(self, limit: str) -> bool:
        return self.systemd or CONTROLLERS[limit] in self.groups


def find() -> Places:
    """Where this process may make groups."""
    mounts = _mounts()
    own = _own()
    version2 = next((point for kind, point, _ in mounts if kind == "cgroup2"), None)
    controllers = _words(f"{version2}/cgroup.controllers") if version2 else []
    if version2 and {"memory", "pids"} <= set(controllers):
        if _systemd_answers():
            return Places(2, {}, True)
        base = _delegated(version2, own.get("", "/"))
        return Places() if base is None else _usable(base)
    found = {}
    for name in CONTROLLERS.values():
        for kind, point, options in mounts:
            if kind == "cgroup" and name in options and name in own:
                directory = os.path.normpath(f"{point}/{own[name]}")
                if os.access(directory, os.W_OK):
                    found[name] = directory
                break
    return Places(1, found) if found else Places()


def _mounts() -> list[tuple[str, str, list[str]]]:
    """Kind, mount point and options of every mounted hierarchy."""
    found = []
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            if kind in ("cgroup", "cgroup2"):
                found.append((kind, before.split()[4], options.split(",")))
    return found


def _own(pid: str = "self") -> dict[str, str]:
    """The group of a process by controller; version 2's has an empty name."""
    found = {}
    with open(f"/proc/{pid}/cgroup") as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            found.update(dict.fromkeys(names.split(","), path))
    return found


def _words(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().split()
    except OSError:
        return []


def _bus() -> list[str]:
    return ["busctl", "--system" if os.geteuid() == 0 else "--user", "--quiet"]


def _systemd_answers() -> bool:
    """Whether a manager is there whom the caller may ask for a scope."""
    if not os.path.isdir(SYSTEMD):
        return False
    if os.geteuid() == 0:
        return os.path.exists("/run/dbus/system_bus_socket")
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    return os.path.exists(f"{runtime}/bus")


def _delegated(top: str, own: str) -> str | None:
    """The nearest group above this process that the caller may make groups in: it holds no process by
    itself, or is the root of all (cgroups(7), no internal processes)."""
    directory = os.path.normpath(f"{top}/{own}")
    while directory.startswith(top):
        root = not os.path.exists(f"{directory}/cgroup.type")
        free = root or not _words(f"{directory}/cgroup.procs")
        if (
            free
            and os.access(f"{directory}/cgroup.subtree_control", os.W_OK)
            and os.access(directory, os.W_OK)
        ):
            return directory
        if directory == top:
            break
        directory = os.path.dirname(directory)
    return None


class Group:
    """The group of one sandbox: a directory in version 2, one for each controller in version 1."""

    def __init__(self, places: Places, limits: Mapping[str, Any], pid: int) -> None:
        """Make it and put the process `pid` in. Raises OSError."""
        self._made: list[str] = []
        self._by_controller: dict[str, str] = {}
        self._version = places.version
        try:
            if places.systemd:
                places = _scope(pid)
            needed = [CONTROLLERS[name] for name in CONTROLLERS if name in limits]
            for controller in needed:
                self._make(controller, places.groups[controller])
            for name in CONTROLLERS:
                if name in limits:
                    self._limit(name, limits[name])
            for directory in self._made:
                os.mkdir(f"{directory}/{LEAF}")
                _write(f"{directory}/{LEAF}/cgroup.procs", str(pid))
        except BaseException:
            self.remove()
            raise

    def _make(self, controller: str, above: str) -> None:
        if self._version == 2 and controller not in _words(f"{above}/cgroup.subtree_control"):
            _write(f"{above}/cgroup.subtree_control", f"+{controller}")
        directory = f"{above}/{PREFIX}{os.getpid()}"
        if directory not in self._made:
            _sweep(above)
            os.mkdir(directory)
            self._made.append(directory)
        self._by_controller[controller] = directory

    def _limit(self, name: str, value: Any) -> None:
        directory = self._by_controller[CONTROLLERS[name]]
        if name == "pids":
            _write(f"{directory}/pids.max", str(value))
        elif name == "cpus":
            share = max(1000, int(value * _PERIOD_US))
            if self._version == 2:
                _write(f"{directory}/cpu.max", f"{share} {_PERIOD_US}")
            else:
                _write(f"{directory}/cpu.cfs_period_us", str(_PERIOD_US))
                _write(f"{directory}/cpu.cfs_quota_us", str(share))
        elif self._version == 2:
            _write(f"{directory}/memory.max", str(value))
            with contextlib.suppress(OSError):  # A kernel that accounts no swap.
                _write(f"{directory}/memory.swap.max", "0")
        else:
            _write(f"{directory}/memory.limit_in_bytes", str(value))
            with contextlib.suppress(OSError):
                _write(f"{directory}/memory.memsw.limit_in_bytes", str(value))

    def reached(self) -> dict[str, int]:
        """How often each limit was reached: processes that were ended for want of memory, and those
        that could not be made."""
        found = {}
        for controller, limit, files, key in (
            ("memory", "memory", ("memory.events", "memory.oom_control"), "oom_kill"),
            ("pids", "pids", ("pids.events",), "max"),
        ):
            directory = self._by_controller.get(controller)
            if directory is None:
                continue
            # Version 1, and version 2's pids before Linux 6.11, count where the process was.
            paths = [f"{where}/{name}" for where in (directory, f"{directory}/{LEAF}") for name in files]
            if most := max(_counted(path, key) for path in paths):
                found[limit] = most
        return found

    def remove(self) -> None:
        """End what is left in it, and remove it."""
        for directory in self._made:
            _remove(f"{directory}/{LEAF}")
            _remove(directory)
        self._made.clear()


def _scope(pid: int) -> Places:
    """A scope of systemd's with the process `pid` and this one, where groups can be made. Raises OSError."""
    import subprocess

    own, name = os.getpid(), f"{PREFIX}{os.getpid()}.scope"
    top = next(point for kind, point, _ in _mounts() if kind == "cgroup2")
    present = _own()[""]
    if present.endswith(f"/{name}/launcher"):  # A second launch: its process was born in there.
        return _usable(os.path.dirname(f"{top}{present}"))
    call = [*_bus(), "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"]
    call += ["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail"]
    properties = ["PIDs", "au", "2", str(own), str(pid), "Delegate", "b", "true"]
    properties += ["Description", "s", "ART sandbox", "CollectMode", "s", "inactive-or-failed"]
    properties += ["TimeoutStopUSec", "t", "1000000"]
    env = {"XDG_RUNTIME_DIR": f"/run/user/{os.geteuid()}", **os.environ}
    done = subprocess.run(
        [*call, "5", *properties, "0"], stdin=subprocess.DEVNULL, capture_output=True, env=env
    )
    if done.returncode:
        raise OSError(1, done.stderr.decode(errors="replace").strip() or "systemd refused a scope")
    until = time.monotonic() + _SCOPE_S
    while not all(_own(str(one)).get("", "").endswith(f"/{name}") for one in (own, pid)):
        if time.monotonic() > until:
            raise OSError(110, "systemd made no scope")
        time.sleep(0.002)
    scope = os.path.normpath(f"{top}/{_own()['']}")
    # No process may be in a group that has limited ones below it (cgroups(7)).
    for leaf, inside in (("launcher", own), ("start", pid)):
        os.mkdir(f"{scope}/{leaf}")
        _write(f"{scope}/{leaf}/cgroup.procs", str(inside))
    return _usable(scope)


def _usable(directory: str) -> Places:
    usable = _words(f"{directory}/cgroup.controllers")
    return Places(2, {name: directory for name in CONTROLLERS.values() if name in usable})


def _counted(path: str, key: str) -> int:
    words = _words(path)
    return int(dict(zip(words[::2], words[1::2], strict=False)).get(key, "0"))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _remove(directory: str) -> None:
    """Remove a group with all processes that are in it."""
    until = time.monotonic() + _GONE_S
    while True:
        for pid in _words(f"{directory}/cgroup.procs"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), 9)
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > until:
                return
            time.sleep(0.005)
        else:
            return


def _sweep(above: str) -> None:
    """Remove groups of launchers that were killed."""
    for name in _stale(os.listdir(above)):
        for directory in (f"{above}/{name}/{LEAF}", f"{above}/{name}"):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _stale(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        owner = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            yield name
