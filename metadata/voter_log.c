/*
 * The life of a command, on the voter's executor but for the writes:
 *
 *   queue -> entry -> [mirrors: write + fdatasync] -> (fence?) -> durable here -> committed -> applied -> answered
 *                  -> [other voters, the same]                -> durable there /
 *
 * One write is at the mirrors at a time; commands that arrive meanwhile make the next entry. Entries are applied while
 * later ones are being written. A mirror that fails leaves, and the generation that says so is durable on all others
 * before the write counts. What a follower takes from its leader goes the same way, and nobody is answered.
 *
 * Seal: a damaged last record can't be told from a torn write, so a record with commands does not stay the last one: a
 * barrier follows when the leader has been idle for a moment, and when a voter that is alone closes.
 */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000u
#define ENTRY_COMMANDS_MAX 4096
#define UNCOMMITTED_MAX 32 /* entries that other voters have not confirmed; libraft has no more on their way */
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

/* ---- the end ---- */

void voter_die(struct voter *voter, const char *text)
{
    if (voter->dead) {
        return;
    }
    voter->dead = true;
    voter_event(voter, "metadata_unavailable", "", text);
    voter_raft_end(voter);
    for (uint64_t index = voter->applied_index + 1; index < voter->window.next; index++) {
        struct voter_entry *entry = window_at(&voter->window, index);
        struct rpc_call *calls = entry != NULL ? entry->calls : NULL;
        if (calls != NULL) { /* the revival may find the entry in the log */
            entry->calls = NULL;
            voter_calls_fail(calls, ERRC_TIMEOUT, text);
        }
    }
    voter_calls_fail(voter->queue_first, ERRC_UNAVAILABLE, text);
    voter->queue_first = NULL;
    voter->queue_last = NULL;
    voter->queue_bytes = 0;
    timer_start(voter->executor, &voter->revive_timer, REVIVE_MS);
}

/* ---- writing ---- */

static void mirror_written(struct task *task);

static void mirror_write(struct task *task)
{
    struct voter_mirror *mirror = container_of(task, struct voter_mirror, task);
    struct voter *voter = mirror->voter;
    error_clear(&mirror->error); /* what is read of the voter here does not change while PHASE_WRITING */
    mirror->rc = voter->write_cut != 0 ? mirror_truncate(&mirror->mirror, voter->write_cut, &mirror->error) : ERRC_OK;
    if (mirror->rc == ERRC_OK) {
        mirror->rc = mirror_append(&mirror->mirror, enc_slice(&voter->records), voter->write_first, voter->write_chain,
                                   &mirror->error);
    }
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

/* The new set of mirrors, term, vote and members, under a generation of its own. */
static void fence_begin(struct voter *voter)
{
    voter->fence_wanted = false;
    if (voter_live_count(voter) == 0 || !voter_quorum(voter)) {
        voter->phase = PHASE_IDLE;
        voter->write_under_way = false;
        enc_free(&voter->records);
        voter_die(voter, voter_live_count(voter) == 0 ? "no metadata mirror is left"
                                                      : "too few directories are left to agree on the metadata");
        return;
    }
    voter->state.term = voter->hard_term;
    voter->state.vote = voter->hard_vote;
    voter->state.members = voter->members;
    voter_generation_next(voter);
    mirrors_run(voter, PHASE_FENCING, mirror_state_save);
}

/* The records are durable everywhere here: raft counts them, unless another leader's came in their place meanwhile. */
static void write_done(struct voter *voter)
{
    struct raft_core_update update;
    struct error e = ERROR_INIT;
    voter->write_under_way = false;
    voter->phase = PHASE_IDLE;
    voter->log_bytes += voter->records.len;
    enc_reset(&voter->records);
    if (voter->write_last <= voter->durable_index || voter->dead) {
        return;
    }
    voter->durable_index = voter->write_last;
    voter->last_type = window_at(&voter->window, voter->durable_index)->type;
    if (raft_core_persisted(voter->core, now_ms(voter), voter->durable_index, &update, &e) != ERRC_OK) {
        voter_die(voter, e.text);
    } else {
        voter_core_take(voter, &update, NULL, slice_of(NULL, 0));
    }
}

static void phase_end(struct voter *voter)
{
    if (voter->phase == PHASE_FENCING && !voter->fence_wanted) {
        voter_generation_done(voter);
    }
    if (voter_live_count(voter) == 0 || voter->fence_wanted) {
        fence_begin(voter);
    } else if (voter->write_under_way) {
        write_done(voter);
    } else {
        voter->phase = PHASE_IDLE;
    }
    voter_messages_flush(voter); /* term and vote may be durable now */
    voter_advance(voter);
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

/* Commands from the queue, as one entry's data; its calls in *ret_calls. */
static unsigned gather(struct voter *voter, struct enc *data, struct rpc_call **ret_calls)
{
    struct rpc_call *last = NULL;
    unsigned count = 0;
    enc_u32(data, 0); /* the count, below */
    while (voter->queue_first != NULL && count < ENTRY_COMMANDS_MAX) {
        struct rpc_call *call = voter->queue_first;
        if (count > 0 && data->len + call->head.len + 4 > VOTER_ENTRY_BYTES_MAX) {
            break;
        }
        voter->queue_first = call->next;
        voter->queue_bytes -= call->head.len;
        call->next = NULL;
        enc_u32(data, (uint32_t)call->head.len);
        enc_raw(data, call->head.data, call->head.len);
        if (last != NULL) {
            last->next = call;
        } else {
            *ret_calls = call;
        }
        last = call;
        count++;
    }
    store_le32(data->data, count);
    return count;
}

enum errc voter_submit(struct voter *voter, uint8_t type, const struct enc *data, struct error *e)
{
    struct raft_core_update update;
    uint64_t index = voter->window.next;
    enum errc rc = raft_core_submit(voter->core, now_ms(voter), type, enc_slice(data), &update, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    ASSERT(update.append_index == index && update.append_count == 1);
    voter_core_take(voter, &update, NULL, enc_slice(data));
    return ERRC_OK;
}

/* With commands from the queue, or without. */
static void entry_make(struct voter *voter, bool commands)
{
    struct enc data = ENC_INIT;
    struct error e = ERROR_INIT;
    struct rpc_call *calls = NULL;
    uint64_t index = voter->window.next;
    unsigned count = commands ? gather(voter, &data, &calls) : 0;
    voter->seal_now = false;
    enum errc rc = voter_submit(voter, commands ? RAFT_CORE_COMMAND : RAFT_CORE_BARRIER, &data, &e);
    enc_free(&data);
    if (rc != ERRC_OK) {
        voter_calls_fail(calls, ERRC_UNAVAILABLE, e.text);
        if (rc != ERRC_UNAVAILABLE || voter->peers == NULL) {
            voter_die(voter, e.text);
        }
        return;
    }
    window_at(&voter->window, index)->calls = calls;
    window_at(&voter->window, index)->call_count = count;
}

/* A log is damaged somewhere: this entry begins a new segment everywhere, and the checkpoint after it cuts what was
 * before. The mirrors' executors are idle. */
static void segments_roll(struct voter *voter)
{
    voter->roll_wanted = false;
    voter->checkpoint_wanted = voter->durable_index + 1;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            mirror_roll(&voter->mirrors[i].mirror);
        }
    }
}

/* The entries that the mirrors do not have yet, as many as a segment may take at once. */
static void records_write(struct voter *voter)
{
    uint64_t index = voter->durable_index;
    if (voter->roll_wanted) {
        segments_roll(voter);
    }
    voter->write_first = index + 1;
    voter->write_chain = window_chain(&voter->window, index);
    voter->write_cut = voter->cut_wanted;
    voter->cut_wanted = 0;
    uint32_t chain = voter->write_chain;
    for (index++; index < voter->window.next; index++) {
        struct voter_entry *entry = window_at(&voter->window, index);
        if (voter->records.len > 0 && voter->records.len + LOG_RECORD_HEADER_BYTES + entry->data.len > LOG_ENTRY_BYTES_MAX) {
            break;
        }
        chain = log_record_encode(&voter->records, voter->state.cluster, index, entry->term, entry->type,
                                  voter->write_first, chain, enc_slice(&entry->data));
        entry->chain = chain;
        entry->chained = true;
    }
    voter->write_last = index - 1;
    voter->written_index = voter->write_last;
    voter->write_under_way = true;
    mirrors_run(voter, PHASE_WRITING, mirror_write);
}

/* ---- what can begin ---- */

static bool all_written(const struct voter *voter)
{
    return voter->durable_index + 1 == voter->window.next;
}

/* Nothing is at the mirrors or the copier, and all is applied that can be. */
bool voter_idle(const struct voter *voter)
{
    bool applied = voter->applied_index >= voter->commit_index || voter->applied_index >= voter->durable_index;
    return voter->phase == PHASE_IDLE && !voter->write_under_way && !voter->checkpointing && voter->joining < 0 &&
           !voter->fetching &&
           (voter->dead || (all_written(voter) && applied && !voter->apply_posted));
}

void voter_free(struct voter *voter)
{
    for (uint64_t index = voter->window.first; index < voter->window.next; index++) {
        struct voter_entry *entry = window_at(&voter->window, index);
        struct rpc_call *calls = entry->calls;
        entry->calls = NULL;
        voter_calls_fail(calls, ERRC_TIMEOUT, "this voter ends; the command may have been done");
    }
    window_done(&voter->window);
    enc_free(&voter->records);
    voter_messages_drop(voter);
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
    if (atomic_load(&voter->queries) > 0 || voter->sends > 0) { /* reading a disk, or messages: they end soon */
        voter->close_timer.task.run = on_close_timer;
        timer_start(voter->executor, &voter->close_timer, 1);
        return;
    }
    timer_stop(voter->executor, &voter->seal_timer);
    timer_stop(voter->executor, &voter->revive_timer);
    timer_stop(voter->executor, &voter->rest_timer);
    voter_raft_end(voter);
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

/* A leader whose log ends with commands, and nothing comes. */
static void seal_look(struct voter *voter)
{
    bool unsealed = voter->leading && voter->last_type == RAFT_CORE_COMMAND && all_written(voter);
    if (!unsealed) {
        return;
    }
    if (voter->seal_now || (voter->closing && voter->peers == NULL && voter_idle(voter))) {
        entry_make(voter, false);
    } else if (!voter->seal_timer.armed && !(voter->closing && voter->peers != NULL)) {
        timer_start(voter->executor, &voter->seal_timer, SEAL_IDLE_MS);
    }
}

/* Entries of this voter's own. */
static void entries_make(struct voter *voter)
{
    bool may = voter->leading && !voter->yields && all_written(voter) && voter->window.next - 1 - voter->commit_index < UNCOMMITTED_MAX;
    if (may && (voter->queue_first != NULL || voter->roll_wanted)) {
        entry_make(voter, voter->queue_first != NULL);
    } else if (may) {
        seal_look(voter);
    }
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
    if (!voter->fence_wanted && !voter->join_ready) {
        entries_make(voter);
    }
    if (voter->dead) {
        return;
    }
    if (voter->fence_wanted) {
        fence_begin(voter);
    } else if (voter->join_ready) {
        voter_join_copy_log(voter);
    } else if (!all_written(voter)) {
        records_write(voter);
    }
}

void voter_advance(struct voter *voter)
{
    if (voter->install_wanted != 0 && voter_idle(voter) && !voter->closing) {
        voter_install(voter);
    }
    if (voter->phase == PHASE_IDLE && !voter->dead) {
        write_begin(voter);
    }
    voter_apply(voter);
    if (voter->phase == PHASE_IDLE && !voter->dead && voter->fence_wanted) {
        fence_begin(voter); /* applying made a mirror leave, or changed the members */
    }
    if (voter->dead && voter->join_ready) {
        voter_join_abort(voter);
    }
    if (!voter->dead && !voter->closing) {
        voter_join_begin(voter);
        voter_checkpoint_begin(voter);
    }
    voter_status_publish(voter);
    voter_hand_over_look(voter);
    if (voter->closing && !voter->close_posted && voter_idle(voter) && voter->queue_first == NULL) {
        voter->close_posted = true;
        voter->close_task.run = close_finish;
        executor_post(voter->executor, &voter->close_task);
    }
}
