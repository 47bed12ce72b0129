/*
 * Between raft's core and the other voters: messages in and out, the clock, who leads, and until when it may answer
 * queries without asking.
 *
 * Lease (proof: metadata/README.md "Linearizable reads"). A voter that takes an APPEND answers its call with "taken", and
 * from then on gives no vote for election_ms, but for a candidate that the leader itself named; after a start it gives none
 * for as long. So a leader whose APPENDs, sent at t or later, were taken by a majority (itself included) has no successor
 * before t + election_ms, and it answers queries until t + 0.9 election_ms: clocks may differ by a tenth in speed.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter_state.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000u
#define MESSAGE_BYTES (1u << 20)       /* entries of one message, unless one alone is larger */
#define PEER_BYTES_MAX (32u << 20)     /* under way to one voter; above, entries wait for the next heartbeat */
#define PEER_CALLS_MAX 256
#define UNWRITTEN_BYTES_MAX (64u << 20) /* taken from a leader and not durable yet; above, it is told to slow down */
#define HAND_OVER_MS 1500
#define SILENT_MS 100
#define CURRENT_NS UINT64_C(3000000000)
#define CURRENT_ENTRIES 1024u /* an entry carries many commands; a follower under load is some behind */

/* One message on its way. */
struct voter_send {
    struct rpc_call call;
    struct enc head;
    struct voter *voter;
    struct voter_send *next; /* held */
    uint64_t to, term, sent_ns;
    uint8_t kind;
};

static uint64_t now_ms(struct voter *voter)
{
    return env_now_ns(voter->env) / NS_PER_MS;
}

static bool hard_state_durable(const struct voter *voter)
{
    return voter->phase != PHASE_FENCING && voter->state.term == voter->hard_term && voter->state.vote == voter->hard_vote;
}

/* ---- lease ---- */

static struct voter_peer *peer_find(struct voter *voter, uint64_t id)
{
    for (unsigned i = 0; i < voter->other_count; i++) {
        if (voter->others[i].id == id) {
            return &voter->others[i];
        }
    }
    return NULL;
}

static int newer_first(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left < *right) - (*left > *right);
}

bool voter_peer_is_current(struct voter *voter, uint64_t id, uint64_t match_index)
{
    const struct voter_peer *peer = peer_find(voter, id);
    return peer != NULL && peer->acked_ns > 0 && env_now_ns(voter->env) - peer->acked_ns < CURRENT_NS &&
           match_index + CURRENT_ENTRIES >= voter->commit_index;
}

/* By the newest members, committed or not, as raft counts its majorities. 0: none. */
static uint64_t lease_end(struct voter *voter)
{
    struct raft_core_members members;
    uint64_t acked[RAFT_MEMBERS_MAX];
    unsigned voters = 0;
    unsigned heard = 0;
    bool self = false;
    raft_core_members(voter->core, &members);
    for (unsigned i = 0; i < members.count; i++) {
        if (!members.list[i].votes) {
            continue;
        }
        const struct voter_peer *peer = peer_find(voter, members.list[i].id);
        voters++;
        if (members.list[i].id == voter->state.raft_id) {
            self = true;
        } else {
            acked[heard++] = peer != NULL ? peer->acked_ns : 0;
        }
    }
    unsigned needed = voters / 2; /* besides this one */
    if (!self) {
        return 0;
    }
    if (needed == 0) {
        return UINT64_MAX;
    }
    qsort(acked, heard, sizeof(acked[0]), newer_first);
    uint64_t since = acked[needed - 1];
    return since > 0 ? since + voter->election_ms * NS_PER_MS / 10 * 9 : 0;
}

void voter_lease_update(struct voter *voter)
{
    bool alone = voter->peers == NULL; /* answers queries to its very end */
    bool serves = voter->leading && voter->applied_index >= voter->ready_index &&
                  (alone || (!voter->dead && !voter->yields));
    atomic_store(&voter->lease_until_ns, serves ? lease_end(voter) : 0);
}

/* ---- out ---- */

static void on_sent(struct rpc_call *call)
{
    struct voter_send *send = container_of(call, struct voter_send, call);
    struct voter *voter = send->voter;
    struct voter_peer *peer = peer_find(voter, send->to);
    struct dec dec = dec_of(enc_slice(&call->reply));
    uint64_t term = dec_u64(&dec);
    bool taken = dec_u8(&dec) != 0;
    if (peer != NULL) {
        peer->bytes -= send->head.len;
        peer->calls--;
    }
    if (call->status == ERRC_OK && dec_done(&dec) && taken && send->kind == CORE_APPEND && term == send->term &&
        term == voter->term && voter->leading && peer != NULL && peer->acked_ns < send->sent_ns) {
        peer->acked_ns = send->sent_ns;
        voter_lease_update(voter);
    }
    voter->sends--;
    rpc_call_release(call);
    enc_free(&send->head);
    mem_free(send);
    if (voter->closing) {
        voter_advance(voter);
    }
}

static const char *member_node(const struct voter *voter, uint64_t id, struct raft_core_members *members)
{
    raft_core_members(voter->core, members);
    for (unsigned i = 0; i < members->count; i++) {
        if (members->list[i].id == id) {
            return members->list[i].node;
        }
    }
    return NULL;
}

/* NULL: there is no more room. Peers that are members no more give theirs up once nothing is under way to them. */
static struct voter_peer *peer_get(struct voter *voter, uint64_t id)
{
    struct voter_peer *peer = peer_find(voter, id);
    struct raft_core_members members;
    for (unsigned i = 0; peer == NULL && i < voter->other_count; i++) {
        if (voter->others[i].calls == 0 && member_node(voter, voter->others[i].id, &members) == NULL) {
            peer = &voter->others[i];
            *peer = (struct voter_peer){ .id = id };
        }
    }
    if (peer == NULL && voter->other_count < RAFT_MEMBERS_MAX) {
        peer = &voter->others[voter->other_count++];
        *peer = (struct voter_peer){ .id = id };
    }
    return peer;
}

static void send_free(struct voter_send *send)
{
    enc_free(&send->head);
    mem_free(send);
}

/* What cannot be sent is dropped: raft sends again. */
static void send_start(struct voter *voter, struct voter_send *send)
{
    struct raft_core_members members;
    struct voter_peer *peer = peer_get(voter, send->to);
    const char *node = member_node(voter, send->to, &members);
    struct rpc_channel *channel = node != NULL ? voter->peers->channel(voter->peers_data, node) : NULL;
    if (peer == NULL || channel == NULL || peer->calls >= PEER_CALLS_MAX ||
        (peer->bytes > 0 && peer->bytes + send->head.len > PEER_BYTES_MAX)) {
        send_free(send);
        return;
    }
    peer->calls++;
    peer->bytes += send->head.len;
    voter->sends++;
    send->sent_ns = env_now_ns(voter->env);
    send->call.method = RPC_RAFT_MESSAGE;
    send->call.head = enc_slice(&send->head);
    send->call.deadline_ns = send->sent_ns + 2 * voter->election_ms * NS_PER_MS;
    send->call.order = send->to;
    send->call.reply_to = voter->executor;
    send->call.done = on_sent;
    rpc_call_start(channel, &send->call);
}

void voter_messages_flush(struct voter *voter)
{
    while (voter->held_first != NULL && hard_state_durable(voter)) {
        struct voter_send *send = voter->held_first;
        voter->held_first = send->next;
        send_start(voter, send);
    }
}

void voter_messages_drop(struct voter *voter)
{
    while (voter->held_first != NULL) {
        struct voter_send *send = voter->held_first;
        voter->held_first = send->next;
        send_free(send);
    }
}

static void hold(struct voter *voter, const struct core_message *message)
{
    struct voter_send *send = mem_zalloc(sizeof(*send));
    send->voter = voter;
    send->to = message->to;
    send->term = message->term;
    send->kind = message->kind;
    core_message_encode(message, &send->head);
    if (voter->held_first != NULL) {
        voter->held_last->next = send;
    } else {
        voter->held_first = send;
    }
    voter->held_last = send;
}

/* The entries that the core named, in as many messages as their bytes ask for: each stands behind the one before. */
static void append_hold(struct voter *voter, const struct core_message *named)
{
    struct raft_core_entry entries[RAFT_MESSAGE_ENTRIES_MAX];
    uint64_t index = named->index + 1;
    uint64_t end = index + named->entry_count;
    do {
        struct core_message message = *named;
        size_t bytes = 0;
        message.index = index - 1;
        message.index_term = index == named->index + 1 ? named->index_term : window_term(&voter->window, index - 1);
        message.entry_count = 0;
        message.entries = entries;
        for (; index < end && message.entry_count < RAFT_MESSAGE_ENTRIES_MAX; index++) {
            const struct voter_entry *entry = window_at(&voter->window, index);
            if (entry == NULL || (bytes > 0 && bytes + entry->data.len > MESSAGE_BYTES)) {
                break;
            }
            bytes += entry->data.len + 1;
            entries[message.entry_count++] = (struct raft_core_entry){ entry->term, entry->type, enc_slice(&entry->data) };
        }
        if (message.entry_count == 0 && named->entry_count > 0) { /* the window keeps what the core knows of */
            voter_event(voter, "metadata_entry_not_at_hand", "", "");
            return;
        }
        hold(voter, &message);
    } while (index < end);
}

/* ---- what raft decided ---- */

static void entries_cut(struct voter *voter, uint64_t index)
{
    ASSERT(index > voter->commit_index && index > voter->applied_index);
    window_drop_back(&voter->window, index);
    voter->durable_index = voter->durable_index < index ? voter->durable_index : index - 1;
    voter->write_last = voter->write_last < index ? voter->write_last : index - 1;
    if (index <= voter->written_index) {
        voter->cut_wanted = voter->cut_wanted != 0 && voter->cut_wanted < index ? voter->cut_wanted : index;
    }
}

static void entries_take(struct voter *voter, const struct raft_core_update *update, const struct core_message *received,
                         struct slice own)
{
    if (update->append_index < voter->window.next) {
        entries_cut(voter, update->append_index);
    }
    ASSERT(update->append_index == voter->window.next);
    for (unsigned i = 0; i < update->append_count; i++) {
        const struct raft_core_entry *from = update->append_received ? &received->entries[update->append_skip + i] : NULL;
        struct voter_entry *entry = window_push(&voter->window, from != NULL ? from->term : update->append_term,
                                                from != NULL ? from->type : update->append_type);
        struct slice data = from != NULL ? from->data : own;
        enc_raw(&entry->data, data.data, data.len);
        voter->window.bytes += data.len;
    }
}

/* Commands that wait for an entry. */
static void queue_refuse(struct voter *voter)
{
    while (voter->queue_first != NULL) {
        struct rpc_call *call = voter->queue_first;
        voter->queue_first = call->next;
        voter_refuse(voter, call);
    }
    voter->queue_last = NULL;
    voter->queue_bytes = 0;
}

/* What came of its entries a leader that was does not learn here. */
static void entries_abandon(struct voter *voter)
{
    static const char text[] = "this voter leads no more; the command may have been done";
    for (uint64_t index = voter->applied_index + 1; index < voter->window.next; index++) {
        struct voter_entry *entry = window_at(&voter->window, index);
        struct rpc_call *calls = entry != NULL ? entry->calls : NULL;
        if (entry != NULL) {
            entry->calls = NULL;
            voter_calls_fail(calls, ERRC_TIMEOUT, text);
        }
    }
}

static void lead_lost(struct voter *voter)
{
    entries_abandon(voter);
    queue_refuse(voter);
    voter->yields = voter->closing; /* handed over: it may be named again */
}

/* A voter that is alone leads always. */
static void lead_event(struct voter *voter, const char *event)
{
    if (voter->peers != NULL) {
        voter_event(voter, event, "", "");
    }
}

static void lead_follow(struct voter *voter, const struct raft_core_update *update)
{
    bool anew = update->leader && (!voter->leading || voter->term != update->term);
    bool lost = voter->leading && (!update->leader || voter->term != update->term);
    voter->term = update->term;
    voter->leader_id = update->leader ? voter->state.raft_id : update->leader_id;
    voter->leading = update->leader;
    if (lost) {
        atomic_store(&voter->lease_until_ns, 0);
        lead_lost(voter);
        lead_event(voter, "metadata_lead_lost");
    }
    if (anew) {
        voter->ready_index = voter->window.next - 1; /* its barrier, or what was committed already */
        for (unsigned i = 0; i < voter->other_count; i++) {
            voter->others[i].acked_ns = 0;
        }
        voter_leases_begin(&voter->leases);
        lead_event(voter, "metadata_lead_taken");
    }
}

static void timer_follow(struct voter *voter, uint64_t timeout_ms)
{
    uint64_t now = now_ms(voter);
    timer_stop(voter->executor, &voter->raft_timer);
    timer_start(voter->executor, &voter->raft_timer, timeout_ms > now ? timeout_ms - now : 1);
}

void voter_core_take(struct voter *voter, const struct raft_core_update *update, const struct core_message *received,
                     struct slice own)
{
    voter->hard_term = update->term;
    voter->hard_vote = update->vote;
    if (voter->hard_term != voter->state.term || voter->hard_vote != voter->state.vote) {
        voter->fence_wanted = true;
    }
    if (update->append_index != 0) {
        entries_take(voter, update, received, own);
    }
    for (unsigned i = 0; i < update->message_count; i++) {
        if (update->messages[i].kind == CORE_APPEND) {
            append_hold(voter, &update->messages[i]);
        } else {
            hold(voter, &update->messages[i]);
        }
    }
    voter->commit_index = update->commit_index > voter->commit_index ? update->commit_index : voter->commit_index;
    lead_follow(voter, update);
    if (voter->peers != NULL) {
        timer_follow(voter, update->timeout_ms);
    }
    voter_lease_update(voter);
    voter_messages_flush(voter);
}

/* ---- time ---- */

static void on_raft_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct voter *voter = container_of(timer, struct voter, raft_timer);
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    if (voter->dead || voter->core == NULL) {
        return;
    }
    if (voter->leading && voter->yields && !voter->closing && voter->yield_done == NULL) {
        /* Nobody took the lead in time, and whoever was named may still do so at any time: this one never leads on in this
         * term. Without heartbeats the others elect one of them. */
        timer_start(voter->executor, &voter->raft_timer, SILENT_MS);
        return;
    }
    if (raft_core_timeout(voter->core, now_ms(voter), &update, &e) != ERRC_OK) {
        voter_die(voter, e.text);
    } else {
        voter_core_take(voter, &update, NULL, slice_of(NULL, 0));
    }
    voter_advance(voter);
}

void voter_raft_begin(struct voter *voter)
{
    voter->raft_timer.task.run = on_raft_timer;
    voter->votes_from_ns = env_now_ns(voter->env) + voter->election_ms * NS_PER_MS / 10 * 11;
    if (voter->peers != NULL) {
        timer_start(voter->executor, &voter->raft_timer, 1);
    }
    voter_lease_update(voter);
}

void voter_raft_end(struct voter *voter)
{
    voter_messages_drop(voter);
    if (voter->peers == NULL) {
        return;
    }
    timer_stop(voter->executor, &voter->raft_timer);
    atomic_store(&voter->lease_until_ns, 0);
    voter->leading = false;
    voter->leader_id = 0;
}

/* ---- handing over ---- */

void voter_hand_over_look(struct voter *voter)
{
    void (*done)(void *data) = voter->yield_done;
    if (done != NULL && (!voter->leading || voter->dead || env_now_ns(voter->env) >= voter->yield_by_ns)) {
        voter->yield_done = NULL;
        if (voter->leading) { /* nobody took the lead; from here on it does nothing for its entries, and nobody may wait for them */
            entries_abandon(voter);
        }
        done(voter->yield_data);
    }
}

bool voter_yield(struct voter *voter)
{
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    voter->yield_by_ns = 0;
    if (voter->peers == NULL || !voter->leading || voter->dead) {
        return false;
    }
    voter->yields = true;
    voter_lease_update(voter); /* none any more: whom it names may be voted for at once, or long after */
    if (raft_core_transfer(voter->core, now_ms(voter), &update, &e) != ERRC_OK) {
        voter->yields = false; /* nobody else votes: it leads on to its close */
        voter_lease_update(voter);
        return false;
    }
    voter->yield_by_ns = env_now_ns(voter->env) + HAND_OVER_MS * (uint64_t)NS_PER_MS;
    voter_core_take(voter, &update, NULL, slice_of(NULL, 0));
    queue_refuse(voter);
    return true;
}

static void on_hand_over(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, yield_task);
    (void)voter_yield(voter); /* false: there is nothing to wait for */
    voter_advance(voter);
}

void voter_hand_over(struct voter *voter, void (*done)(void *data), void *data)
{
    voter->yield_done = done;
    voter->yield_data = data;
    voter->yield_task.run = on_hand_over;
    executor_post(voter->executor, &voter->yield_task);
}

/* ---- in ---- */

/* A voter speaks for itself only. */
static bool sender_is(const struct voter *voter, const struct rpc_call *call, uint64_t id)
{
    struct raft_core_members members;
    const char *node = member_node(voter, id, &members);
    char hex[ID_HEX_BYTES];
    if (call->peer == NULL || node == NULL) { /* of this process; or one that this voter's log does not know of yet */
        return true;
    }
    id_hex(call->peer->node.bytes, hex);
    return strlen(node) != strlen(hex) || strcmp(node, hex) == 0;
}

static bool vote_is_early(struct voter *voter, const struct core_message *message)
{
    return message->kind == CORE_VOTE && !message->disrupt && env_now_ns(voter->env) < voter->votes_from_ns;
}

/* libraft 0.22 notes the index of a message's first entry for a change of members that stands further behind: such an
 * entry comes first, in a message of its own. */
static unsigned entries_together(const struct core_message *message, unsigned from)
{
    unsigned count = 1;
    while (from + count < message->entry_count && message->entries[from + count].type != RAFT_CORE_CHANGE) {
        count++;
    }
    return count;
}

static enum errc receive(struct voter *voter, const struct core_message *message, struct error *e)
{
    unsigned from = 0;
    do {
        struct core_message part = *message;
        struct raft_core_update update;
        if (message->entry_count > 0) {
            part.entry_count = entries_together(message, from);
            part.entries = message->entries + from;
            part.index = message->index + from;
            part.index_term = from > 0 ? message->entries[from - 1].term : message->index_term;
        }
        enum errc rc = raft_core_receive(voter->core, now_ms(voter), &part, &update, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        voter_core_take(voter, &update, &part, slice_of(NULL, 0));
        from += part.entry_count;
    } while (from < message->entry_count);
    return ERRC_OK;
}

static uint64_t unwritten_bytes(const struct voter *voter)
{
    uint64_t bytes = 0;
    for (uint64_t index = voter->durable_index + 1; index < voter->window.next; index++) {
        bytes += window_at(&voter->window, index)->data.len;
    }
    return bytes;
}

static enum errc message_check(struct voter *voter, struct rpc_call *call, const struct core_message *message)
{
    if (voter->dead || voter->core == NULL || voter->peers == NULL) {
        return error_set(&call->error, ERRC_UNAVAILABLE, "this voter takes no part now");
    }
    if (message->to != voter->state.raft_id || !sender_is(voter, call, message->from)) {
        return error_set(&call->error, ERRC_DENIED, "a message of voter %llu to voter %llu",
                         (unsigned long long)message->from, (unsigned long long)message->to);
    }
    if (vote_is_early(voter, message)) {
        return error_set(&call->error, ERRC_UNAVAILABLE, "this voter started a moment ago");
    }
    if (message->entry_count > 0 && unwritten_bytes(voter) > UNWRITTEN_BYTES_MAX) {
        return error_set(&call->error, ERRC_LIMIT, "too many entries wait for this voter's disk");
    }
    return ERRC_OK;
}

void voter_on_message(struct rpc_call *call)
{
    struct voter *voter = call->service_data;
    struct core_message message;
    struct raft_core_entry *entries = NULL;
    struct error e = ERROR_INIT;
    enum errc rc = core_message_decode(call->head, &message, &entries, &call->error);
    rc = rc == ERRC_OK ? message_check(voter, call, &message) : rc;
    if (rc == ERRC_OK && message.kind == CORE_SNAPSHOT && message.term >= voter->term) {
        struct raft_core_members members;
        voter_fetch_begin(voter, member_node(voter, message.from, &members));
    }
    if (rc == ERRC_OK) {
        rc = receive(voter, &message, &e);
        if (rc != ERRC_OK && rc != ERRC_UNSUPPORTED) { /* raft itself gives up: what it has does not fit the leader's */
            voter_die(voter, e.text);
        }
        (void)(rc == ERRC_OK ? rc : error_set(&call->error, rc, "%s", e.text));
    }
    if (rc == ERRC_OK) {
        enc_u64(&call->reply, voter->term);
        enc_u8(&call->reply, message.kind == CORE_APPEND && message.term == voter->term && !voter->leading);
    }
    mem_free(entries);
    rpc_call_finish(call, rc);
    voter_advance(voter);
}

/* ---- who leads ---- */

void voter_leader_fill(struct voter *voter, struct enc *reply)
{
    struct raft_core_members members;
    struct meta_leader leader = { .term = voter->term };
    const char *node = voter->core != NULL && voter->leader_id != 0 && voter->leader_id != voter->state.raft_id
                           ? member_node(voter, voter->leader_id, &members) : NULL;
    if (node != NULL) {
        (void)id_from_hex(node, strlen(node), leader.node.bytes); /* left zero if it is no id */
    }
    meta_leader_encode(reply, &leader);
}

void voter_refuse(struct voter *voter, struct rpc_call *call)
{
    enc_reset(&call->reply);
    voter_leader_fill(voter, &call->reply);
    rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, "this voter does not lead"));
}
