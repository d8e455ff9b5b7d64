"""A run as a bwrap command line, and what bwrap's end means."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from art_bwrap import init
from art_bwrap.probe import Abilities, Program, abilities, explain, find_program
from art_bwrap.root import Layout
from art_bwrap.seccomp import filter_for
from art_core.config.sizes import size_of
from art_core.contracts import HOME, INTERPRETER, Context, Exit, Launch, Mount, Run
from art_core.errors import CANNOT_EXECUTE, FAILURE, NOT_FOUND, IsolationError
from art_core.host.tree import DirectoryReader, RealHost
from art_core.view.mounts import writes_to_host

EXECS = 2
"""bwrap itself, and the interpreter that becomes the init."""
REPORT, INIT_REPORT, ARGUMENTS, PAYLOAD, STDERR, FILTER, PROGRAM, LIBRARIES, FIRST_FREE = range(3, 12)

_KERNEL_SWITCHES = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
"""Parts of /proc that change the kernel for whoever may write to them."""
_KEYS = "/proc/keys"
"""Lists the names of the caller's keys, also of keyrings that cannot be read (keyrings(7))."""


class TmpfsSizes(NamedTuple):
    """Sizes of the tmpfs that a command can fill, in bytes."""

    tmp: int
    home: int
    shm: int


class Bubblewrap(NamedTuple):
    """The isolation, with everything it knows about this host."""

    program: Program
    abilities: Abilities
    host: DirectoryReader
    limits: TmpfsSizes
    machine: str
    python: str
    """The interpreter that becomes the init; it lies below `python_prefix`."""
    python_prefix: str
    foreign_architectures: bool = False
    set_ids: bool = False
    for_root: bool = False

    def plan(self, run: Run) -> Launch:
        descriptors = _Descriptors()
        layout = Layout(self.host, run.masks)
        mounts = self._mounts(run, layout, descriptors)
        options = [
            *self._namespaces(run, descriptors),
            *layout.arguments(),
            *self._own_places(),
            *mounts,
            *layout.seals(),
            *("--remount-ro", "/dev", "--chdir", "/"),
        ]
        interpreter, library_path = self._interpreter(run)
        if library_path:
            options += ["--setenv", "LD_LIBRARY_PATH", library_path]
        door = descriptors.add(run.listen_fd) if run.listen_fd >= 0 else -1
        payload = init.payload(
            run.argv,
            run.env,
            os.fsencode(run.cwd),
            stderr_fd=STDERR,
            report_fd=INIT_REPORT,
            terminal=run.terminal,
            door_fd=door,
            listen=run.listen,
            rlimits=run.rlimits,
            seeds_fd=descriptors.add(run.seeds_fd) if run.seeds_fd >= 0 else -1,
            commands_fd=descriptors.add(run.commands_fd) if run.commands_fd >= 0 else -1,
        )
        files = descriptors.files
        files[ARGUMENTS] = b"\0".join(map(os.fsencode, options)) + b"\0"
        files[PAYLOAD] = payload
        program = self.program.path
        env: dict[bytes, bytes] = {}
        if self.program.libraries:
            # By descriptor: root's stand-in may not enter the directories above them.
            files[PROGRAM] = _held(os.path.dirname(program))
            files[LIBRARIES] = _held(self.program.libraries)
            program = f"/proc/self/fd/{PROGRAM}/{os.path.basename(program)}"
            env = {b"LD_LIBRARY_PATH": b"/proc/self/fd/%d" % LIBRARIES}
        argv = [program, "--args", str(ARGUMENTS), "--"]
        argv += [interpreter, "-I", "-S", "-B", "-c", init.bootstrap(PAYLOAD)]
        return Launch(
            argv=argv,
            env=env,
            files=files,
            stderr_fd=STDERR,
            report_fds=(REPORT, INIT_REPORT),
            enter=run.home.namespace if run.home is not None else None,
            shown=self._shown(run, options),
            execs=EXECS,
        )

    def _shown(self, run: Run, options: Sequence[str]) -> list[str]:
        words = [self.program.path, *options]
        for name, value in sorted(run.env.items()):
            words += ["--setenv", os.fsdecode(name), os.fsdecode(value)]
        return [*words, "--chdir", run.cwd, "--", *map(os.fsdecode, run.argv)]

    def _namespaces(self, run: Run, descriptors: _Descriptors) -> list[str]:
        options = ["--unshare-user", "--uid", str(run.uid), "--gid", str(run.gid), "--unshare-ipc"]
        options += ["--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
        options += ["--cap-drop", "ALL", "--clearenv", "--json-status-fd", str(REPORT)]
        if run.commands_fd >= 0:
            # No command may end the process that starts them all: process 1 gets no signal from inside.
            options.append("--as-pid-1")
        if run.network != "host":
            options.append("--unshare-net")
        forbids = self.abilities.forbid_userns and not run.nested
        if forbids:
            options.append("--disable-userns")
        writes = writes_to_host(run)
        program = filter_for(
            self.machine,
            foreign=self.foreign_architectures,
            namespaces=forbids or run.nested,
            set_ids=self.set_ids or not writes,
            attributes=not (writes and run.nested and self.for_root),
        )
        if program is not None:
            descriptors.files[FILTER] = program
            options += ["--add-seccomp-fd", str(FILTER)]
        for more in run.filters:
            options += ["--add-seccomp-fd", str(descriptors.add(more))]
        return options

    def _own_places(self) -> list[str]:
        words = ["--dev", "/dev"]
        words += ["--perms", "1777", "--size", str(self.limits.shm), "--tmpfs", "/dev/shm"]
        if self.abilities.own_proc:
            words += ["--proc", "/proc"]
            for path in _KERNEL_SWITCHES:
                if self.host.kind(path) is not None:
                    words += ["--ro-bind-try", path, path]
        else:
            words += ["--ro-bind", "/proc", "/proc"]
        if self.host.kind(_KEYS) is not None:
            words += ["--ro-bind", "/dev/null", _KEYS]
        words += ["--perms", "1777", "--size", str(self.limits.tmp), "--tmpfs", "/tmp"]
        return words

    def _mounts(self, run: Run, layout: Layout, descriptors: _Descriptors) -> list[str]:
        home, words = layout.mount_point(HOME, directory=True)
        if run.home is not None:
            words += ["--bind", run.home.path, home]
        else:
            words += ["--perms", "0755", "--size", str(self.limits.home), "--tmpfs", home]
        for mount in run.mounts:
            words += self._bind(mount, layout, descriptors)
        for file in run.files:
            guest, parents = layout.mount_point(file.guest, directory=file.contents is None)
            words += [*parents, "--perms", f"{file.mode:04o}"]
            if file.contents is None:
                words += ["--size", "4096", "--tmpfs", guest, "--remount-ro", guest]
            else:
                words += ["--ro-bind-data", str(descriptors.add(file.contents)), guest]
        return words

    def _bind(self, mount: Mount, layout: Layout, descriptors: _Descriptors) -> list[str]:
        guest, words = layout.mount_point(mount.guest, directory=mount.directory)
        if mount.device:
            return [*words, "--dev-bind", mount.source, guest]
        option = "--bind-fd" if mount.writable else "--ro-bind-fd"
        if mount.fd < 0:
            raise IsolationError(f"{mount.origin}: {mount.source} was not opened before it is mounted")
        return [*words, option, str(descriptors.add(mount.fd)), guest]

    def _interpreter(self, run: Run) -> tuple[str, str]:
        """The interpreter's path inside, and where its libraries are when it was moved."""
        if any(mount.guest == INTERPRETER for mount in run.mounts):
            below = os.path.relpath(self.python, self.python_prefix)
            return f"{INTERPRETER}/{below}", f"{INTERPRETER}/lib"
        return self.python, ""

    def exit(self, status: int, report: Sequence[Mapping[str, object]], diagnostics: bytes) -> Exit:
        executed = any(entry.get("exec") is True for entry in report)
        failed = next((entry for entry in report if "exec-errno" in entry), None)
        if failed is not None and executed:
            return _failed_execution(failed)
        code = next((entry["exit-code"] for entry in report if "exit-code" in entry), None)
        if executed:
            if isinstance(code, int):
                return _ended(code)
            if os.WIFSIGNALED(status):
                return _ended(128 + os.WTERMSIG(status))
            return _ended(os.WEXITSTATUS(status))
        text = diagnostics.decode("utf-8", "replace").removeprefix("bwrap: ")
        if not text and os.WIFSIGNALED(status):
            text = f"signal {os.WTERMSIG(status)} ended it before the command ran"
        return Exit(FAILURE, "isolation", f"the sandbox did not start: {explain(text)}")


@cache
def _held(directory: str) -> int:
    """A descriptor of a directory, opened once."""
    return os.open(directory, os.O_PATH | os.O_CLOEXEC)


class _Descriptors:
    """Numbers for what the launched process gets, beyond the fixed ones."""

    def __init__(self) -> None:
        self.files: dict[int, bytes | int] = {}
        self._next = FIRST_FREE

    def add(self, content: bytes | int) -> int:
        number = self._next
        self._next += 1
        self.files[number] = content
        return number


def _ended(code: int) -> Exit:
    if code > 128 and code - 128 < signal.NSIG:
        return Exit(code, "signal", f"the command was ended by signal {code - 128}")
    return Exit(code, "command")


def _failed_execution(entry: Mapping[str, object]) -> Exit:
    number = entry["exec-errno"] if isinstance(entry["exec-errno"], int) else 0
    if "listen" in entry:
        why = f"the sandbox cannot listen for its programs: {os.strerror(number)}"
        return Exit(FAILURE, "isolation", why)
    if "seeds" in entry:
        cure = "; plugins.bwrap.home_size limits it, or add --db FILE" if number == errno.ENOSPC else ""
        why = f"the seeds cannot be copied into the home: {os.strerror(number)}{cure}"
        return Exit(FAILURE, "isolation", why)
    if "cwd" in entry:
        cwd = _text(entry["cwd"])
        return Exit(FAILURE, "isolation", f"{cwd!r} cannot be entered inside: {os.strerror(number)}")
    found = _text(entry.get("found", ""))
    if not found:
        return Exit(NOT_FOUND, "exec", "not found")
    if number == 2:
        return Exit(CANNOT_EXECUTE, "exec", f"{found!r} cannot be executed: its interpreter is not there")
    return Exit(CANNOT_EXECUTE, "exec", f"{found!r} cannot be executed: {os.strerror(number)}")


def _text(digits: object) -> str:
    """A path that was reported in hexadecimal digits; empty where it is none."""
    try:
        return os.fsdecode(bytes.fromhex(str(digits)))
    except ValueError:
        return ""


def create(context: Context) -> Bubblewrap:
    """The isolation for this host. Raises IsolationError with the cure when bwrap is missing."""
    settings = context.settings
    program = find_program(settings.program)
    quarter = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return Bubblewrap(
        program=program,
        abilities=abilities(program, context.cache_dir),
        host=RealHost(),
        limits=TmpfsSizes(
            tmp=_size("tmp_size", settings.tmp_size, quarter),
            home=_size("home_size", settings.home_size, quarter),
            shm=quarter // 2,
        ),
        machine=os.uname().machine,
        python=os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
        python_prefix=os.path.realpath(sys.base_prefix),
        foreign_architectures=settings.foreign_architectures,
        set_ids=settings.set_ids,
        for_root=context.uid == 0,
    )


def _size(key: str, text: str, default: int) -> int:
    if not text:
        return default
    size = size_of(text)
    if size is None:
        raise IsolationError(f"plugins.bwrap.{key}: {text!r} is not a size; write bytes or 512M, 2G")
    return size
