/*
 * The life of a command, on the voter's executor but for the writes:
 *
 *   queue -> batch -> [mirrors: write + fdatasync] -> (fence?) -> committed -> applied -> answered
 *
 * One batch is at the mirrors at a time; what arrives meanwhile makes the next one. A batch is applied while the next
 * is being written. A mirror that fails leaves, and the generation that says so is durable on all others before the
 * batch is answered.
 */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u
#define ENTRY_COMMANDS_MAX 4096

static uint64_t now_ms(struct voter *voter)
{
    return env_now_ns(voter->env) / NS_PER_MS;
}

void voter_event(struct voter *voter, const char *event, const char *path, const char *text)
{
    if (voter->on_event != NULL) {
        voter->on_event(voter->event_data, event, path, text);
    }
}

unsigned voter_live_count(const struct voter *voter)
{
    unsigned live = 0;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        live += voter->mirrors[i].state == MIRROR_LIVE ? 1 : 0;
    }
    return live;
}

int voter_live_first(const struct voter *voter)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            return (int)i;
        }
    }
    return -1;
}

void voter_mirror_drop(struct voter *voter, unsigned index, const char *reason)
{
    struct voter_mirror *mirror = &voter->mirrors[index];
    if (mirror->state == MIRROR_LIVE) {
        voter->fence_wanted = true;
        voter_event(voter, "metadata_mirror_lost", mirror->path, reason);
    }
    if (mirror->state != MIRROR_JOINING) { /* a join ends by itself: its step is under way */
        mirror->state = MIRROR_FAILED;
    }
}

/* ---- answering ---- */

static void calls_fail(struct rpc_call *call, enum errc status, const char *text)
{
    while (call != NULL) {
        struct rpc_call *next = call->next;
        (void)error_set(&call->error, status, "%s", text);
        rpc_call_finish(call, status);
        call = next;
    }
}

static void voter_die(struct voter *voter, const char *text)
{
    voter->dead = true;
    voter_event(voter, "metadata_unavailable", "", text);
    calls_fail(voter->queue_first, ERRC_UNAVAILABLE, text);
    voter->queue_first = NULL;
    voter->queue_last = NULL;
    voter->queue_bytes = 0;
}

static void batch_free(struct voter_batch *batch)
{
    enc_free(&batch->data);
    enc_free(&batch->records);
    *batch = (struct voter_batch){ .first = NULL };
}

/* ---- applying ---- */

/* Applies the committed batch; moves the store where its DIR fails meanwhile. */
static enum errc batch_apply(struct voter *voter, struct voter_batch *batch, struct enc *results, size_t *ends,
                             struct error *e)
{
    struct error why = ERROR_INIT;
    enum errc rc = voter_entry_apply(voter->store, batch->index, RAFT_CORE_COMMAND, enc_slice(&batch->data), results,
                                     ends, batch->count, &why);
    if (rc == ERRC_OK) {
        return rc;
    }
    voter_mirror_drop(voter, voter->store->mirror, why.text);
    rc = voter_store_move(voter, batch->index - 1, e);
    if (rc == ERRC_OK) {
        enc_reset(results);
        rc = voter_entry_apply(voter->store, batch->index, RAFT_CORE_COMMAND, enc_slice(&batch->data), results, ends,
                               batch->count, e);
    }
    return rc;
}

static void batch_answer(struct voter_batch *batch, const struct enc *results, const size_t *ends)
{
    size_t at = 0;
    unsigned i = 0;
    for (struct rpc_call *call = batch->first; call != NULL; i++) {
        struct rpc_call *next = call->next;
        enc_raw(&call->reply, results->data + at, ends[i] - at);
        at = ends[i];
        rpc_call_finish(call, ERRC_OK);
        call = next;
    }
}

static void batch_finish(struct voter *voter, struct voter_batch *batch)
{
    struct enc results = ENC_INIT;
    struct error e = ERROR_INIT;
    size_t *ends = mem_alloc((batch->count + 1u) * sizeof(*ends));
    if (batch_apply(voter, batch, &results, ends, &e) != ERRC_OK) {
        calls_fail(batch->first, ERRC_TIMEOUT, e.text);
        voter_die(voter, e.text);
    } else {
        voter->applied_index = batch->index;
        batch_answer(batch, &results, ends);
    }
    mem_free(ends);
    enc_free(&results);
    batch_free(batch);
}

/* ---- writing ---- */

static void mirror_written(struct task *task);

static void mirror_write(struct task *task)
{
    struct voter_mirror *mirror = container_of(task, struct voter_mirror, task);
    struct voter *voter = mirror->voter;
    const struct voter_batch *batch = &voter->batch; /* not changed while PHASE_WRITING */
    error_clear(&mirror->error);
    mirror->rc = mirror_append(&mirror->mirror, enc_slice(&batch->records), batch->index, voter->chain, &mirror->error);
    task->run = mirror_written;
    executor_post(voter->executor, task);
}

static void mirror_state_save(struct task *task)
{
    struct voter_mirror *mirror = container_of(task, struct voter_mirror, task);
    error_clear(&mirror->error);
    mirror->rc = mirror_state_write(&mirror->mirror, &mirror->voter->state, &mirror->error);
    task->run = mirror_written;
    executor_post(mirror->voter->executor, task);
}

/* Gives one step to every live mirror. */
static void mirrors_run(struct voter *voter, enum voter_phase phase, void (*run)(struct task *task))
{
    voter->phase = phase;
    voter->waiting = 0;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (mirror->state == MIRROR_LIVE) {
            voter->waiting++;
            mirror->task.run = run;
        }
    }
    for (unsigned i = 0, left = voter->waiting; left > 0; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            left--;
            executor_post(voter->mirrors[i].executor, &voter->mirrors[i].task);
        }
    }
}

/* The new set of mirrors, under a generation of its own. */
static void fence_begin(struct voter *voter)
{
    voter->fence_wanted = false;
    voter->state.generation++;
    for (uint32_t d = 0; d < voter->state.dir_count; d++) {
        struct mirror_dir *dir = &voter->state.dirs[d];
        dir->is_mirror = false;
        for (unsigned i = 0; i < voter->mirror_count; i++) {
            const struct voter_mirror *mirror = &voter->mirrors[i];
            dir->is_mirror = dir->is_mirror || (mirror->state == MIRROR_LIVE &&
                                                disk_id_equal(mirror->mirror.disk, dir->disk));
        }
    }
    mirrors_run(voter, PHASE_FENCING, mirror_state_save);
}

/* The batch is durable everywhere: raft counts it, the next one may be written, this one is applied. */
static void batch_committed(struct voter *voter)
{
    struct voter_batch batch = voter->batch;
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    voter->batch = (struct voter_batch){ .first = NULL };
    voter->batch_under_way = false;
    struct dec dec = dec_of(slice_of(batch.records.data, 8));
    (void)dec_u32(&dec);
    voter->chain = dec_u32(&dec); /* the header CRC of the record */
    voter->last_index = batch.index;
    voter->log_bytes += batch.records.len;
    if (raft_core_persisted(voter->core, now_ms(voter), batch.index, &update, &e) != ERRC_OK ||
        update.commit_index < batch.index) {
        calls_fail(batch.first, ERRC_TIMEOUT, "the log entry was not committed");
        voter_die(voter, e.code != ERRC_OK ? e.text : "raft did not commit a durable entry");
        batch_free(&batch);
        return;
    }
    voter->commit_index = update.commit_index;
    voter->phase = PHASE_IDLE;
    voter_advance(voter); /* the next batch goes to the mirrors before this one is applied */
    batch_finish(voter, &batch);
}

static void phase_end(struct voter *voter)
{
    if (voter_live_count(voter) == 0) {
        if (voter->batch_under_way) {
            calls_fail(voter->batch.first, ERRC_TIMEOUT, "no metadata mirror is left");
            batch_free(&voter->batch);
            voter->batch_under_way = false;
        }
        voter->phase = PHASE_IDLE;
        voter_die(voter, "no metadata mirror is left");
    } else if (voter->fence_wanted) {
        fence_begin(voter);
        return;
    } else if (voter->batch_under_way) {
        batch_committed(voter);
    } else {
        voter->phase = PHASE_IDLE;
    }
    voter_advance(voter);
}

static void mirror_written(struct task *task)
{
    struct voter_mirror *mirror = container_of(task, struct voter_mirror, task);
    struct voter *voter = mirror->voter;
    if (mirror->rc != ERRC_OK) {
        voter_mirror_drop(voter, (unsigned)(mirror - voter->mirrors), mirror->error.text);
    }
    ASSERT(voter->waiting > 0);
    if (--voter->waiting == 0) {
        phase_end(voter);
    }
}

/* ---- gathering ---- */

static void batch_gather(struct voter *voter)
{
    struct voter_batch *batch = &voter->batch;
    ASSERT(batch->first == NULL && voter->queue_first != NULL);
    enc_u32(&batch->data, 0); /* the count, below */
    while (voter->queue_first != NULL && batch->count < ENTRY_COMMANDS_MAX) {
        struct rpc_call *call = voter->queue_first;
        if (batch->count > 0 && batch->data.len + call->head.len + 4 > VOTER_ENTRY_BYTES_MAX) {
            break;
        }
        voter->queue_first = call->next;
        voter->queue_bytes -= call->head.len;
        call->next = NULL;
        enc_u32(&batch->data, (uint32_t)call->head.len);
        enc_raw(&batch->data, call->head.data, call->head.len);
        if (batch->last != NULL) {
            batch->last->next = call;
        } else {
            batch->first = call;
        }
        batch->last = call;
        batch->count++;
    }
    store_le32(batch->data.data, batch->count);
}

static void batch_begin(struct voter *voter)
{
    struct voter_batch *batch = &voter->batch;
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    batch_gather(voter);
    if (raft_core_submit(voter->core, now_ms(voter), enc_slice(&batch->data), &update, &e) != ERRC_OK ||
        update.append_index != voter->last_index + 1 || update.append_count != 1) {
        calls_fail(batch->first, ERRC_UNAVAILABLE, "not the leader");
        batch_free(batch);
        voter_die(voter, e.code != ERRC_OK ? e.text : "raft refused an entry");
        return;
    }
    batch->index = update.append_index;
    batch->term = update.append_term;
    (void)log_record_encode(&batch->records, batch->index, batch->term, RAFT_CORE_COMMAND, batch->index, voter->chain,
                            enc_slice(&batch->data));
    voter->batch_under_way = true;
    mirrors_run(voter, PHASE_WRITING, mirror_write);
}

static void close_finish(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, close_task);
    void (*done)(void *data) = voter->close_done;
    void *data = voter->close_data;
    voter_store_release(voter->store);
    raft_core_close(voter->core);
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].executor != NULL) {
            executor_destroy(voter->mirrors[i].executor);
        }
        mirror_done(&voter->mirrors[i].mirror);
    }
    executor_destroy(voter->copier);
    mem_free(voter);
    done(data);
}

void voter_advance(struct voter *voter)
{
    if (voter->phase == PHASE_IDLE && !voter->dead) {
        if (voter->replace_wanted) {
            voter_replace_apply(voter);
        }
        if (voter->fence_wanted) {
            if (voter_live_count(voter) > 0) {
                fence_begin(voter);
            } else {
                voter_die(voter, "no metadata mirror is left");
            }
        } else if (voter->join_ready) {
            voter_join_copy_log(voter);
        } else if (voter->queue_first != NULL) {
            batch_begin(voter);
        }
    }
    if (!voter->dead && !voter->closing) {
        voter_join_begin(voter);
        voter_checkpoint_begin(voter);
    }
    voter_status_publish(voter);
    bool idle = voter->phase == PHASE_IDLE && !voter->batch_under_way && !voter->checkpointing && voter->joining < 0;
    if (voter->closing && idle && voter->queue_first == NULL && voter->close_done != NULL) {
        voter->close_task.run = close_finish;
        voter->closing = false; /* once */
        executor_post(voter->executor, &voter->close_task);
    }
}
