#include "gateway/data/metadata_failover.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "gateway/data/data_lock.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)
#define ATTEMPT_MS 1000         /* for an answer; doubles, since a slow leader is not helped by repeating */
#define ATTEMPT_MS_MAX 8000
#define PAUSE_MS 25             /* after a round of all voters; doubles */
#define PAUSE_MS_MAX 400
#define SILENT_ROUNDS 8         /* one in so many asks silent voters too */
#define PLACES (FAILOVER_LANES * META_REQUESTS_KEPT)

struct metadata_failover {
    struct env *env;
    uint8_t client[META_CLIENT_BYTES];
    struct data_lock lock;                  /* guards what follows */
    unsigned voter_count, leader;
    struct metadata_voter voters[METADATA_VOTERS_MAX];
    void (*on_unknown)(void *data, const struct meta_leader *leader);
    void *on_unknown_data;
    uint64_t counter;                       /* of names */
    uint64_t end_ns;                        /* of every op, 0: none */
    unsigned free_count;
    uint16_t free_places[PLACES];           /* a stack */
};

struct metadata_failover *failover_create(struct env *env)
{
    struct metadata_failover *failover = mem_zalloc(sizeof(*failover));
    failover->env = env;
    data_lock_init(&failover->lock);
    env_random(env, failover->client, sizeof(failover->client));
    failover->free_count = PLACES;
    for (unsigned i = 0; i < PLACES; i++) {
        failover->free_places[i] = (uint16_t)(PLACES - 1 - i); /* the first lane first */
    }
    return failover;
}

void failover_destroy(struct metadata_failover *failover)
{
    ASSERT(failover == NULL || failover->free_count == PLACES);
    mem_free(failover);
}

void failover_voters(struct metadata_failover *failover, const struct metadata_voter *voters, unsigned count,
                     void (*on_unknown)(void *data, const struct meta_leader *leader), void *data)
{
    ASSERT(count >= 1 && count <= METADATA_VOTERS_MAX);
    data_lock_take(&failover->lock);
    struct node_id leader = failover->voters[failover->leader].node;
    failover->leader = 0;
    for (unsigned i = 0; i < count; i++) {
        failover->voters[i] = voters[i];
        failover->leader = node_id_equal(voters[i].node, leader) ? i : failover->leader;
    }
    failover->voter_count = count;
    failover->on_unknown = on_unknown;
    failover->on_unknown_data = data;
    data_lock_give(&failover->lock);
}

void failover_hurry(struct metadata_failover *failover, uint64_t end_ns)
{
    data_lock_take(&failover->lock);
    failover->end_ns = end_ns;
    data_lock_give(&failover->lock);
}

/* ---- names ---- */

enum errc failover_name(struct metadata_failover *failover, struct meta_op *op, struct meta_request *ret_request)
{
    data_lock_take(&failover->lock);
    bool room = failover->free_count > 0;
    if (room) {
        unsigned place = failover->free_places[--failover->free_count];
        op->place = (uint16_t)(place + 1);
        memcpy(ret_request->client, failover->client, META_CLIENT_BYTES);
        ret_request->client[META_CLIENT_BYTES - 1] ^= (uint8_t)(place / META_REQUESTS_KEPT);
        ret_request->number = ++failover->counter * META_REQUESTS_KEPT + place % META_REQUESTS_KEPT;
    }
    data_lock_give(&failover->lock);
    return room ? ERRC_OK : ERRC_LIMIT;
}

static void name_give(struct metadata_failover *failover, struct meta_op *op)
{
    if (op->place > 0) {
        data_lock_take(&failover->lock);
        failover->free_places[failover->free_count++] = (uint16_t)(op->place - 1);
        data_lock_give(&failover->lock);
        op->place = 0;
    }
}

/* ---- attempts ---- */

/* Of two times, of which 0 is none. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a > 0 && (b == 0 || a < b) ? a : b;
}

/* Sends to the voter that `op->voter` names; it may have left the list: then to the leader. */
static void attempt(struct metadata_failover *failover, struct meta_op *op)
{
    uint64_t until = env_now_ns(failover->env) + op->attempt_ms * NS_PER_MS;
    data_lock_take(&failover->lock);
    op->until_ns = sooner(op->until_ns, failover->end_ns);
    unsigned at = op->voter < failover->voter_count ? op->voter : failover->leader;
    struct rpc_channel *channel = failover->voters[at].channel;
    op->voter = (uint8_t)at;
    op->tried |= (uint16_t)(1u << at);
    data_lock_give(&failover->lock);
    op->call.deadline_ns = sooner(until, op->until_ns);
    rpc_call_start(channel, &op->call);
}

void failover_begin(struct metadata_failover *failover, struct meta_op *op)
{
    op->until_ns = op->call.deadline_ns;
    op->attempt_ms = ATTEMPT_MS;
    op->pause_ms = PAUSE_MS;
    op->tried = 0;
    op->silent = 0;
    op->rounds = 0;
    op->hinted = false;
    op->unknown = false;
    data_lock_take(&failover->lock);
    op->voter = (uint8_t)failover->leader;
    data_lock_give(&failover->lock);
    attempt(failover, op);
}

/* Voters that are not asked in this round. One that was silent is asked only in some rounds, since it would hold up the
 * others: a new leader is found without it, or names it. */
static unsigned passed_over(const struct meta_op *op)
{
    return op->rounds % SILENT_ROUNDS == SILENT_ROUNDS - 1 ? op->tried : op->tried | op->silent;
}

/* A follower's answer names the leader. False: it does not, or that is the one that answered, or one that was silent: the
 * follower has not noticed yet. */
static bool hint_take(struct metadata_failover *failover, const struct meta_op *op, unsigned *ret_voter)
{
    struct meta_leader leader;
    bool known = false;
    void (*on_unknown)(void *data, const struct meta_leader *leader) = NULL;
    if (op->call.status != ERRC_UNAVAILABLE || op->call.reply.len == 0 ||
        meta_leader_decode(enc_slice(&op->call.reply), NULL, &leader) != ERRC_OK || node_id_is_zero(leader.node)) {
        return false;
    }
    data_lock_take(&failover->lock);
    for (unsigned i = 0; i < failover->voter_count && !known; i++) {
        known = node_id_equal(failover->voters[i].node, leader.node);
        *ret_voter = known ? i : *ret_voter;
    }
    if (!known) {
        on_unknown = failover->on_unknown;
    }
    data_lock_give(&failover->lock);
    if (on_unknown != NULL) {
        on_unknown(failover->on_unknown_data, &leader);
    }
    return known && *ret_voter != op->voter && (op->silent >> *ret_voter & passed_over(op) >> *ret_voter & 1) == 0;
}

/* The next voter not tried in this round. False: all were. */
static bool next_take(struct metadata_failover *failover, const struct meta_op *op, unsigned *ret_voter)
{
    bool found = false;
    unsigned passed = passed_over(op);
    data_lock_take(&failover->lock);
    for (unsigned i = 1; i <= failover->voter_count && !found; i++) {
        *ret_voter = (op->voter + i) % failover->voter_count;
        found = (passed >> *ret_voter & 1) == 0;
    }
    data_lock_give(&failover->lock);
    return found;
}

static void call_reset(struct meta_op *op)
{
    struct rpc_call before = op->call;
    rpc_call_release(&op->call);
    memset(&op->call, 0, sizeof(op->call));
    error_clear(&op->call.error);
    op->call.method = before.method;
    op->call.head = before.head;
    op->call.reply_to = before.reply_to;
    op->call.done = before.done;
    op->call.data = before.data;
}

static void pause_over(struct task *task)
{
    struct meta_op *op = container_of(container_of(task, struct timer, task), struct meta_op, pause);
    call_reset(op);
    attempt(op->client->failover, op);
}

static bool pause_begin(struct metadata_failover *failover, struct meta_op *op)
{
    uint64_t over = env_now_ns(failover->env) + op->pause_ms * NS_PER_MS;
    if (op->until_ns > 0 && over >= op->until_ns) {
        return false;
    }
    op->tried = 0;
    op->rounds++;
    op->hinted = false;
    op->pause.task.run = pause_over;
    timer_start(op->executor, &op->pause, op->pause_ms);
    op->pause_ms = 2 * op->pause_ms < PAUSE_MS_MAX ? 2 * op->pause_ms : PAUSE_MS_MAX;
    return true;
}

static bool worth_repeating(const struct meta_op *op)
{
    return op->call.status == ERRC_UNAVAILABLE || op->call.status == ERRC_TIMEOUT;
}

static void end(struct metadata_failover *failover, struct meta_op *op)
{
    if (op->unknown && op->call.status == ERRC_UNAVAILABLE) {
        op->call.status = ERRC_TIMEOUT;
        error_clear(&op->call.error);
        (void)error_set(&op->call.error, ERRC_TIMEOUT, "the voters are not available, and one may have done it");
    }
    name_give(failover, op);
}

bool failover_again(struct metadata_failover *failover, struct meta_op *op)
{
    unsigned voter = op->voter;
    if (!worth_repeating(op)) {
        data_lock_take(&failover->lock);
        failover->leader = op->voter < failover->voter_count ? op->voter : failover->leader;
        data_lock_give(&failover->lock);
        end(failover, op);
        return false;
    }
    if (op->call.status == ERRC_TIMEOUT) {
        op->unknown = true;
        op->silent |= (uint16_t)(1u << op->voter);
        op->attempt_ms = 2 * op->attempt_ms < ATTEMPT_MS_MAX ? 2 * op->attempt_ms : ATTEMPT_MS_MAX;
    }
    if (op->until_ns > 0 && env_now_ns(failover->env) >= op->until_ns) {
        end(failover, op);
        return false;
    }
    bool hint = hint_take(failover, op, &voter) && !op->hinted;
    if (hint || next_take(failover, op, &voter)) {
        op->hinted = op->hinted || hint;
        op->voter = (uint8_t)voter;
        call_reset(op);
        attempt(failover, op);
        return true;
    }
    op->voter = (uint8_t)voter;
    if (!pause_begin(failover, op)) {
        end(failover, op);
        return false;
    }
    return true;
}
