"""System calls by number, for each architecture that a program here may use.

python-ptrace's tables end in 2020; what came since, and what they lack, stands here. Numbers from
424 on are the same everywhere. Sources: arch/x86/entry/syscalls/syscall_{32,64}.tbl and
scripts/syscall.tbl of Linux 6.19.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from art_core.host.bpf import X32_BIT
from art_ptrace.syscalls import library

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
"""AUDIT_ARCH_* as ptrace(2) tells them."""
NARROW = frozenset({I386, ARM})
"""Architectures with 32-bit words."""

_FIRST_SHARED = 424
_SHARED = """
    pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
    fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise
    epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule
    landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node cachestat
    fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr
    lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat
    open_tree_attr file_getattr file_setattr listns
"""

_I386 = """
    16 lchown 17 break 18 oldstat 22 umount 23 setuid 24 getuid 28 oldfstat 31 stty 32 gtty 35 ftime
    44 prof 46 setgid 47 getgid 49 geteuid 50 getegid 52 umount2 53 lock 56 mpx 58 ulimit 70 setreuid
    71 setregid 76 getrlimit 80 getgroups 81 setgroups 82 select 84 oldlstat 89 readdir 90 mmap
    95 fchown 98 profil 106 stat 107 lstat 108 fstat 112 idle 127 create_module 130 get_kernel_syms
    137 afs_syscall 138 setfsuid 139 setfsgid 140 _llseek 142 _newselect 149 _sysctl 164 setresuid
    165 getresuid 167 query_module 170 setresgid 171 getresgid 182 chown 188 getpmsg 189 putpmsg
    191 ugetrlimit 198 lchown32 199 getuid32 200 getgid32 201 geteuid32 202 getegid32 203 setreuid32
    204 setregid32 205 getgroups32 206 setgroups32 207 fchown32 208 setresuid32 209 getresuid32
    210 setresgid32 211 getresgid32 212 chown32 213 setuid32 214 setgid32 215 setfsuid32 216 setfsgid32
    273 vserver 320 utimensat 321 signalfd 322 timerfd_create 323 eventfd 324 fallocate
    325 timerfd_settime 326 timerfd_gettime 327 signalfd4 328 eventfd2 329 epoll_create1 330 dup3
    331 pipe2 332 inotify_init1 333 preadv 334 pwritev 335 rt_tgsigqueueinfo 336 perf_event_open
    337 recvmmsg 338 fanotify_init 339 fanotify_mark 340 prlimit64 341 name_to_handle_at
    342 open_by_handle_at 343 clock_adjtime 344 syncfs 345 sendmmsg 346 setns 347 process_vm_readv
    348 process_vm_writev 349 kcmp 350 finit_module 351 sched_setattr 352 sched_getattr 353 renameat2
    354 seccomp 355 getrandom 356 memfd_create 357 bpf 358 execveat 359 socket 360 socketpair 361 bind
    362 connect 363 listen 364 accept4 365 getsockopt 366 setsockopt 367 getsockname 368 getpeername
    369 sendto 370 sendmsg 371 recvfrom 372 recvmsg 373 shutdown 374 userfaultfd 375 membarrier
    376 mlock2 377 copy_file_range 378 preadv2 379 pwritev2 380 pkey_mprotect 381 pkey_alloc
    382 pkey_free 383 statx 384 arch_prctl 385 io_pgetevents 386 rseq 393 semget 394 semctl 395 shmget
    396 shmctl 397 shmat 398 shmdt 399 msgget 400 msgsnd 401 msgrcv 402 msgctl 403 clock_gettime64
    404 clock_settime64 405 clock_adjtime64 406 clock_getres_time64 407 clock_nanosleep_time64
    408 timer_gettime64 409 timer_settime64 410 timerfd_gettime64 411 timerfd_settime64
    412 utimensat_time64 413 pselect6_time64 414 ppoll_time64 416 io_pgetevents_time64
    417 recvmmsg_time64 418 mq_timedsend_time64 419 mq_timedreceive_time64 420 semtimedop_time64
    421 rt_sigtimedwait_time64 422 futex_time64 423 sched_rr_get_interval_time64
"""


def _paired(text: str) -> dict[int, str]:
    words = text.split()
    return {int(number): name for number, name in zip(words[::2], words[1::2], strict=True)}


_CORRECTED: Mapping[int, Mapping[int, str]] = {
    X86_64: {283: "timerfd_create", 335: "uretprobe", 336: "uprobe"},
    AARCH64: {},
    I386: _paired(_I386),
}
_MODULES = {X86_64: "x86_64", I386: "i386", AARCH64: "aarch64"}


@cache
def names(architecture: int) -> Mapping[int, str]:
    """The calls of an architecture; empty for one that is not known."""
    if architecture not in _MODULES:
        return {}
    names = library.module(f"syscall.linux.{_MODULES[architecture]}").SYSCALL_NAMES
    found = {number: name for number, name in names.items() if number >= 0}
    return {
        **found,
        **_CORRECTED[architecture],
        **{_FIRST_SHARED + at: name for at, name in enumerate(_SHARED.split())},
    }


def name_of(architecture: int, number: int) -> str:
    """The name of a call, `syscall_0x...` where there is none; x32 calls are named as the others."""
    if architecture == X86_64 and number & X32_BIT:
        number &= ~X32_BIT
    return names(architecture).get(number) or f"syscall_{number:#x}"


@cache
def native(machine: str) -> tuple[int, Mapping[str, int]]:
    """The architecture of a machine, as uname(2) names it, and its calls: name -> number."""
    architecture = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    limit = 512  # x32's own numbers begin there
    return architecture, {name: number for number, name in names(architecture).items() if number < limit}
