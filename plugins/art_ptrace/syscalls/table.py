"""The arguments of each system call by kinds, of which `kinds` tells more: a call a line.

What stands here is written as strace(1) writes it. Sources: syscalls(2) and the pages of the calls.
"""

from __future__ import annotations

TABLE = """
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
getdents fd entries size
getdents64 fd entries64 size
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
clone cloneall
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
capget capheader capsetsout
capset capheader capsets
getpriority prio int
setpriority prio int int
sched_yield
sched_getaffinity int size cpusout
sched_setaffinity int size cpus
sched_getscheduler int
sched_getparam int ptr
sched_setscheduler int policy ptr
getrlimit resource rlimitout
setrlimit resource rlimit
prlimit64 int resource rlimit rlimitout
getrusage who rusage
times ptr
uname uname
sysinfo system
prctl prctl prctlall
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
futex ptr futex uint futexrest
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
