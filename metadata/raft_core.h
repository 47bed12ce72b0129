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

#include "metadata/raft_message.h"

struct raft_core;

struct raft_core_start {
    uint64_t now_ms;
    uint64_t id;                            /* this voter's */
    const struct raft_core_members *members; /* as of the snapshot; only looked at if there is one */
    unsigned seed;                          /* of the election timeouts */
    unsigned election_ms, heartbeat_ms;     /* 0: 1,000 and 100 */
    uint64_t term, vote;
    uint64_t snapshot_index, snapshot_term; /* 0: none */
    uint64_t first_index;                   /* of entries */
    size_t count;
    const struct raft_core_entry *entries;
};

/* What the voter must do before the next event, in this order: term and vote durable, the entries taken over (what the
 * log has from append_index on is cut first), messages sent once the term and vote that they speak for are durable. */
struct raft_core_update {
    bool hard_state;            /* term or vote changed: make them durable first */
    uint64_t term, vote;
    uint64_t append_index;      /* 0: nothing to append; else `append_count` entries from here, of append_term */
    unsigned append_count;
    bool append_received;       /* the entries are those of the APPEND that raft_core_receive was given, behind... */
    unsigned append_skip;       /* ...this many, which the log has already. Not received: a vote can make a leader too */
    bool append_cuts;           /* append_index is not above the log's last: what is there from it on goes */
    uint64_t append_term;
    uint8_t append_type;        /* of the first: a new leader's barrier, or what was submitted */
    uint64_t commit_index;
    bool leader;
    uint64_t leader_id;         /* 0: not known */
    uint64_t timeout_ms;        /* when raft_core_timeout is due, on the clock of now_ms */
    unsigned message_count;     /* `messages` are the core's, until its next event */
    const struct core_message *messages;
};

/* A CHANGE entry, also the one that a new log begins with: appends its bytes. Every voter's log begins with the same. */
MUST_CHECK enum errc raft_core_change(const struct raft_core_members *members, struct enc *ret_data, struct error *e);
MUST_CHECK enum errc raft_core_open(const struct raft_core_start *start, struct raft_core **ret_core,
                                    struct raft_core_update *ret_update, struct error *e);
/* Offers one entry. UNAVAILABLE: not the leader, or it is handing over; CONFLICT: a CHANGE before the one before it was
 * committed. */
MUST_CHECK enum errc raft_core_submit(struct raft_core *core, uint64_t now_ms, uint8_t type, struct slice data,
                                      struct raft_core_update *ret_update, struct error *e);
/* A message came in. Its entries are only looked at. UNSUPPORTED: a SNAPSHOT, this voter is behind the leader's log. */
MUST_CHECK enum errc raft_core_receive(struct raft_core *core, uint64_t now_ms, const struct core_message *message,
                                       struct raft_core_update *ret_update, struct error *e);
/* timeout_ms of the last update has passed: heartbeats, or an election. */
MUST_CHECK enum errc raft_core_timeout(struct raft_core *core, uint64_t now_ms, struct raft_core_update *ret_update,
                                       struct error *e);
/* Entries up to index are durable. */
MUST_CHECK enum errc raft_core_persisted(struct raft_core *core, uint64_t now_ms, uint64_t index,
                                         struct raft_core_update *ret_update, struct error *e);
/* A checkpoint covers everything up to index: the core forgets those terms, but for the last `trailing` entries. */
MUST_CHECK enum errc raft_core_snapshot(struct raft_core *core, uint64_t now_ms, uint64_t index, uint64_t term,
                                        unsigned trailing, struct error *e);
/* The CHANGE entry at index was committed. */
MUST_CHECK enum errc raft_core_changed(struct raft_core *core, uint64_t now_ms, uint64_t index,
                                       struct raft_core_update *ret_update, struct error *e);
/* The leader hands over to the follower that is nearest. UNAVAILABLE: not the leader, or already about it; NOT_FOUND:
 * nobody else votes. */
MUST_CHECK enum errc raft_core_transfer(struct raft_core *core, uint64_t now_ms, struct raft_core_update *ret_update,
                                        struct error *e);
/* Index of the newest CHANGE entry, if raft_core_changed() was not told of it; 0: it was. */
uint64_t raft_core_change_pending(const struct raft_core *core);
/* The members by the newest entry of the log, committed or not; index 0 while it is not committed. */
void raft_core_members(const struct raft_core *core, struct raft_core_members *ret_members);
/* What the leader knows to be durable at a member; 0: not the leader, or nothing. */
uint64_t raft_core_match(const struct raft_core *core, uint64_t id);
void raft_core_close(struct raft_core *core); /* NULL is fine */

#endif
