/*
 * voter_window - the newest entries of the log, in memory: those that are not durable, committed and applied yet, and, where
 * there are other voters, those that one of them may still need.
 *
 * Indexes are the log's. Entries come at the end, go at the front once they are not needed, and at the end when another
 * leader's replace them. Thread: the voter's executor; what mirrors write is encoded before they are told.
 */
#ifndef METADATA_VOTER_WINDOW_H
#define METADATA_VOTER_WINDOW_H

#include "common/base/codec.h"
#include "metadata/raft_message.h"

#include <stdbool.h>

struct rpc_call;

struct voter_entry {
    uint64_t term;
    uint32_t chain;          /* of its record; only while `chained` */
    bool chained;            /* it has been encoded for the mirrors */
    uint8_t type;
    struct enc data;
    struct rpc_call *calls;  /* this voter's own, that it answers; linked by rpc_call.next */
    unsigned call_count;
};

struct voter_window {
    struct voter_entry *entries; /* a ring of `capacity` */
    size_t capacity;
    uint64_t first, next;        /* [first, next) are here */
    uint64_t base_term;          /* of the entry before the first */
    uint32_t base_chain;
    uint64_t bytes;              /* of their data */
};

/* Empty: the next entry is `next`. */
void window_init(struct voter_window *window, uint64_t next, uint64_t base_term, uint32_t base_chain);
void window_done(struct voter_window *window); /* no entry has calls */
/* A new last entry, without data and calls; valid until the next call of push. */
struct voter_entry *window_push(struct voter_window *window, uint64_t term, uint8_t type);
/* NULL: it is not here. */
struct voter_entry *window_at(const struct voter_window *window, uint64_t index);
/* Term of any entry from the one before the first on; 0: not known. */
uint64_t window_term(const struct voter_window *window, uint64_t index);
uint32_t window_chain(const struct voter_window *window, uint64_t index); /* of one that is known and encoded */
void window_drop_front(struct voter_window *window, uint64_t first); /* entries below it go; they have no calls */
void window_drop_back(struct voter_window *window, uint64_t next);   /* entries from it on go; they have no calls */

#endif
