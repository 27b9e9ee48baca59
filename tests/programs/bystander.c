/*
 * Programs that have nothing to do with HTTP, and should pay next to nothing for whoever watches HTTP.
 *
 *     cc -O1 -o bystander bystander.c && ./bystander store       prints its port, answers Redis's PING with PONG (RESP2)
 *     ./bystander ask PORT CONNECTIONS SECONDS [RATE]             asks on keep-alive connections, each again as soon as it is answered or, with a rate, so
 *                                                                 many times a second in all; prints how many answers came
 *     ./bystander files PATH SECONDS                              writes and reads 512 bytes of a file, by pwrite, read, lseek and write; prints how many calls
 *                                                                 that were, and the CPU seconds that they took
 *
 * All are one thread; the first two over epoll.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The highest file descriptor that the server takes, plus one. */
enum { CONNECTIONS = 1024 };

static const char PING[] = "*1\r\n$4\r\nPING\r\n";
static const char PONG[] = "+PONG\r\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static int socket_to(struct sockaddr_in *address, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        fail("socket");
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons(port);
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd;
}

static void answer(int fd, size_t *part)
{
    char asked[1024];
    ssize_t got = read(fd, asked, sizeof asked);
    if (got <= 0) {
        close(fd);
        return;
    }
    *part += got;
    for (; *part >= sizeof PING - 1; *part -= sizeof PING - 1)
        if (write(fd, PONG, sizeof PONG - 1) < 0 && errno != EPIPE && errno != ECONNRESET)
            fail("write");
}

static _Noreturn void store(void)
{
    /* Bytes of a command that is not whole yet. */
    static size_t parts[CONNECTIONS];
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int listener = socket_to(&address, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        fail("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poll = epoll_create1(0);
    watch(poll, listener);
    for (;;) {
        struct epoll_event events[16];
        int ready = epoll_wait(poll, events, 16, -1);
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            if (fd != listener) {
                answer(fd, &parts[fd]);
                continue;
            }
            int one = 1, accepted = accept(listener, NULL, NULL);
            if (accepted < 0)
                continue;
            if (accepted >= CONNECTIONS) {
                close(accepted);
                continue;
            }
            parts[accepted] = 0;
            setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(poll, accepted);
        }
    }
}

static void ping(int fd)
{
    if (write(fd, PING, sizeof PING - 1) != sizeof PING - 1)
        fail("write");
}

static int ask(int port, int connections, double seconds, double rate)
{
    int poll = epoll_create1(0), idle[CONNECTIONS], free = 0;
    if (connections > CONNECTIONS)
        connections = CONNECTIONS;
    for (int at = 0; at < connections; at++) {
        struct sockaddr_in address;
        int one = 1, fd = socket_to(&address, port);
        if (connect(fd, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(poll, fd);
        idle[free++] = fd;
    }
    long answers = 0, asked = 0;
    double start = now(), end = start + seconds;
    for (;;) {
        double time = now();
        int over = time >= end;
        /* Without a rate, whoever is idle asks. */
        long due = rate > 0 ? (long)((time - start) * rate) : asked + free;
        for (; !over && free && asked < due; asked++)
            ping(idle[--free]);
        /* What was asked before the end is waited for: whoever else counts answers counts as many. */
        if (over && answers == asked)
            break;
        if (time > end + 10)
            fail("waited 10 s for an answer");
        struct epoll_event events[16];
        int ready = epoll_wait(poll, events, 16, rate > 0 ? 1 : 1000);
        for (int at = 0; at < ready; at++) {
            char answer[64];
            if (read(events[at].data.fd, answer, sizeof answer) != sizeof PONG - 1)
                fail("an answer");
            answers++;
            idle[free++] = events[at].data.fd;
        }
    }
    printf("%ld\n", answers);
    return 0;
}

static int files(const char *path, double seconds)
{
    char block[512] = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, block, sizeof block) < 0)
        fail(path);
    unlink(path);
    long calls = 0;
    for (double end = now() + seconds; now() < end;)
        for (int at = 0; at < 64; at++, calls += 4)
            if (pwrite(fd, block, sizeof block, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0 || read(fd, block, sizeof block) < 0 ||
                write(fd, block, sizeof block) < 0)
                fail(path);
    printf("%ld %f\n", calls, (double)clock() / CLOCKS_PER_SEC);
    return 0;
}

int main(int count, char **words)
{
    if (count == 2 && !strcmp(words[1], "store"))
        store();
    if ((count == 5 || count == 6) && !strcmp(words[1], "ask"))
        return ask(atoi(words[2]), atoi(words[3]), atof(words[4]), count == 6 ? atof(words[5]) : 0);
    if (count == 4 && !strcmp(words[1], "files"))
        return files(words[2], atof(words[3]));
    fprintf(stderr, "usage: bystander store | bystander ask PORT CONNECTIONS SECONDS [RATE] | bystander files PATH SECONDS\n");
    return 2;
}
