"""What a machine needs for a sandbox: each requirement looked at by itself, with its cure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

State = Literal["ok", "warning", "missing"]

PURPOSES = {
    "store": "a home that is kept (--db)",
    "gateway": "a filtered network (--network filtered)",
    "tracer": "recording system calls (--trace)",
}
"""Kinds of plugins that a run may do without, and what they are for."""

_MANAGERS = {
    "debian": "apt install {}",
    "ubuntu": "apt install {}",
    "fedora": "dnf install {}",
    "rhel": "dnf install {}",
    "suse": "zypper install {}",
    "arch": "pacman -S {}",
    "alpine": "apk add {}",
}


class Check(NamedTuple):
    """One requirement: what was found, what does not work `without` it, and the cure."""

    name: str
    state: State
    found: str
    without: str = ""
    cure: str = ""


class Host(NamedTuple):
    """How a machine is looked at."""

    read: Callable[[str], str | None]
    """The contents of a file, None when it cannot be read."""
    has_program: Callable[[str], str | None]
    """The path of a program, None when there is none."""
    exists: Callable[[str], bool]
    release: str
    landlock_abi: int


def this_host() -> Host:
    """The machine that we run on."""
    import shutil

    from art_core.host.kernel import landlock_abi

    def read(path: str) -> str | None:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    return Host(
        read=read,
        has_program=shutil.which,
        exists=os.path.exists,
        release=os.uname().release,
        landlock_abi=landlock_abi(),
    )


def all_checks(host: Host) -> Sequence[Check]:
    """Every requirement that can be judged without starting a sandbox."""
    checks = [kernel(host), *user_namespaces(host), seccomp(host), landlock(host)]
    return [*checks, fuse_device(host), fusermount(host), yama(host)]


def install(host: Host, package: str) -> str:
    """The command that installs a package here; the packages we name are called the same everywhere."""
    release = host.read("/etc/os-release") or ""
    kinds = re.findall(r'^ID(?:_LIKE)?="?([^"\n]*)"?$', release, re.MULTILINE)
    for kind in " ".join(kinds).split():
        if kind in _MANAGERS:
            return f"sudo {_MANAGERS[kind].format(package)}"
    return f"install the package {package} (apt install, dnf install, pacman -S)"


def _version(release: str) -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def kernel(host: Host) -> Check:
    """Linux 5.12 can show a workspace of root's to an ordinary uid (mount_setattr(2))."""
    name, found = "kernel", f"Linux {host.release}"
    if _version(host.release) >= (5, 12):
        return Check(name, "ok", found)
    without = "a sandbox that root starts keeps root's uid, and what only root may read is hidden by a list"
    return Check(name, "warning", found, without, "Linux 5.12 or newer")


_SWITCHES = (
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor allows them only to programs whose profile says so",
        "give bwrap a profile with 'userns,' (Ubuntu: sudo apt install apparmor-profiles && sudo ln -s "
        "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && sudo systemctl reload "
        "apparmor; --db needs one for art itself, too: docs/packaging.md), "
        "or sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    (
        "kernel.unprivileged_userns_clone",
        "0",
        "the kernel forbids them to ordinary users",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "user.max_user_namespaces",
        "0",
        "none may be made",
        "sudo sysctl -w user.max_user_namespaces=10000",
    ),
)


def user_namespaces(host: Host) -> Iterator[Check]:
    """Who forbids user namespaces; one check for each switch that does."""
    name = "user namespaces"
    forbidden = False
    if host.read("/proc/self/uid_map") is None:
        yield Check(name, "missing", "the kernel has none", "no sandbox", "a kernel with CONFIG_USER_NS")
        return
    for switch, bad, what, cure in _SWITCHES:
        content = host.read("/proc/sys/" + switch.replace(".", "/"))
        if content is not None and content.strip() == bad:
            forbidden = True
            # AppArmor's switch is no obstacle where bwrap has its profile; the run that is tried tells.
            state: State = "warning" if "apparmor" in switch else "missing"
            yield Check(name, state, f"{switch} = {bad}: {what}", "no sandbox", cure)
    if not forbidden:
        yield Check(name, "ok", "no setting forbids them")


_SECCOMP = "/proc/sys/kernel/seccomp/actions_avail"


def seccomp(host: Host) -> Check:
    """System call filters, which keep a sandbox from typing into the terminal (seccomp(2))."""
    if "Seccomp_filters:" in (host.read("/proc/self/status") or "") or host.read(_SECCOMP) is not None:
        return Check("seccomp", "ok", "system call filters")
    return Check(
        "seccomp", "missing", "no system call filters", "no sandbox", "a kernel with CONFIG_SECCOMP_FILTER"
    )


_LATER = ", those with a path where they are found at a start"


def landlock(host: Host) -> Check:
    """Landlock's scope for abstract unix sockets came with Linux 6.12 (ABI 6)."""
    name = "Landlock"
    if host.landlock_abi >= 6:
        return Check(
            name, "ok", f"ABI {host.landlock_abi}: abstract sockets of the host are out of reach{_LATER}"
        )
    found = f"ABI {host.landlock_abi}" if host.landlock_abi else "not there, or not switched on"
    without = "a sandbox with the host's network can connect to abstract unix sockets (X11, some D-Bus)"
    return Check(name, "warning", found, without, "Linux 6.12 or newer; or --network none")


def fuse_device(host: Host) -> Check:
    """A home that is kept is a FUSE file system (fuse(4))."""
    if host.exists("/dev/fuse"):
        return Check("/dev/fuse", "ok", "there")
    return Check("/dev/fuse", "warning", "not there", PURPOSES["store"], "sudo modprobe fuse")


_FS_MOUNT = "a database as a directory of the host, for who is not root (art fs mount)"


def fusermount(host: Host) -> Check:
    """Ordinary users mount a file system where all of the host sees it through fusermount3(1)."""
    path = host.has_program("fusermount3")
    if path:
        return Check("fusermount3", "ok", path)
    return Check("fusermount3", "warning", "not found", _FS_MOUNT, install(host, "fuse3"))


def yama(host: Host) -> Check:
    """Yama's ptrace_scope: 2 keeps ptrace(2) for administrators, 3 for nobody."""
    scope = (host.read("/proc/sys/kernel/yama/ptrace_scope") or "0").strip()
    if scope in ("0", "1"):
        return Check("ptrace(2)", "ok", "allowed for children")
    found = f"kernel.yama.ptrace_scope = {scope}: {'nobody may trace' if scope == '3' else 'root only'}"
    cure = "sudo sysctl -w kernel.yama.ptrace_scope=1"
    return Check(
        "ptrace(2)",
        "warning",
        found,
        PURPOSES["tracer"],
        f"{cure}, after a restart" if scope == "3" else cure,
    )
