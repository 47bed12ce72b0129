#include "tools/bench/bench_connection.h"

#include "common/base/assert.h"
#include "common/base/env.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define READS_PER_EVENT 8 /* then the other connections get their turn */

void bench_connection_init(struct bench_connection *connection, int epoll, const struct bench_body *body,
                           const struct bench_body *verify)
{
    connection->fd = -1;
    connection->epoll = epoll;
    connection->state = CONNECTION_CLOSED;
    connection->events = 0;
    connection->body = body;
    connection->verify = verify;
    connection->failure = NULL;
}

void bench_connection_close(struct bench_connection *connection)
{
    if (connection->fd >= 0) {
        (void)close(connection->fd); /* leaves the epoll set by itself */
    }
    connection->fd = -1;
    connection->events = 0;
    connection->state = CONNECTION_CLOSED;
}

static enum connection_progress fail(struct bench_connection *connection, const char *why)
{
    connection->failure = why;
    bench_connection_close(connection);
    return CONNECTION_FAILED;
}

static void events_want(struct bench_connection *connection, uint32_t events)
{
    if (connection->events == events) {
        return;
    }
    struct epoll_event event = { .events = events, .data = { .ptr = connection } };
    int how = connection->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int rc = epoll_ctl(connection->epoll, how, connection->fd, &event);
    ASSERT(rc == 0);
    connection->events = events;
}

/* Offers head and body to the kernel until it takes no more. */
static enum connection_progress send_some(struct bench_connection *connection)
{
    struct bench_request *request = &connection->request;
    uint64_t total = request->head_len + request->body_bytes;
    while (connection->sent_bytes < total) {
        struct iovec parts[2];
        int count = 0;
        uint64_t body_sent = 0;
        if (connection->sent_bytes < request->head_len) {
            parts[count++] = (struct iovec){ request->head + connection->sent_bytes,
                                             request->head_len - (size_t)connection->sent_bytes };
        } else {
            body_sent = connection->sent_bytes - request->head_len;
        }
        if (body_sent < request->body_bytes) {
            struct slice window = bench_body_window(connection->body, request->object, body_sent,
                                                    request->body_bytes - body_sent);
            parts[count++] = (struct iovec){ (void *)(uintptr_t)window.data, window.len };
        }
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = (size_t)count };
        ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            events_want(connection, EPOLLIN | EPOLLOUT);
            return CONNECTION_WAITING;
        }
        if (sent < 0 && errno != EINTR) {
            /* A refusal may stand in the receive buffer: read it before giving up. */
            break;
        }
        connection->sent_bytes += sent > 0 ? (uint64_t)sent : 0;
        connection->last_ns = env_now_ns(env_real());
    }
    connection->state = CONNECTION_RECEIVING;
    events_want(connection, EPOLLIN);
    return CONNECTION_WAITING;
}

static enum connection_progress answered(struct bench_connection *connection, bool has_rest)
{
    uint64_t total = connection->request.head_len + connection->request.body_bytes;
    connection->state = CONNECTION_IDLE;
    if (connection->response.close || has_rest || connection->sent_bytes < total) {
        bench_connection_close(connection);
    } else {
        events_want(connection, EPOLLIN);
    }
    return CONNECTION_ANSWERED;
}

static enum connection_progress receive_some(struct bench_connection *connection, uint8_t *scratch,
                                             size_t scratch_bytes)
{
    for (unsigned i = 0; i < READS_PER_EVENT; i++) {
        ssize_t got = recv(connection->fd, scratch, scratch_bytes, 0);
        if (got < 0 && errno == EAGAIN) {
            return CONNECTION_WAITING;
        }
        if (got < 0 && errno != EINTR) {
            return fail(connection, errno == ECONNRESET ? "connection reset" : "cannot receive");
        }
        if (got == 0) {
            return fail(connection, "connection closed before the end of the response");
        }
        if (got > 0) {
            size_t used = 0;
            connection->last_ns = env_now_ns(env_real());
            if (bench_response_feed(&connection->response, slice_of(scratch, (size_t)got), &used) != ERRC_OK) {
                return fail(connection, "the response is not HTTP/1.1");
            }
            if (connection->response.state == RESPONSE_DONE) {
                return answered(connection, used < (size_t)got);
            }
            if ((size_t)got < scratch_bytes) {
                return CONNECTION_WAITING; /* level-triggered: epoll tells when there is more */
            }
        }
    }
    return CONNECTION_WAITING;
}

static enum connection_progress connect_start(struct bench_connection *connection, const struct bench_address *address)
{
    int one = 1;
    connection->fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        return fail(connection, "cannot make a socket (too few file descriptors?)");
    }
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only slower without */
    if (connect(connection->fd, (const struct sockaddr *)&address->address, address->len) != 0 && errno != EINPROGRESS) {
        return fail(connection, "cannot connect");
    }
    connection->state = CONNECTION_CONNECTING;
    events_want(connection, EPOLLOUT);
    return CONNECTION_WAITING;
}

enum connection_progress bench_connection_begin(struct bench_connection *connection,
                                                const struct bench_address *address)
{
    ASSERT(connection->state == CONNECTION_CLOSED || connection->state == CONNECTION_IDLE);
    bench_response_init(&connection->response, &connection->request, connection->verify);
    connection->sent_bytes = 0;
    connection->start_ns = env_now_ns(env_real());
    connection->last_ns = connection->start_ns;
    if (connection->state == CONNECTION_CLOSED) {
        return connect_start(connection, address);
    }
    connection->state = CONNECTION_SENDING;
    return send_some(connection);
}

enum connection_progress bench_connection_run(struct bench_connection *connection, uint8_t *scratch,
                                              size_t scratch_bytes)
{
    if (connection->state == CONNECTION_CONNECTING) {
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
            return fail(connection, error == ECONNREFUSED ? "connection refused" : "cannot connect");
        }
        connection->state = CONNECTION_SENDING;
    }
    if (connection->state == CONNECTION_SENDING) {
        enum connection_progress progress = send_some(connection);
        if (progress != CONNECTION_WAITING) {
            return progress;
        }
    }
    if (connection->state == CONNECTION_IDLE) { /* the server ended a connection that waits: not a failed request */
        bench_connection_close(connection);
        return CONNECTION_WAITING;
    }
    return receive_some(connection, scratch, scratch_bytes);
}
