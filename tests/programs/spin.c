/*
 * An application that does nothing but compute, on every CPU it is given a thread for: what a profiler takes of its time is what is missing.
 *
 *     cc -O1 -pthread -o spin spin.c && ./spin THREADS SECONDS
 *
 * Each thread works twenty calls deep, in code without frame pointers. Prints the units of work that were done, the seconds, and the seconds of CPU time.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static atomic_int over;
static atomic_ulong units;
static volatile uint64_t sink;

/* About 30 microseconds. */
__attribute__((noinline)) static void unit(uint64_t value)
{
    for (int step = 0; step < 25000; step++)
        value = value * 6364136223846793005ull + 1442695040888963407ull;
    sink = value;
}

/* A volatile value behind the call keeps it from becoming a jump. */
__attribute__((noinline)) static void deeper(int left)
{
    if (left > 1)
        deeper(left - 1);
    else
        unit(sink | 1);
    sink = sink | 1;
}

static void *work(void *unused)
{
    unsigned long done = 0;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        deeper(20);
        done++;
    }
    atomic_fetch_add(&units, done);
    return unused;
}

static double seconds(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int threads = argc == 3 ? atoi(argv[1]) : 0;
    if (threads < 1 || threads > 256) {
        fprintf(stderr, "usage: %s THREADS SECONDS\n", argv[0]);
        return 2;
    }
    pthread_t thread[256];
    double begun = seconds(CLOCK_MONOTONIC);
    for (int at = 0; at < threads; at++)
        if (pthread_create(&thread[at], NULL, work, NULL) != 0)
            return 1;
    struct timespec for_seconds = {.tv_sec = atoi(argv[2])};
    nanosleep(&for_seconds, NULL);
    atomic_store(&over, 1);
    for (int at = 0; at < threads; at++)
        pthread_join(thread[at], NULL);
    printf("%lu %.6f %.6f\n", atomic_load(&units), seconds(CLOCK_MONOTONIC) - begun, seconds(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
