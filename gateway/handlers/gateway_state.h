/*
 * gateway_state - the inside of struct gateway, for the files of this folder only.
 *
 * Thread: config, cipher and texts are fixed after gateway_create(); a key cache belongs to the loop of
 * its index; counters are atomic.
 */
#ifndef GATEWAY_HANDLERS_GATEWAY_STATE_H
#define GATEWAY_HANDLERS_GATEWAY_STATE_H

#include "gateway/handlers/handlers.h"

#include "common/base/block_cipher.h"
#include "gateway/auth/auth_sigv4.h"

#include <stdatomic.h>

#define CANONICAL_ID_BYTES 64 /* hex digits */

struct gateway_counters {
    _Atomic uint64_t requests;
    _Atomic uint64_t by_status[5];
    _Atomic uint64_t canceled;
    _Atomic uint64_t latency_us_sum;
    _Atomic uint64_t latency[GATEWAY_LATENCY_BUCKETS];
};

struct gateway {
    struct gateway_config config;
    struct block_cipher *cipher;         /* version ids */
    char canonical_id[CANONICAL_ID_BYTES + 1];
    struct auth_config auth[GATEWAY_LOOPS_MAX]; /* by loop index: the key cache differs */
    struct gateway_counters counters[S3_OPERATION_COUNT];
    _Atomic uint64_t received_bytes, sent_bytes, active;
    _Atomic(const char *) not_ready;     /* static text; NULL: ready */
};

/* At the end of a request; access has all its fields. */
void gateway_account(struct gateway *gateway, const struct gateway_access *access);
/* 16 characters 0-9A-Z and a host id, new for each request. */
void gateway_make_ids(struct gateway *gateway, char *ret_id, char *ret_host_id);

#endif
