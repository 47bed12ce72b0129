/*
 * voter_session - leases of the gateways' sessions, in the memory of the voter that leads.
 *
 * A session reports the oldest log index that one of its reads needs or may come to need, and is told the oldest of all
 * open sessions (BLUEPRINT 7): extents deleted before that are read by nobody. Which sessions are open says the replicated
 * state, so none is missed after a start or a change of leader: one that has not reported since this voter began to lead
 * counts as needing everything.
 *
 * A session that has not reported for VOTER_SESSION_LEASE_NS is condemned: it is told that it is gone (as one that is
 * closed), and closed by a META_CMD_SESSION_CLOSE of this voter's own. A gateway whose last report was
 * answered SESSION_LEASE_NS (gateway/data/session.h, shorter) ago by its own clock has cut its streams by then, so when
 * the close is decided nobody reads under the session.
 *
 * When nobody at all has reported for VOTER_SESSION_SILENCE_NS, the fault is taken to be this side's: all leases begin anew.
 *
 * Thread: the voter's executor. Memory: voter_leases_done() frees it.
 */
#ifndef METADATA_VOTER_SESSION_H
#define METADATA_VOTER_SESSION_H

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define VOTER_SESSION_LEASE_NS UINT64_C(30000000000)
#define VOTER_SESSION_SILENCE_NS UINT64_C(10000000000)

struct voter_lease {
    uint64_t session;
    uint64_t oldest;        /* index; 0 until it has reported */
    uint64_t renewed_ns;    /* or when this voter first knew of it */
    bool condemned;
};

struct voter_leases {
    struct voter_lease *leases; /* of the open sessions, ascending */
    unsigned count;
    uint64_t heard_ns;          /* last report of any session; 0: none yet */
};

/* Nothing is known any more: this voter begins to lead, or the state was replaced. */
void voter_leases_begin(struct voter_leases *leases);
void voter_leases_done(struct voter_leases *leases);
/* Follows the state: `open` are the sessions that are open now, ascending. */
void voter_leases_follow(struct voter_leases *leases, const uint64_t *open, unsigned open_count, uint64_t now_ns);
/* After following. NOT_FOUND: the session is not open, or condemned. */
MUST_CHECK enum errc voter_leases_renew(struct voter_leases *leases, uint64_t session, uint64_t oldest, uint64_t now_ns,
                                        uint64_t *ret_horizon);
/* After following. Condemns what has not reported in time; copies at most `limit` condemned ones, oldest first. */
unsigned voter_leases_expired(struct voter_leases *leases, uint64_t now_ns, uint64_t *ret_sessions, unsigned limit);

struct voter;
struct rpc_call;
/* Serves META_SESSION_RENEW. UNAVAILABLE: the state is not there now. */
void voter_session_renew(struct voter *voter, struct rpc_call *call);

#endif
