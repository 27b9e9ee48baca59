/*
 * Runs with a stack of a known shape, forever: the truth that unwinding is held against.
 *
 *     cc -O2 -fomit-frame-pointer -fno-optimize-sibling-calls -pthread -o stacks stacks.c && ./stacks SHAPE
 *
 * Prints "ready" once the stack is as deep as it will be. The shapes are the names in `main`; each one's functions from the innermost on
 * are in the comment above it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static volatile uint64_t sink;
/* Stays 0: the compiler is not to know that nothing returns. */
static volatile int ended;

static void ready(void)
{
    if (write(1, "ready\n", 6) != 6)
        exit(1);
}

/* Works on, so that it is sampled at any of its instructions. */
NOINLINE uint64_t spin(uint64_t value)
{
    ready();
    while (!ended) {
        value = value * 6364136223846793005ull + 1442695040888963407ull;
        sink = value;
    }
    return value;
}

/* A caller keeps something over the call, so that it has a frame. */
#define LEVEL(name, callee)                                                    \
    NOINLINE uint64_t name(uint64_t value)                                     \
    {                                                                          \
        uint64_t kept = value * 3;                                             \
        uint64_t result = callee(value + 1);                                   \
        return result ^ kept ^ sink;                                           \
    }

LEVEL(level_20, spin)
LEVEL(level_19, level_20)
LEVEL(level_18, level_19)
LEVEL(level_17, level_18)
LEVEL(level_16, level_17)

/* Many registers to save. */
NOINLINE uint64_t level_15(uint64_t value)
{
    uint64_t a = value + 1, b = value ^ a, c = b * 3, d = c - a, e = d ^ b,
             f = e + c;
    uint64_t result = level_16(f);
    return result ^ a ^ b ^ c ^ d ^ e ^ f;
}

LEVEL(level_14, level_15)
LEVEL(level_13, level_14)
LEVEL(level_12, level_13)

/* A frame whose size is known only when it runs: it is found by the frame pointer. */
NOINLINE uint64_t level_11(uint64_t value)
{
    volatile char room[(value & 255) + 16];
    room[0] = (char)value;
    uint64_t result = level_12(value + 1);
    return result ^ (uint64_t)room[0];
}

LEVEL(level_10, level_11)

/* A frame of more than a page. */
NOINLINE uint64_t level_9(uint64_t value)
{
    volatile char room[6000];
    room[5999] = (char)value;
    uint64_t result = level_10(value + 1);
    return result ^ (uint64_t)room[5999];
}

LEVEL(level_8, level_9)

/* A frame that is aligned. */
NOINLINE uint64_t level_7(uint64_t value)
{
    volatile _Alignas(64) char room[64];
    room[0] = (char)value;
    uint64_t result = level_8(value + 1);
    return result ^ (uint64_t)room[0];
}

LEVEL(level_6, level_7)
LEVEL(level_5, level_6)
LEVEL(level_4, level_5)
LEVEL(level_3, level_4)
LEVEL(level_2, level_3)
LEVEL(level_1, level_2)

/* spin, recurse a hundred times or more */
NOINLINE uint64_t recurse(uint64_t depth)
{
    uint64_t kept = depth * 3;
    uint64_t result = depth == 1 ? spin(depth) : recurse(depth - 1);
    return result ^ kept ^ sink;
}

static void handler(int number) { spin((uint64_t)number); }

static void handle(int number)
{
    static char stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&other, NULL) != 0 || sigaction(number, &action, NULL) != 0)
        exit(1);
}

/* spin, handler, (libc), raiser: interrupted in a system call, on another stack */
NOINLINE uint64_t raiser(uint64_t value)
{
    handle(SIGUSR1);
    raise(SIGUSR1);
    return value ^ sink;
}

/* Its first instruction is the one that faults: no return address, whose call lies before it. */
NOINLINE uint64_t faulter(volatile uint64_t *nowhere) { return *nowhere; }

/* spin, handler, (libc), faulter, faulting */
NOINLINE uint64_t faulting(uint64_t value)
{
    handle(SIGSEGV);
    return faulter((volatile uint64_t *)(value & 1)) ^ sink;
}

/* (a stub of the procedure linkage table, or libc), stubs */
NOINLINE uint64_t stubs(uint64_t value)
{
    ready();
    while (!ended)
        value += (uint64_t)toupper((int)(value & 127));
    return value;
}

static int compare(const void *left, const void *right)
{
    uint64_t value = sink;
    for (int step = 0; step < 1000; step++)
        value = value * 6364136223846793005ull + *(const int *)left;
    sink = value;
    return *(const int *)left - *(const int *)right;
}

/* compare, (libc), sorting; or without the first, or without the first two */
NOINLINE uint64_t sorting(uint64_t value)
{
    static int numbers[4096];
    ready();
    while (!ended) {
        for (int at = 0; at < 4096; at++)
            numbers[at] = (int)((value + (uint64_t)at) * 2654435761u >> 8);
        qsort(numbers, 4096, sizeof *numbers, compare);
        value += (uint64_t)numbers[0];
    }
    return value;
}

/* spin, level_20 to level_1, thread; (libc) is the outermost */
static void *thread(void *argument)
{
    sink = level_1((uint64_t)argument);
    return NULL;
}

NOINLINE uint64_t threads(uint64_t value)
{
    pthread_t other;
    if (pthread_create(&other, NULL, thread, (void *)value) != 0)
        exit(1);
    pthread_join(other, NULL);
    return sink;
}

/* (kernel), (libc), reading */
NOINLINE uint64_t reading(uint64_t value)
{
    static char room[1 << 20];
    int file = open("/dev/zero", O_RDONLY);
    ready();
    while (!ended)
        value += (uint64_t)read(file, room, sizeof room);
    return value;
}

/* (vdso), (libc), telling; or without the first, or without the first two */
NOINLINE uint64_t telling(uint64_t value)
{
    struct timespec now;
    ready();
    while (!ended) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        value += (uint64_t)now.tv_nsec;
    }
    return value;
}

/* spin, level_20, (anonymous memory), jitting */
NOINLINE uint64_t jitting(uint64_t value)
{
#ifdef __x86_64__
    /* push %rbp; mov %rsp,%rbp; call *%rsi; pop %rbp; ret */
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff,
                                         0xd6, 0x5d, 0xc3};
#else
    /* stp x29, x30, [sp, #-16]!; mov x29, sp; blr x1; ldp x29, x30, [sp], #16; ret */
    static const uint32_t code[] = {0xa9bf7bfd, 0x910003fd, 0xd63f0020,
                                    0xa8c17bfd, 0xd65f03c0};
#endif
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        exit(1);
    memcpy(memory, code, sizeof code);
    if (mprotect(memory, 4096, PROT_READ | PROT_EXEC) != 0)
        exit(1);
    __builtin___clear_cache(memory, (char *)memory + sizeof code);
    uint64_t (*compiled)(uint64_t, uint64_t (*)(uint64_t)) = memory;
    return compiled(value, level_20) ^ sink;
}

NOINLINE uint64_t recurse_100(uint64_t value) { return recurse(100 + (value & 0)); }
NOINLINE uint64_t recurse_200(uint64_t value) { return recurse(200 + (value & 0)); }

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        uint64_t (*run)(uint64_t);
    } shapes[] = {
        {"deep", level_1},      {"recursive", recurse_100},
        {"too_deep", recurse_200}, {"signal", raiser},
        {"fault", faulting},    {"stubs", stubs},
        {"sorting", sorting},   {"thread", threads},
        {"reading", reading},   {"telling", telling},
        {"jitting", jitting},
    };
    for (size_t at = 0; count == 2 && at < sizeof shapes / sizeof *shapes; at++)
        if (strcmp(arguments[1], shapes[at].name) == 0)
            return (int)shapes[at].run((uint64_t)count << 4);
    fprintf(stderr, "usage: stacks SHAPE\n");
    return 2;
}
