#include "metadata/voter_session.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter_state.h"

#include <stdio.h>

#define EXPIRED_MAX 64 /* closed at once; the next look finds more */
#define LOOK_NS UINT64_C(1000000000)

/* ---- the table ---- */

void voter_leases_begin(struct voter_leases *leases)
{
    leases->count = 0;
    leases->heard_ns = 0;
}

void voter_leases_done(struct voter_leases *leases)
{
    mem_free(leases->leases);
    *leases = (struct voter_leases){ .count = 0 };
}

static struct voter_lease *lease_find(struct voter_leases *leases, uint64_t session)
{
    unsigned low = 0;
    unsigned high = leases->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (leases->leases[middle].session < session) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < leases->count && leases->leases[low].session == session ? &leases->leases[low] : NULL;
}

static bool follows(const struct voter_leases *leases, const uint64_t *open, unsigned open_count)
{
    bool same = leases->count == open_count;
    for (unsigned i = 0; same && i < open_count; i++) {
        same = leases->leases[i].session == open[i];
    }
    return same;
}

void voter_leases_follow(struct voter_leases *leases, const uint64_t *open, unsigned open_count, uint64_t now_ns)
{
    if (follows(leases, open, open_count)) {
        return;
    }
    struct voter_lease *next = mem_zalloc((open_count + 1u) * sizeof(*next));
    for (unsigned i = 0; i < open_count; i++) {
        const struct voter_lease *known = lease_find(leases, open[i]);
        ASSERT(i == 0 || open[i] > open[i - 1]);
        next[i] = known != NULL ? *known : (struct voter_lease){ .session = open[i], .renewed_ns = now_ns };
    }
    mem_free(leases->leases);
    leases->leases = next;
    leases->count = open_count;
}

static void silence_end(struct voter_leases *leases, uint64_t now_ns)
{
    bool long_ago = leases->heard_ns > 0 && now_ns - leases->heard_ns >= VOTER_SESSION_SILENCE_NS;
    for (unsigned i = 0; long_ago && i < leases->count; i++) {
        leases->leases[i].renewed_ns = now_ns;
    }
    leases->heard_ns = now_ns;
}

enum errc voter_leases_renew(struct voter_leases *leases, uint64_t session, uint64_t oldest, uint64_t now_ns,
                             uint64_t *ret_horizon)
{
    struct voter_lease *lease = lease_find(leases, session);
    silence_end(leases, now_ns);
    if (lease == NULL || lease->condemned) {
        return ERRC_NOT_FOUND;
    }
    lease->renewed_ns = now_ns;
    lease->oldest = oldest;
    uint64_t horizon = oldest;
    for (unsigned i = 0; i < leases->count; i++) {
        horizon = leases->leases[i].oldest < horizon ? leases->leases[i].oldest : horizon;
    }
    *ret_horizon = horizon;
    return ERRC_OK;
}

unsigned voter_leases_expired(struct voter_leases *leases, uint64_t now_ns, uint64_t *ret_sessions, unsigned limit)
{
    unsigned count = 0;
    for (unsigned i = 0; i < leases->count && count < limit; i++) {
        struct voter_lease *lease = &leases->leases[i];
        lease->condemned = lease->condemned || now_ns - lease->renewed_ns >= VOTER_SESSION_LEASE_NS;
        if (lease->condemned) {
            ret_sessions[count++] = lease->session;
        }
    }
    return count;
}

/* ---- the voter's ---- */

/* False: the state is not there now. */
static bool sessions_follow(struct voter *voter)
{
    const uint64_t *open;
    if (voter->store == NULL || voter->dead || voter->closing) {
        return false;
    }
    unsigned count = machine_open_sessions(voter->store->machine, &open);
    voter_leases_follow(&voter->leases, open, count, env_now_ns(voter->env));
    return true;
}

/* ---- closing ---- */

struct close_call {
    struct rpc_call call;
    struct enc head;
};

/* Whatever came of it: a session that is still open is found again. */
static void close_done(struct rpc_call *call)
{
    struct close_call *close = container_of(call, struct close_call, call);
    rpc_call_release(call);
    enc_free(&close->head);
    mem_free(close);
}

/* In this voter's own queue: should it not lead any more, nothing comes of it. */
static void close_propose(struct voter *voter, uint64_t session)
{
    struct close_call *close = mem_zalloc(sizeof(*close));
    const struct meta_command command = { .type = META_CMD_SESSION_CLOSE, .session_close = { session } };
    meta_command_encode(&close->head, &command);
    close->call.method = RPC_META_PROPOSE;
    close->call.head = enc_slice(&close->head);
    close->call.reply_to = voter->executor;
    close->call.done = close_done;
    rpc_call_start(&voter->channel, &close->call);
}

/* Renewals drive it: where nobody renews, nobody waits for what a dead session holds back. */
static void expired_close(struct voter *voter, uint64_t now_ns)
{
    uint64_t sessions[EXPIRED_MAX];
    if (now_ns < voter->expired_look_ns) {
        return;
    }
    voter->expired_look_ns = now_ns + LOOK_NS;
    unsigned count = voter_leases_expired(&voter->leases, now_ns, sessions, EXPIRED_MAX);
    for (unsigned i = 0; i < count; i++) {
        char text[48];
        (void)snprintf(text, sizeof(text), "session %llu", (unsigned long long)sessions[i]);
        voter_event(voter, "session_expired", "", text);
        close_propose(voter, sessions[i]);
    }
}

void voter_session_renew(struct voter *voter, struct rpc_call *call)
{
    struct dec dec = dec_of(call->head);
    uint64_t session = dec_u64(&dec);
    uint64_t oldest = dec_u64(&dec);
    uint64_t horizon = 0;
    if (!dec_done(&dec)) {
        rpc_call_finish(call, error_set(&call->error, ERRC_CORRUPT, "malformed renewal"));
        return;
    }
    if (!sessions_follow(voter)) {
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, VOTER_AWAY_TEXT));
        return;
    }
    if (voter_leases_renew(&voter->leases, session, oldest, env_now_ns(voter->env), &horizon) != ERRC_OK) {
        rpc_call_finish(call, error_set(&call->error, ERRC_NOT_FOUND, "session %llu is closed",
                                        (unsigned long long)session));
        return;
    }
    enc_u64(&call->reply, horizon);
    enc_u64(&call->reply, voter->applied_index);
    rpc_call_finish(call, ERRC_OK);
    expired_close(voter, env_now_ns(voter->env));
}
