/*
 * The unit of work of all programs here. A chain of dependent multiplications takes the same time wherever it is called from, so
 * that a function's share of the time is its share of the units.
 */
#ifndef WORK_H
#define WORK_H

#include <stdint.h>

#ifdef __clang__
#define OWN_FRAME __attribute__((noinline))
#else
#define OWN_FRAME __attribute__((noinline, noclone))
#endif

static volatile uint64_t sink;

/*
 * About 60 microseconds a unit at 3 GHz. Functions whose shares are looked at take several milliseconds each time: where one were shorter than a sampler's
 * period, the two could keep step with each other.
 */
#define WORK(units)                                                            \
    do {                                                                       \
        uint64_t value = sink | 1;                                             \
        for (int unit = 0; unit < (units); unit++)                             \
            for (int step = 0; step < 50000; step++)                           \
                value = value * 6364136223846793005ull + 1442695040888963407ull; \
        sink = value;                                                          \
    } while (0)

#endif
