/*
 * Programs whose call chains are known, in C: the truth that stacks are held against.
 *
 *     cc -O2 -fomit-frame-pointer -fno-optimize-sibling-calls -pthread -o chains chains.c && ./chains MODE [NAME]
 *
 * Runs until it is ended, under the name chain-NAME, which is the mode's unless it is told another. What each mode's stacks must be is
 * in tests/vm/src/scenarios/profile_truth/subjects.rs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work.h"

/* deep: twenty calls, then half, three tenths and two tenths of the work. */

OWN_FRAME void half(void) { WORK(500); }
OWN_FRAME void three_tenths(void) { WORK(300); }
OWN_FRAME void two_tenths(void) { WORK(200); }

OWN_FRAME void level_20(void)
{
    half();
    three_tenths();
    two_tenths();
}

#define LEVEL(name, next)                                                      \
    OWN_FRAME void name(void)                                                  \
    {                                                                          \
        next();                                                                \
        sink++;                                                                \
    }
LEVEL(level_19, level_20)
LEVEL(level_18, level_19)
LEVEL(level_17, level_18)
LEVEL(level_16, level_17)
LEVEL(level_15, level_16)
LEVEL(level_14, level_15)
LEVEL(level_13, level_14)
LEVEL(level_12, level_13)
LEVEL(level_11, level_12)
LEVEL(level_10, level_11)
LEVEL(level_09, level_10)
LEVEL(level_08, level_09)
LEVEL(level_07, level_08)
LEVEL(level_06, level_07)
LEVEL(level_05, level_06)
LEVEL(level_04, level_05)
LEVEL(level_03, level_04)
LEVEL(level_02, level_03)
LEVEL(level_01, level_02)

/* recursion: a function that calls itself a hundred times, each time with a frame of another size on the way back. */

OWN_FRAME void bottom(void) { WORK(5); }

OWN_FRAME void dive(int left)
{
    volatile char room[64];
    room[left & 63] = (char)left;
    if (left > 1)
        dive(left - 1);
    else
        bottom();
    sink += (uint64_t)room[left & 63];
}

/* calls: nothing but calls, so that samples hit the first and last instructions of functions as often as any. */

OWN_FRAME int tree(int left)
{
    return left < 2 ? left : tree(left - 1) + tree(left - 2) + 1;
}

/* signal: a handler on a stack of its own, for a signal that the thread sends itself. */

OWN_FRAME void in_handler(void) { WORK(9); }

static void on_signal(int number)
{
    (void)number;
    in_handler();
    sink++;
}

OWN_FRAME void provoke(void)
{
    raise(SIGUSR1);
    sink++;
}

/* alarm: the same, at any instruction of a function that has no frame. */

OWN_FRAME void interrupted(void) { WORK(20); }

static void handle(int number)
{
    static char stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    if (sigaltstack(&alternate, NULL) != 0 || sigaction(number, &action, NULL) != 0) {
        perror("sigaction");
        exit(1);
    }
}

static void ring_every(int microseconds)
{
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    if (setitimer(ITIMER_PROF, &every, NULL) != 0) {
        perror("setitimer");
        exit(1);
    }
}

/* sort: through the C library and back. */

OWN_FRAME int compare(const void *one, const void *other)
{
    WORK(1);
    return *(const int *)one - *(const int *)other;
}

OWN_FRAME void sort(void)
{
    int numbers[64];
    for (int at = 0; at < 64; at++)
        numbers[at] = at * 37 % 64;
    qsort(numbers, 64, sizeof *numbers, compare);
    sink += (uint64_t)numbers[0];
}

/* syscall: the time goes to the kernel, in a read that makes it work. */

OWN_FRAME void reader(int file)
{
    static char bytes[1 << 16];
    if (read(file, bytes, sizeof bytes) < 0) {
        perror("read");
        exit(1);
    }
    sink += (uint64_t)bytes[0];
}

/* thread: two of them, from where the C library starts a thread. */

OWN_FRAME void in_thread(void) { WORK(10); }

static void *body(void *unused)
{
    for (;;) {
        in_thread();
        sink++;
    }
    return unused;
}

/* brief: starts itself again and again; each lives for about 30 ms. */

OWN_FRAME void short_life(void) { WORK(400); }

static void be_born(const char *program)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", program, "once", NULL);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "no child: %s\n", strerror(errno));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc >= 2 ? argv[1] : "";
    char name[16];
    snprintf(name, sizeof name, "chain-%.9s", argc == 3 ? argv[2] : mode);
    prctl(PR_SET_NAME, name);
#define MODE(word) (strcmp(mode, word) == 0)
    if (MODE("once")) {
        short_life();
        return 0;
    }
    if (MODE("deep"))
        for (;;)
            level_01();
    if (MODE("recursion"))
        for (;;)
            dive(100);
    if (MODE("calls"))
        for (;;)
            sink += (uint64_t)tree(18);
    if (MODE("signal")) {
        handle(SIGUSR1);
        for (;;)
            provoke();
    }
    if (MODE("alarm")) {
        handle(SIGPROF);
        ring_every(7000);
        for (;;)
            interrupted();
    }
    if (MODE("sort"))
        for (;;)
            sort();
    if (MODE("syscall")) {
        int file = open("/dev/urandom", O_RDONLY);
        for (;;)
            reader(file);
    }
    if (MODE("thread")) {
        pthread_t threads[2];
        for (int at = 0; at < 2; at++)
            if (pthread_create(&threads[at], NULL, body, NULL) != 0)
                return 1;
        pthread_join(threads[0], NULL);
    }
    if (MODE("brief"))
        for (;;)
            be_born(argv[0]);
    fprintf(stderr, "usage: %s MODE [NAME], where MODE is deep|recursion|calls|signal|alarm|sort|syscall|thread|brief\n", argv[0]);
    return 2;
}
