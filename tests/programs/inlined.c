/*
 * Spends its time in a function that the compiler puts into another: what debug information alone can tell.
 *
 *     cc -O2 -g -fno-omit-frame-pointer -o inlined inlined.c && ./inlined
 *
 * `work` runs, with `outer_inlined` in it, with `inner_inlined` in that, at the line with the mark. Prints its pid, then
 * nothing, and ends with the process that started it.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

static volatile uint64_t sink;

static inline __attribute__((always_inline)) uint64_t inner_inlined(uint64_t value)
{
    for (int step = 0; step < 100000; step++)
        value = value * 6364136223846793005ull + 1442695040888963407ull; /* here */
    return value;
}

static inline __attribute__((always_inline)) uint64_t outer_inlined(uint64_t value)
{
    return inner_inlined(value) ^ inner_inlined(value + 1);
}

__attribute__((noinline)) uint64_t work(uint64_t value)
{
    return outer_inlined(value) + 1;
}

int main(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    printf("%d\n", getpid());
    fflush(stdout);
    for (;;)
        sink += work(sink);
}
