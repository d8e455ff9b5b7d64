"""ptrace(2), as far as a tracer of system calls needs it.

Numbers are those of the kernel's uapi header. python-ptrace's binding is not used: it lacks what came
since Linux 3.4 (PTRACE_SEIZE, PTRACE_LISTEN) and 5.3 (PTRACE_GET_SYSCALL_INFO), importing it takes 13 ms,
and a stop costs a few calls of the function, of which one that keeps the interpreter's lock and converts
nothing costs a third.
"""

from __future__ import annotations

import ctypes
import signal
import struct

CONT, SYSCALL, LISTEN = 7, 24, 0x4208
SEIZE, GETEVENTMSG, GETSIGINFO, GET_SYSCALL_INFO = 0x4206, 0x4201, 0x4202, 0x420E
EVENT_EXEC, EVENT_SECCOMP, EVENT_STOP = 4, 7, 128
ALL_CHILDREN = 0x40000000
"""__WALL of waitpid(2): threads as well."""
SYSCALL_STOP = signal.SIGTRAP | 0x80
GROUP_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

_SYSGOOD, _FORK, _VFORK, _CLONE, _EXEC = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 4
_SECCOMP, _EXITKILL = 1 << 7, 1 << 20
OPTIONS = _SYSGOOD | _FORK | _VFORK | _CLONE | _EXEC | _SECCOMP | _EXITKILL
"""PTRACE_O_*: what a tracee's stops tell; and that it dies with its tracer."""

_FORK_STOPS = frozenset(signal.SIGTRAP | event << 8 for event in (1, 2, 3))
"""The si_code of a stop at a fork, a vfork or a clone."""

request = ctypes.PyDLL(None).ptrace
"""request(what, tid, address, data): -1 when it failed. Without types: converting costs twice the call.
Numbers are C ints, so addresses come as `c_void_p`."""
_seize = ctypes.PyDLL(None, use_errno=True).ptrace

ENTRY, EXIT = 1, 2
"""`op` of struct ptrace_syscall_info."""
INFO_SIZE = 88
info = bytearray(INFO_SIZE)
"""The struct ptrace_syscall_info of the last stop that was asked about."""
_info = (ctypes.c_char * INFO_SIZE).from_buffer(info)
INFO_AT = ctypes.c_void_p(ctypes.addressof(_info))
entry = struct.Struct("=B3xI16xQ").unpack_from
"""op, architecture and number."""
values = struct.Struct("=32x6Q").unpack_from
"""The six arguments."""
result = struct.Struct("=B23xq").unpack_from
"""op and the result."""

_message = ctypes.c_ulong()
_MESSAGE_AT = ctypes.c_void_p(ctypes.addressof(_message))
_siginfo = ctypes.create_string_buffer(128)
_SIGINFO_AT = ctypes.c_void_p(ctypes.addressof(_siginfo))


def seize(pid: int) -> int:
    """Begin to trace a process that goes on running; 0, or an errno."""
    return 0 if _seize(SEIZE, pid, 0, OPTIONS) >= 0 else ctypes.get_errno()


def event_message(tid: int) -> int:
    """What an event stop is about: the former tid of a thread that executed."""
    request(GETEVENTMSG, tid, 0, _MESSAGE_AT)
    return int(_message.value)


def forked(tid: int) -> int:
    """The child of a thread that stands at its fork or clone; 0 for one that does not."""
    info = signal_info(tid)
    stands = info is not None and int.from_bytes(info[8:12], "little") in _FORK_STOPS
    return event_message(tid) if stands else 0


def signal_info(tid: int) -> bytes | None:
    """The siginfo_t of a stop by a signal; None in a group stop."""
    if request(GETSIGINFO, tid, 0, _SIGINFO_AT) < 0:
        return None
    return _siginfo.raw
