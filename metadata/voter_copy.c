/*
 * What takes long and blocks, on the voter's copier: checkpoints, and mirrors that join.
 *
 * Join: 1 DIR/metadata made, the newest checkpoint copied (traffic goes on) 2 the voter stops writing; the log is copied
 * 3 a new generation in which the DIR is a mirror is durable on all of them 4 writing goes on. A crash before 3 leaves a
 * folder that no generation calls a mirror; it is wiped when it joins again.
 */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <string.h>

#define NS_PER_MS 1000000u
#define READ_PAUSE_NS UINT64_C(10000000000)
#define READ_LOG_FACTOR 4
#define KEPT_BYTES (16u << 20) /* of entries that a checkpoint covers */

/* ---- checkpoints ---- */

/* A mirror that could not take the checkpoint leaves: its log could never be cut. */
static void checkpoint_failures(struct voter *voter)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].copy_failed && voter_live_count(voter) >= 2) {
            voter_mirror_drop(voter, i, voter->mirrors[i].error_copy.text);
        }
    }
}

/* Entries up to `index` that stay in the window for voters that are behind: 0 for one that is alone. */
static unsigned entries_keep(struct voter *voter, uint64_t index)
{
    uint64_t first = index + 1;
    uint64_t bytes = 0;
    if (voter->peers == NULL) {
        return 0;
    }
    for (; first > voter->window.first && bytes < KEPT_BYTES; first--) {
        bytes += window_at(&voter->window, first - 1)->data.len;
    }
    window_drop_front(&voter->window, first);
    return (unsigned)(index + 1 - first);
}

static void checkpoint_done(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    struct error e = ERROR_INIT;
    voter_store_release(voter->checkpoint_store);
    voter->checkpoint_store = NULL;
    voter->checkpointing = false;
    if (voter->copier_rc != ERRC_OK) {
        voter_event(voter, "metadata_checkpoint_failed", "", voter->copier_error.text);
    } else {
        voter->checkpoint = voter->checkpoint_next;
        unsigned kept = entries_keep(voter, voter->checkpoint.index);
        if (voter->core != NULL &&
            raft_core_snapshot(voter->core, env_now_ns(voter->env) / NS_PER_MS, voter->checkpoint.index,
                               voter->checkpoint.term, kept, &e) != ERRC_OK) {
            voter_event(voter, "metadata_snapshot_failed", "", e.text);
        }
    }
    checkpoint_failures(voter);
    voter_advance(voter);
}

/* One step on one mirror; its failure is that mirror's. */
static void checkpoint_step(struct voter_mirror *mirror, enum errc rc)
{
    mirror->copy_failed = mirror->copy_failed || rc != ERRC_OK;
}

/* Only with the checkpoint on all others, the log before it and older checkpoints go. */
static void checkpoint_clean(struct voter_mirror *mirror, uint64_t index)
{
    checkpoint_step(mirror, mirror_cut(&mirror->mirror, index, &mirror->error_copy));
    if (!mirror->copy_failed) {
        checkpoint_step(mirror, checkpoint_prune(mirror->voter->env, mirror->mirror.dir, index, &mirror->error_copy));
    }
}

/* On the copier. */
static void checkpoint_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    const struct voter_store *store = voter->checkpoint_store;
    struct voter_mirror *source = &voter->mirrors[store->mirror];
    uint64_t index = voter->checkpoint_next.index;
    error_clear(&voter->copier_error);
    enum errc rc = checkpoint_make(voter->env, store->kv, source->mirror.dir, voter->checkpoint_next,
                                   &source->error_copy);
    checkpoint_step(source, rc);
    for (unsigned i = 0; i < voter->mirror_count && !source->copy_failed; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (voter->checkpoint_target[i] && mirror != source) {
            rc = checkpoint_copy(voter->env, source->mirror.dir, mirror->mirror.dir, index, &mirror->error_copy);
            if (rc == ERRC_CORRUPT) {
                source->error_copy = mirror->error_copy;
            }
            checkpoint_step(rc == ERRC_CORRUPT ? source : mirror, rc);
        }
    }
    for (unsigned i = 0; i < voter->mirror_count && !source->copy_failed; i++) {
        if (voter->checkpoint_target[i] && !voter->mirrors[i].copy_failed) {
            checkpoint_clean(&voter->mirrors[i], index);
        }
    }
    voter->copier_rc = source->copy_failed ? error_set(&voter->copier_error, ERRC_IO, "%s", source->error_copy.text)
                                           : ERRC_OK;
    task->run = checkpoint_done;
    executor_post(voter->executor, task);
}

/* Another voter takes the checkpoint that is there: it stays, unless the log grows too long meanwhile. */
static bool is_read(struct voter *voter)
{
    uint64_t read_ns = atomic_load(&voter->checkpoint_read_ns);
    return read_ns != 0 && env_now_ns(voter->env) - read_ns < READ_PAUSE_NS &&
           voter->log_bytes < READ_LOG_FACTOR * voter->checkpoint_log_bytes;
}

void voter_checkpoint_begin(struct voter *voter)
{
    bool wanted = voter->log_bytes >= voter->checkpoint_log_bytes ||
                  (voter->checkpoint_wanted > 0 && voter->applied_index >= voter->checkpoint_wanted);
    bool busy = voter->checkpointing || voter->fetching || voter->install_wanted != 0 || voter->fence_wanted;
    if (!wanted || busy || is_read(voter) || voter->joining >= 0 || voter->store == NULL ||
        voter->applied_index <= voter->checkpoint.index ||
        voter->mirrors[voter->store->mirror].state != MIRROR_LIVE) {
        return;
    }
    voter->checkpointing = true;
    voter->checkpoint_wanted = 0;
    voter->log_bytes = 0;
    voter->checkpoint_next = (struct checkpoint_info){ voter->applied_index,
                                                       window_term(&voter->window, voter->applied_index) };
    voter->checkpoint_store = voter_store_acquire(voter);
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        voter->checkpoint_target[i] = mirror->state == MIRROR_LIVE;
        mirror->copy_failed = false;
        error_clear(&mirror->error_copy);
    }
    voter->copier_task.run = checkpoint_run;
    executor_post(voter->copier, &voter->copier_task);
}

/* ---- joining ---- */

static void join_end(struct voter *voter, enum voter_mirror_state state)
{
    struct voter_mirror *mirror = &voter->mirrors[voter->joining];
    mirror->state = mirror->condemned ? MIRROR_FAILED : state;
    mirror->condemned = false;
    voter->joining = -1;
    voter->join_ready = false;
}

static void join_run(struct task *task);

/* A live mirror that the joining one was not copied from yet, or -1. */
static int join_base_next(const struct voter *voter)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE && !voter->join_tried[i]) {
            return (int)i;
        }
    }
    return -1;
}

static void join_from(struct voter *voter, int base)
{
    voter->join_base = base;
    voter->join_tried[base] = true;
    voter->copier_task.run = join_run;
    executor_post(voter->copier, &voter->copier_task);
}

/* CORRUPT is the source's fault: every live mirror is tried, and with none left the DIR stays and a checkpoint is
 * wanted, which stands on the state and lets the damaged log be cut. Anything else is the joining DIR's: it leaves. */
static void join_failed(struct voter *voter)
{
    struct voter_mirror *mirror = &voter->mirrors[voter->joining];
    int base = join_base_next(voter);
    bool innocent = voter->copier_rc == ERRC_CORRUPT;
    voter_event(voter, "metadata_mirror_join_failed", mirror->path, voter->copier_error.text);
    if (innocent && base >= 0 && !mirror->condemned && !voter->dead && !voter->closing) {
        join_from(voter, base);
        return;
    }
    join_end(voter, MIRROR_OUT);
    if (innocent) {
        voter->roll_wanted = true;
        voter_rest(voter);
    } else {
        voter_mirror_drop(voter, (unsigned)(mirror - voter->mirrors), voter->copier_error.text);
    }
}

void voter_join_abort(struct voter *voter)
{
    join_end(voter, MIRROR_OUT);
}

static void join_log_copied(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    ASSERT(voter->phase == PHASE_COPYING);
    voter->phase = PHASE_IDLE;
    if (voter->copier_rc != ERRC_OK) {
        join_failed(voter);
    } else {
        struct voter_mirror *mirror = &voter->mirrors[voter->joining];
        join_end(voter, MIRROR_LIVE);
        if (mirror->state == MIRROR_LIVE) {
            voter_event(voter, "metadata_mirror_joined", mirror->path, "");
        }
        voter->fence_wanted = true; /* the new generation counts it; if its state can't be written it leaves again */
    }
    voter_advance(voter);
}

static void join_log_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    error_clear(&voter->copier_error);
    voter->copier_rc = mirror_log_copy(&voter->mirrors[voter->joining].mirror,
                                       &voter->mirrors[voter->join_base].mirror, voter->durable_index,
                                       &voter->copier_error);
    task->run = join_log_copied;
    executor_post(voter->executor, task);
}

void voter_join_copy_log(struct voter *voter)
{
    ASSERT(voter->phase == PHASE_IDLE && voter->joining >= 0);
    voter->join_ready = false;
    if (voter->mirrors[voter->join_base].state != MIRROR_LIVE) {
        error_clear(&voter->copier_error);
        voter->copier_rc = error_set(&voter->copier_error, ERRC_CORRUPT, "the mirror that it was copied from failed");
        join_failed(voter);
        return;
    }
    voter->phase = PHASE_COPYING;
    voter->copier_task.run = join_log_run;
    executor_post(voter->copier, &voter->copier_task);
}

static void join_prepared(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    if (voter->copier_rc != ERRC_OK) {
        join_failed(voter);
    } else {
        voter->join_ready = true;
    }
    voter_advance(voter);
}

/* On the copier. Whatever the folder held is of no generation that counts this DIR as a mirror. */
static void join_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    struct voter_mirror *mirror = &voter->mirrors[voter->joining];
    const char *source = voter->mirrors[voter->join_base].mirror.dir;
    struct checkpoint_info info = { 0, 0 };
    struct error why = ERROR_INIT;
    char *stale = mem_format("%s/store", mirror->mirror.dir);
    error_clear(&voter->copier_error);
    enum errc rc = mirror_create(&mirror->mirror, &voter->copier_error);
    rc = rc == ERRC_OK ? checkpoint_folder_remove(voter->env, stale, &voter->copier_error) : rc;
    rc = rc == ERRC_OK ? checkpoint_prune(voter->env, mirror->mirror.dir, 0, &voter->copier_error) : rc;
    if (rc == ERRC_OK) {
        rc = checkpoint_newest(voter->env, source, UINT64_MAX, &info, &why);
        rc = rc == ERRC_OK || rc == ERRC_NOT_FOUND ? ERRC_OK
                                                   : error_set(&voter->copier_error, ERRC_CORRUPT, "%s", why.text);
    }
    if (rc == ERRC_OK && info.index > 0) {
        rc = checkpoint_copy(voter->env, source, mirror->mirror.dir, info.index, &voter->copier_error);
    }
    mem_free(stale);
    voter->copier_rc = rc;
    task->run = join_prepared;
    executor_post(voter->executor, task);
}

/* A mirror is wanted and a DIR is there that is none. A DIR that failed in this run is not tried again. */
void voter_join_begin(struct voter *voter)
{
    if (voter->joining >= 0 || voter->checkpointing || voter->rests ||
        voter->replacement_count > 0 || voter_live_first(voter) < 0 ||
        voter_live_count(voter) >= voter_mirrors_wanted(voter)) {
        return;
    }
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (mirror->state == MIRROR_OUT) {
            mirror->state = MIRROR_JOINING;
            voter->joining = (int)i;
            memset(voter->join_tried, 0, sizeof(voter->join_tried));
            join_from(voter, voter_live_first(voter));
            return;
        }
    }
}

/* ---- replacement ---- */

/* That of a DIR that was replaced earlier and holds no state store, or a fresh one; NULL: too many. No step is under way
 * at a mirror that was replaced: the voter is idle. */
static struct voter_mirror *mirror_place(struct voter *voter)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        bool holds_store = (voter->store != NULL && voter->store->mirror == i) ||
                           (voter->store_retired != NULL && voter->store_retired->mirror == i);
        if (voter->mirrors[i].replaced && voter->mirrors[i].state == MIRROR_FAILED && !holds_store) {
            return &voter->mirrors[i];
        }
    }
    return voter->mirror_count < VOTER_DIRS_MAX ? &voter->mirrors[voter->mirror_count++] : NULL;
}

/* The mirror of a disk that was here before and comes back, or a new one; NULL: too many. */
static struct voter_mirror *mirror_for(struct voter *voter, const struct mirror_dir *added)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (disk_id_equal(voter->mirrors[i].mirror.disk, added->disk)) {
            return &voter->mirrors[i];
        }
    }
    struct voter_mirror *mirror = mirror_place(voter);
    if (mirror != NULL) {
        struct executor *executor = mirror->executor;
        mirror_done(&mirror->mirror);
        *mirror = (struct voter_mirror){ .voter = voter, .state = MIRROR_FAILED, .executor = executor };
    }
    return mirror;
}

static void lost_leaves(struct voter *voter, struct disk_id lost)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (disk_id_equal(mirror->mirror.disk, lost)) {
            voter_mirror_drop(voter, i, "replaced");
            mirror->replaced = true;
        }
    }
}

/* The voter is idle: nobody reads the state's list of DIRs now, and no join is under way. */
void voter_replace_apply(struct voter *voter)
{
    struct mirror_state *state = &voter->state;
    const struct disk_id lost = voter->replacements[0].lost;
    const struct mirror_dir dir = voter->replacements[0].added;
    const struct mirror_dir *added = &dir;
    bool same = disk_id_equal(lost, added->disk);
    voter->replacement_count--;
    memmove(voter->replacements, voter->replacements + 1, voter->replacement_count * sizeof(voter->replacements[0]));
    uint32_t place = voter_state_place(state, added->disk);
    place = place == state->dir_count ? voter_state_place(state, lost) : place;
    struct voter_mirror *mirror = place < MIRROR_DIRS_MAX ? mirror_for(voter, added) : NULL;
    if (mirror == NULL) {
        voter_event(voter, "metadata_mirror_not_added", added->path, "too many directories");
        return;
    }
    if (mirror->state != MIRROR_FAILED) {
        return; /* it is in service */
    }
    if (!same) {
        lost_leaves(voter, lost);
    }
    state->dir_count += place == state->dir_count ? 1 : 0;
    state->dirs[place] = *added;
    mirror_done(&mirror->mirror);
    voter_mirror_init(mirror, state->cluster, added->disk, added->path);
    mirror->state = MIRROR_OUT;
    mirror->replaced = false;
    voter_mirror_executor(mirror);
    voter->fence_wanted = true; /* the list of DIRs is part of a generation */
}
