/*
 * An HTTP/1.1 server with a thread for each connection, whose routes burn CPU in functions of their own: /alpha/… in burn_alpha, /beta/…
 * in burn_beta, about 15 ms each.
 *
 *     cc -O1 -pthread -o joined_server joined_server.c && ./joined_server PORT
 *
 * Runs until it is ended.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile uint64_t sink;

#define BURN                                                                   \
    do {                                                                       \
        uint64_t value = sink | 1;                                             \
        for (int step = 0; step < 12000000; step++)                            \
            value = value * 6364136223846793005ull + 1442695040888963407ull;   \
        sink = value;                                                          \
    } while (0)

__attribute__((noinline)) void burn_alpha(void) { BURN; }
__attribute__((noinline)) void burn_beta(void) { BURN; }

/* Reads one request's head, which has no body. Returns 0 at the end of the connection. */
static int head(int connection, char *into, size_t room)
{
    size_t held = 0;
    while (held < room - 1) {
        ssize_t got = read(connection, into + held, room - 1 - held);
        if (got <= 0)
            return 0;
        held += (size_t)got;
        into[held] = 0;
        if (strstr(into, "\r\n\r\n") != NULL)
            return 1;
    }
    return 0;
}

static void *serve(void *argument)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    int connection = (int)(intptr_t)argument;
    char request[4096];
    while (head(connection, request, sizeof request)) {
        if (strncmp(request, "GET /alpha/", 11) == 0)
            burn_alpha();
        else if (strncmp(request, "GET /beta/", 10) == 0)
            burn_beta();
        if (write(connection, answer, sizeof answer - 1) != (ssize_t)(sizeof answer - 1))
            break;
    }
    close(connection);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)(argc == 2 ? atoi(argv[1]) : 0)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        int connection = accept(listener, NULL, NULL);
        pthread_t thread;
        if (connection < 0)
            return 1;
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)connection) != 0)
            return 1;
        pthread_detach(thread);
    }
}
