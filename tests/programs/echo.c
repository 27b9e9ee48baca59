/*
 * An HTTP server that does no work, and a client that asks it: what a watched program pays, and nothing else.
 *
 *     cc -O1 -o echo echo.c && ./echo serve        prints its port, answers every head with the same 200
 *     ./echo ask PORT CONNECTIONS SECONDS          asks on keep-alive connections, prints how many answers came
 *
 * Both are one thread over epoll. An answer follows each request; nothing is pipelined.
 */
#include <arpa/inet.h>
#include <errno.h>
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

static const char REQUEST[] = "GET /work HTTP/1.1\r\nHost: echo\r\n\r\n";
static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
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

/* How many heads end in these bytes; `seen` is how much of an empty line ended what the connection sent before. */
static int heads(const char *at, ssize_t length, unsigned char *seen)
{
    static const char END[] = "\r\n\r\n";
    int count = 0;
    for (const char *end = at + length; at < end; at++) {
        if (*at == END[*seen])
            ++*seen;
        else
            *seen = *at == END[0];
        if (*seen == sizeof END - 1) {
            *seen = 0;
            count++;
        }
    }
    return count;
}

static _Noreturn void serve(void)
{
    static unsigned char seen[CONNECTIONS];
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
            if (fd == listener) {
                int one = 1, accepted = accept(listener, NULL, NULL);
                if (accepted < 0)
                    continue;
                if (accepted >= CONNECTIONS) {
                    close(accepted);
                    continue;
                }
                seen[accepted] = 0;
                setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(poll, accepted);
                continue;
            }
            char request[1024];
            ssize_t got = read(fd, request, sizeof request);
            if (got <= 0) {
                close(fd);
                continue;
            }
            for (int left = heads(request, got, &seen[fd]); left > 0; left--)
                if (write(fd, ANSWER, sizeof ANSWER - 1) < 0 && errno != EPIPE && errno != ECONNRESET)
                    fail("write");
        }
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int ask(int port, int connections, double seconds)
{
    int poll = epoll_create1(0);
    for (int at = 0; at < connections; at++) {
        struct sockaddr_in address;
        int one = 1, fd = socket_to(&address, port);
        if (connect(fd, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(poll, fd);
        if (write(fd, REQUEST, sizeof REQUEST - 1) < 0)
            fail("write");
    }
    /* What was asked before the end is waited for: whoever else counts answers counts as many. */
    long answers = 0;
    int open = connections;
    for (double end = now() + seconds; open;) {
        struct epoll_event events[16];
        int ready = epoll_wait(poll, events, 16, 1000), over = now() >= end;
        if (now() > end + 10)
            fail("waited 10 s for an answer");
        for (int at = 0; at < ready; at++) {
            char answer[1024];
            if (read(events[at].data.fd, answer, sizeof answer) != sizeof ANSWER - 1)
                fail("an answer");
            answers++;
            if (over)
                open--;
            else if (write(events[at].data.fd, REQUEST, sizeof REQUEST - 1) < 0)
                fail("write");
        }
    }
    printf("%ld\n", answers);
    return 0;
}

int main(int count, char **words)
{
    if (count == 2 && !strcmp(words[1], "serve"))
        serve();
    if (count == 5 && !strcmp(words[1], "ask"))
        return ask(atoi(words[2]), atoi(words[3]), atof(words[4]));
    fprintf(stderr, "usage: echo serve | echo ask PORT CONNECTIONS SECONDS\n");
    return 2;
}
