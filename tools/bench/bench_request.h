/*
 * bench_request - one signed request as bytes: head, and which object its body is.
 *
 * Pure but for the wall clock that the signature needs.
 */
#ifndef TOOLS_BENCH_BENCH_REQUEST_H
#define TOOLS_BENCH_BENCH_REQUEST_H

#include "tools/bench/bench_body.h"
#include "tools/bench/bench_options.h"

#include <stddef.h>

#define BENCH_HEAD_BYTES 8192

struct bench_request {
    enum bench_op op;
    uint64_t object;     /* put, get, stat, delete: its index; list: the page starts after it */
    uint64_t body_bytes; /* to send */
    char head[BENCH_HEAD_BYTES];
    size_t head_len;
};

/* Fills head, head_len and body_bytes from op and object. LIMIT: the head does not fit. */
MUST_CHECK enum errc bench_request_build(struct bench_request *request, const struct bench_options *options,
                                         const struct bench_body *body);

#endif
