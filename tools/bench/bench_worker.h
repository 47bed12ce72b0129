/*
 * bench_worker - one thread of the load generator: an epoll loop over its share of the connections.
 *
 * Workers share the job: an atomic counter hands out objects, two more feed the progress line. Everything else,
 * results included, belongs to one worker until its thread has ended.
 */
#ifndef TOOLS_BENCH_BENCH_WORKER_H
#define TOOLS_BENCH_BENCH_WORKER_H

#include "tools/bench/bench_connection.h"
#include "tools/bench/bench_histogram.h"

#include <stdatomic.h>

#define BENCH_FAILURE_BYTES 256
#define BENCH_STALL_MS 60000u       /* a request that does not move for so long has failed */
#define BENCH_FAILURES_MAX 1000u    /* of one worker: then it gives up */

struct bench_job {
    const struct bench_options *options;
    const struct bench_body *body;
    struct bench_address address;
    enum bench_op op;
    uint64_t requests;        /* 0: until the deadline */
    uint64_t deadline_ns;     /* no request begins later; 0: none */
    uint64_t objects;         /* get, stat, list, mixed: which there are */
    bool random;              /* choose objects at random instead of in turn */
    atomic_uint_fast64_t next;      /* requests handed out */
    atomic_uint_fast64_t next_put;  /* mixed: index of the next new object */
    atomic_uint_fast64_t done;      /* requests answered well */
    atomic_uint_fast64_t moved_bytes;
    atomic_uint_fast64_t last_ns;   /* when the latest response was complete */
};

struct bench_result {
    struct bench_histogram latency[BENCH_OP_COUNT]; /* ns */
    uint64_t ok[BENCH_OP_COUNT];
    uint64_t sent_bytes, received_bytes;            /* of bodies */
    uint64_t keys;                                  /* listed */
    uint64_t failed;
    char failure[BENCH_FAILURE_BYTES];              /* the first one, for a person */
};

struct bench_worker {
    struct bench_job *job;
    unsigned connections;
    unsigned index;             /* seeds its choices */
    struct bench_result result; /* zeroed by the caller */
};

/* Runs to the end of the job. `data` is a struct bench_worker: the signature of pthread_create. */
void *bench_worker_run(void *data);

#endif
