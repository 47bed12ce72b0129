/*
 * http_admin - the admin port: a small h2o server on one loop.
 *
 * Handlers are found by exact method and path (without the query), or by a path that ends in '/',
 * which takes everything below it; the longest match wins. Nobody registered: 404; another method: 405.
 * Bodies are buffered whole, at most ADMIN_BODY_BYTES_MAX.
 * A client that does not read its answer, or is one too many, is closed: struct http_admin_limits.
 * Thread: handlers run on the loop's thread and reply on it, at once or later.
 * Memory: a request lives until its reply has been given; the server borrows loop and TLS until destroyed.
 */
#ifndef COMMON_HTTP_ADMIN_H
#define COMMON_HTTP_ADMIN_H

#include "common/base/error.h"
#include "common/base/slice.h"
#include "common/io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADMIN_BODY_BYTES_MAX (1u << 20)
#define ADMIN_HEADERS_MAX 100

struct http_admin_limits { /* 0: the default in http_admin.c */
    unsigned connections; /* beyond them a new one is closed at once */
    uint32_t reply_ms;    /* from an answer to its last byte being taken by the client's TCP */
    uint32_t close_ms;    /* what http_admin_close gives connections before it resets them */
};

struct http_admin;
struct http_tls;

struct http_admin_header {
    struct slice name; /* lower case */
    struct slice value;
};

struct http_admin_request {
    struct slice method;
    struct slice target; /* path and query as received */
    struct slice path;   /* as received, without the query */
    struct slice query;  /* without '?' */
    struct slice authority; /* the Host header's value */
    struct slice body;
    const struct http_admin_header *headers; /* without Host, which is `authority` */
    size_t header_count;
    bool is_tls;
    struct executor *executor; /* the loop's: later replies are given on it */
};

struct http_admin_reply {
    unsigned status;
    const char *content_type;
    struct slice body; /* copied */
};

typedef void http_admin_fn(void *data, struct http_admin_request *req);

MUST_CHECK enum errc http_admin_create(struct loop *loop, const char *address, uint16_t port, struct http_tls *tls,
                                       struct http_admin **ret_admin, struct error *e);
/* Before http_admin_start. `path` and `method` are static strings. */
void http_admin_add(struct http_admin *admin, const char *path, const char *method, http_admin_fn *fn, void *data);
/* Before http_admin_start. */
void http_admin_limit(struct http_admin *admin, const struct http_admin_limits *limits);
/* Binds and begins to serve; EXISTS: the address is in use. */
MUST_CHECK enum errc http_admin_start(struct http_admin *admin, struct error *e);
uint16_t http_admin_port(const struct http_admin *admin);
/* Value of a header (lower case name), or an empty slice with data NULL. */
struct slice http_admin_header_find(const struct http_admin_request *req, const char *lower_name);
/* Exactly once for each request, on the loop's thread; req is gone afterwards. Harmless when the client left. */
void http_admin_reply(struct http_admin_request *req, const struct http_admin_reply *reply);
/* From the loop's thread. Stops listening, ends idle connections, lets requests that handlers hold be
 * answered; clients that have not taken their answers by then are reset. on_closed runs once on the loop when
 * nothing is left. */
void http_admin_close(struct http_admin *admin, void (*on_closed)(void *data), void *data);
/* After on_closed, or when it was never started. */
void http_admin_destroy(struct http_admin *admin);

#endif
