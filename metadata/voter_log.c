/*
 * The life of a command, on the voter's executor but for the writes:
 *
 *   queue -> batch -> [mirrors: write + fdatasync] -> (fence?) -> committed -> applied -> answered
 *
 * One batch is at the mirrors at a time; what arrives meanwhile makes the next one. A batch is applied while the next
 * is being written. A mirror that fails leaves, and the generation that says so is durable on all others before the
 * batch is answered.
 *
 * Seal: a damaged last record can't be told from a torn write, so a record with commands does not stay the last one: a
 * barrier follows when the voter has been idle for a moment, and when it closes.
 */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u
#define ENTRY_COMMANDS_MAX 4096
#define SEAL_IDLE_MS 200
#define REVIVE_MS 2000
#define REST_MS 10000 /* between two attempts at a join or a store move whose source failed */

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

/* As recorded, or all known DIRs where there are fewer: one that joins later is then wanted at once. */
unsigned voter_mirrors_wanted(const struct voter *voter)
{
    return voter->state.wanted < voter->state.dir_count ? voter->state.wanted : voter->state.dir_count;
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

bool voter_mirror_counted(const struct voter_mirror *mirror)
{
    return mirror->state == MIRROR_LIVE || mirror->state == MIRROR_OUT ||
           (mirror->state == MIRROR_JOINING && !mirror->condemned);
}

uint32_t voter_state_place(const struct mirror_state *state, struct disk_id disk)
{
    uint32_t place = 0;
    while (place < state->dir_count && !disk_id_equal(state->dirs[place].disk, disk)) {
        place++;
    }
    return place;
}

bool voter_quorum(const struct voter *voter)
{
    unsigned counted = 0;
    unsigned holders = 0;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        const struct voter_mirror *mirror = &voter->mirrors[i];
        counted += voter_mirror_counted(mirror) && mirror->known ? 1 : 0;
        holders += voter_mirror_counted(mirror) && mirror->holder ? 1 : 0;
    }
    return 2 * counted >= voter->known_count && 2 * holders >= voter->holder_count;
}

void voter_generation_done(struct voter *voter)
{
    voter->holder_count = 0;
    voter->known_count = voter->state.dir_count;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        mirror->known = voter_state_place(&voter->state, mirror->mirror.disk) < voter->state.dir_count;
        mirror->holder = voter_mirror_counted(mirror);
        voter->holder_count += mirror->holder ? 1 : 0;
    }
}

void voter_mirror_drop(struct voter *voter, unsigned index, const char *reason)
{
    struct voter_mirror *mirror = &voter->mirrors[index];
    if (!voter_mirror_counted(mirror)) {
        return;
    }
    if (mirror->state == MIRROR_LIVE) {
        voter_event(voter, "metadata_mirror_lost", mirror->path, reason);
    }
    voter->fence_wanted = true;
    if (mirror->state == MIRROR_JOINING) { /* a join ends by itself: its step is under way */
        mirror->condemned = true;
    } else {
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
    timer_start(voter->executor, &voter->revive_timer, REVIVE_MS);
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
    enum errc rc = voter_entry_apply(voter->store, batch->index, batch->type, enc_slice(&batch->data), results, ends,
                                     batch->count, &why);
    if (rc == ERRC_OK) {
        return rc;
    }
    if (rc == ERRC_FORMAT || rc == ERRC_LIMIT) { /* the command's fault, not the DIR's */
        return error_set(e, rc, "%s", why.text);
    }
    voter_mirror_drop(voter, voter->store->mirror, why.text);
    rc = voter_store_move(voter, batch->index - 1, e);
    if (rc == ERRC_OK) {
        enc_reset(results);
        rc = voter_entry_apply(voter->store, batch->index, batch->type, enc_slice(&batch->data), results, ends,
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
    if (voter->dead) { /* an entry before it was not applied: this one must not be either; the revival replays both */
        calls_fail(batch->first, ERRC_TIMEOUT, "the metadata state stopped before this command");
    } else if (batch_apply(voter, batch, &results, ends, &e) != ERRC_OK) {
        calls_fail(batch->first, ERRC_TIMEOUT, e.text);
        voter_die(voter, e.text);
    } else {
        voter->applied_index = batch->index;
        batch_answer(batch, &results, ends);
    }
    mem_free(ends);
    enc_free(&results);
    batch_free(batch);
    if (voter->phase == PHASE_IDLE) {
        voter_advance(voter); /* a mirror may have left, a checkpoint or the end may have waited for this */
    }
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
    /* A live mirror's folder is there, or it vanished; the others get one for the state alone. */
    mirror->rc = mirror->makes_folder ? mirror_create(&mirror->mirror, &mirror->error) : ERRC_OK;
    if (mirror->rc == ERRC_OK) {
        mirror->rc = mirror_state_write(&mirror->mirror, &mirror->voter->state, &mirror->error);
    }
    task->run = mirror_written;
    executor_post(mirror->voter->executor, task);
}

/* Gives one step to every live mirror; a new generation goes to the other DIRs in service too. */
static void mirrors_run(struct voter *voter, enum voter_phase phase, void (*run)(struct task *task))
{
    bool takes[VOTER_DIRS_MAX] = { false };
    voter->phase = phase;
    voter->waiting = 0;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        takes[i] = phase == PHASE_FENCING ? voter_mirror_counted(mirror) : mirror->state == MIRROR_LIVE;
        if (takes[i]) {
            voter->waiting++;
            mirror->task.run = run;
            mirror->makes_folder = mirror->state != MIRROR_LIVE;
        }
    }
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (takes[i]) {
            executor_post(voter->mirrors[i].executor, &voter->mirrors[i].task);
        }
    }
}

void voter_generation_next(struct voter *voter)
{
    struct mirror_state *state = &voter->state;
    state->generation++;
    env_random(voter->env, &state->nonce, sizeof(state->nonce));
    for (uint32_t d = 0; d < state->dir_count; d++) {
        struct mirror_dir *dir = &state->dirs[d];
        dir->is_mirror = false;
        dir->is_counted = false;
        for (unsigned i = 0; i < voter->mirror_count; i++) {
            const struct voter_mirror *mirror = &voter->mirrors[i];
            if (voter_mirror_counted(mirror) && disk_id_equal(mirror->mirror.disk, dir->disk)) {
                dir->is_mirror = mirror->state == MIRROR_LIVE;
                dir->is_counted = true;
            }
        }
    }
}

static void batch_abandon(struct voter *voter, const char *text)
{
    if (voter->batch_under_way) {
        calls_fail(voter->batch.first, ERRC_TIMEOUT, text);
        batch_free(&voter->batch);
        voter->batch_under_way = false;
    }
    voter->phase = PHASE_IDLE;
    voter_die(voter, text);
}

/* The new set of mirrors, under a generation of its own. */
static void fence_begin(struct voter *voter)
{
    voter->fence_wanted = false;
    if (voter_live_count(voter) == 0 || !voter_quorum(voter)) {
        batch_abandon(voter, voter_live_count(voter) == 0 ? "no metadata mirror is left"
                                                          : "too few directories are left to agree on the metadata");
        return;
    }
    voter_generation_next(voter);
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
    voter->phase = PHASE_IDLE;
    voter->last_index = batch.index;
    voter->last_type = batch.type;
    voter->log_bytes += batch.records.len;
    if (raft_core_persisted(voter->core, now_ms(voter), batch.index, &update, &e) != ERRC_OK ||
        update.commit_index < batch.index) {
        calls_fail(batch.first, ERRC_TIMEOUT, "the log entry was not committed");
        voter_die(voter, e.code != ERRC_OK ? e.text : "raft did not commit a durable entry");
        batch_free(&batch);
        return;
    }
    voter->commit_index = update.commit_index;
    voter_advance(voter); /* the next batch goes to the mirrors before this one is applied */
    batch_finish(voter, &batch);
}

static void phase_end(struct voter *voter)
{
    if (voter->phase == PHASE_FENCING && !voter->fence_wanted) {
        voter_generation_done(voter);
    }
    if (voter_live_count(voter) == 0 || voter->fence_wanted) {
        fence_begin(voter);
    } else if (voter->batch_under_way) {
        batch_committed(voter);
    } else {
        voter->phase = PHASE_IDLE;
    }
    if (voter->phase == PHASE_IDLE) {
        voter_advance(voter);
    }
}

static void mirror_written(struct task *task)
{
    struct voter_mirror *mirror = container_of(task, struct voter_mirror, task);
    struct voter *voter = mirror->voter;
    if (mirror->rc != ERRC_OK) { /* also if it did not get the state: then the generation is not the one it says */
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
    batch->type = RAFT_CORE_COMMAND;
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

/* A log is damaged somewhere: this entry begins a new segment everywhere, and the checkpoint after it cuts what was
 * before. The mirrors' executors are idle. */
static void segments_roll(struct voter *voter)
{
    voter->roll_wanted = false;
    voter->checkpoint_wanted = voter->last_index + 1;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            mirror_roll(&voter->mirrors[i].mirror);
        }
    }
}

/* With commands from the queue, or a seal. */
static void batch_begin(struct voter *voter, bool seal)
{
    struct voter_batch *batch = &voter->batch;
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    voter->seal_now = false;
    if (seal) {
        batch->type = RAFT_CORE_BARRIER;
    } else {
        batch_gather(voter);
    }
    if (voter->roll_wanted) {
        segments_roll(voter);
    }
    if (raft_core_submit(voter->core, now_ms(voter), batch->type, enc_slice(&batch->data), &update, &e) != ERRC_OK ||
        update.append_index != voter->last_index + 1 || update.append_count != 1) {
        calls_fail(batch->first, ERRC_UNAVAILABLE, "not the leader");
        batch_free(batch);
        voter_die(voter, e.code != ERRC_OK ? e.text : "raft refused an entry");
        return;
    }
    batch->index = update.append_index;
    batch->term = update.append_term;
    (void)log_record_encode(&batch->records, voter->state.cluster, batch->index, batch->term, batch->type, batch->index,
                            voter->chain, enc_slice(&batch->data));
    voter->batch_under_way = true;
    mirrors_run(voter, PHASE_WRITING, mirror_write);
}

/* ---- what can begin ---- */

static bool voter_idle(const struct voter *voter)
{
    return voter->phase == PHASE_IDLE && !voter->batch_under_way && !voter->checkpointing && voter->joining < 0;
}

void voter_free(struct voter *voter)
{
    voter_store_release(voter->store);
    voter_store_release(voter->store_retired);
    raft_core_close(voter->core);
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].executor != NULL) {
            executor_destroy(voter->mirrors[i].executor);
        }
        mirror_done(&voter->mirrors[i].mirror);
    }
    executor_destroy(voter->copier);
    voter_leases_done(&voter->leases);
    mem_free(voter);
}

static void on_close_timer(struct task *task);

static void close_finish(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, close_task);
    void (*done)(void *data) = voter->close_done;
    void *data = voter->close_data;
    if (!voter_idle(voter)) { /* applying the last entry made a mirror leave: its generation comes first */
        voter->close_posted = false;
        voter_advance(voter);
        return;
    }
    if (atomic_load(&voter->queries) > 0) { /* on the query pool, reading a disk: they end soon */
        voter->close_timer.task.run = on_close_timer;
        timer_start(voter->executor, &voter->close_timer, 1);
        return;
    }
    timer_stop(voter->executor, &voter->seal_timer);
    timer_stop(voter->executor, &voter->revive_timer);
    timer_stop(voter->executor, &voter->rest_timer);
    voter_free(voter);
    done(data);
}

static void on_close_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    close_finish(&container_of(timer, struct voter, close_timer)->close_task);
}

static void on_seal_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct voter *voter = container_of(timer, struct voter, seal_timer);
    voter->seal_now = true;
    voter_advance(voter);
}

static void on_revive_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct voter *voter = container_of(timer, struct voter, revive_timer);
    if (voter->closing) {
        return;
    }
    if (voter_idle(voter)) {
        voter_revive(voter);
    }
    if (voter->dead) {
        timer_start(voter->executor, timer, REVIVE_MS);
    }
    voter_advance(voter);
}

static void on_rest_timer(struct task *task)
{
    struct timer *timer = container_of(task, struct timer, task);
    struct voter *voter = container_of(timer, struct voter, rest_timer);
    voter->rests = false;
    voter_advance(voter);
}

void voter_rest(struct voter *voter)
{
    voter->rests = true;
    timer_start(voter->executor, &voter->rest_timer, REST_MS);
}

void voter_timers_init(struct voter *voter)
{
    voter->rest_timer.task.run = on_rest_timer;
    voter->seal_timer.task.run = on_seal_timer;
    voter->revive_timer.task.run = on_revive_timer;
}

/* Idle, alive: the next thing that goes to the mirrors. */
static void write_begin(struct voter *voter)
{
    if (voter->replacement_count > 0 && voter->joining < 0 && !voter->checkpointing) {
        voter_replace_apply(voter);
    }
    if (!voter->fence_wanted) {
        voter_store_follow(voter);
    }
    bool unsealed = voter->last_type == RAFT_CORE_COMMAND;
    if (voter->fence_wanted) {
        fence_begin(voter);
    } else if (voter->join_ready) {
        voter_join_copy_log(voter);
    } else if (voter->queue_first != NULL || voter->roll_wanted) {
        batch_begin(voter, voter->queue_first == NULL);
    } else if (unsealed && (voter->seal_now || (voter->closing && voter_idle(voter)))) {
        batch_begin(voter, true);
    } else if (unsealed && !voter->seal_timer.armed) {
        timer_start(voter->executor, &voter->seal_timer, SEAL_IDLE_MS);
    }
}

void voter_advance(struct voter *voter)
{
    if (voter->phase == PHASE_IDLE && !voter->dead) {
        write_begin(voter);
    }
    if (voter->dead && voter->join_ready) {
        voter_join_abort(voter);
    }
    if (!voter->dead && !voter->closing) {
        voter_join_begin(voter);
        voter_checkpoint_begin(voter);
    }
    voter_status_publish(voter);
    if (voter->closing && !voter->close_posted && voter_idle(voter) && voter->queue_first == NULL) {
        voter->close_posted = true;
        voter->close_task.run = close_finish;
        executor_post(voter->executor, &voter->close_task);
    }
}
