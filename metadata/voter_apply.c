/*
 * What is committed and durable here becomes state, in order; who asked for it is answered.
 *
 * An entry is applied while later ones are being written. A long row (a follower that catches up) is applied piece by
 * piece, so that raft's time does not stand still meanwhile. Thread: the voter's executor.
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "metadata/voter_state.h"

#define NS_PER_MS 1000000u
#define APPLY_MS 50 /* at a stretch */

void voter_calls_fail(struct rpc_call *call, enum errc status, const char *text)
{
    while (call != NULL) {
        struct rpc_call *next = call->next;
        (void)error_set(&call->error, status, "%s", text);
        rpc_call_finish(call, status);
        call = next;
    }
}

/* Applies the entry; moves the store where its DIR fails meanwhile. */
static enum errc entry_apply(struct voter *voter, uint64_t index, const struct voter_entry *entry, struct enc *results,
                             size_t *ends, struct error *e)
{
    struct error why = ERROR_INIT;
    /* NULL: nobody here waits for results */
    size_t *own = entry->calls != NULL && entry->type == RAFT_CORE_COMMAND ? ends : NULL;
    enum errc rc = voter_entry_apply(voter->store, index, entry->type, enc_slice(&entry->data), results, own,
                                     entry->call_count, &why);
    if (rc == ERRC_OK) {
        return rc;
    }
    if (rc == ERRC_FORMAT || rc == ERRC_LIMIT) { /* the command's fault, not the DIR's */
        return error_set(e, rc, "%s", why.text);
    }
    voter_mirror_drop(voter, voter->store->mirror, why.text);
    rc = voter_store_move(voter, index - 1, e);
    if (rc == ERRC_OK) {
        enc_reset(results);
        rc = voter_entry_apply(voter->store, index, entry->type, enc_slice(&entry->data), results, own,
                               entry->call_count, e);
    }
    return rc;
}

static void entry_answer(struct voter_entry *entry, const struct enc *results, const size_t *ends)
{
    struct rpc_call *call = entry->calls;
    size_t at = 0;
    entry->calls = NULL;
    for (unsigned i = 0; call != NULL; i++) {
        struct rpc_call *next = call->next;
        if (entry->type == RAFT_CORE_COMMAND) {
            enc_raw(&call->reply, results->data + at, ends[i] - at);
            at = ends[i];
        }
        rpc_call_finish(call, ERRC_OK);
        call = next;
    }
}

/* The members as they are now are part of the next generation, which is durable before the log that says so is cut. */
static void change_applied(struct voter *voter, uint64_t index)
{
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    if (raft_core_changed(voter->core, env_now_ns(voter->env) / NS_PER_MS, index, &update, &e) != ERRC_OK) {
        voter_die(voter, e.text);
        return;
    }
    raft_core_members(voter->core, &voter->members);
    voter->members.index = voter->members.index > 0 ? voter->members.index : index;
    voter->fence_wanted = true;
    voter_core_take(voter, &update, NULL, slice_of(NULL, 0));
}

/* A change that the state had before this start: raft reads it from the log and does not know that it was applied. */
static void change_settle(struct voter *voter)
{
    uint64_t index = voter->peers != NULL && voter->core != NULL ? raft_core_change_pending(voter->core) : 0;
    if (index > 0 && index <= voter->applied_index && index <= voter->commit_index && !voter->dead) {
        change_applied(voter, index);
    }
}

static void next_apply(struct voter *voter)
{
    uint64_t index = voter->applied_index + 1;
    struct voter_entry *entry = window_at(&voter->window, index);
    struct enc results = ENC_INIT;
    struct error e = ERROR_INIT;
    ASSERT(entry != NULL);
    size_t *ends = mem_alloc((entry->call_count + 1u) * sizeof(*ends));
    if (entry_apply(voter, index, entry, &results, ends, &e) != ERRC_OK) {
        voter_die(voter, e.text); /* fails the entry's calls, too */
    } else {
        bool change = entry->type == RAFT_CORE_CHANGE;
        voter->applied_index = index;
        if (change) {
            change_applied(voter, index);
        }
        entry_answer(entry, &results, ends);
        if (voter->peers == NULL) {
            window_drop_front(&voter->window, index + 1);
        }
    }
    mem_free(ends);
    enc_free(&results);
}

static bool can_apply(const struct voter *voter)
{
    return !voter->dead && voter->store != NULL && (voter->applied_index < voter->commit_index || PLANT(PLANT_ACK_BEFORE_COMMIT)) &&
           voter->applied_index < voter->durable_index;
}

static void on_apply(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, apply_task);
    voter->apply_posted = false;
    voter_advance(voter);
}

void voter_apply(struct voter *voter)
{
    uint64_t until_ns = env_now_ns(voter->env) + APPLY_MS * (uint64_t)NS_PER_MS;
    bool any = can_apply(voter);
    change_settle(voter);
    while (can_apply(voter) && !voter->apply_posted) {
        next_apply(voter);
        if (can_apply(voter) && env_now_ns(voter->env) >= until_ns) {
            voter->apply_posted = true;
            voter->apply_task.run = on_apply;
            executor_post(voter->executor, &voter->apply_task);
        }
    }
    if (any && !voter->dead) {
        voter_lease_update(voter); /* a new leader may be ready now */
    }
}
