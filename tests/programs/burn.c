/*
 * Spends its time in three functions, 60 to 30 to 10: the truth that profiles are held against.
 *
 *     cc -O1 -fno-omit-frame-pointer -pthread -o burn burn.c && ./burn [SECONDS]
 *
 * Each function does the same work for each unit, so that the shares are those of the units. One round takes about a
 * tenth of a second: at 100 samples a second each function's turn holds several samples, so that chance moves the
 * shares by tenths of a point only. A second argument `spawn` burns in a thread of its own. Prints its pid first, then
 * nothing.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;
static void *volatile frame;

/*
 * A chain of dependent multiplications: its time is the same wherever it is called from. A function that calls nothing
 * has a frame of its own only where it asks for its address.
 */
#define WORK(units)                                                            \
    do {                                                                       \
        frame = __builtin_frame_address(0);                                    \
        uint64_t value = sink | 1;                                             \
        for (int unit = 0; unit < (units); unit++)                             \
            for (int step = 0; step < 1000000; step++)                         \
                value = value * 6364136223846793005ull + 1442695040888963407ull; \
        sink = value;                                                          \
    } while (0)

__attribute__((noinline)) void burn_sixty(void) { WORK(60); }
__attribute__((noinline)) void burn_thirty(void) { WORK(30); }
__attribute__((noinline)) void burn_ten(void) { WORK(10); }

__attribute__((noinline)) void burn_round(void)
{
    burn_sixty();
    burn_thirty();
    burn_ten();
    /* Keeps the call above from being a tail call, which would leave no frame. */
    sink++;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *burn_until(void *end)
{
    while (now() < *(double *)end)
        burn_round();
    return NULL;
}

int main(int argc, char **argv)
{
    double end = now() + (argc > 1 ? atof(argv[1]) : 10);
    printf("%d\n", (int)getpid());
    fflush(stdout);
    if (argc > 2 && strcmp(argv[2], "spawn") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, burn_until, &end) != 0)
            return 1;
        pthread_join(thread, NULL);
    } else {
        burn_until(&end);
    }
    return 0;
}
