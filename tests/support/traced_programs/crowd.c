/* Two hundred processes of eight threads each, killed at random moments, twenty at a time; with a word,
   that many processes instead which end by themselves. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES 200
#define THREADS 8
#define ALIVE 20

static void *work(void *number) {
  char byte;
  int ends[2];
  for (;;) {
    struct stat found;
    stat("/proc/self", &found);
    if (pipe(ends)) continue;
    write(ends[1], "x", 1);
    read(ends[0], &byte, 1);
    close(ends[0]);
    close(ends[1]);
    if ((long)number == 3) {
      pid_t child = vfork();
      if (!child) execl("/nothing", "nothing", NULL), _exit(1);
      waitpid(child, NULL, 0);
    }
    struct timespec pause = {0, 3000000};
    nanosleep(&pause, NULL);
  }
}

static pid_t start(void) {
  pid_t child = fork();
  if (!child) {
    for (long number = 1; number < THREADS; number++) {
      pthread_t thread;
      pthread_create(&thread, NULL, work, (void *)number);
    }
    work(NULL);
  }
  return child;
}

int main(int count, char **words) {
  if (count > 1) {
    for (int left = atoi(words[1]); left > 0; left--) {
      if (!fork()) _exit(0);
      wait(NULL);
    }
    return 0;
  }
  srandom(7);
  pid_t alive[ALIVE] = {0};
  for (int number = 0; number < PROCESSES + ALIVE; number++) {
    pid_t *place = &alive[number % ALIVE];
    if (*place) {
      struct timespec pause = {0, random() % 4000000};
      nanosleep(&pause, NULL);
      kill(*place, SIGKILL);
      if (number % 3) waitpid(*place, NULL, 0);
    }
    *place = number < PROCESSES ? start() : 0;
  }
  while (wait(NULL) > 0) continue;
  return 0;
}
