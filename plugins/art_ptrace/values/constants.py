"""Names of errors and signals, and how tables of names are made. Sources: the man pages and the kernel's
uapi headers; where architectures differ the values are x86's and arm64's common ones unless `MACHINE`
says otherwise."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

Names = Mapping[int, str]
MACHINE = os.uname().machine
ARM = MACHINE == "aarch64"


def numbered(words: str, start: int = 0) -> dict[int, str]:
    return {start + at: word for at, word in enumerate(words.split()) if word != "-"}


def bits(words: str, start: int = 0) -> dict[int, str]:
    return {1 << (start + at): word for at, word in enumerate(words.split()) if word != "-"}


ERRNO: Names = {
    **errno.errorcode,
    11: "EAGAIN",
    35: "EDEADLK",
    95: "EOPNOTSUPP",
    # Only between the kernel and a tracer: include/linux/errno.h
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    516: "ERESTART_RESTARTBLOCK",
    524: "ENOTSUPP",
}
RESTARTS: Names = {
    512: "To be restarted if SA_RESTART is set",
    513: "To be restarted",
    514: "To be restarted if no handler",
    516: "Interrupted by signal",
}
SIGNALS: dict[int, str] = {
    **{number.value: number.name for number in signal.Signals},
    32: "SIGRTMIN",
    **{number: f"SIGRT_{number - 32}" for number in range(33, 65)},
}
SIGNALS |= {6: "SIGABRT", 17: "SIGCHLD", 29: "SIGIO"}
SIGNALFD_FLAGS: Names = {0o4000: "SFD_NONBLOCK", 0o2000000: "SFD_CLOEXEC"}
SIGNAL_HOW: Names = numbered("SIG_BLOCK SIG_UNBLOCK SIG_SETMASK")
ACTION_FLAGS: Names = {
    0x04000000: "SA_RESTORER",
    0x08000000: "SA_ONSTACK",
    0x10000000: "SA_RESTART",
    0x40000000: "SA_NODEFER",
    0x80000000: "SA_RESETHAND",
    2: "SA_NOCLDWAIT",
    4: "SA_SIGINFO",
    1: "SA_NOCLDSTOP",
}
SIGNAL_CODES: Mapping[int, Names] = {
    4: numbered("ILL_ILLOPC ILL_ILLOPN ILL_ILLADR ILL_ILLTRP ILL_PRVOPC ILL_PRVREG ILL_COPROC ILL_BADSTK", 1),
    5: numbered("TRAP_BRKPT TRAP_TRACE TRAP_BRANCH TRAP_HWBKPT", 1),
    7: numbered("BUS_ADRALN BUS_ADRERR BUS_OBJERR", 1),
    8: numbered("FPE_INTDIV FPE_INTOVF FPE_FLTDIV FPE_FLTOVF FPE_FLTUND FPE_FLTRES FPE_FLTINV FPE_FLTSUB", 1),
    11: numbered("SEGV_MAPERR SEGV_ACCERR SEGV_BNDERR SEGV_PKUERR", 1),
    17: numbered("CLD_EXITED CLD_KILLED CLD_DUMPED CLD_TRAPPED CLD_STOPPED CLD_CONTINUED", 1),
    31: {1: "SYS_SECCOMP"},
}
ANY_CODE: Names = {
    0: "SI_USER",
    0x80: "SI_KERNEL",
    -1: "SI_QUEUE",
    -2: "SI_TIMER",
    -3: "SI_MESGQ",
    -4: "SI_ASYNCIO",
    -5: "SI_SIGIO",
    -6: "SI_TKILL",
}
