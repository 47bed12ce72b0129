/*
 * raft_message - what voters say to one another, as values and as bytes; who they are.
 *
 * The core keeps the terms of entries only: an outgoing APPEND names entry_count entries from index + 1 on, and whoever
 * keeps the log supplies them before it encodes the message. Thread: any; values without state.
 */
#ifndef METADATA_RAFT_MESSAGE_H
#define METADATA_RAFT_MESSAGE_H

#include "common/base/codec.h"
#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RAFT_MESSAGE_FORMAT 1
#define RAFT_MESSAGE_ENTRIES_MAX 1024

#define RAFT_VOTERS_MAX 5
#define RAFT_MEMBERS_MAX 9     /* voters and stand-bys */
#define RAFT_NODE_TEXT_BYTES 40

enum raft_core_type { RAFT_CORE_COMMAND = 1, RAFT_CORE_BARRIER = 2, RAFT_CORE_CHANGE = 3 }; /* as stored in records */

struct raft_core_entry {
    uint64_t term;
    uint8_t type;
    struct slice data; /* raft_core_open needs it for CHANGE only */
};

struct raft_core_member {
    uint64_t id;
    bool votes;                      /* false: a stand-by, which gets the log only */
    char node[RAFT_NODE_TEXT_BYTES]; /* whose member it is, for whoever carries messages: libraft's address */
};

struct raft_core_members {
    uint64_t index;                  /* of the log entry that made them */
    unsigned count;
    struct raft_core_member list[RAFT_MEMBERS_MAX];
};

enum core_message_kind { /* stored in messages */
    CORE_APPEND = 1,
    CORE_APPEND_RESULT = 2,
    CORE_VOTE = 3,
    CORE_VOTE_RESULT = 4,
    CORE_SNAPSHOT = 5,    /* a descriptor: the receiver fetches the checkpoint itself */
    CORE_TIMEOUT_NOW = 6,
};

struct core_message {
    uint8_t kind;
    uint64_t from, to;
    uint64_t term;
    uint64_t index;      /* APPEND: of the entry before; APPEND_RESULT: the receiver's last; others: the sender's last */
    uint64_t index_term; /* of that entry; APPEND_RESULT, VOTE_RESULT: 0 */
    uint64_t commit;     /* APPEND */
    uint64_t rejected;   /* APPEND_RESULT: 0, or the index that does not fit */
    bool pre_vote;       /* VOTE, VOTE_RESULT */
    bool granted;        /* VOTE_RESULT */
    bool disrupt;        /* VOTE: although a leader is known */
    uint8_t version;     /* libraft's, of this kind */
    uint16_t features, capacity;        /* results */
    unsigned entry_count;               /* APPEND */
    const struct raft_core_entry *entries; /* entry_count of them; NULL: not supplied */
};

/* Appends the message. An APPEND with entries must have them supplied. */
void core_message_encode(const struct core_message *message, struct enc *enc);
/* *ret_entries (NULL if none) belongs to the caller, who mem_frees it; bytes of entries lie in the input.
 * Errors  CORRUPT; FORMAT a newer program's. */
MUST_CHECK enum errc core_message_decode(struct slice input, struct core_message *ret_message,
                                         struct raft_core_entry **ret_entries, struct error *e);

#endif
