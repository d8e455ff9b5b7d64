"""The program for seccomp(2) that a traced command runs under.

It stops the calls that are selected (SECCOMP_RET_TRACE) and denies the ways out of a trace: io_uring,
whose operations are no system calls; CLONE_UNTRACED; clone3, whose flags lie in memory where no
filter sees them (ENOSYS: the C library falls back on clone); and user notification, by which another
process could answer a call. Without a selection the tracer stops at every call by itself
(PTRACE_SYSCALL), so that the filter has only the execs to stop.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence

from art_core.host import bpf
from art_core.host.bpf import Instruction
from art_ptrace.syscalls import numbers
from art_ptrace.syscalls.selection import Selection

CLONE_UNTRACED = 0x00800000
NEW_LISTENER = 8
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000
"""O_ACCMODE, O_CREAT, O_TRUNC and the bit of O_TMPFILE."""
_IO_URING = (425, 426, 427)
_CLONE3 = 435

# clone, seccomp, execve, execveat
_NARROW = {numbers.I386: (120, 354, 11, 358), numbers.ARM: (120, 383, 11, 387)}
_FOREIGN = {numbers.X86_64: (numbers.I386,), numbers.AARCH64: (numbers.ARM,)}
_X32 = (56, 317, 520, 545)


def program(machine: str, selection: Selection) -> bytes:
    """The filter for a machine, as uname(2) names it."""
    native, calls = numbers.native(machine)
    everything = selection.names is None
    traced = bpf.answer(bpf.TRACE)
    own: list[Instruction] = [bpf.load(bpf.NUMBER)]
    if native == numbers.X86_64:
        x32 = _denials(*_X32[:2], offset=bpf.X32_BIT)
        x32 += _stops([bpf.X32_BIT | number for number in _X32[2:]]) if everything else [traced]
        own += _unless_less(bpf.X32_BIT, [*x32, bpf.answer(bpf.ALLOW)])
    own += _denials(calls["clone"], calls["seccomp"])
    own += _stops([calls["execve"], calls["execveat"]])
    if selection.names is not None:
        chosen = {name: calls[name] for name in selection.names if name in calls}
        own += _stops(sorted(number for name, number in chosen.items() if name not in selection.partly))
        for name in sorted(selection.partly & chosen.keys()):
            own += _when(chosen[name], _condition(name))
    own.append(bpf.answer(bpf.ALLOW))
    rest: list[Instruction] = []
    for architecture in _FOREIGN[native]:
        clone, seccomp, *execs = _NARROW[architecture]
        body = [bpf.load(bpf.NUMBER), *_denials(clone, seccomp)]
        body += [*_stops(execs), bpf.answer(bpf.ALLOW)] if everything else [traced]
        rest += [bpf.load(bpf.ARCHITECTURE), bpf.jump_if_equal(architecture, false=len(body)), *body]
    rest.append(bpf.answer(bpf.errno(errno.ENOSYS)))
    # Jumps of a condition reach 255 instructions, the one without reaches all.
    return bpf.assemble(
        [bpf.load(bpf.ARCHITECTURE), bpf.jump_if_equal(native, true=1), bpf.jump(len(own)), *own, *rest]
    )


def _denials(clone: int, seccomp: int, offset: int = 0) -> list[Instruction]:
    """Deny the ways out; the accumulator holds the number of the call before and after."""
    unknown = bpf.answer(bpf.errno(errno.ENOSYS))
    found: list[Instruction] = []
    for number in (*_IO_URING, _CLONE3):
        found += [bpf.jump_if_equal(offset | number, false=1), unknown]
    found += _when(
        offset | clone,
        [
            bpf.load(bpf.argument(0)),
            bpf.jump_if_any_bit(CLONE_UNTRACED, false=1),
            bpf.answer(bpf.errno(errno.EPERM)),
            bpf.load(bpf.NUMBER),
        ],
    )
    found += _when(
        offset | seccomp,
        [
            bpf.load(bpf.argument(1)),
            bpf.jump_if_any_bit(NEW_LISTENER, false=1),
            bpf.answer(bpf.errno(errno.EINVAL)),
            bpf.load(bpf.NUMBER),
        ],
    )
    return found


def _stops(calls: Iterable[int]) -> list[Instruction]:
    return [
        instruction
        for number in calls
        for instruction in (bpf.jump_if_equal(number, false=1), bpf.answer(bpf.TRACE))
    ]


def _when(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Run `body` for one call; what it does not answer goes on."""
    return [bpf.jump_if_equal(number, false=len(body)), *body]


def _unless_less(value: int, body: Sequence[Instruction]) -> list[Instruction]:
    return [bpf.jump_if_at_least(value, false=len(body)), *body]


def _condition(name: str) -> list[Instruction]:
    """Stop a call only when it does what the preset is about; `openat2` and messages say it in memory."""
    stop, go = bpf.answer(bpf.TRACE), bpf.answer(bpf.ALLOW)
    if name in ("open", "openat"):
        flags = bpf.load(bpf.argument(1 if name == "open" else 2))
        return [flags, bpf.jump_if_any_bit(_WRITING, false=1), stop, go]
    if name == "sendto":
        low, high = bpf.load(bpf.argument(4)), bpf.load(bpf.argument(4) + 4)
        return [low, bpf.jump_if_equal(0, false=2), high, bpf.jump_if_equal(0, true=1), stop, go]
    return [stop]
