"""The system calls that no sandboxed command gets: they reach what namespaces do not divide
(keyrings, kernel tracing, io_uring) or widen the kernel's attack surface.

Sources: syscalls(2), seccomp(2); numbers from the kernel's syscall tables.
"""

from __future__ import annotations

import errno

from art_bwrap.set_ids import FOREIGN, SETTERS, no_attributes, refusals
from art_core.host import bpf
from art_core.host.bpf import Instruction

_REFUSED = {
    # call: (x86_64, aarch64)
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "userfaultfd": (323, 282),
}
REFUSED: dict[str, dict[str, int]] = {
    machine: {call: numbers[column] for call, numbers in _REFUSED.items()}
    for column, machine in enumerate(("x86_64", "aarch64"))
}
"""Calls that answer EPERM, by machine."""
IO_URING = {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427}
"""Calls that answer ENOSYS, by numbers that hold everywhere: some programs do without them only then."""

_SOCKET = {"x86_64": 41, "aarch64": 198}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_PTRACE = {"x86_64": 101, "aarch64": 117}
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_SETNS = {"x86_64": 308, "aarch64": 268}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435

SOCKET_FAMILIES = {"AF_UNSPEC": 0, "AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""The families socket(2) still makes; AF_VSOCK reaches a hypervisor, others rarely used code."""
TERMINAL_INJECTIONS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C}
TRACING_STARTS = {"PTRACE_ATTACH": 16, "PTRACE_SEIZE": 0x4206}
"""What makes a process traced that did not ask for it (ptrace(2)). Process 1 is not: stopped, it would keep
the sandbox from ending."""
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} of clone(2); CLONE_NEWTIME only exists for unshare(2)."""


def filter_for(
    machine: str, *, foreign: bool, namespaces: bool, set_ids: bool = True, attributes: bool = True
) -> bytes | None:
    """The program for a machine, None where its numbers are not known.

    `foreign` lets calls of other architectures (32 bit) through, filtered for modes alone; `namespaces`
    leaves the making of namespaces alone, as bwrap forbids it by itself or the user asked for it; `set_ids`
    lets files run with the rights of their owner or group; `attributes` lets files have extended ones.
    """
    if machine not in REFUSED:
        return None
    denied = bpf.answer(bpf.errno(errno.EPERM))
    unknown = bpf.answer(bpf.errno(errno.ENOSYS))
    elsewhere = bpf.answer(bpf.ALLOW) if foreign else unknown
    name, architecture = FOREIGN[machine]
    of_foreign = _gifts(name, set_ids, attributes) if foreign else []
    other = [
        bpf.jump_if_equal(architecture, false=len(of_foreign) + 1),
        bpf.load(bpf.NUMBER),
        *of_foreign,
        elsewhere,
    ]
    program = [
        bpf.load(bpf.ARCHITECTURE),
        bpf.jump_if_equal(bpf.ARCHITECTURES[machine], true=len(other)),
        *other,
        bpf.load(bpf.NUMBER),
    ]
    if machine == "x86_64":
        of_x32 = _gifts(machine, set_ids, attributes, bpf.X32_BIT) if foreign else []
        program += [bpf.jump_if_at_least(bpf.X32_BIT, false=len(of_x32) + 1), *of_x32, elsewhere]
    program += _gifts(machine, set_ids, attributes)
    for number in sorted(REFUSED[machine].values()):
        program += [bpf.jump_if_equal(number, false=1), denied]
    for number in IO_URING.values():
        program += [bpf.jump_if_equal(number, false=1), unknown]
    if not namespaces:
        for number in (_UNSHARE[machine], _SETNS[machine]):
            program += [bpf.jump_if_equal(number, false=1), denied]
        program += [bpf.jump_if_equal(_CLONE3, false=1), unknown]
        program += _when(
            _CLONE[machine],
            [bpf.load(bpf.argument(0)), bpf.jump_if_any_bit(NEW_NAMESPACES, false=1), denied],
        )
    families = [bpf.load(bpf.argument(0))]
    for family in SOCKET_FAMILIES.values():
        families += [bpf.jump_if_equal(family, false=1), bpf.answer(bpf.ALLOW)]
    program += _when(_SOCKET[machine], [*families, denied])
    requests = [bpf.load(bpf.argument(1))]
    for request in TERMINAL_INJECTIONS.values():
        requests += [bpf.jump_if_equal(request, false=1), denied]
    program += _when(_IOCTL[machine], requests)
    starts = [bpf.load(bpf.argument(1)), bpf.jump_if_equal(1, true=1), bpf.answer(bpf.ALLOW)]
    starts.append(bpf.load(bpf.argument(0)))
    for request in TRACING_STARTS.values():
        starts += [bpf.jump_if_equal(request, false=1), denied]
    program += _when(_PTRACE[machine], starts)
    return bpf.assemble([*program, bpf.answer(bpf.ALLOW)])


def _gifts(machine: str, set_ids: bool, attributes: bool, mark: int = 0) -> list[Instruction]:
    """What answers calls that could give a file rights, with the call's number loaded."""
    modes = [] if set_ids else refusals(SETTERS[machine], mark)
    return modes if attributes else [*no_attributes(machine, mark), *modes]


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
    """Run `body` for one call; what it does not answer is allowed."""
    body = [*body, bpf.answer(bpf.ALLOW)]
    return [bpf.jump_if_equal(number, false=len(body)), *body]
