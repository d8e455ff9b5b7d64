/* Attempts to do something unseen in a traced sandbox, one a word on the command line. Each prints
   the errno of the attempt, 0 when it worked. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536];

static int unseen(void *nothing) {
  (void)nothing;
  mkdir("unseen", 0700);
  return 0;
}

static int untraced_clone(void) {
  return clone(unseen, stack + sizeof stack, 0x00800000 | SIGCHLD, NULL) < 0 ? errno : 0;
}

static int untraced_clone3(void) {
  unsigned long long arguments[11] = {0x00800000, 0, 0, 0, SIGCHLD};
  long child = syscall(435, arguments, 64);
  if (!child) {
    unseen(NULL);
    _exit(0);
  }
  return child < 0 ? errno : 0;
}

static int io_uring(void) {
  char parameters[120] = {0};
  return syscall(425, 4, parameters) < 0 ? errno : 0;
}

static int listener(void) {
  struct sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {1, program};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter) < 0 ? errno
                                                                                                      : 0;
}

static int own_filter(void) {
  struct sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {1, program};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
    return errno;
  return mkdir("/proc/after", 0700) < 0 && errno == EEXIST ? 0 : errno;
}

static int debugger(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 ? errno : 0; }

#ifdef __x86_64__
static int narrow_mkdir(void) {
  /* mkdir of 32-bit x86 is 39; its pointers have to lie low. */
  static const char name[] = "/proc/by-int80";
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(39L), "b"(name), "c"(0700L) : "memory", "r8", "r9", "r10", "r11");
  return result < 0 ? -result : 0;
}

static int x32_mkdir(void) { return syscall(0x40000000 | 83, "/proc/by-x32", 0700) < 0 ? errno : 0; }
#else
static int narrow_mkdir(void) { return ENOSYS; }
static int x32_mkdir(void) { return ENOSYS; }
#endif

int main(int count, char **words) {
  const struct {
    const char *word;
    int (*attempt)(void);
  } attempts[] = {
      {"clone", untraced_clone}, {"clone3", untraced_clone3}, {"io_uring", io_uring}, {"listener", listener},
      {"filter", own_filter},    {"debugger", debugger},      {"int80", narrow_mkdir}, {"x32", x32_mkdir},
  };
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (unsigned at = 0; at < sizeof attempts / sizeof *attempts; at++)
    if (count > 1 && !strcmp(words[1], attempts[at].word))
      printf("%d\n", attempts[at].attempt());
  while (wait(NULL) > 0)
    ;
  return 0;
}
