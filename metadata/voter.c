/* The voter's door: the channel, messages from outside, status, close. */
#include "metadata/voter.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "common/rpc/rpc_schema.h"
#include "metadata/voter_state.h"

#include <stdio.h>
#include <string.h>

#define QUERY_RETRY_MS 50
#define QUERY_WAIT_NS 10000000000u /* disks are looked at every second; a move restores and replays the state */

/* ---- the channel ---- */

static void on_propose(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct voter *voter = call->service_data;
    if (voter->dead || voter->closing) {
        rpc_call_finish(call, error_set(&call->error, ERRC_UNAVAILABLE, VOTER_AWAY_TEXT));
        return;
    }
    if (!voter->leading || voter->yields) {
        voter_refuse(voter, call);
        return;
    }
    if (voter->queue_bytes + call->head.len > VOTER_PENDING_BYTES_MAX) {
        rpc_call_finish(call, error_set(&call->error, ERRC_LIMIT, "too many commands wait"));
        return;
    }
    if (call->head.len > LOG_ENTRY_BYTES_MAX - 8) { /* count and length take 8 */
        rpc_call_finish(call, error_set(&call->error, ERRC_LIMIT, "a command of %zu bytes", call->head.len));
        return;
    }
    call->next = NULL;
    if (voter->queue_last != NULL && voter->queue_first != NULL) {
        voter->queue_last->next = call;
    } else {
        voter->queue_first = call;
    }
    voter->queue_last = call;
    voter->queue_bytes += call->head.len;
    if (voter->phase == PHASE_IDLE) {
        voter_advance(voter);
    }
}

static bool lease_holds(struct voter *voter)
{
    uint64_t until_ns = atomic_load(&voter->lease_until_ns);
    return PLANT(PLANT_STALE_LEADER_READS) || until_ns == UINT64_MAX || env_now_ns(voter->env) < until_ns;
}

/* While the lease holds nobody else leads, so what this voter has applied is the newest state there is. It must hold when
 * the answer is there: it was as new as any at a moment since the question came. */
static enum errc query_run(struct voter *voter, struct rpc_call *call, bool cached_only, struct error *e)
{
    if (!lease_holds(voter)) {
        return error_set(e, ERRC_CANCELED, "this voter does not lead");
    }
    struct voter_store *store = voter_store_acquire(voter);
    enum errc rc = store != NULL ? machine_query(store->machine, call->head, cached_only, &call->reply, e)
                                 : error_set(e, ERRC_UNAVAILABLE, VOTER_AWAY_TEXT);
    voter_store_release(store);
    if (rc == ERRC_OK && !lease_holds(voter)) {
        rc = error_set(e, ERRC_CANCELED, "this voter does not lead any more");
    }
    if (rc != ERRC_OK) {
        enc_reset(&call->reply);
    }
    return rc;
}

/* The DIR of the state store is failing: soon a write or the disk's node notices, and the store moves. */
static bool query_is_worth_waiting(enum errc rc)
{
    return rc == ERRC_IO || rc == ERRC_NOT_FOUND || rc == ERRC_CORRUPT;
}

static void query_finish(struct rpc_call *call, enum errc rc, const struct error *e)
{
    if (rc != ERRC_OK) {
        rc = query_is_worth_waiting(rc) || rc == ERRC_CANCELED ? ERRC_UNAVAILABLE : rc;
        (void)error_set(&call->error, rc, "%s", e->code != ERRC_OK ? e->text : errc_text(rc));
    }
    rpc_call_finish(call, rc);
}

/* A query whose store failed under it; tried again until the store has moved. Belongs to the voter's executor while its
 * timer runs, to the query pool while it reads. */
struct query_wait {
    struct task task;
    struct timer timer;
    struct voter *voter;
    struct rpc_call *call;
    uint64_t until_ns;
    enum errc rc;
    struct error error;
};

static void on_query_failed(struct task *task);

static void on_query_again(struct task *task)
{
    struct query_wait *wait = container_of(task, struct query_wait, task);
    error_clear(&wait->error);
    wait->rc = query_run(wait->voter, wait->call, false, &wait->error);
    wait->task.run = on_query_failed; /* or it went well: also told there */
    executor_post(wait->voter->executor, &wait->task);
}

static void on_query_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct query_wait *wait = container_of(timer, struct query_wait, timer);
    wait->task.run = on_query_again;
    executor_post(wait->voter->query_pool, &wait->task);
}

static void on_query_failed(struct task *task)
{
    struct query_wait *wait = container_of(task, struct query_wait, task);
    struct voter *voter = wait->voter;
    if (query_is_worth_waiting(wait->rc) && !voter->closing && !voter->dead &&
        env_now_ns(voter->env) < wait->until_ns) {
        wait->timer.task.run = on_query_timer;
        timer_start(voter->executor, &wait->timer, QUERY_RETRY_MS);
        return;
    }
    query_finish(wait->call, wait->rc, &wait->error);
    mem_free(wait);
    atomic_fetch_sub(&voter->queries, 1); /* the voter may be gone after this */
}

static void query_wait_begin(struct voter *voter, struct rpc_call *call, enum errc rc, const struct error *e)
{
    struct query_wait *wait = mem_zalloc(sizeof(*wait));
    *wait = (struct query_wait){ .task.run = on_query_failed, .voter = voter, .call = call, .rc = rc, .error = *e };
    wait->until_ns = env_now_ns(voter->env) + QUERY_WAIT_NS;
    if (call->deadline_ns > 0 && call->deadline_ns < wait->until_ns) {
        wait->until_ns = call->deadline_ns;
    }
    executor_post(voter->executor, &wait->task);
}

static void on_query(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct voter *voter = call->service_data;
    struct error e = ERROR_INIT;
    enum errc rc = query_run(voter, call, false, &e);
    if (query_is_worth_waiting(rc)) {
        query_wait_begin(voter, call, rc, &e);
        return;
    }
    query_finish(call, rc, &e);
    atomic_fetch_sub(&voter->queries, 1); /* the voter may be gone after this */
}

static void on_renew(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    struct voter *voter = call->service_data;
    if (!lease_holds(voter)) { /* the horizon is the leader's to tell */
        voter_refuse(voter, call);
        return;
    }
    voter_session_renew(voter, call);
}

static void on_refuse(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    voter_refuse(call->service_data, call);
}

static void on_leader(struct task *task)
{
    struct rpc_call *call = container_of(task, struct rpc_call, task);
    voter_leader_fill(call->service_data, &call->reply);
    rpc_call_finish(call, ERRC_OK);
}

static void on_message(struct task *task)
{
    voter_on_message(container_of(task, struct rpc_call, task));
}

static void on_member(struct task *task)
{
    voter_on_member(container_of(task, struct rpc_call, task));
}

static void to_executor(struct voter *voter, struct rpc_call *call, void (*run)(struct task *task))
{
    call->task.run = run;
    executor_post(voter->executor, &call->task);
}

static void on_call(struct rpc_channel *channel, struct rpc_call *call)
{
    struct voter *voter = container_of(channel, struct voter, channel);
    call->service_data = voter;
    switch (call->method) {
    case RPC_META_PROPOSE: {
        enum errc rc = machine_check(call->head, &call->error);
        if (rc != ERRC_OK) {
            rpc_call_finish(call, rc);
            return;
        }
        to_executor(voter, call, on_propose);
        return;
    }
    case RPC_META_QUERY: {
        struct error e = ERROR_INIT;
        enum errc rc = query_run(voter, call, true, &e);
        if (rc == ERRC_CANCELED) {
            to_executor(voter, call, on_refuse);
            return;
        }
        if (rc != ERRC_WOULD_BLOCK && !query_is_worth_waiting(rc)) {
            query_finish(call, rc, &e);
            return;
        }
        atomic_fetch_add(&voter->queries, 1);
        call->task.run = on_query;
        executor_post(voter->query_pool, &call->task);
        return;
    }
    case RPC_META_SESSION_RENEW:
        to_executor(voter, call, on_renew);
        return;
    case RPC_META_LEADER:
        to_executor(voter, call, on_leader);
        return;
    case RPC_RAFT_MESSAGE:
        to_executor(voter, call, on_message);
        return;
    case RPC_RAFT_MEMBER:
        to_executor(voter, call, on_member);
        return;
    case RPC_RAFT_SNAPSHOT_READ:
        voter_on_snapshot_read(voter, call);
        return;
    default:
        rpc_call_finish(call, error_set(&call->error, ERRC_UNSUPPORTED, "method %u", call->method));
    }
}

static const struct rpc_channel_vt channel_vt = { on_call };

void voter_channel_init(struct voter *voter)
{
    voter->channel.vt = &channel_vt;
}

struct rpc_channel *voter_channel(struct voter *voter)
{
    return &voter->channel;
}

/* ---- messages from outside ---- */

struct mirror_notice {
    struct task task;
    struct voter *voter;
    bool replace;
    struct disk_id disk;
    struct mirror_dir added;
    char reason[ERROR_TEXT_BYTES];
};

static void on_failed(struct voter *voter, const struct mirror_notice *notice)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (disk_id_equal(voter->mirrors[i].mirror.disk, notice->disk)) {
            voter_mirror_drop(voter, i, notice->reason); /* the store follows when its generation is durable */
        }
    }
}

static void on_notice(struct task *task)
{
    struct mirror_notice *notice = container_of(task, struct mirror_notice, task);
    struct voter *voter = notice->voter;
    if (notice->replace && voter->replacement_count == VOTER_DIRS_MAX) {
        voter_event(voter, "metadata_mirror_not_added", notice->added.path, "too many replacements wait");
    } else if (notice->replace) {
        voter->replacements[voter->replacement_count++] = (struct voter_replacement){ notice->disk, notice->added };
    } else {
        on_failed(voter, notice);
    }
    mem_free(notice);
    voter_advance(voter);
}

void voter_mirror_failed(struct voter *voter, struct disk_id disk, const char *reason)
{
    struct mirror_notice *notice = mem_zalloc(sizeof(*notice));
    notice->task.run = on_notice;
    notice->voter = voter;
    notice->disk = disk;
    (void)snprintf(notice->reason, sizeof(notice->reason), "%s", reason);
    executor_post(voter->executor, &notice->task);
}

void voter_mirror_replace(struct voter *voter, struct disk_id lost, struct disk_id added, const char *path)
{
    struct mirror_notice *notice = mem_zalloc(sizeof(*notice));
    notice->task.run = on_notice;
    notice->voter = voter;
    notice->replace = true;
    notice->disk = lost;
    notice->added.disk = added;
    (void)snprintf(notice->added.path, sizeof(notice->added.path), "%s", path);
    executor_post(voter->executor, &notice->task);
}

/* ---- status ---- */

static const char *mirror_state_text(enum voter_mirror_state state)
{
    return state == MIRROR_LIVE ? "current" : state == MIRROR_JOINING ? "joining" : "failed";
}

static void members_publish(struct voter *voter, struct voter_status *status)
{
    struct raft_core_members members = { .count = 0 };
    if (voter->core != NULL) {
        raft_core_members(voter->core, &members);
    }
    status->member_count = members.count;
    for (unsigned i = 0; i < members.count; i++) {
        const struct raft_core_member *member = &members.list[i];
        struct voter_member_status *shown = &status->members[i];
        *shown = (struct voter_member_status){ .id = member->id, .votes = member->votes,
                                               .leads = member->id == voter->leader_id,
                                               .self = member->id == voter->state.raft_id };
        shown->match_index = shown->self ? voter->durable_index : raft_core_match(voter->core, member->id);
        memcpy(shown->node, member->node, sizeof(shown->node));
        if (member->votes && !shown->self) {
            status->replicas_wanted++;
            status->replicas_behind += voter->leading && !voter_peer_is_current(voter, member->id, shown->match_index);
        }
    }
}

void voter_status_publish(struct voter *voter)
{
    while (atomic_flag_test_and_set_explicit(&voter->status_lock, memory_order_acquire)) {
    }
    struct voter_status *status = &voter->status;
    unsigned live = voter_live_count(voter);
    status->leading = voter->leading;
    status->serving = atomic_load(&voter->lease_until_ns) > env_now_ns(voter->env);
    status->replicas_wanted = voter_mirrors_wanted(voter);
    status->replicas_behind = live < status->replicas_wanted ? status->replicas_wanted - live : 0;
    members_publish(voter, status);
    status->term = voter->term;
    status->commit_index = voter->commit_index;
    status->applied_index = voter->applied_index;
    status->generation = voter->state.generation;
    status->log_bytes = voter->log_bytes;
    status->checkpoint_index = voter->checkpoint.index;
    status->mirror_count = 0;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        const struct voter_mirror *mirror = &voter->mirrors[i];
        if (mirror->state != MIRROR_OUT && !mirror->replaced) {
            struct voter_mirror_status *shown = &status->mirrors[status->mirror_count++];
            (void)snprintf(shown->path, sizeof(shown->path), "%s", mirror->path);
            shown->state = mirror_state_text(mirror->state);
            shown->active = voter->store != NULL && voter->store->mirror == i;
        }
    }
    atomic_flag_clear_explicit(&voter->status_lock, memory_order_release);
}

enum errc voter_query_own(struct voter *voter, struct slice query, struct enc *ret_reply, struct error *e)
{
    struct voter_store *store = voter_store_acquire(voter);
    enum errc rc = store != NULL ? machine_query(store->machine, query, false, ret_reply, e)
                                 : error_set(e, ERRC_UNAVAILABLE, "no state of the metadata is open");
    voter_store_release(store);
    return rc;
}

bool voter_leads(struct voter *voter)
{
    return lease_holds(voter);
}

bool voter_answers(struct voter *voter)
{
    struct voter_store *store = voter_store_acquire(voter);
    voter_store_release(store);
    return store != NULL && lease_holds(voter);
}

void voter_status(struct voter *voter, struct voter_status *ret_status)
{
    while (atomic_flag_test_and_set_explicit(&voter->status_lock, memory_order_acquire)) {
    }
    *ret_status = voter->status;
    atomic_flag_clear_explicit(&voter->status_lock, memory_order_release);
}

/* ---- close ---- */

static void on_close(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, close_task);
    ASSERT(!voter->closing);
    voter->closing = true;
    if (voter->peers != NULL) {
        voter->yields = true;
        voter_lease_update(voter);
        voter_calls_fail(voter->queue_first, ERRC_UNAVAILABLE, "this voter ends");
        voter->queue_first = NULL;
        voter->queue_last = NULL;
    }
    voter_advance(voter);
}

void voter_close(struct voter *voter, void (*done)(void *data), void *data)
{
    voter->close_done = done;
    voter->close_data = data;
    voter->close_task.run = on_close;
    executor_post(voter->executor, &voter->close_task);
}
