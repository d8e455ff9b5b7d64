"""Calls that could make a file which gives rights to whoever runs it, and may not.

A mode in a register is looked at; openat2(2) has it in memory, which a filter cannot see, so the call is
answered as by a kernel without it. mkdir(2) drops these bits by itself. chmod(2) does not say whether it is
about a directory, where set-group-ID only hands down the group: it is refused there as well.

Who is root in a namespace of their own can give a file capabilities, and where that namespace's root is the
host's, so are they (capabilities(7), namespaced file capabilities): the names of attributes are in memory,
too, and calls that set any are answered as by a file system that has none.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from art_core.host import bpf
from art_core.host.bpf import Instruction

SET_IDS = 0o6000
"""S_ISUID and S_ISGID (inode(7))."""
MAKES_A_FILE = 0o100 | 0o20000000
"""O_CREAT and the bit of O_TMPFILE that nothing else has (open(2)): else there is no mode."""
OPENAT2 = 437
FCHMODAT2 = 452


class Setter(NamedTuple):
    """A call by its number: which arguments are the mode, and, where it depends on them, the flags."""

    number: int
    mode: int
    flags: int = -1


def _setters(
    fchmod: int, fchmodat: int, mknodat: int, openat: int, older: tuple[int, int, int, int] | None
) -> tuple[Setter, ...]:
    """`older` are chmod, mknod, creat and open, which newer machines are without."""
    found = [Setter(fchmod, 1), Setter(fchmodat, 2), Setter(FCHMODAT2, 2), Setter(mknodat, 2)]
    found.append(Setter(openat, 3, flags=2))
    if older is not None:
        chmod, mknod, creat, opens = older
        found += [Setter(chmod, 1), Setter(mknod, 1), Setter(creat, 1), Setter(opens, 2, flags=1)]
    return tuple(found)


SETTERS = {
    "x86_64": _setters(91, 268, 259, 257, (90, 133, 85, 2)),
    "aarch64": _setters(52, 53, 33, 56, None),
    "i386": _setters(94, 306, 297, 295, (15, 14, 8, 5)),
    "arm": _setters(94, 333, 324, 322, (15, 14, 8, 5)),
}
"""By machine; from the kernel's tables of system calls."""
FOREIGN = {"x86_64": ("i386", 0x40000003), "aarch64": ("arm", 0x40000028)}
"""The 32-bit machine that each also runs programs of, and its AUDIT_ARCH_*."""


_ATTRIBUTES = {
    "x86_64": (188, 189, 190),
    "aarch64": (5, 6, 7),
    "i386": (226, 227, 228),
    "arm": (226, 227, 228),
}
"""setxattr, lsetxattr, fsetxattr."""
SETXATTRAT = 463


def no_attributes(machine: str, mark: int = 0) -> list[Instruction]:
    """What answers the calls that set extended attributes; see `refusals`."""
    absent = bpf.answer(bpf.errno(errno.EOPNOTSUPP))
    numbers = (*_ATTRIBUTES[machine], SETXATTRAT)
    return [one for number in numbers for one in (bpf.jump_if_equal(number | mark, false=1), absent)]


def refusals(setters: tuple[Setter, ...], mark: int = 0) -> list[Instruction]:
    """What answers the calls, with the call's number loaded; all others are left to what follows. `mark` is
    a bit that all numbers have."""
    denied = bpf.answer(bpf.errno(errno.EPERM))
    program = [
        bpf.jump_if_equal(OPENAT2 | mark, false=1),
        bpf.answer(bpf.errno(errno.ENOSYS)),
    ]
    for number, mode, flags in setters:
        body = [bpf.load(bpf.argument(mode)), bpf.jump_if_any_bit(SET_IDS, false=1), denied]
        if flags >= 0:
            body = [bpf.load(bpf.argument(flags)), bpf.jump_if_any_bit(MAKES_A_FILE, false=3), *body]
        body.append(bpf.answer(bpf.ALLOW))
        program += [bpf.jump_if_equal(number | mark, false=len(body)), *body]
    return program
