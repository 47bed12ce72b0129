/*
 * raft_core - libraft's consensus core as pure steps: events in, decisions out (its only user).
 *
 * Uses raft_step() of libraft 0.22: no I/O vtable, no callbacks, and no copy of the log in memory, which the older
 * raft_io interface would keep (metadata/README.md "Consensus"). Entries, term and vote are made durable by the
 * voter between two steps.
 * Thread: the voter's executor.
 */
#ifndef METADATA_RAFT_CORE_H
#define METADATA_RAFT_CORE_H

#include "common/base/codec.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raft_core;

enum raft_core_type { RAFT_CORE_COMMAND = 1, RAFT_CORE_BARRIER = 2, RAFT_CORE_CHANGE = 3 }; /* as stored in records */

struct raft_core_entry {
    uint64_t term;
    uint8_t type;
    struct slice data; /* needed for CHANGE only */
};

struct raft_core_start {
    uint64_t now_ms;
    uint64_t term, vote;
    uint64_t snapshot_index, snapshot_term; /* 0: none */
    uint64_t first_index;                   /* of entries */
    size_t count;
    const struct raft_core_entry *entries;
};

/* What the voter must do before the next event. */
struct raft_core_update {
    bool hard_state;            /* term or vote changed: make them durable first */
    uint64_t term, vote;
    uint64_t append_index;      /* 0: nothing to append; else `append_count` entries from here, of append_term */
    unsigned append_count;
    uint64_t append_term;
    uint8_t append_type;        /* of the first: a new leader's barrier, or what was submitted */
    uint64_t commit_index;
    bool leader;
};

/* The one configuration entry that a new log begins with: voter 1. Appends its bytes. */
MUST_CHECK enum errc raft_core_bootstrap(struct enc *ret_data, struct error *e);
MUST_CHECK enum errc raft_core_open(const struct raft_core_start *start, struct raft_core **ret_core,
                                    struct raft_core_update *ret_update, struct error *e);
/* Offers one entry, COMMAND or BARRIER. UNAVAILABLE: not the leader. */
MUST_CHECK enum errc raft_core_submit(struct raft_core *core, uint64_t now_ms, uint8_t type, struct slice data,
                                      struct raft_core_update *ret_update, struct error *e);
/* Entries up to index are durable. */
MUST_CHECK enum errc raft_core_persisted(struct raft_core *core, uint64_t now_ms, uint64_t index,
                                         struct raft_core_update *ret_update, struct error *e);
/* A checkpoint covers everything up to index: the core forgets those terms. */
MUST_CHECK enum errc raft_core_snapshot(struct raft_core *core, uint64_t now_ms, uint64_t index, uint64_t term,
                                        struct error *e);
void raft_core_close(struct raft_core *core); /* NULL is fine */

#endif
