/*
 * http_fixture - a front on one loop with a scripted handler, and a blocking client on loopback.
 */
#ifndef TESTS_UNIT_HTTP_FIXTURE_H
#define TESTS_UNIT_HTTP_FIXTURE_H

#include "common/base/assert.h"
#include "common/base/buffer.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "gateway/http/http_front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct loop *loops[2];
    size_t loop_count;
    struct http_front *front;
    uint16_t port;
    sem_t drained;
    atomic_uint requests;   /* that reached the handler */
    atomic_uint closed;     /* on_closed calls */
    atomic_uint bad;        /* on_bad_request calls */
    atomic_int last_bad;
    atomic_int last_code;   /* of the last piece or write that failed */
    atomic_ulong body_bytes;
    atomic_uint max_piece;
};

static inline void fixture_bad(void *data, enum http_bad_kind kind, const char *peer, struct arena *arena,
                               struct http_bad_reply *reply)
{
    struct fixture *f = data;
    (void)arena;
    assert_true(strlen(peer) > 0);
    atomic_fetch_add(&f->bad, 1);
    atomic_store(&f->last_bad, (int)kind);
    reply->body = slice_str("<Error/>");
}

static inline void fixture_start(struct fixture *f, void (*on_request)(void *, struct http_request *),
                                 struct http_front_options *options)
{
    struct error e = ERROR_INIT;
    if (f->loop_count == 0) {
        f->loop_count = 1;
    }
    for (size_t i = 0; i < f->loop_count; i++) {
        assert_int_equal(loop_create(env_real(), "http", &f->loops[i], &e), ERRC_OK);
        assert_int_equal(loop_start(f->loops[i], &e), ERRC_OK);
    }
    options->env = env_real();
    options->loops = f->loops;
    options->loop_count = f->loop_count;
    options->address = "127.0.0.1";
    options->handler = (struct http_handler){ on_request, fixture_bad, f };
    assert_int_equal(http_front_start(options, &f->front, &e), ERRC_OK);
    f->port = http_front_port(f->front);
    assert_int_equal(sem_init(&f->drained, 0, 0), 0);
}

static inline void fixture_on_drained(void *data)
{
    struct fixture *f = data;
    (void)sem_post(&f->drained);
}

static inline void fixture_stop(struct fixture *f, uint32_t drain_ms)
{
    http_front_drain(f->front, drain_ms, fixture_on_drained, f);
    assert_int_equal(sem_wait(&f->drained), 0);
    for (size_t i = 0; i < f->loop_count; i++) {
        loop_destroy(f->loops[i]);
    }
    http_front_destroy(f->front);
    (void)sem_destroy(&f->drained);
}

static inline int client_connect(const struct fixture *f)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(f->port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* False: the server has closed. */
static inline bool client_send(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static inline void client_say(int fd, const char *text)
{
    assert_true(client_send(fd, text, strlen(text)));
}

/* Reads until the server closes, `wanted` bytes are there, or nothing comes for wait_ms. Terminated. */
static inline size_t client_read(int fd, char *target, size_t capacity, size_t wanted, int wait_ms, bool *ret_eof)
{
    size_t got = 0;
    *ret_eof = false;
    while (got < wanted && got + 1 < capacity) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        if (poll(&poll_fd, 1, wait_ms) <= 0) {
            break;
        }
        ssize_t n = recv(fd, target + got, capacity - 1 - got, 0);
        if (n <= 0) {
            *ret_eof = true;
            break;
        }
        got += (size_t)n;
    }
    target[got < capacity ? got : capacity - 1] = '\0'; /* recv keeps to it; the compiler does not know */
    return got;
}

/* One whole exchange on a connection of its own: says `text`, reads to the end. */
static inline size_t client_ask(const struct fixture *f, const char *text, size_t len, char *target, size_t capacity,
                                bool *ret_eof)
{
    int fd = client_connect(f);
    (void)client_send(fd, text, len);
    size_t got = client_read(fd, target, capacity, capacity, 1000, ret_eof);
    (void)close(fd);
    return got;
}

static inline size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static inline uint64_t now_ms(void)
{
    return env_now_ns(env_real()) / 1000000u;
}

#endif
