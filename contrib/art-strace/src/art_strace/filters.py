"""The program for seccomp(2) that a traced command runs under: it denies the ways out of the trace.

strace sees each call by itself, so nothing has to be stopped for it. What it cannot see is denied:
processes that are made with CLONE_UNTRACED (clone3 has its flags in memory, where no filter sees them:
ENOSYS makes the C library fall back on clone), io_uring, whose operations are no system calls, a
listener by which another process could answer calls, and other architectures.
"""

from __future__ import annotations

import errno
import os

from art_core.host import bpf

_CLONE_UNTRACED = 0x00800000
_NEW_LISTENER = 8
_CLONE, _SECCOMP = {"x86_64": (56, 317), "aarch64": (220, 277)}.get(os.uname().machine, (0, 0))
_ABSENT = (425, 426, 427, 435)
"""io_uring_setup, io_uring_enter, io_uring_register and clone3, the same everywhere."""


def program() -> bytes:
    """The filter for this machine."""
    absent = bpf.answer(bpf.errno(errno.ENOSYS))
    rules = [bpf.load(bpf.ARCHITECTURE), bpf.jump_if_equal(bpf.ARCHITECTURES[os.uname().machine], true=1)]
    rules += [absent, bpf.load(bpf.NUMBER), bpf.jump_if_at_least(bpf.X32_BIT, false=1), absent]
    for number in _ABSENT:
        rules += [bpf.jump_if_equal(number, false=1), absent]
    for number, place, bit, denied in (
        (_CLONE, 0, _CLONE_UNTRACED, errno.EPERM),
        (_SECCOMP, 1, _NEW_LISTENER, errno.EINVAL),
    ):
        rules += [
            bpf.jump_if_equal(number, false=4),
            bpf.load(bpf.argument(place)),
            bpf.jump_if_any_bit(bit, false=1),
            bpf.answer(bpf.errno(denied)),
            bpf.load(bpf.NUMBER),
        ]
    return bpf.assemble([*rules, bpf.answer(bpf.ALLOW)])
