/*
 * Connections one after the other, as fast as a client and a server make them over loopback, each a process of its own: connect, a byte there, a byte back, close.
 *
 *     cc -O1 -o churn churn.c && ./churn seconds N   or   ./churn count N
 *
 * The client closes first. At the end it prints the number of connections, the seconds that they took and the CPU seconds of both processes. In the second form it
 * makes N more for each line on standard input, and prints such a line each time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ports of the server's that are taken in turn: each has some 28,000 of the client's, which the kernel gives again a second after their connection. */
enum { PORTS = 16 };

struct door {
    int listener;
    struct sockaddr_in address;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void open_door(struct door *door)
{
    socklen_t length = sizeof door->address;
    memset(&door->address, 0, length);
    door->address.sin_family = AF_INET;
    door->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    door->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (door->listener < 0 || bind(door->listener, (struct sockaddr *)&door->address, length) || listen(door->listener, 128) ||
        getsockname(door->listener, (struct sockaddr *)&door->address, &length))
        fail("listen");
}

/* The client's connections come in the order of the doors. */
static _Noreturn void serve(const struct door *doors)
{
    for (unsigned number = 0;; number++) {
        char byte;
        int fd = accept(doors[number % PORTS].listener, NULL, NULL);
        if (fd < 0)
            fail("accept");
        if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 0)
            fail("serve");
        close(fd);
    }
}

static void ask(const struct sockaddr_in *address)
{
    char byte = '.';
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address))
        fail("connect");
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
        fail("ask");
    close(fd);
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

/* CPU seconds of a process, all its threads. */
static double cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
        fail("clock_getcpuclockid");
    return used.tv_sec + used.tv_nsec / 1e9;
}

/* Makes connections until there are `most` or `seconds` are over; says how it went. */
static void run(const struct door *doors, pid_t server, unsigned long most, double seconds)
{
    static unsigned long made;
    unsigned long before = made;
    double start = now(), cpu = cpu_of(0) + cpu_of(server), end;
    do {
        ask(&doors[made++ % PORTS].address);
        end = now();
    } while (made - before < most && end - start < seconds);
    printf("%lu %.6f %.6f\n", made - before, end - start, cpu_of(0) + cpu_of(server) - cpu);
    fflush(stdout);
}

int main(int words, char **word)
{
    int by_time = words == 3 && !strcmp(word[1], "seconds"), by_count = words == 3 && !strcmp(word[1], "count");
    long amount = words == 3 ? atol(word[2]) : 0;
    if (!(by_time || by_count) || amount < 1) {
        fprintf(stderr, "usage: churn seconds|count N\n");
        return 2;
    }
    struct door doors[PORTS];
    for (int at = 0; at < PORTS; at++)
        open_door(&doors[at]);
    pid_t server = fork();
    if (server < 0)
        fail("fork");
    if (!server) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(doors);
    }
    for (int at = 0; at < PORTS; at++)
        close(doors[at].listener);
    if (by_time)
        run(doors, server, -1UL, amount);
    for (char line[16]; by_count && fgets(line, sizeof line, stdin);)
        run(doors, server, amount, 1e9);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
