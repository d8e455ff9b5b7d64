"""A run as an order for the program `inside`, and what its end means."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from art_core.contracts import Exit, Launch, Reason, Run
from art_core.errors import CANNOT_EXECUTE, FAILURE, NOT_FOUND, ArtError

STDERR, REPORT, PROGRAM, ORDER, FIRST_FREE = range(3, 8)
"""Descriptors of the program."""
MACHINES = ("x86_64", "aarch64")
_SWITCHES = {
    "/proc/sys/user/max_user_namespaces": "0",
    "/proc/sys/kernel/unprivileged_userns_clone": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""Files of the kernel that forbid user namespaces, with the value that does."""


class Unshare:
    """See `contracts.Isolation`."""

    def __init__(self, python: str, program: bytes, size: int) -> None:
        self._python = python
        self._program = program
        self._size = size

    def plan(self, run: Run) -> Launch:
        files: dict[int, bytes | int] = {PROGRAM: self._program}
        mounts: list[tuple[int, str, str, bool, bool]] = []
        for mount in run.mounts:
            number = -1
            if mount.fd >= 0:
                number = FIRST_FREE + len(mounts)
                files[number] = mount.fd
            mounts.append((number, mount.source, mount.guest, mount.directory, mount.writable))
        order = {
            "argv": list(map(os.fsdecode, run.argv)),
            "env": {os.fsdecode(name): os.fsdecode(value) for name, value in run.env.items()},
            "cwd": run.cwd,
            "ids": (run.uid, run.gid),
            "home": None if run.home is None else run.home.path,
            "masks": list(run.masks),
            "mounts": mounts,
            "files": [
                (file.guest, None if file.contents is None else file.contents.decode("latin-1"), file.mode)
                for file in run.files
            ],
            "size": self._size,
        }
        said = json.dumps(order)
        files[ORDER] = said.encode()
        return Launch(
            argv=[self._python, "-I", "-S", "-B", "-c", f"exec(open({PROGRAM}).read())"],
            env={},
            files=files,
            stderr_fd=STDERR,
            report_fds=(REPORT,),
            enter=None if run.home is None else run.home.namespace,
            shown=[self._python, "inside.py", said],
            execs=1,
        )

    def exit(self, status: int, report: Sequence[Mapping[str, object]], diagnostics: bytes) -> Exit:
        if not any(entry.get("exec") is True for entry in report):
            said = " ".join(diagnostics.decode("utf-8", "replace").split())
            return Exit(FAILURE, "isolation", f"the sandbox did not start: {said or 'nothing was said'}")
        failed = next((entry["exec-errno"] for entry in report if "exec-errno" in entry), None)
        if failed == errno.ENOENT:
            return Exit(NOT_FOUND, "exec", "not found")
        if isinstance(failed, int):
            return Exit(CANNOT_EXECUTE, "exec", f"cannot be executed: {os.strerror(failed)}")
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return Exit(128 + number, "signal", f"the command was ended by signal {number}")
        return Exit(os.WEXITSTATUS(status), "command")


def reasons() -> list[Reason]:
    """Why no sandbox can be made here."""
    found = []
    machine, kernel = os.uname().machine, os.uname().release
    if machine not in MACHINES:
        found.append(Reason(f"the system calls of {machine} are not known", "--isolation bwrap"))
    if tuple(int(part) for part in kernel.split(".")[:2] if part.isdigit()) < (5, 12):
        found.append(Reason(f"Linux {kernel} has no mount_setattr(2)", "Linux 5.12, or --isolation bwrap"))
    for path, value in _SWITCHES.items():
        with suppress(OSError):
            if Path(path).read_text().strip() == value:
                cure = f"sysctl {path.removeprefix('/proc/sys/').replace('/', '.')}={1 - int(value)}"
                found.append(Reason(f"user namespaces are forbidden ({path} is {value})", cure))
    return found


def create(megabytes: int) -> Unshare:
    """Raises ArtError with the cure where no sandbox can be made."""
    for reason in reasons():
        raise ArtError(f"--isolation unshare: {reason.what}; {reason.cure}")
    if megabytes < 1:
        raise ArtError(f"plugins.unshare.tmp_megabytes: {megabytes} is not a size; write 1 or more")
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return Unshare(python, Path(__file__).with_name("inside.py").read_bytes(), megabytes << 20)
