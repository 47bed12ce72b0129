/*
 * Members of the quorum, one change at a time (RPC_RAFT_MEMBER, at the leader): a stand-by comes, becomes a voter, goes.
 *
 * Asked again for what is so already, the answer is OK. A stand-by becomes a voter only when it has nearly the whole log:
 * until then the majority that it takes part in could not commit.
 */
#include "metadata/voter_member.h"

#include "common/base/mem.h"
#include "metadata/voter_state.h"

#include <stdio.h>
#include <string.h>

#define BEHIND_MAX 64 /* entries */

void member_request_encode(struct enc *enc, const struct member_request *in)
{
    enc_u8(enc, in->change);
    enc_u64(enc, in->id);
    enc_bytes(enc, slice_str(in->node));
}

enum errc member_request_decode(struct slice bytes, struct member_request *ret)
{
    struct dec dec = dec_of(bytes);
    *ret = (struct member_request){ .change = dec_u8(&dec) };
    ret->id = dec_u64(&dec);
    struct slice node = dec_bytes(&dec);
    if (!dec_done(&dec) || ret->change < MEMBER_ADD || ret->change > MEMBER_REMOVE || ret->id == 0 ||
        node.len >= sizeof(ret->node)) {
        return ERRC_CORRUPT;
    }
    (void)snprintf(ret->node, sizeof(ret->node), "%.*s", (int)node.len, (const char *)node.data);
    return ERRC_OK;
}

static unsigned voter_count(const struct raft_core_members *members)
{
    unsigned count = 0;
    for (unsigned i = 0; i < members->count; i++) {
        count += members->list[i].votes ? 1 : 0;
    }
    return count;
}

/* EXISTS: it is so already. */
static enum errc add(struct raft_core_members *members, unsigned at, const struct member_request *request, struct error *e)
{
    if (at < members->count) {
        return strcmp(members->list[at].node, request->node) == 0
                   ? ERRC_EXISTS : error_set(e, ERRC_CONFLICT, "another node is that member");
    }
    if (members->count == RAFT_MEMBERS_MAX) {
        return error_set(e, ERRC_LIMIT, "there are %u members already", RAFT_MEMBERS_MAX);
    }
    struct raft_core_member *member = &members->list[members->count++];
    *member = (struct raft_core_member){ .id = request->id };
    memcpy(member->node, request->node, sizeof(member->node));
    return ERRC_OK;
}

static enum errc promote(struct voter *voter, struct raft_core_members *members, unsigned at, struct error *e)
{
    if (at == members->count) {
        return error_set(e, ERRC_NOT_FOUND, "it is no stand-by");
    }
    if (members->list[at].votes) {
        return ERRC_EXISTS;
    }
    if (voter_count(members) == RAFT_VOTERS_MAX) {
        return error_set(e, ERRC_LIMIT, "there are %u voters already", RAFT_VOTERS_MAX);
    }
    uint64_t match = raft_core_match(voter->core, members->list[at].id);
    if (match == 0) { /* however short the log is: a voter that nobody reaches stops the others */
        return error_set(e, ERRC_UNAVAILABLE, "it has not answered this leader yet: ask again");
    }
    if (match + BEHIND_MAX < voter->window.next) {
        return error_set(e, ERRC_UNAVAILABLE, "it is %llu entries behind: ask again when it has caught up",
                         (unsigned long long)(voter->window.next - 1 - match));
    }
    members->list[at].votes = true;
    return ERRC_OK;
}

static enum errc remove_member(struct voter *voter, struct raft_core_members *members, unsigned at, struct error *e)
{
    if (at == members->count) {
        return ERRC_EXISTS;
    }
    if (members->list[at].id == voter->state.raft_id) {
        return voter_yield(voter) ? error_set(e, ERRC_UNAVAILABLE, "it leads, and hands over first: ask again")
                                  : error_set(e, ERRC_CONFLICT, "no other voter can take the lead from it");
    }
    memmove(&members->list[at], &members->list[at + 1], (members->count - at - 1) * sizeof(members->list[0]));
    members->count--;
    return ERRC_OK;
}

static enum errc change(struct voter *voter, const struct member_request *request, struct rpc_call *call)
{
    struct raft_core_members members;
    struct enc data = ENC_INIT;
    unsigned at = 0;
    raft_core_members(voter->core, &members);
    if (members.index == 0) {
        return error_set(&call->error, ERRC_UNAVAILABLE, "another change of the members is under way");
    }
    for (unsigned i = 0; i < members.count; i++) { /* the first voter's log began before anybody needed its name */
        if (members.list[i].id == voter->state.raft_id && voter->node[0] != '\0') {
            memcpy(members.list[i].node, voter->node, sizeof(members.list[i].node));
        }
    }
    while (at < members.count && members.list[at].id != request->id) {
        at++;
    }
    enum errc rc = request->change == MEMBER_ADD ? add(&members, at, request, &call->error)
                   : request->change == MEMBER_PROMOTE ? promote(voter, &members, at, &call->error)
                                                       : remove_member(voter, &members, at, &call->error);
    uint64_t index = voter->window.next;
    rc = rc == ERRC_OK ? raft_core_change(&members, &data, &call->error) : rc;
    rc = rc == ERRC_OK ? voter_submit(voter, RAFT_CORE_CHANGE, &data, &call->error) : rc;
    enc_free(&data);
    if (rc == ERRC_OK) { /* answered when it is applied */
        call->next = NULL;
        window_at(&voter->window, index)->calls = call;
        window_at(&voter->window, index)->call_count = 1;
    }
    return rc;
}

void voter_on_member(struct rpc_call *call)
{
    struct voter *voter = call->service_data;
    struct member_request request;
    if (!voter->leading || voter->dead || voter->yields || voter->peers == NULL ||
        voter->applied_index < voter->ready_index) {
        voter_refuse(voter, call);
        return;
    }
    enum errc rc = member_request_decode(call->head, &request);
    rc = rc == ERRC_OK ? change(voter, &request, call) : error_set(&call->error, rc, "the request makes no sense");
    if (rc != ERRC_OK) {
        rpc_call_finish(call, rc == ERRC_EXISTS ? ERRC_OK : rc);
    }
    voter_advance(voter);
}
