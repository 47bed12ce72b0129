/* voter_member - what RPC_RAFT_MEMBER asks of the leader; its reply is empty, its errors are told with their story:
 * UNAVAILABLE (not now: try again), CONFLICT, LIMIT, NOT_FOUND. Thread: any; values without state. */
#ifndef METADATA_VOTER_MEMBER_H
#define METADATA_VOTER_MEMBER_H

#include "common/base/codec.h"
#include "common/base/error.h"
#include "metadata/raft_message.h"

enum member_change { MEMBER_ADD = 1, MEMBER_PROMOTE = 2, MEMBER_REMOVE = 3 }; /* in messages */

struct member_request {
    uint8_t change;
    uint64_t id;
    char node[RAFT_NODE_TEXT_BYTES]; /* ADD */
};

void member_request_encode(struct enc *enc, const struct member_request *in);
MUST_CHECK enum errc member_request_decode(struct slice bytes, struct member_request *ret); /* CORRUPT */

#endif
