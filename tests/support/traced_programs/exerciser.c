/* Programs whose system calls are the same at every run, one a word on the command line. Built
   statically, so that no loader adds its own. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* As in a traced sandbox, so that both sides make threads by clone(2). */
static void without_clone3(void) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {4, program};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}

static void files(void) {
  struct stat found;
  struct statfs system;
  char buffer[64];
  struct timespec times[2] = {{1, 2}, {0, UTIME_NOW}};
  mkdir("d", 0755);
  int fd = open("d/a", O_RDWR | O_CREAT | O_EXCL, 0640);
  write(fd, "text\n\"quoted\"\\\1\0019\377 and more than fits in one line", 50);
  struct iovec pieces[2] = {{"one", 3}, {"two", 3}};
  writev(fd, pieces, 2);
  pwrite(fd, "x", 1, 100);
  lseek(fd, 0, SEEK_SET);
  read(fd, buffer, sizeof buffer);
  read(fd, buffer, 0);
  pread(fd, buffer, 5, 2);
  struct iovec room[2] = {{buffer, 4}, {buffer + 8, 16}};
  preadv(fd, room, 2, 0);
  fstat(fd, &found);
  fchmod(fd, 0600);
  ftruncate(fd, 10);
  fsync(fd);
  fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096);
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  fsetxattr(fd, "user.note", "value", 5, 0);
  fgetxattr(fd, "user.note", buffer, sizeof buffer);
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  fcntl(copy, F_GETFD);
  fcntl(copy, F_SETFL, O_APPEND);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
  fcntl(copy, F_SETLK, &lock);
  dup2(fd, 20);
  dup3(fd, 21, O_CLOEXEC);
  close(copy);
  close(fd);
  stat("d/a", &found);
  lstat("d", &found);
  statfs(".", &system);
  access("d/a", R_OK | W_OK);
  faccessat(AT_FDCWD, "d/a", X_OK, AT_EACCESS);
  link("d/a", "d/b");
  symlink("a", "d/l");
  readlink("d/l", buffer, sizeof buffer);
  rename("d/b", "d/c");
  renameat(AT_FDCWD, "d/c", AT_FDCWD, "d/e\n\033[31m");
  syscall(SYS_renameat2, AT_FDCWD, "d/a", AT_FDCWD, "d/l", 2);
  utimensat(AT_FDCWD, "d/a", times, AT_SYMLINK_NOFOLLOW);
  chmod("d/l", 04711);
  chown("d/l", -1, -1);
  truncate("d/l", 3);
  int directory = open("d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int other = openat(directory, "l", O_WRONLY | O_APPEND);
  close(other);
  unlinkat(directory, "a", 0);
  int pipes[2];
  pipe2(pipes, O_CLOEXEC | O_NONBLOCK);
  read(pipes[0], buffer, 4);
  close_range(20, 21, 0);
  getcwd(buffer, 1);
  chdir("d");
  fchdir(directory);
  chdir("..");
  unlink("d/l");
  unlink("d/e\n\033[31m");
  rmdir("d");
  umask(022);
}

static void failing(void) {
  char buffer[8];
  struct stat found;
  open("missing", O_RDONLY);
  open("missing/below", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  unlink("missing");
  rename("missing", "elsewhere");
  mkdir("/proc/nothing", 0700);
  mkdir((char *)8, 0700);
  read(99, buffer, 8);
  write(1, (char *)8, 5);
  close(-1);
  stat("missing", &found);
  kill(1, 99);
  mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  lseek(99, -5, SEEK_END);
  execl("/missing/program", "program", "argument with spaces", "", NULL);
  setsockopt(99, SOL_SOCKET, SO_REUSEADDR, (int[]){1}, 4);
  ioctl(99, 0x5413, buffer);
  openat(-100, "", O_RDONLY);
  syscall(SYS_openat2, AT_FDCWD, "missing", &(struct { long long a[3]; }){{O_RDONLY | O_CLOEXEC, 0, 8}}, 24);
  syscall(1000);
  char longest[5000];
  memset(longest, 'a', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  longest[4000] = 0;
  rmdir(longest);
}

static void forks(void) {
  for (int child = 0; child < 3; child++)
    if (!fork()) {
      mkdir("same", 0700);
      if (!fork()) {
        rmdir("none");
        _exit(7);
      }
      int status;
      wait(&status);
      if (child == 2)
        raise(SIGKILL);
      _exit(child);
    }
  struct rusage usage;
  for (int child = 0; child < 3; child++) {
    siginfo_t ended;
    memset(&ended, 0, sizeof ended);
    while (waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT) < 0)
      ;
    wait4(ended.si_pid, NULL, 0, NULL);
  }
  if (!vfork()) {
    execl("/proc/self/exe", "exerciser", "exec", NULL);
    _exit(1);
  }
  wait3(NULL, 0, &usage);
  rmdir("same");
}

static void *work(void *number) {
  char name[16];
  snprintf(name, sizeof name, "thread%ld", (long)number);
  mkdir(name, 0700);
  rmdir(name);
  return NULL;
}

static void threads(void) {
  pthread_t workers[4];
  for (long number = 0; number < 4; number++) {
    pthread_create(&workers[number], NULL, work, (void *)number);
    pthread_join(workers[number], NULL);
  }
}

static void network(void) {
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons(47563);
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, (int[]){1}, 4);
  bind(server, (struct sockaddr *)&address, sizeof address);
  listen(server, 5);
  int client = socket(AF_INET, SOCK_STREAM, 0);
  connect(client, (struct sockaddr *)&address, sizeof address);
  socklen_t size = sizeof address;
  int kind;
  socklen_t length = sizeof kind;
  int accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC);
  getsockname(server, (struct sockaddr *)&address, &size);
  getsockopt(client, SOL_SOCKET, SO_TYPE, &kind, &length);
  send(client, "hello", 5, MSG_NOSIGNAL);
  struct pollfd polled[2] = {{accepted, POLLIN, 0}, {-1, POLLOUT, 0}};
  poll(polled, 2, 1000);
  char buffer[32];
  recv(accepted, buffer, sizeof buffer, 0);
  poll(polled, 1, 0);
  struct iovec piece = {"over", 4};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
  sendmsg(accepted, &message, 0);
  struct iovec room = {buffer, sizeof buffer};
  struct msghdr received = {.msg_iov = &room, .msg_iovlen = 1};
  recvmsg(client, &received, 0);
  shutdown(client, SHUT_WR);
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = in6addr_loopback};
  int datagram = socket(AF_INET6, SOCK_DGRAM, 0);
  connect(datagram, (struct sockaddr *)&six, sizeof six);
  struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "missing.socket"};
  int unix_socket = socket(AF_UNIX, SOCK_DGRAM, 0);
  connect(unix_socket, (struct sockaddr *)&local, sizeof local);
  strcpy(local.sun_path + 1, "nobody listens");
  local.sun_path[0] = 0;
  connect(unix_socket, (struct sockaddr *)&local, offsetof(struct sockaddr_un, sun_path) + 15);
  sendto(unix_socket, "x", 1, 0, (struct sockaddr *)&local, offsetof(struct sockaddr_un, sun_path) + 15);
  int pair[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static void system_wide(void) {
  char entries[32768];
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct sets[2] = {{0}};
  syscall(SYS_capget, &header, NULL);
  syscall(SYS_capset, &header, sets);
  syscall(SYS_capget, &header, sets);
  sets[0].permitted = 1 << CAP_KILL | 1 << CAP_CHOWN;
  sets[1].permitted = 1 << (CAP_BPF - 32);
  syscall(SYS_capset, &header, sets);
  header.version = 7;
  syscall(SYS_capget, &header, sets);
  prctl(PR_CAPBSET_READ, CAP_CHECKPOINT_RESTORE + 20);
  prctl(PR_CAPBSET_DROP, 77);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_ADMIN, 0, 0);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGUSR1);
  prctl(PR_SET_SECCOMP, 2, 0);
  prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  prctl(PR_SET_NAME, "a \"name\"");
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_GET_DUMPABLE);
  prctl(PR_SET_KEEPCAPS, 1);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  mkdir("e", 0755);
  close(open("e/one", O_WRONLY | O_CREAT, 0644));
  int fd = open("e", O_RDONLY | O_DIRECTORY);
  while (syscall(SYS_getdents64, fd, entries, sizeof entries) > 0)
    ;
  int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), failure;
  struct sockaddr_in nobody = {AF_INET, htons(9), {htonl(INADDR_LOOPBACK)}};
  connect(client, (struct sockaddr *)&nobody, sizeof nobody);
  struct pollfd connected = {client, POLLOUT, 0};
  poll(&connected, 1, 1000);
  for (int turn = 0; turn < 2; turn++)
    getsockopt(client, SOL_SOCKET, SO_ERROR, &failure, &(socklen_t){4});
  syscall(SYS_getdents64, fd + 10, entries, 100);
  unlink("e/one");
  rmdir("e");
}

static void handler(int number) { (void)number; }

static void signals(void) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  raise(SIGUSR1);
  kill(getpid(), SIGUSR2);
  struct itimerval timer = {.it_value = {0, 1000}};
  sigaction(SIGALRM, &action, NULL);
  sigset_t others = blocked, before;
  sigaddset(&blocked, SIGALRM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  setitimer(ITIMER_REAL, &timer, NULL);
  sigsuspend(&others);
  sigprocmask(SIG_SETMASK, &before, NULL);
  struct timespec nap = {0, 1000};
  nanosleep(&nap, NULL);
  clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
  struct rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  int *nowhere = mmap((void *)0x10000000, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (!fork())
    *nowhere = 1;
  wait(NULL);
}

static void *execute(void *nothing) {
  (void)nothing;
  struct timespec until_the_other_waits = {0, 200000000};
  nanosleep(&until_the_other_waits, NULL);
  execl("/proc/self/exe", "exerciser", "exec", NULL);
  return NULL;
}

static void thread_exec(void) {
  pthread_t other;
  pthread_create(&other, NULL, execute, NULL);
  pthread_join(other, NULL);
}

int main(int count, char **words) {
  without_clone3();
  const char *what = count > 1 ? words[1] : "";
  if (!strcmp(what, "files"))
    files();
  else if (!strcmp(what, "failing"))
    failing();
  else if (!strcmp(what, "forks"))
    forks();
  else if (!strcmp(what, "threads"))
    threads();
  else if (!strcmp(what, "network"))
    network();
  else if (!strcmp(what, "system_wide"))
    system_wide();
  else if (!strcmp(what, "signals"))
    signals();
  else if (!strcmp(what, "thread_exec"))
    thread_exec();
  else if (!strcmp(what, "exec"))
    mkdir("/proc/executed", 0700);
  return 3;
}
