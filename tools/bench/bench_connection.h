/*
 * bench_connection - one connection of the load generator: sends a request, reads its response, says how it went.
 *
 *   CLOSED -> CONNECTING -> SENDING -> RECEIVING -> IDLE -> SENDING ...     any -> CLOSED on error
 *
 * Non-blocking; its worker waits in epoll and calls bench_connection_run(). A response that arrives before the
 * body is sent (a refusal) ends the request; the connection is then closed.
 * Thread: its worker's.
 */
#ifndef TOOLS_BENCH_BENCH_CONNECTION_H
#define TOOLS_BENCH_BENCH_CONNECTION_H

#include "tools/bench/bench_response.h"

#include <sys/socket.h>

enum connection_state { CONNECTION_CLOSED, CONNECTION_CONNECTING, CONNECTION_SENDING, CONNECTION_RECEIVING, CONNECTION_IDLE };

enum connection_progress {
    CONNECTION_WAITING, /* more events are needed */
    CONNECTION_ANSWERED,/* `response` is complete */
    CONNECTION_FAILED,  /* `failure` says why; the connection is closed */
};

struct bench_address {
    struct sockaddr_storage address;
    socklen_t len;
};

struct bench_connection {
    int fd;    /* -1: closed */
    int epoll; /* borrowed */
    enum connection_state state;
    uint32_t events;      /* registered */
    uint64_t sent_bytes;  /* of head and body */
    uint64_t start_ns;    /* the request's first byte was offered to the kernel */
    uint64_t last_ns;     /* something moved */
    const struct bench_body *body;
    const struct bench_body *verify; /* NULL: not compared */
    const char *failure;
    struct bench_request request;
    struct bench_response response;
};

void bench_connection_init(struct bench_connection *connection, int epoll, const struct bench_body *body,
                           const struct bench_body *verify);
/* Begins the request that stands in `request`, on the open connection or a new one. */
enum connection_progress bench_connection_begin(struct bench_connection *connection,
                                                const struct bench_address *address);
/* After an event. `scratch` receives what is read. */
enum connection_progress bench_connection_run(struct bench_connection *connection, uint8_t *scratch,
                                              size_t scratch_bytes);
void bench_connection_close(struct bench_connection *connection);

#endif
