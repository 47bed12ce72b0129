/*
 * http_front - listeners and connections of the S3 port.
 *
 * One listener for each loop (SO_REUSEPORT), connections stay on the loop that accepted them.
 * Thread: the functions below are called by the owner, from any thread but not concurrently.
 * Memory: borrows loops, handler and TLS context until http_front_destroy.
 */
#ifndef GATEWAY_HTTP_FRONT_H
#define GATEWAY_HTTP_FRONT_H

#include "common/base/error.h"
#include "common/io/loop.h"
#include "gateway/http/http_request.h"

#include <stddef.h>
#include <stdint.h>

struct http_front;
struct http_tls; /* common/http/http_tls.h */

struct http_front_options {
    struct env *env;
    struct loop *const *loops; /* running or not yet; copied */
    size_t loop_count;
    const char *address;       /* numeric, IPv4 or IPv6 */
    uint16_t port;             /* 0: the system chooses */
    struct http_tls *tls;      /* NULL: plain http */
    struct http_handler handler;
    /* 0 means the default in brackets */
    uint32_t head_deadline_ms;  /* from the first byte to the end of the head [30,000] */
    uint32_t body_deadline_ms;  /* without progress, reading or writing [20,000] */
    uint32_t idle_deadline_ms;  /* between requests [60,000] */
    uint32_t drain_bytes_max;   /* read after a refusal [262,144] */
    uint32_t drain_deadline_ms; /* ... or for this long [2,000] */
    uint32_t connections_max;   /* for each loop [20,000] */
};

struct http_front_stats { /* of all loops */
    uint64_t connections_open;
    uint64_t connections_accepted;
    uint64_t connections_refused; /* over connections_max */
    uint64_t requests_started;
    uint64_t requests_active;
    uint64_t bad_requests;
    uint64_t timeouts;            /* head, body and write deadlines */
};

/* Binds all listeners, then begins to accept on the loops. EXISTS: the address is in use. */
MUST_CHECK enum errc http_front_start(const struct http_front_options *options, struct http_front **ret_front,
                                      struct error *e);
uint16_t http_front_port(const struct http_front *front);
void http_front_stats(const struct http_front *front, struct http_front_stats *ret_stats);
/* Stops accepting, closes idle connections, lets requests in flight finish; on_drained runs once, on one
 * of the loops. What has not finished after deadline_ms is cut. */
void http_front_drain(struct http_front *front, uint32_t deadline_ms, void (*on_drained)(void *data), void *data);
/* After on_drained and outside of it. A front is drained before its loops are destroyed. */
void http_front_destroy(struct http_front *front);

#endif
