"""Classes of system calls, as strace(1) has them, and what an agent changes or reaches."""

from __future__ import annotations

from collections.abc import Mapping

_FILE = """
    access acct chdir chmod chown chroot creat execve execveat faccessat faccessat2 fanotify_mark
    fchmodat fchmodat2 fchownat file_getattr file_setattr fspick futimesat getcwd getxattr
    getxattrat inotify_add_watch lchown lgetxattr link linkat listxattr listxattrat llistxattr
    lremovexattr lsetxattr lstat mkdir mkdirat mknod mknodat mount mount_setattr move_mount
    name_to_handle_at newfstatat open openat openat2 open_tree open_tree_attr pivot_root quotactl
    readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir setxattr setxattrat
    stat statfs statx swapoff swapon symlink symlinkat truncate umount umount2 unlink unlinkat uselib
    utime utimensat utimes
"""
_DESC = """
    bpf close close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
    epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execveat faccessat faccessat2 fadvise64
    fallocate fanotify_init fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
    fdatasync fgetxattr finit_module flistxattr flock fremovexattr fsconfig fsetxattr fsmount fsopen
    fspick fstat fstatfs fsync ftruncate futimesat getdents getdents64 inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch ioctl io_uring_enter io_uring_register io_uring_setup
    kexec_file_load landlock_add_rule landlock_create_ruleset landlock_restrict_self linkat lseek
    memfd_create memfd_secret mkdirat mknodat mmap mount_setattr move_mount mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedsend name_to_handle_at newfstatat open openat openat2
    open_by_handle_at open_tree perf_event_open pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 poll
    ppoll pread64 preadv preadv2 process_madvise process_mrelease pselect6 pwrite64 pwritev pwritev2
    quotactl_fd read readahead readlinkat readv renameat renameat2 select sendfile setns signalfd
    signalfd4 splice statx symlinkat sync_file_range syncfs tee timerfd_create timerfd_gettime
    timerfd_settime unlinkat userfaultfd utimensat vmsplice write writev
"""
_PROCESS = """
    clone clone3 execve execveat exit exit_group fork kill pidfd_open pidfd_send_signal rt_sigqueueinfo
    rt_tgsigqueueinfo tgkill tkill unshare vfork wait4 waitid
"""
_NETWORK = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg
    sendfile sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair
"""
_SIGNAL = """
    kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sigaltstack signalfd signalfd4 tgkill tkill
"""
_IPC = "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget"
_MEMORY = """
    brk get_mempolicy madvise mbind migrate_pages mincore mlock mlock2 mlockall mmap move_pages mprotect
    mremap mseal msync munlock munlockall munmap pkey_mprotect process_madvise remap_file_pages
    set_mempolicy set_mempolicy_home_node shmat shmdt
"""
_CREDS = """
    capget capset getegid geteuid getgid getgroups getresgid getresuid getuid prctl setfsgid setfsuid setgid
    setgroups setregid setresgid setresuid setreuid setuid
"""
_CLOCK = "adjtimex clock_adjtime clock_getres clock_gettime clock_settime gettimeofday settimeofday time"
_PURE = "getegid geteuid getgid getpgrp getpid getppid gettid getuid"

_AGENT = """
    execve execveat connect bind sendto sendmsg sendmmsg unlink unlinkat rmdir rename renameat renameat2
    mkdir mkdirat mknod mknodat link linkat symlink symlinkat chmod fchmod fchmodat fchmodat2 chown
    fchown lchown fchownat truncate ftruncate setxattr lsetxattr fsetxattr removexattr lremovexattr
    fremovexattr creat open openat openat2
"""

CLASSES: Mapping[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "file": _FILE,
        "desc": _DESC,
        "process": _PROCESS,
        "network": _NETWORK,
        "net": _NETWORK,
        "signal": _SIGNAL,
        "ipc": _IPC,
        "memory": _MEMORY,
        "creds": _CREDS,
        "clock": _CLOCK,
        "pure": _PURE,
        "stat": "stat",
        "lstat": "lstat",
        "fstat": "fstat newfstatat",
        "%stat": "stat lstat fstat newfstatat statx",
        "statfs": "statfs",
        "fstatfs": "fstatfs",
        "%statfs": "statfs fstatfs ustat",
    }.items()
}
"""By name, as it stands after the percent sign."""

AGENT = frozenset(_AGENT.split())
"""`agent`: what changes something, starts a program or reaches somebody. Of open(2) and its kin only
what opens for writing, of sendto(2) only what names an address."""
