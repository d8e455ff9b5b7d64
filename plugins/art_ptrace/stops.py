"""ptrace(2), as far as a tracer of system calls needs it.

The requests and events that python-ptrace's binding knows come from there; those since Linux 3.4
(PTRACE_SEIZE, PTRACE_LISTEN) and 5.3 (PTRACE_GET_SYSCALL_INFO), which it lacks, stand here. The function
itself is bound once more: a stop costs a few of its calls, and one that keeps the interpreter's lock
and converts nothing costs a third.
"""

from __future__ import annotations

import ctypes
import signal
import struct

from ptrace.binding.func import (
    PTRACE_CONT,
    PTRACE_EVENT_EXEC,
    PTRACE_GETEVENTMSG,
    PTRACE_GETSIGINFO,
    PTRACE_O_TRACECLONE,
    PTRACE_O_TRACEEXEC,
    PTRACE_O_TRACEFORK,
    PTRACE_O_TRACESYSGOOD,
    PTRACE_O_TRACEVFORK,
    PTRACE_SYSCALL,
    THREAD_TRACE_FLAGS,
)

CONT, SYSCALL, LISTEN = int(PTRACE_CONT), int(PTRACE_SYSCALL), 0x4208
GETEVENTMSG, GETSIGINFO = int(PTRACE_GETEVENTMSG), int(PTRACE_GETSIGINFO)
SEIZE, GET_SYSCALL_INFO = 0x4206, 0x420E
EVENT_EXEC, EVENT_SECCOMP, EVENT_STOP = int(PTRACE_EVENT_EXEC), 7, 128
ALL_CHILDREN = int(THREAD_TRACE_FLAGS)
"""__WALL of waitpid(2): threads as well."""
SYSCALL_STOP = signal.SIGTRAP | 0x80
GROUP_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

_O_TRACESECCOMP, _O_EXITKILL = 1 << 7, 1 << 20
OPTIONS = (
    int(
        PTRACE_O_TRACESYSGOOD
        | PTRACE_O_TRACEFORK
        | PTRACE_O_TRACEVFORK
        | PTRACE_O_TRACECLONE
        | PTRACE_O_TRACEEXEC
    )
    | _O_TRACESECCOMP
    | _O_EXITKILL
)
"""What a tracee's stops tell; and that it dies with its tracer."""

request = ctypes.PyDLL(None).ptrace
"""request(what, tid, address, data): -1 when it failed. Without types: converting costs twice the call.
Numbers are C ints, so addresses come as `c_void_p`."""
_seize = ctypes.PyDLL(None, use_errno=True).ptrace

NONE, ENTRY, EXIT, SECCOMP = range(4)
"""`op` of struct ptrace_syscall_info."""
INFO_SIZE = 88
info = ctypes.create_string_buffer(INFO_SIZE)
"""The struct ptrace_syscall_info of the last stop that was asked about."""
INFO_AT = ctypes.c_void_p(ctypes.addressof(info))
entry = struct.Struct("=B3xI16xQ6Q").unpack_from
"""op, architecture, number and the six arguments."""
result = struct.Struct("=24xq").unpack_from

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


def signal_info(tid: int) -> bytes | None:
    """The siginfo_t of a stop by a signal; None in a group stop."""
    if request(GETSIGINFO, tid, 0, _SIGINFO_AT) < 0:
        return None
    return _siginfo.raw
