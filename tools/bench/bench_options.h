/*
 * bench_options - the command line of `cairn bench`: one table that parses and prints the help.
 *
 * Memory: borrows argv and the environment.
 */
#ifndef TOOLS_BENCH_BENCH_OPTIONS_H
#define TOOLS_BENCH_BENCH_OPTIONS_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_CONCURRENCY_MAX 16384u
#define BENCH_THREADS_MAX 64u
#define BENCH_OBJECT_BYTES_MAX (5ull << 30) /* S3's limit of one PUT */
#define BENCH_PREFIX_BYTES_MAX 512
#define BENCH_BUCKET_BYTES_MAX 63
#define BENCH_HOST_BYTES 128
#define BENCH_KEY_DIGITS 12

enum bench_op {
    BENCH_PUT,
    BENCH_GET,
    BENCH_LIST,
    BENCH_DELETE,
    BENCH_STAT,
    BENCH_OP_COUNT,
    BENCH_MIXED = BENCH_OP_COUNT,
    BENCH_MAKE_BUCKET, /* before a run; not measured */
};
enum bench_sign { BENCH_SIGN_PAYLOAD, BENCH_SIGN_UNSIGNED };

struct bench_options {
    enum bench_op op;
    char host[BENCH_HOST_BYTES];    /* of --endpoint; IPv6 without brackets */
    char service[8];                /* port, decimal */
    char host_header[BENCH_HOST_BYTES + 16];
    const char *bucket;
    const char *prefix;             /* letters, digits and -_./ only, so that it needs no escapes */
    const char *region;
    const char *access_key, *secret_key;
    uint64_t object_bytes;
    uint64_t objects;               /* 0: not given */
    uint64_t duration_ms;           /* 0: not given */
    unsigned concurrency;           /* connections, one request at a time on each */
    unsigned threads;
    unsigned page_keys;             /* max-keys of list */
    enum bench_sign sign;
    int server_pid;                 /* 0: found by the port, if the server is local */
    bool keep;                      /* leave the objects in place */
    bool prepared;                  /* the objects are there from an earlier run with --keep */
    bool verify;                    /* compare every byte that is read */
    bool json;
    bool help;
};

const char *bench_op_name(enum bench_op op);

MUST_CHECK enum errc bench_options_parse(int argc, char **argv, struct bench_options *ret_options, struct error *e);
void bench_options_help(void);

#endif
