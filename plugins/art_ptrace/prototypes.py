"""The arguments of each system call, by name: the words below are kinds of arguments.

What stands here is written as strace(1) writes it. Other calls are written by python-ptrace's
prototypes, or, where it has none, as raw numbers. Sources: syscalls(2) and the pages of the calls.
"""

from __future__ import annotations

from collections.abc import Mapping

from art_ptrace import constants, scalars, structures
from art_ptrace.arguments import FILLED_TEXT, PATH, RESULT, TEXT, Argument, Read, Values, data, number
from art_ptrace.escaping import quoted
from art_ptrace.scalars import choice, flags

_KINDS: Mapping[str, Argument] = {
    # numbers
    "int": number(scalars.signed32),
    "uint": number(scalars.unsigned32),
    "size": number(scalars.unsigned),
    "long": number(scalars.signed),
    "ptr": number(scalars.pointer),
    "hex": number(scalars.hexadecimal),
    "fd": number(scalars.signed32),
    "at": number(scalars.directory),
    "mode": number(scalars.mode),
    "node": number(scalars.node_mode),
    "id": number(scalars.owner),
    "dev": number(scalars.device),
    "signal": number(scalars.signal_number),
    "open": number(scalars.open_flags),
    "access": number(scalars.access_mode),
    "atflags": number(flags(constants.AT_FLAGS)),
    "accessflags": number(flags(constants.ACCESS_FLAGS)),
    "unlinkflags": number(flags(constants.UNLINK_FLAGS)),
    "renameflags": number(flags(constants.RENAME_FLAGS)),
    "prot": number(flags(constants.PROTECTION, zero="PROT_NONE")),
    "map": number(scalars.map_flags),
    "remap": number(flags(constants.REMAP_FLAGS)),
    "advice": number(choice(constants.ADVICE, "MADV_???")),
    "fadvice": number(choice(constants.FILE_ADVICE, "POSIX_FADV_???")),
    "msync": number(flags(constants.MSYNC_FLAGS)),
    "unshare": number(flags(constants.UNSHARE_FLAGS)),
    "wait": number(flags(constants.WAIT_FLAGS)),
    "wait4": number(flags(constants.WAIT4_FLAGS)),
    "waitkind": number(choice(constants.WAIT_KINDS, "P_???")),
    "seek": number(choice(constants.SEEK, "SEEK_???")),
    "fcntl": number(choice(constants.FCNTL, "F_???")),
    "flock": number(flags(constants.FLOCK)),
    "futex": number(scalars.futex_operation),
    "clock": number(choice(constants.CLOCKS, "CLOCK_???")),
    "timerflags": number(flags(constants.TIMER_FLAGS)),
    "itimer": number(choice(constants.TIMERS, "ITIMER_???")),
    "family": number(choice(constants.FAMILIES, "AF_???")),
    "socktype": number(scalars.socket_kind),
    "protocol": number(choice(constants.IP_PROTOCOLS, "IPPROTO_???")),
    "msg": number(flags(constants.MESSAGE_FLAGS)),
    "shut": number(choice(constants.SHUTDOWN, "SHUT_???")),
    "level": number(choice(constants.LEVELS, "SOL_???")),
    "epoll": number(choice(constants.EPOLL, "EPOLL_CTL_???")),
    "eventfd": number(flags(constants.EVENTFD_FLAGS)),
    "timerfd": number(flags(constants.TIMERFD_FLAGS)),
    "inotify": number(flags(constants.INOTIFY_FLAGS)),
    "inmask": number(flags(constants.INOTIFY_EVENTS)),
    "signalfd": number(flags(constants.SIGNALFD_FLAGS)),
    "epollfd": number(flags(constants.EPOLL_FLAGS)),
    "memfd": number(flags(constants.MEMFD_FLAGS)),
    "grnd": number(flags(constants.RANDOM_FLAGS)),
    "seccomp": number(choice(constants.SECCOMP, "SECCOMP_???")),
    "seccompflags": number(flags(constants.SECCOMP_FLAGS)),
    "prctl": number(scalars.prctl_option),
    "archprctl": number(choice(constants.ARCH_PRCTL, "ARCH_???")),
    "resource": number(choice(constants.RESOURCES, "RLIMIT_???")),
    "how": number(choice(constants.SIGNAL_HOW, "SIG_???")),
    "mount": number(flags(constants.MOUNT_FLAGS)),
    "umount": number(flags(constants.UMOUNT_FLAGS)),
    "xattr": number(flags(constants.XATTR_FLAGS)),
    "statxmask": number(flags(constants.STATX_MASK)),
    "statxflags": number(lambda value: _sync_type(value)),
    "falloc": number(flags(constants.FALLOCATE)),
    "splice": number(flags(constants.SPLICE_FLAGS)),
    "ioctl": number(choice(constants.IOCTLS)),
    "closerange": number(flags(constants.CLOSE_RANGE)),
    "who": number(choice(constants.RUSAGE, "RUSAGE_???")),
    "prio": number(choice(constants.PRIORITY, "PRIO_???")),
    "policy": number(choice(constants.POLICY, "SCHED_???")),
    "membarrier": number(choice(constants.MEMBARRIER, "MEMBARRIER_CMD_???")),
    "clone": number(scalars.clone_flags),
    "inclose": number(scalars.open_flags),
    # memory
    "path": PATH,
    "text": TEXT,
    "in1": data(1),
    "in2": data(2),
    "in3": data(3),
    "out": RESULT,
    "link": RESULT,
    "outtext": FILLED_TEXT,
    "argv": structures.WORDS,
    "envp": structures.VARIABLES,
    "stat": structures.STAT,
    "statx": structures.STATX,
    "statfs": structures.STATFS,
    "openhow": structures.OPEN_HOW,
    "pair": structures.PAIR_OUT,
    "intin": structures.INT_IN,
    "intout": structures.INT_OUT,
    "offset": structures.OFFSET,
    "timespec": structures.TIMESPEC,
    "timespecout": structures.TIMESPEC_OUT,
    "unslept": structures.UNSLEPT,
    "timeval": structures.TIMEVAL,
    "timevalout": structures.TIMEVAL_OUT,
    "filetimes": structures.FILE_TIMES,
    "timevals": structures.TIMEVALS,
    "itimerspec": structures.ITIMERSPEC,
    "itimerspecout": structures.ITIMERSPEC_OUT,
    "itimerval": structures.ITIMERVAL,
    "itimervalout": structures.ITIMERVAL_OUT,
    "waitstatus": structures.WAIT_STATUS,
    "waitusage": structures.WAIT_USAGE,
    "rusage": structures.RUSAGE,
    "rlimit": structures.RLIMIT,
    "rlimitout": structures.RLIMIT_OUT,
    "sigset": structures.SIGNAL_SET,
    "sigsetout": structures.SIGNAL_SET_OUT,
    "sigaction": structures.SIGNAL_ACTION,
    "sigactionout": structures.SIGNAL_ACTION_OUT,
    "siginfo": structures.SIGNAL_INFO_OUT,
    "uname": structures.UNAME,
    "poll": structures.POLL,
    "epollevent": structures.EPOLL_EVENT,
    "epollevents": structures.EPOLL_EVENTS,
    "fdset": structures.DESCRIPTOR_SET,
    "iov": structures.PIECES,
    "iovout": structures.PIECES_OUT,
    "addr": structures.ADDRESS,
    "addr5": structures.address_at(5),
    "addrout2": structures.address_out(2),
    "addrout5": structures.address_out(5),
    "msghdr": structures.MESSAGE,
    "msghdrout": structures.MESSAGE_OUT,
    "optin": structures.option_value(4),
    "optout": structures.option_value(4, out=True),
    "clonearguments": structures.CLONE_ARGUMENTS,
    "lock": structures.LOCK,
    "capheader": structures.CAPABILITIES_HEADER,
}

_SYNC = 0x6000
_statx_rest = flags(constants.AT_FLAGS)


def _sync_type(value: int) -> str:
    """statx(2)'s flags: how fresh the answer must be is always said."""
    if value & _SYNC:
        return _statx_rest(value)
    rest = value & ~_SYNC & 0xFFFFFFFF
    return f"AT_STATX_SYNC_AS_STAT|{_statx_rest(rest)}" if rest else "AT_STATX_SYNC_AS_STAT"


HEX_RESULT = frozenset({"mmap", "brk", "mremap", "shmat"})
"""Calls that return an address."""
NEVER_RETURN = frozenset({"exit", "exit_group"})

_TABLE = """
access path access
faccessat at path access
faccessat2 at path access accessflags
open path open mode?
openat at path open mode?
openat2 at path openhow size
creat path mode
close fd
close_range uint uint closerange
read fd out size
write fd in2 size
pread64 fd out size long
pwrite64 fd in2 size long
readv fd iovout size
writev fd iov size
preadv fd iovout size long
pwritev fd iov size long
preadv2 fd iovout size long hex
pwritev2 fd iov size long hex
lseek fd long seek
sendfile fd fd offset size
copy_file_range fd offset fd offset size hex
splice fd offset fd offset size splice
tee fd fd size splice
vmsplice fd iov size splice
stat path stat
lstat path stat
fstat fd stat
newfstatat at path stat atflags
fstatat at path stat atflags
statx at path statxflags statxmask statx
statfs path statfs
fstatfs fd statfs
readlink path link size
readlinkat at path link size
getcwd outtext size
chdir path
fchdir fd
chroot path
pivot_root path path
mkdir path mode
mkdirat at path mode
rmdir path
mknod path node dev
mknodat at path node dev
unlink path
unlinkat at path unlinkflags
rename path path
renameat at path at path
renameat2 at path at path renameflags
link path path
linkat at path at path atflags
symlink path path
symlinkat path at path
chmod path mode
fchmod fd mode
fchmodat at path mode
fchmodat2 at path mode atflags
chown path id id
lchown path id id
fchown fd id id
fchownat at path id id atflags
truncate path long
ftruncate fd long
fallocate fd falloc long long
fadvise64 fd long long fadvice
utime path ptr
utimes path timevals
utimensat at path filetimes atflags
futimesat at path timevals
umask octal
getdents fd ptr size
getdents64 fd ptr size
fsync fd
fdatasync fd
sync
syncfs fd
sync_file_range fd long long hex
dup fd
dup2 fd fd
dup3 fd fd inclose3
pipe pair
pipe2 pair pipeflags
fcntl fd fcntl fcntlarg
flock fd flock
ioctl fd ioctl ptr
mount path path text mount ptr
umount2 path umount
getxattr path text out size
lgetxattr path text out size
fgetxattr fd text out size
setxattr path text in3 size xattr
lsetxattr path text in3 size xattr
fsetxattr fd text in3 size xattr
listxattr path out size
llistxattr path out size
flistxattr fd out size
removexattr path text
lremovexattr path text
fremovexattr fd text
inotify_init
inotify_init1 inotify
inotify_add_watch fd path inmask
inotify_rm_watch fd int
memfd_create text memfd
name_to_handle_at at path ptr ptr atflags
open_tree at path hex
move_mount at path at path hex
clone3 clonearguments size
execve path argv envp
execveat at path argv envp atflags
exit int
exit_group int
fork
vfork
wait4 int waitstatus wait4 waitusage
waitid waitkind int siginfo wait waitusage
kill int signal
tkill int signal
tgkill int int signal
pidfd_open int hex
pidfd_send_signal fd signal ptr hex
pidfd_getfd fd fd hex
getpid
getppid
gettid
getuid
geteuid
getgid
getegid
getpgid int
getpgrp
setpgid int int
getsid int
setsid
getgroups int ptr
setgroups int ptr
setuid uint
setgid uint
setreuid id id
setregid id id
setresuid id id id
setresgid id id id
getresuid intout intout intout
getresgid intout intout intout
setfsuid uint
setfsgid uint
capget capheader ptr
capset capheader ptr
getpriority prio int
setpriority prio int int
sched_yield
sched_getaffinity int size ptr
sched_setaffinity int size ptr
sched_getscheduler int
sched_getparam int ptr
sched_setscheduler int policy ptr
getrlimit resource rlimitout
setrlimit resource rlimit
prlimit64 int resource rlimit rlimitout
getrusage who rusage
times ptr
uname uname
sysinfo ptr
prctl prctl prctlarg hex hex hex
arch_prctl archprctl ptr
personality hex
set_tid_address ptr
set_robust_list ptr size
get_robust_list int ptr ptr
rseq ptr hex hex hex
getcpu intout intout ptr
seccomp seccomp seccompflags seccompprogram
unshare unshare
setns fd unshare
ptrace int int ptr ptr
membarrier membarrier hex
futex ptr futex uint
rt_sigaction signal sigaction sigactionout size
rt_sigprocmask how sigset sigsetout size
rt_sigpending sigsetout size
rt_sigsuspend sigset size
rt_sigtimedwait sigset siginfo timespec size
sigaltstack ptr ptr
pause
alarm uint
brk ptr
mmap ptr size prot map fd hex
munmap ptr size
mprotect ptr size prot
mremap ptr size size remap
madvise ptr size advice
msync ptr size msync
mincore ptr size ptr
mlock ptr size
munlock ptr size
mlockall hex
munlockall
socket family socktype protocol
socketpair family socktype protocol pair
bind fd addr int
connect fd addr int
listen fd int
accept fd addrout2 intout
accept4 fd addrout2 intout socktypeflags
getsockname fd addrout2 intout
getpeername fd addrout2 intout
sendto fd in2 size msg addr5 uint
recvfrom fd out size msg addrout5 intoutorptr
sendmsg fd msghdr msg
recvmsg fd msghdrout msg
sendmmsg fd ptr uint msg
recvmmsg fd ptr uint msg timespec
shutdown fd shut
setsockopt fd level opt optin int
getsockopt fd level opt optout intout
poll poll uint int
ppoll poll uint timespec sigset size
select int fdset fdset fdset timeval
pselect6 int fdset fdset fdset timespec ptr
epoll_create int
epoll_create1 epollfd
epoll_ctl fd epoll fd epollevent
epoll_wait fd epollevents int int
epoll_pwait fd epollevents int int sigset size
eventfd uint
eventfd2 uint eventfd
signalfd fd sigset size
signalfd4 fd sigset size signalfd
timerfd_create clock timerfd
timerfd_settime fd timerflags itimerspec itimerspecout
timerfd_gettime fd itimerspecout
nanosleep timespec unslept
clock_nanosleep clock timerflags timespec unslept
clock_gettime clock timespecout
clock_settime clock timespec
clock_getres clock timespecout
gettimeofday timevalout ptr
time ptr
getitimer itimer itimervalout
setitimer itimer itimerval itimervalout
getrandom rand size grnd
shmget int size octal
shmat int ptr hex
shmdt ptr
restart_syscall
rt_sigreturn
"""

_SPECIAL: dict[str, Argument] = {
    "octal": number(scalars.octal),
    "pipeflags": number(flags({0o4000: "O_NONBLOCK", 0o40000: "O_DIRECT", 0o2000000: "O_CLOEXEC"})),
    "inclose3": number(flags({0o2000000: "O_CLOEXEC"})),
    "socktypeflags": number(flags(constants.SOCKET_FLAGS)),
    "intoutorptr": structures.INT_OUT,
    "rand": RESULT,
}


# --- arguments that depend on another one ------------------------------------------------------


def _open_mode(before: int) -> Argument:
    """The mode, where the flags (argument number `before`) ask for a new file."""

    def render(raw: object, value: int, values: Values, result: int | None) -> str | None:
        return scalars.mode(value) if values[before] & (0o100 | constants.O_TMPFILE) else None

    return Argument(render=render, narrow=True)


_GETLK, _SETTERS = (5, 36), (6, 7, 37, 38)


def _fetch_fcntl(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 32) if values[1] & 0xFFFFFFFF in (*_GETLK, *_SETTERS) else None


_descriptor_flags = flags({1: "FD_CLOEXEC"})
_seals = flags({1: "F_SEAL_SEAL", 2: "F_SEAL_SHRINK", 4: "F_SEAL_GROW", 8: "F_SEAL_WRITE"})


def _render_fcntl(raw: bytes | None, value: int, values: Values, result: int | None) -> str | None:
    command = values[1] & 0xFFFFFFFF
    if command in (1, 3, 9, 11, 1025, 1032, 1034):
        return None
    if raw is not None and len(raw) == 32:
        return structures.lock(raw)
    shown: dict[int, scalars.Show] = {
        0: scalars.signed32,
        2: _descriptor_flags,
        4: scalars.open_flags,
        8: scalars.signed32,
        10: scalars.signal_number,
        1030: scalars.signed32,
        1031: scalars.signed32,
        1033: _seals,
    }
    return shown.get(command, scalars.pointer)(value)


def _fetch_program(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 16) if values[0] & 0xFFFFFFFF == 1 else None


def _render_program(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return structures.seccomp_program(raw) if raw and len(raw) == 16 else scalars.pointer(value)


_PLAIN_PRCTL = (4, 8, 22, 36, 38)


def _fetch_name(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 16) if values[0] & 0xFFFFFFFF == 15 else None


def _render_prctl(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    """What an option of prctl(2) is set to: a name, a signal, a number, else as it is."""
    option = values[0] & 0xFFFFFFFF
    if raw:
        return quoted(raw.partition(bytes(1))[0])
    if option == 1:
        return scalars.signal_number(value)
    return scalars.unsigned(value) if option in _PLAIN_PRCTL else scalars.hexadecimal(value)


def _render_option(raw: object, value: int, values: Values, result: int | None) -> str:
    return choice(constants.SOCKET_OPTIONS.get(values[1] & 0xFFFFFFFF, {}))(value)


def _render_protocol(raw: object, value: int, values: Values, result: int | None) -> str:
    family = values[0] & 0xFFFFFFFF
    if family in (2, 10):
        return choice(constants.IP_PROTOCOLS, "IPPROTO_???")(value)
    return choice(constants.NETLINK, "NETLINK_???")(value) if family == 16 else scalars.signed32(value)


_SPECIAL |= {
    "fcntlarg": Argument(fetch=_fetch_fcntl, render=_render_fcntl),
    "seccompprogram": Argument(fetch=_fetch_program, render=_render_program),
    "prctlarg": Argument(fetch=_fetch_name, render=_render_prctl, narrow=True),
    "opt": Argument(render=_render_option, narrow=True),
    "protocol": Argument(render=_render_protocol, narrow=True),
}


def _compiled(words: list[str]) -> tuple[Argument, ...]:
    found = []
    for at, word in enumerate(words):
        if word == "mode?":
            found.append(_open_mode(at - 1))
        else:
            found.append(_SPECIAL.get(word) or _KINDS[word])
    return tuple(found)


ARGUMENTS: Mapping[str, tuple[Argument, ...]] = {
    words[0]: _compiled(words[1:]) for line in _TABLE.strip().splitlines() if (words := line.split())
}
"""The arguments of each call that is known."""
NEW_PROCESS_FIELDS = (
    # argument on x86_64 and aarch64, name, flag it depends on
    ("parent_tid", 0x00100000 | 0x00001000),
    ("tls", 0x00080000),
    ("child_tidptr", 0x01000000 | 0x00200000),
)
CLONE_ORDER = {"x86_64": (2, 4, 3), "aarch64": (2, 3, 4)}
"""Where clone(2) has parent_tid, tls and child_tidptr."""
