/*
 * Starts processes at a pace, each of which executes a program and ends: what a profiler keeps of them must not grow.
 *
 *     cc -O1 -o storm storm.c && ./storm A_SECOND SECONDS
 *
 * Prints how many it has started, and the seconds that it took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "end") == 0)
        return 0;
    double pace = argc == 3 ? atof(argv[1]) : 0, limit = argc == 3 ? atof(argv[2]) : 0;
    if (pace <= 0 || limit <= 0) {
        fprintf(stderr, "usage: %s A_SECOND SECONDS\n", argv[0]);
        return 2;
    }
    char *arguments[] = {argv[0], "end", NULL};
    double begun = now();
    unsigned long started = 0;
    for (;;) {
        double passed = now() - begun;
        if (passed >= limit)
            break;
        if ((double)started > passed * pace) {
            struct timespec pause = {.tv_nsec = 200000};
            nanosleep(&pause, NULL);
        } else {
            pid_t child;
            int error = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ);
            if (error != 0) {
                fprintf(stderr, "posix_spawn: %s\n", strerror(error));
                return 1;
            }
            started++;
        }
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    printf("%lu %.3f\n", started, now() - begun);
    return 0;
}
