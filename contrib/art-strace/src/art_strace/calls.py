"""The names of system calls, and of strace's classes, so that a wrong one is told before anything starts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from art_core.errors import UsageError

_NAMES = """
    _sysctl accept accept4 access acct add_key adjtimex afs_syscall alarm arch_prctl bind bpf brk
    cachestat capget capset chdir chmod chown chroot clock_adjtime clock_getres clock_gettime
    clock_nanosleep clock_settime clone clone3 close close_range connect copy_file_range creat
    create_module delete_module dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group
    faccessat faccessat2 fadvise64 fallocate fanotify_init fanotify_mark fchdir fchmod fchmodat
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr file_getattr file_setattr finit_module
    flistxattr flock fork fremovexattr fsconfig fsetxattr fsmount fsopen fspick fstat fstatfs fsync
    ftruncate futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_kernel_syms
    get_mempolicy get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid
    getgid getgroups getitimer getpeername getpgid getpgrp getpid getpmsg getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid
    getxattr getxattrat init_module inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit io_uring_enter io_uring_register
    io_uring_setup ioctl ioperm iopl ioprio_get ioprio_set kcmp kexec_file_load kexec_load keyctl kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen
    listmount listns listxattr listxattrat llistxattr lookup_dcookie lremovexattr lseek lsetxattr
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat madvise map_shadow_stack mbind membarrier
    memfd_create memfd_secret migrate_pages mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall
    mmap modify_ldt mount mount_setattr move_mount move_pages mprotect mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock
    munlockall munmap name_to_handle_at nanosleep newfstatat nfsservctl open open_by_handle_at open_tree
    open_tree_attr openat openat2 pause perf_event_open personality pidfd_getfd pidfd_open
    pidfd_send_signal pipe pipe2 pivot_root pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64
    preadv preadv2 prlimit64 process_madvise process_mrelease process_vm_readv process_vm_writev
    pselect6 ptrace putpmsg pwrite64 pwritev pwritev2 query_module quotactl quotactl_fd read readahead
    readlink readlinkat readv reboot recvfrom recvmmsg recvmsg remap_file_pages removexattr
    removexattrat rename renameat renameat2 request_key restart_syscall rmdir rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp security select semctl semget semop semtimedop
    sendfile sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node set_robust_list
    set_thread_area set_tid_address setdomainname setfsgid setfsuid setgid setgroups sethostname
    setitimer setns setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid
    setsockopt settimeofday setuid setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack
    signalfd signalfd4 socket socketpair splice stat statfs statmount statx swapoff swapon symlink
    symlinkat sync sync_file_range syncfs sysfs sysinfo syslog tee tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times
    tkill truncate tuxcall umask umount2 uname unlink unlinkat unshare uprobe uretprobe uselib
    userfaultfd ustat utime utimensat utimes vfork vhangup vmsplice vserver wait4 waitid write writev
"""
NAMES = frozenset(_NAMES.split())
"""Of x86_64 and aarch64, up to Linux 6.19."""
_CLASSES = """
    %file %desc %process %network %net %signal %ipc %memory %creds %clock %pure %stat %lstat %fstat
    %%stat %statfs %fstatfs %%statfs
"""
CLASSES = frozenset(_CLASSES.split())
_EVERYTHING = frozenset({"all", "%all"})
_EXECUTING = {"execve": {"%file", "%process"}, "execveat": {"%file", "%process", "%desc"}}
"""The two that execute programs, and the classes they are in."""


def check(words: Sequence[str]) -> None:
    """Refuse a word that strace would not know. Raises UsageError with the nearest."""
    for word in words:
        known = CLASSES if word.startswith("%") else NAMES
        if word in known or word in _EVERYTHING:
            continue
        near = difflib.get_close_matches(word, known, 3, 0.6)
        what = "class" if known is CLASSES else "system call"
        more = f"did you mean {', '.join(near)}?" if near else "strace(1) and syscalls(2) list them"
        raise UsageError(f"--trace-syscalls: there is no {what} {word!r}; {more}")


def for_strace(words: Sequence[str]) -> str:
    """What stands after strace's `-e trace=`: the calls, and those that are counted in any case."""
    if not words or _EVERYTHING & set(words):
        return "all"
    return ",".join(dict.fromkeys([*words, *_EXECUTING]))


def execs_wanted(words: Sequence[str]) -> set[str]:
    """Which of the calls that execute programs were asked for."""
    asked = set(words)
    everything = not asked or bool(_EVERYTHING & asked)
    return {name for name, classes in _EXECUTING.items() if everything or name in asked or classes & asked}
