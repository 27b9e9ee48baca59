/*
 * Many connections that do next to nothing: a server and a client over loopback, each a process of its own.
 *
 *     cc -O1 -o crowd crowd.c && ./crowd CONNECTIONS http|other|silent PER_SECOND
 *
 * The client opens the connections, at most PER_SECOND of them in a second if that is not 0, makes one exchange on each (HTTP/1.1, or Redis's PING; none if silent) and
 * prints `open` with their number. With each line on standard input it makes one more on each and prints `round`. It ends with standard input.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A client's address has some 28,000 ports for each of these. */
enum { PORTS = 16, BATCH = 64 };

static const char *QUESTIONS[] = {"GET /idle HTTP/1.1\r\nHost: crowd\r\n\r\n", "*1\r\n$4\r\nPING\r\n"};
static const char *ANSWERS[] = {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", "+PONG\r\n"};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static _Noreturn void serve(const int *listeners, const char *answer)
{
    int poll = epoll_create1(0);
    for (int at = 0; at < PORTS; at++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = listeners[at]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, listeners[at], &event))
            fail("epoll_ctl");
    }
    /* Descriptors are given out in order: the listeners have the lowest. */
    int highest = listeners[PORTS - 1];
    for (;;) {
        struct epoll_event events[BATCH];
        int ready = epoll_wait(poll, events, BATCH, -1);
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            char asked[256];
            if (fd <= highest) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = accept(fd, NULL, NULL)};
                if (event.data.fd < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event))
                    fail("accept");
            } else if (read(fd, asked, sizeof asked) <= 0) {
                close(fd);
            } else if (write(fd, answer, strlen(answer)) < 0) {
                fail("write");
            }
        }
    }
}

/* One exchange on each connection. */
static void round_of(const int *fds, int count, const char *question, const char *answer)
{
    ssize_t asks = strlen(question), answers = strlen(answer);
    for (int from = 0; from < count; from += BATCH) {
        int to = from + BATCH < count ? from + BATCH : count;
        for (int at = from; at < to; at++)
            if (write(fds[at], question, asks) != asks)
                fail("write");
        for (int at = from; at < to; at++) {
            char heard[256];
            if (read(fds[at], heard, sizeof heard) != answers)
                fail("read");
        }
    }
}

/* Waits as long as `count` connections are to take. */
static void pace(int count, int per_second)
{
    long long nanoseconds = 1000000000LL * count / per_second;
    struct timespec wait = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    nanosleep(&wait, NULL);
}

int main(int words, char **word)
{
    int count = words == 4 ? atoi(word[1]) : 0;
    int kind = words == 4 ? !strcmp(word[2], "http") ? 0 : !strcmp(word[2], "other") ? 1 : !strcmp(word[2], "silent") ? 2 : -1 : -1;
    int per_second = words == 4 ? atoi(word[3]) : -1;
    if (count < 1 || kind < 0 || per_second < 0) {
        fprintf(stderr, "usage: crowd CONNECTIONS http|other|silent PER_SECOND\n");
        return 2;
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        fail("getrlimit");
    limit.rlim_cur = count + 100;
    if (setrlimit(RLIMIT_NOFILE, &limit))
        fail("as many connections as that are more than a process may have: start several");
    int listeners[PORTS];
    struct sockaddr_in addresses[PORTS];
    for (int at = 0; at < PORTS; at++) {
        socklen_t length = sizeof addresses[at];
        memset(&addresses[at], 0, length);
        addresses[at].sin_family = AF_INET;
        addresses[at].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listeners[at] = socket(AF_INET, SOCK_STREAM, 0);
        if (listeners[at] < 0 || bind(listeners[at], (struct sockaddr *)&addresses[at], length) || listen(listeners[at], 1024) ||
            getsockname(listeners[at], (struct sockaddr *)&addresses[at], &length))
            fail("listen");
    }
    pid_t server = fork();
    if (server < 0)
        fail("fork");
    if (!server) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listeners, ANSWERS[kind % 2]);
    }
    for (int at = 0; at < PORTS; at++)
        close(listeners[at]);
    int *fds = calloc(count, sizeof *fds);
    for (int at = 0; at < count; at++) {
        fds[at] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[at] < 0 || connect(fds[at], (struct sockaddr *)&addresses[at % PORTS], sizeof addresses[0]))
            fail("connect");
        if (per_second && at % BATCH == BATCH - 1)
            pace(BATCH, per_second);
    }
    if (kind < 2)
        round_of(fds, count, QUESTIONS[kind], ANSWERS[kind]);
    printf("open %d\n", count);
    fflush(stdout);
    for (char line[16]; fgets(line, sizeof line, stdin);) {
        if (kind < 2)
            round_of(fds, count, QUESTIONS[kind], ANSWERS[kind]);
        printf("round\n");
        fflush(stdout);
    }
    kill(server, SIGKILL);
    return 0;
}
