// Calls that are inlined into one another, a function in two parts (a cold one), and a function within a function.
#include <stdio.h>
#include <stdlib.h>

struct pair { long left; long right; };
enum shade { LIGHT, DARK = 40 };
static volatile long sink;

static inline __attribute__((always_inline)) long twice(long value) {
    sink += value;
    return value * 2 + sink;
}

static inline __attribute__((always_inline)) long fourfold(long value) {
    long half = twice(value);
    return twice(half) + twice(half + 1);
}

__attribute__((noinline)) static long sum(const struct pair *pairs, int count) {
    long total = 0;
    for (int index = 0; index < count; index++) {
        struct pair one = pairs[index];
        total += fourfold(one.left) - twice(one.right);
        if (__builtin_expect(total < -1000000, 0)) {
            fprintf(stderr, "%ld is too little\n", total);
            abort();
        }
    }
    return total;
}

__attribute__((cold, noinline)) static void rare(enum shade shade) {
    printf("%d %ld\n", shade, twice(shade));
}

__attribute__((noinline)) static long outer(long limit) {
    long count = 0;
    __attribute__((noinline)) long inner(long value) {
        if (value >= limit)
            return fourfold(value);
        count++;
        return inner(value + 1) + count;
    }
    return inner(0) + count;
}

__attribute__((noinline)) void unused(void) { printf("%ld\n", fourfold(7)); }

int main(int argc, char **argv) {
    struct pair pairs[] = {{argc, 2}, {3, 4}, {5, 6}};
    if (argc > 3)
        rare(argc > 4 ? LIGHT : DARK);
    printf("%ld %ld %s\n", sum(pairs, 3), outer(argc + 3), argv[0]);
    return 0;
}
