/*
 * trace - the access lines of the last moments, for `cairn trace`.
 *
 * A bounded ring that is filled only while somebody asks: each question keeps it on for TRACE_ON_NS. A reader names the
 * number of the last line that it has and gets those behind it; what the ring has let go of meanwhile is counted as
 * dropped, so a slow reader costs nothing and knows what it missed.
 * Thread: trace_add on the gateway's loops, trace_answer on the admin executor.
 */
#ifndef SERVER_TRACE_H
#define SERVER_TRACE_H

#include "common/base/env.h"
#include "gateway/handlers/handlers.h"

#include <jansson.h>

#define TRACE_LINES_MAX 4096
#define TRACE_BYTES_MAX (4u << 20)
#define TRACE_ANSWER_LINES 1000
#define TRACE_ON_NS UINT64_C(10000000000)

struct trace;

/* Which lines a reader wants; NULL: all. */
struct trace_filter {
    const char *bucket;
    const char *status; /* "404", "5xx" */
};

struct trace *trace_create(struct env *env);
void trace_destroy(struct trace *trace); /* NULL is fine */
void trace_add(struct trace *trace, const struct gateway_access *access);
bool trace_status_valid(const char *status);
/* has_after false: from now on, no lines. Names: docs/ADMIN-API.md, "trace". Gives. */
json_t *trace_answer(struct trace *trace, bool has_after, uint64_t after, const struct trace_filter *filter);

#endif
