/*
 * What takes long and blocks, on the voter's copier: checkpoints, and mirrors that join.
 *
 * Join: 1 DIR/metadata made, the newest checkpoint copied (traffic goes on) 2 the voter stops writing; the log is copied
 * 3 a new generation that counts the new mirror is durable on all of them 4 writing goes on. A crash before 3 leaves a
 * folder of no generation that counts; it is wiped when it joins again.
 */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

#define CHECKPOINT_LOG_BYTES (64u << 20)

/* ---- checkpoints ---- */

static void checkpoint_done(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    struct error e = ERROR_INIT;
    voter_store_release(voter->checkpoint_store);
    voter->checkpoint_store = NULL;
    voter->checkpointing = false;
    if (voter->copier_rc != ERRC_OK) {
        voter_event(voter, "metadata_checkpoint_failed", "", voter->copier_error.text);
    } else if (raft_core_snapshot(voter->core, env_now_ns(voter->env) / 1000000u, voter->checkpoint_next.index,
                                  voter->checkpoint_next.term, &e) != ERRC_OK) {
        voter_event(voter, "metadata_snapshot_failed", "", e.text);
    } else {
        voter->checkpoint = voter->checkpoint_next;
    }
    voter_advance(voter);
}

/* On the copier. A mirror that fails here fails its next write too, or a node fences its disk: the checkpoint is then
 * tried again without it when the log has grown by as much again. */
static void checkpoint_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    const struct voter_store *store = voter->checkpoint_store;
    const char *source = voter->mirrors[store->mirror].mirror.dir;
    uint64_t index = voter->checkpoint_next.index;
    error_clear(&voter->copier_error);
    voter->copier_rc = checkpoint_make(voter->env, store->kv, source, voter->checkpoint_next, &voter->copier_error);
    for (unsigned i = 0; i < voter->mirror_count && voter->copier_rc == ERRC_OK; i++) {
        if (voter->checkpoint_target[i] && i != store->mirror) {
            voter->copier_rc = checkpoint_copy(voter->env, source, voter->mirrors[i].mirror.dir, index,
                                               &voter->copier_error);
        }
    }
    /* Only now, with the checkpoint everywhere, may the log before it and older checkpoints go. */
    for (unsigned i = 0; i < voter->mirror_count && voter->copier_rc == ERRC_OK; i++) {
        if (voter->checkpoint_target[i]) {
            voter->copier_rc = mirror_cut(&voter->mirrors[i].mirror, index, &voter->copier_error);
            if (voter->copier_rc == ERRC_OK) {
                voter->copier_rc = checkpoint_prune(voter->env, voter->mirrors[i].mirror.dir, index,
                                                    &voter->copier_error);
            }
        }
    }
    task->run = checkpoint_done;
    executor_post(voter->executor, task);
}

void voter_checkpoint_begin(struct voter *voter)
{
    uint64_t limit = voter->checkpoint_log_bytes > 0 ? voter->checkpoint_log_bytes : CHECKPOINT_LOG_BYTES;
    if (voter->checkpointing || voter->joining >= 0 || voter->log_bytes < limit || voter->store == NULL ||
        voter->applied_index <= voter->checkpoint.index) {
        return;
    }
    voter->checkpointing = true;
    voter->log_bytes = 0;
    voter->checkpoint_next = (struct checkpoint_info){ voter->applied_index, voter->term };
    voter->checkpoint_store = voter_store_acquire(voter);
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        voter->checkpoint_target[i] = voter->mirrors[i].state == MIRROR_LIVE;
    }
    voter->copier_task.run = checkpoint_run;
    executor_post(voter->copier, &voter->copier_task);
}

/* ---- joining ---- */

static void join_end(struct voter *voter, enum voter_mirror_state state)
{
    voter->mirrors[voter->joining].state = state;
    voter->joining = -1;
    voter->join_ready = false;
}

static void join_failed(struct voter *voter)
{
    struct voter_mirror *mirror = &voter->mirrors[voter->joining];
    voter_event(voter, "metadata_mirror_join_failed", mirror->path, voter->copier_error.text);
    join_end(voter, MIRROR_FAILED);
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
        voter_event(voter, "metadata_mirror_joined", mirror->path, "");
        join_end(voter, MIRROR_LIVE);
        voter->fence_wanted = true; /* the new generation counts it; if its state can't be written it leaves again */
    }
    voter_advance(voter);
}

static void join_log_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    error_clear(&voter->copier_error);
    voter->copier_rc = mirror_log_copy(&voter->mirrors[voter->joining].mirror,
                                       &voter->mirrors[voter->join_base].mirror, &voter->copier_error);
    task->run = join_log_copied;
    executor_post(voter->executor, task);
}

void voter_join_copy_log(struct voter *voter)
{
    ASSERT(voter->phase == PHASE_IDLE && voter->joining >= 0);
    voter->join_ready = false;
    if (voter->mirrors[voter->join_base].state != MIRROR_LIVE) {
        (void)error_set(&voter->copier_error, ERRC_IO, "the mirror that it was copied from failed");
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

static void join_run(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, copier_task);
    struct voter_mirror *mirror = &voter->mirrors[voter->joining];
    const char *source = voter->mirrors[voter->join_base].mirror.dir;
    char *stale = mem_format("%s/store", mirror->mirror.dir);
    error_clear(&voter->copier_error);
    enum errc rc = mirror_create(&mirror->mirror, &voter->copier_error);
    rc = rc == ERRC_OK ? checkpoint_folder_remove(voter->env, stale, &voter->copier_error) : rc;
    rc = rc == ERRC_OK ? checkpoint_prune(voter->env, mirror->mirror.dir, 0, &voter->copier_error) : rc;
    if (rc == ERRC_OK && voter->checkpoint.index > 0) {
        rc = checkpoint_copy(voter->env, source, mirror->mirror.dir, voter->checkpoint.index, &voter->copier_error);
    }
    mem_free(stale);
    voter->copier_rc = rc;
    task->run = join_prepared;
    executor_post(voter->executor, task);
}

/* A mirror is wanted and a DIR is there that is none. A DIR that failed in this run is not tried again. */
void voter_join_begin(struct voter *voter)
{
    int base = voter_live_first(voter);
    if (voter->joining >= 0 || voter->checkpointing || base < 0 || voter_live_count(voter) >= voter->state.wanted) {
        return;
    }
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (mirror->state == MIRROR_OUT) {
            if (mirror->executor == NULL) {
                mirror->executor = voter->env->vt->executor_create(voter->env, "meta-log", 1);
            }
            mirror->state = MIRROR_JOINING;
            voter->joining = (int)i;
            voter->join_base = base;
            voter->copier_task.run = join_run;
            executor_post(voter->copier, &voter->copier_task);
            return;
        }
    }
}

/* ---- replacement ---- */

/* The voter is idle: nobody reads the state's list of DIRs now. */
void voter_replace_apply(struct voter *voter)
{
    struct mirror_state *state = &voter->state;
    uint32_t place = 0;
    voter->replace_wanted = false;
    while (place < state->dir_count && !disk_id_equal(state->dirs[place].disk, voter->replace_lost)) {
        place++;
    }
    if (place == MIRROR_DIRS_MAX || voter->mirror_count == VOTER_DIRS_MAX) {
        voter_event(voter, "metadata_mirror_not_added", voter->replace_added.path, "too many directories");
        return;
    }
    state->dir_count += place == state->dir_count ? 1 : 0;
    state->dirs[place] = voter->replace_added;
    struct voter_mirror *mirror = &voter->mirrors[voter->mirror_count++];
    *mirror = (struct voter_mirror){ .voter = voter, .state = MIRROR_OUT };
    (void)snprintf(mirror->path, sizeof(mirror->path), "%s", voter->replace_added.path);
    mirror_init(&mirror->mirror, voter->env, state->cluster, voter->replace_added.disk, mirror->path);
    voter->fence_wanted = true; /* the list of DIRs is part of a generation */
}
