/*
 * snapshot_message - how a voter asks another for its newest checkpoint (RPC_RAFT_SNAPSHOT_READ), as bytes.
 *
 * First a description, then its manifest and the files that it names, piece by piece. The reply to a request for a piece
 * is the bytes themselves; fewer than asked for: the file ends. Thread: any; values without state.
 */
#ifndef METADATA_SNAPSHOT_MESSAGE_H
#define METADATA_SNAPSHOT_MESSAGE_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "common/base/id.h"
#include "metadata/raft_message.h"

#define SNAPSHOT_PIECE_BYTES (1u << 20)

enum snapshot_request_kind { SNAPSHOT_DESCRIBE = 1, SNAPSHOT_PIECE = 2 }; /* in messages */

struct snapshot_request {
    uint8_t kind;
    uint64_t index;    /* PIECE: of the checkpoint; DESCRIBE: one that covers less will not do. PIECE only, from here on: */
    struct slice name; /* a file of it */
    uint64_t offset;
    uint32_t length;   /* at most SNAPSHOT_PIECE_BYTES */
};

struct snapshot_description {
    struct cluster_id cluster;
    uint64_t index;               /* what the checkpoint covers */
    struct raft_core_entry entry; /* the one at index: the receiver's log begins with it. Borrows the bytes */
    struct raft_core_members members;
};

void snapshot_request_encode(struct enc *enc, const struct snapshot_request *in);
MUST_CHECK enum errc snapshot_request_decode(struct slice bytes, struct snapshot_request *ret); /* CORRUPT */
void snapshot_description_encode(struct enc *enc, const struct snapshot_description *in);
MUST_CHECK enum errc snapshot_description_decode(struct slice bytes, struct snapshot_description *ret); /* CORRUPT */
/* Also used by the state file. */
void members_encode(struct enc *enc, const struct raft_core_members *members);
void members_decode(struct dec *dec, struct raft_core_members *ret_members);

#endif
