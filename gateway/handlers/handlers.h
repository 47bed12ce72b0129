/*
 * handlers - the S3 operations: from a parsed HTTP request to the answer.
 *
 * The program that composes the roles creates one gateway and gives gateway_handler() to the HTTP
 * front; every request then passes parse, route, authentication (one choke point, before anything
 * else looks at it), bucket check, and the handler of its operation. Life of a PUT and a GET:
 * gateway/README.md. Behaviour by operation: docs/S3.md.
 *
 * Thread: one gateway is shared by all loops; state that may not be shared is kept by loop index.
 * Memory: borrows what the config points to until gateway_destroy().
 */
#ifndef GATEWAY_HANDLERS_HANDLERS_H
#define GATEWAY_HANDLERS_HANDLERS_H

#include "common/base/env.h"
#include "common/base/slice.h"
#include "gateway/auth/auth_request.h"
#include "gateway/data/data_store.h"
#include "gateway/http/http_request.h"
#include "gateway/s3/s3_request.h"

#include <stddef.h>
#include <stdint.h>

#define GATEWAY_LOOPS_MAX 256
#define GATEWAY_VERSION_KEY_BYTES 16
#define GATEWAY_TOKEN_KEY_BYTES 32

/* What one request was: for the access log and for metrics of the composition's own. */
struct gateway_access {
    struct slice request_id;
    struct slice method;
    struct slice target;     /* path and query as received: percent-encoded; signatures must not be logged */
    enum s3_operation operation; /* NONE: it did not parse that far */
    struct slice bucket, key;
    unsigned status;         /* 0: the client left before there was one */
    bool cut;                /* the response was begun and could not be finished */
    struct slice error_code; /* empty: none */
    struct slice cause;      /* of an error that came from inside, in our words; empty: none */
    uint64_t received_bytes; /* of the body, decoded */
    uint64_t sent_bytes;     /* of the body */
    uint64_t duration_us;
    struct slice principal;  /* access key, empty: none */
    const char *peer;
};

struct gateway_config {
    struct env *env;
    struct data_store *store;             /* metadata client, session, cluster map, limits */
    struct s3_config s3;                  /* base domains, region */
    struct auth_identities identities;    /* find() is called on every loop: must be safe from any thread */
    bool any_region;
    bool refuse_unsigned_without_tls;
    struct slice account;                 /* 12 digits; empty: "000000000000" */
    struct slice display_name;            /* of the owner; empty: "root" */
    uint8_t class_k, class_m;             /* code of buckets that are created here */
    uint8_t version_key[GATEWAY_VERSION_KEY_BYTES]; /* cluster secrets: the same in every gateway, for ever */
    uint8_t token_key[GATEWAY_TOKEN_KEY_BYTES];
    size_t loop_count;                    /* of the front: bounds http_request.loop_index */
    /* Called once for each request at its end, on its loop. May be NULL. */
    void (*access_log)(void *data, const struct gateway_access *access);
    void *access_log_data;
};

struct gateway;

/* Copies the config; gives (gateway_destroy, when no request is left). */
struct gateway *gateway_create(const struct gateway_config *config);
void gateway_destroy(struct gateway *gateway); /* NULL is fine; wipes the keys */

/* For struct http_front_options. */
struct http_handler gateway_handler(struct gateway *gateway);

/* While false every request is answered 503 ServiceUnavailable with `why` (static text). True at first. */
void gateway_set_ready(struct gateway *gateway, bool ready, const char *why);

/* ---- counters, for /metrics ---- */

#define GATEWAY_LATENCY_BUCKETS 16

struct gateway_operation_stats {
    uint64_t requests;
    uint64_t by_status[5];       /* 1xx to 5xx; a request without status counts as canceled only */
    uint64_t canceled;           /* the client left first */
    uint64_t latency_us_sum;
    uint64_t latency[GATEWAY_LATENCY_BUCKETS]; /* not cumulative; see gateway_latency_bound_us */
};
/* Upper bound of bucket i in microseconds; UINT64_MAX for the last. */
uint64_t gateway_latency_bound_us(size_t bucket);

struct gateway_stats {
    uint64_t received_bytes, sent_bytes; /* of bodies */
    uint64_t active;                     /* requests that are being worked on */
};
/* Safe from any thread. operation NONE: what did not parse. */
void gateway_operation_stats(struct gateway *gateway, enum s3_operation operation,
                             struct gateway_operation_stats *ret_stats);
void gateway_stats(struct gateway *gateway, struct gateway_stats *ret_stats);


/* Appends the counters above in Prometheus text (names begin with cairn_s3_). */
void gateway_metrics_write(struct gateway *gateway, struct enc *out);

#endif
