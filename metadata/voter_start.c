/*
 * Which DIRs count, whether there are enough of them, and which log is the newest (BLUEPRINT 6, metadata/README.md).
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "metadata/checkpoint_fetch.h"
#include "metadata/voter_state.h"

#include <stdio.h>
#include <string.h>

#define KV_CACHE_BYTES (128u << 20)
#define KV_MEMTABLE_BYTES (32u << 20)
#define KV_BLOB_BYTES_MIN 1024
#define NS_PER_MS 1000000u
#define CHECKPOINT_LOG_BYTES (64u << 20)
#define ELECTION_MS 1000
#define GENERATION_STEP_FORCED 1000000u
#define TERM_STEP_RECOVERED (UINT64_C(1) << 32)

STATIC_ASSERT(MIRROR_PATH_BYTES == VOTER_PATH_BYTES, "paths are copied whole");

/* What start-up learns of the DIRs; freed at its end. */
struct start {
    struct voter *voter;
    struct cluster_id cluster;
    unsigned mirrors_wanted;
    unsigned start_without_count;
    const char *const *start_without;
    const char *node;                            /* of a bootstrap */
    struct mirror_state *states;                 /* by DIR */
    enum errc state_rc[VOTER_DIRS_MAX];
    struct log_contents logs[VOTER_DIRS_MAX];
    bool loaded[VOTER_DIRS_MAX];
    int best;                                    /* DIR whose state has the generation that counts */
    int base;                                    /* DIR whose log counts */
    bool forced;                                 /* the operator gave DIRs up */
    struct error last;                           /* why the last unusable mirror is unusable */
};

static void start_free(struct start *start)
{
    for (unsigned i = 0; i < VOTER_DIRS_MAX; i++) {
        if (start->loaded[i]) {
            log_contents_free(&start->logs[i]);
        }
    }
    mem_free(start->states);
    mem_free(start);
}

#define FIRST_VOTER 1 /* raft's id of the voter that a data set or a cluster began with */

/* ---- which generation counts ---- */

static int dir_of_disk(const struct voter *voter, struct disk_id disk)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (disk_id_equal(voter->mirrors[i].mirror.disk, disk)) {
            return (int)i;
        }
    }
    return -1;
}

/* One DIR's state. A DIR that can't be read, or is of another cluster, is left alone in this run. */
static enum errc state_read(struct start *start, unsigned i, struct error *e)
{
    struct voter_mirror *mirror = &start->voter->mirrors[i];
    struct error why = ERROR_INIT;
    enum errc rc = mirror_state_read(&mirror->mirror, &start->states[i], &why);
    if (rc == ERRC_FORMAT) {
        return error_set(e, ERRC_FORMAT, "%s", why.text);
    }
    if (rc == ERRC_OK && !cluster_id_equal(start->states[i].cluster, start->cluster)) {
        rc = error_set(&why, ERRC_CONFLICT, "metadata of another cluster");
    } else if (rc == ERRC_OK && !disk_id_equal(start->states[i].self, mirror->mirror.disk)) {
        rc = error_set(&why, ERRC_CONFLICT, "metadata of another disk");
    }
    start->state_rc[i] = rc;
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        voter_event(start->voter, "metadata_state_unusable", mirror->path, why.text);
        mirror->state = rc == ERRC_CORRUPT ? mirror->state : MIRROR_FAILED;
    }
    return ERRC_OK;
}

static bool same_generation(const struct mirror_state *a, const struct mirror_state *b)
{
    return a->generation == b->generation && a->nonce == b->nonce;
}

/* Do more than half of the DIRs that this generation counts have it? */
static bool generation_held(const struct start *start, const struct mirror_state *state)
{
    unsigned counted = 0;
    unsigned holders = 0;
    for (uint32_t d = 0; d < state->dir_count; d++) {
        int dir = dir_of_disk(start->voter, state->dirs[d].disk);
        counted += state->dirs[d].is_counted ? 1 : 0;
        holders += state->dirs[d].is_counted && dir >= 0 && start->state_rc[dir] == ERRC_OK &&
                   same_generation(&start->states[dir], state) ? 1 : 0;
    }
    return 2 * holders > counted;
}

/* The highest generation. Where two attempts at one number are found, neither of which can be told to be the one that
 * answered, nothing is decided here. */
static enum errc states_read(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    start->best = -1;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        enum errc rc = voter->mirrors[i].state == MIRROR_OUT ? state_read(start, i, e) : ERRC_OK;
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (start->state_rc[i] != ERRC_OK) {
            continue;
        }
        const struct mirror_state *best = start->best >= 0 ? &start->states[start->best] : NULL;
        const struct mirror_state *own = &start->states[i];
        if (best == NULL || own->generation > best->generation ||
            (own->generation == best->generation && !generation_held(start, best) && generation_held(start, own))) {
            start->best = (int)i;
        } else if (own->generation == best->generation && own->nonce != best->nonce && generation_held(start, own)) {
            return error_set(e, ERRC_UNAVAILABLE,
                             "'%s' and '%s' disagree about generation %llu: start with one of them gone",
                             voter->mirrors[i].path, voter->mirrors[start->best].path,
                             (unsigned long long)own->generation);
        }
    }
    return start->best >= 0 ? ERRC_OK : error_set(e, ERRC_NOT_FOUND, "none of the directories holds metadata");
}

static bool given_up(const struct start *config, const struct mirror_dir *dir)
{
    char id[ID_HEX_BYTES];
    id_hex(dir->disk.bytes, id);
    for (unsigned i = 0; i < config->start_without_count; i++) {
        const char *name = config->start_without[i];
        size_t len = strlen(name);
        size_t path_len = strlen(dir->path);
        bool tail = len <= path_len && strcmp(dir->path + path_len - len, name) == 0 &&
                    (len == path_len || name[0] == '/' || dir->path[path_len - len - 1] == '/');
        if (strcmp(name, id) == 0 || (len > 0 && tail)) {
            return true;
        }
    }
    return false;
}

struct census {
    unsigned known, present;           /* DIRs of the newest state; present: here, with a readable state */
    unsigned counted, counted_present; /* those that the newest generation counts */
    unsigned unexcused;                /* counted ones that are neither here nor given up */
    char missing[160];                 /* their paths */
};

static void census_take(const struct start *start, struct census *census)
{
    const struct mirror_state *state = &start->states[start->best];
    *census = (struct census){ .known = state->dir_count };
    for (uint32_t i = 0; i < state->dir_count; i++) {
        int dir = dir_of_disk(start->voter, state->dirs[i].disk);
        bool here = dir >= 0 && start->state_rc[dir] == ERRC_OK;
        census->present += here ? 1 : 0;
        if (!state->dirs[i].is_counted) {
            continue;
        }
        census->counted++;
        census->counted_present += here ? 1 : 0;
        if (!here && !given_up(start, &state->dirs[i])) {
            size_t used = strlen(census->missing);
            census->unexcused++;
            (void)snprintf(census->missing + used, sizeof(census->missing) - used, "%s%s", used > 0 ? ", " : "",
                           state->dirs[i].path);
        }
    }
}

/* Can a newer generation be elsewhere? Not with more than half of the known DIRs, or of the counted ones, and at least
 * half of the others, here (metadata/README.md "Generations"). */
static enum errc majority_check(struct start *start, struct error *e)
{
    struct census census;
    census_take(start, &census);
    bool known = 2 * census.present > census.known && 2 * census.counted_present >= census.counted;
    bool counted = 2 * census.counted_present > census.counted && 2 * census.present >= census.known;
    start->forced = !known && !counted;
    if (!start->forced || census.unexcused == 0) {
        return ERRC_OK;
    }
    return error_set(e, ERRC_UNAVAILABLE,
                     "only %u of %u known directories are there; missing: %s. Bring them back, or give each up with "
                     "--start-without", census.present, census.known, census.missing);
}

/* ---- which log counts ---- */

/* A mirror of the newest generation has all that was acknowledged, even if it did not get that generation's state
 * itself: nothing was acknowledged after that was begun and before all had it. */
static bool is_current(const struct start *start, unsigned i)
{
    const struct mirror_state *best = &start->states[start->best];
    const struct mirror_state *own = &start->states[i];
    if (start->state_rc[i] != ERRC_OK || (own->generation == best->generation && own->nonce != best->nonce)) {
        return false;
    }
    for (uint32_t d = 0; d < best->dir_count; d++) {
        if (disk_id_equal(best->dirs[d].disk, start->voter->mirrors[i].mirror.disk)) {
            return best->dirs[d].is_mirror;
        }
    }
    return false;
}

static uint64_t log_last(const struct log_contents *log)
{
    return log->first_index + log->count - 1;
}

/* Every acknowledged entry is on every current mirror, so the longest log has them all; what it has more was never
 * acknowledged and may as well be kept. */
static enum errc logs_load(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    start->base = -1;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct error why = ERROR_INIT;
        if (!is_current(start, i)) {
            continue;
        }
        if (mirror_log_load(&voter->mirrors[i].mirror, &start->logs[i], &why) != ERRC_OK) {
            voter_event(voter, "metadata_log_unusable", voter->mirrors[i].path, why.text);
            start->last = why;
            continue;
        }
        start->loaded[i] = true;
        if (start->base < 0 || log_last(&start->logs[i]) > log_last(&start->logs[start->base])) {
            start->base = (int)i;
        }
    }
    if (start->base < 0) {
        return error_set(e, start->last.code != ERRC_OK ? start->last.code : ERRC_NOT_FOUND,
                         "no current mirror of the metadata can be read: %s",
                         start->last.code != ERRC_OK ? start->last.text : "none is there");
    }
    return ERRC_OK;
}

/* Appends what the base has more: at most the records of one write that was under way. Nothing is taken away, so that
 * the mirror stays as good as it was if the base dies now. */
static enum errc tail_append(struct mirror *mirror, const struct log_contents *own, const struct log_contents *base,
                             struct error *e)
{
    uint32_t chain = own->chain;
    if (log_last(own) + 1 < base->first_index ||
        (log_last(own) >= base->first_index && base->entries[log_last(own) - base->first_index].chain != chain)) {
        return error_set(e, ERRC_CONFLICT, "the log of '%s' is not the beginning of the newest one", mirror->dir);
    }
    enum errc rc = ERRC_OK;
    for (uint64_t index = log_last(own) + 1; index <= log_last(base) && rc == ERRC_OK; index++) {
        const struct log_entry *entry = &base->entries[index - base->first_index];
        struct enc record = ENC_INIT;
        uint32_t next = log_record_encode(&record, mirror->cluster, index, entry->term, entry->type, index, chain,
                                          entry->data);
        ASSERT(next == entry->chain);
        rc = mirror_append(mirror, enc_slice(&record), index, chain, e);
        enc_free(&record);
        chain = next;
    }
    return rc;
}

/* A corrupt mirror, or one that can't be brought up, joins later, from nothing. */
static void mirror_settle(struct start *start, unsigned i)
{
    struct voter *voter = start->voter;
    struct voter_mirror *mirror = &voter->mirrors[i];
    struct checkpoint_info info;
    struct error why = ERROR_INIT;
    if (!start->loaded[i]) {
        return;
    }
    const struct log_contents *own = &start->logs[i];
    if (tail_append(&mirror->mirror, own, &start->logs[start->base], &why) != ERRC_OK) {
        voter_event(voter, "metadata_mirror_lost", mirror->path, why.text);
        mirror->state = why.code == ERRC_CONFLICT ? MIRROR_OUT : MIRROR_FAILED;
        return;
    }
    mirror->state = MIRROR_LIVE;
    if (own->first_index > 1 &&
        (checkpoint_newest(voter->env, mirror->mirror.dir, log_last(own), &info, NULL) != ERRC_OK ||
         info.index + 1 < own->first_index)) {
        voter_event(voter, "metadata_checkpoint_unusable", mirror->path, "a new one is made");
        voter->log_bytes = voter->checkpoint_log_bytes; /* at once, on all mirrors */
    }
}

/* ---- bootstrap ---- */

/* What a first start that did not come to its end left behind. */
static enum errc mirror_clear(struct voter *voter, struct mirror *mirror, struct error *e)
{
    char *store = mem_format("%s/store", mirror->dir);
    enum errc rc = mirror_create(mirror, e);
    rc = rc == ERRC_OK ? checkpoint_folder_remove(voter->env, store, e) : rc;
    rc = rc == ERRC_OK ? checkpoint_prune(voter->env, mirror->dir, 0, e) : rc;
    rc = rc == ERRC_OK ? mirror_log_wipe(mirror, e) : rc;
    mem_free(store);
    return rc;
}

static enum errc bootstrap(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    struct mirror_state *state = &start->states[0];
    struct enc data = ENC_INIT;
    struct enc record = ENC_INIT;
    unsigned wanted = start->mirrors_wanted < voter->mirror_count ? start->mirrors_wanted : voter->mirror_count;
    ASSERT(wanted > 0);
    *state = (struct mirror_state){ .cluster = start->cluster, .generation = 1, .term = 1, .wanted = start->mirrors_wanted,
                                    .dir_count = voter->mirror_count };
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        state->dirs[i].disk = voter->mirrors[i].mirror.disk;
        state->dirs[i].is_mirror = i < wanted;
        state->dirs[i].is_counted = true;
        (void)snprintf(state->dirs[i].path, MIRROR_PATH_BYTES, "%s", voter->mirrors[i].path);
    }
    env_random(voter->env, &state->nonce, sizeof(state->nonce));
    state->raft_id = FIRST_VOTER;
    state->members = (struct raft_core_members){ .index = 1, .count = 1, .list[0] = { .id = FIRST_VOTER, .votes = true } };
    (void)snprintf(state->members.list[0].node, RAFT_NODE_TEXT_BYTES, "%s", start->node != NULL ? start->node : "");
    enum errc rc = raft_core_change(&state->members, &data, e);
    if (rc == ERRC_OK) {
        (void)log_record_encode(&record, start->cluster, 1, 1, RAFT_CORE_CHANGE, 1, 0, enc_slice(&data));
    }
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        struct mirror *mirror = &voter->mirrors[i].mirror;
        rc = mirror_clear(voter, mirror, e);
        rc = rc == ERRC_OK && i < wanted ? mirror_append(mirror, enc_slice(&record), 1, 0, e) : rc;
        rc = rc == ERRC_OK ? mirror_state_write(mirror, state, e) : rc;
        if (mirror->segment != NULL) { /* the normal start opens it again */
            voter->env->vt->close(voter->env, mirror->segment);
            mirror->segment = NULL;
        }
    }
    enc_free(&record);
    enc_free(&data);
    return rc;
}

/* ---- generation of this run ---- */

/* The known DIRs of the last generation, and those given now under their new paths. */
static void state_compose(struct start *start)
{
    struct voter *voter = start->voter;
    struct mirror_state *state = &voter->state;
    *state = start->states[start->best];
    for (uint32_t d = 0; d < state->dir_count && start->forced; d++) {
        if (dir_of_disk(voter, state->dirs[d].disk) < 0 &&
            (given_up(start, &state->dirs[d]) || !state->dirs[d].is_counted)) {
            state->dirs[d--] = state->dirs[--state->dir_count]; /* known no more: its return is that of a new DIR */
        }
    }
    if (start->forced) { /* whatever number the given-up DIRs have come to, they must not win when they return */
        state->generation += GENERATION_STEP_FORCED;
    }
    voter->holder_count = 0;
    voter->known_count = state->dir_count;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        voter->mirrors[i].known = false;
        voter->mirrors[i].holder = false;
    }
    for (uint32_t d = 0; d < state->dir_count; d++) {
        int dir = dir_of_disk(voter, state->dirs[d].disk);
        voter->holder_count += state->dirs[d].is_counted ? 1 : 0;
        if (dir >= 0) {
            voter->mirrors[dir].known = true;
            voter->mirrors[dir].holder = state->dirs[d].is_counted && start->state_rc[dir] == ERRC_OK;
        }
    }
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        const struct voter_mirror *mirror = &voter->mirrors[i];
        uint32_t place = voter_state_place(state, mirror->mirror.disk);
        if (place == MIRROR_DIRS_MAX || mirror->state == MIRROR_FAILED) {
            continue;
        }
        state->dir_count += place == state->dir_count ? 1 : 0;
        state->dirs[place].disk = mirror->mirror.disk;
        memcpy(state->dirs[place].path, mirror->path, MIRROR_PATH_BYTES);
    }
    state->wanted = start->mirrors_wanted > state->wanted ? start->mirrors_wanted : state->wanted;
}

static bool generation_write(struct start *start)
{
    struct voter *voter = start->voter;
    bool whole = true;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        struct error why = ERROR_INIT;
        if (!voter_mirror_counted(mirror)) {
            continue;
        }
        enum errc rc = mirror->state == MIRROR_LIVE ? ERRC_OK : mirror_create(&mirror->mirror, &why);
        rc = rc == ERRC_OK ? mirror_state_write(&mirror->mirror, &voter->state, &why) : rc;
        if (rc != ERRC_OK) {
            voter_mirror_drop(voter, i, why.text);
            start->last = why;
            whole = false;
        }
    }
    return whole;
}

/* Durable on every DIR in service before anything is answered. One that fails leaves, which needs another generation. */
static enum errc generation_publish(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    for (;;) {
        if (voter_live_count(voter) == 0 || !voter_quorum(voter)) {
            return error_set(e, ERRC_IO, "too few directories can be written: %s", start->last.text);
        }
        voter_generation_next(voter);
        if (generation_write(start)) {
            voter_generation_done(voter);
            voter->fence_wanted = false;
            return ERRC_OK;
        }
    }
}

/* ---- raft ---- */

/* The log into the window: what is not applied yet, and with peers what one of them may lack. */
static void window_fill(struct voter *voter, const struct log_contents *log)
{
    window_done(&voter->window);
    if (voter->peers == NULL) { /* all of it is committed, and replayed from the files */
        window_init(&voter->window, log_last(log) + 1, log->entries[log->count - 1].term, log->chain);
        return;
    }
    window_init(&voter->window, log->first_index, 0, 0);
    for (size_t i = 0; i < log->count; i++) {
        const struct log_entry *from = &log->entries[i];
        struct voter_entry *entry = window_push(&voter->window, from->term, from->type);
        enc_raw(&entry->data, from->data.data, from->data.len);
        entry->chain = from->chain;
        entry->chained = true;
        voter->window.bytes += from->data.len;
    }
}

/* What a checkpoint covers is raft's snapshot; without a usable one, what was cut off the log is. */
static enum errc snapshot_find(struct start *start, struct raft_core_start *core, struct error *e)
{
    struct voter *voter = start->voter;
    const struct log_contents *log = &start->logs[start->base];
    struct error why = ERROR_INIT;
    voter->checkpoint = (struct checkpoint_info){ 0, 0 };
    enum errc rc = checkpoint_newest(voter->env, voter->mirrors[start->base].mirror.dir, log_last(log), &voter->checkpoint,
                                     &why);
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return error_set(e, rc, "%s", why.text);
    }
    if (rc == ERRC_OK && voter->checkpoint.index >= log->first_index) {
        core->snapshot_index = voter->checkpoint.index;
        core->snapshot_term = log->entries[voter->checkpoint.index - log->first_index].term;
    } else if (log->first_index > 1) {
        core->snapshot_index = log->first_index - 1;
        core->snapshot_term = log->entries[0].term;
    }
    return ERRC_OK;
}

static enum errc core_open(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    const struct log_contents *log = &start->logs[start->base];
    unsigned seed = 0;
    env_random(voter->env, &seed, sizeof(seed));
    struct raft_core_start core = {
        .now_ms = env_now_ns(voter->env) / NS_PER_MS, .id = voter->state.raft_id, .members = &voter->state.members,
        .seed = seed, .election_ms = (unsigned)voter->election_ms, .heartbeat_ms = (unsigned)voter->election_ms / 10,
        .term = voter->state.term, .vote = voter->state.vote, .first_index = log->first_index, .count = log->count,
    };
    enum errc rc = snapshot_find(start, &core, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct raft_core_entry *entries = mem_alloc(log->count * sizeof(*entries));
    for (size_t i = 0; i < log->count; i++) {
        const struct log_entry *entry = &log->entries[i];
        entries[i] = (struct raft_core_entry){ entry->term, entry->type, entry->data };
    }
    core.entries = entries;
    struct raft_core_update update = { .commit_index = 0 };
    rc = raft_core_open(&core, &voter->core, &update, e);
    mem_free(entries);
    if (rc != ERRC_OK) {
        return rc;
    }
    /* A voter that is alone leads at once, in its old term, and all that its log holds is committed. */
    if (update.append_index != 0 ||
        (voter->peers == NULL && (!update.leader || update.hard_state || update.commit_index != log_last(log)))) {
        return error_set(e, ERRC_INTERNAL, voter->peers == NULL ? "raft did not take the lead of a single voter: was this "
                         "data part of a cluster?" : "raft began with an entry of its own");
    }
    window_fill(voter, log);
    voter->durable_index = log_last(log);
    voter->written_index = log_last(log);
    voter->write_last = log_last(log);
    voter->last_type = log->entries[log->count - 1].type;
    voter->log_bytes += log->byte_count;
    voter->term = 0;
    voter->commit_index = update.commit_index;
    voter->members = voter->state.members;
    voter->first_update = update; /* its messages, if any, are lost: raft sends others */
    voter->first_update.message_count = 0;
    return ERRC_OK;
}

/* ---- a checkpoint in place of log and state ---- */

static enum errc install_in(struct voter_mirror *mirror, uint64_t index, struct error *e)
{
    struct env *env = mirror->voter->env;
    struct snapshot_description description;
    struct checkpoint_info info;
    struct enc bytes = ENC_INIT;
    struct enc record = ENC_INIT;
    char *store = mem_format("%s/store", mirror->mirror.dir);
    enum errc rc = checkpoint_entry_read(env, mirror->mirror.dir, index, &description, &bytes, e);
    rc = rc == ERRC_OK ? checkpoint_newest(env, mirror->mirror.dir, index, &info, e) : rc;
    if (rc == ERRC_OK && info.index != index) {
        rc = error_set(e, ERRC_CORRUPT, "checkpoint %llu is not whole", (unsigned long long)index);
    }
    rc = rc == ERRC_OK ? checkpoint_folder_remove(env, store, e) : rc;
    rc = rc == ERRC_OK ? mirror_log_wipe(&mirror->mirror, e) : rc;
    if (rc == ERRC_OK) {
        (void)log_record_encode(&record, mirror->mirror.cluster, index, description.entry.term, description.entry.type,
                                index, 0, description.entry.data);
        rc = mirror_append(&mirror->mirror, enc_slice(&record), index, 0, e);
        mirror_roll(&mirror->mirror); /* the start opens it again */
    }
    enc_free(&record);
    enc_free(&bytes);
    mem_free(store);
    return rc;
}

/* Finishes an install that a generation says was begun: in one DIR that has the checkpoint; the others join again. */
static enum errc install_finish(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    const uint64_t index = start->states[start->best].install_index;
    if (index == 0) {
        return ERRC_OK;
    }
    enum errc rc = ERRC_NOT_FOUND;
    struct error why = ERROR_INIT;
    for (unsigned i = 0; i < voter->mirror_count && rc != ERRC_OK; i++) {
        if (!is_current(start, i)) {
            continue;
        }
        error_clear(&why);
        rc = install_in(&voter->mirrors[i], index, &why);
        if (rc == ERRC_OK) {
            struct mirror_state *state = &start->states[start->best];
            voter_event(voter, "metadata_checkpoint_installed", voter->mirrors[i].path, "");
            for (uint32_t d = 0; d < state->dir_count; d++) {
                state->dirs[d].is_mirror = disk_id_equal(state->dirs[d].disk, voter->mirrors[i].mirror.disk);
            }
            state->install_index = 0; /* durable with this start's generation; until then the install is done again */
        }
    }
    return rc == ERRC_OK ? rc : error_set(e, rc, "checkpoint %llu cannot be installed: %s", (unsigned long long)index, why.text);
}

/* ---- the rest of it ---- */

/* Everything from the newest generation on; the states are read and enough of them are there. */
static enum errc start_finish(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    enum errc rc = install_finish(start, e);
    rc = rc == ERRC_OK ? logs_load(start, e) : rc;
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        mirror_settle(start, i);
    }
    if (rc == ERRC_OK) {
        state_compose(start);
        rc = generation_publish(start, e);
    }
    rc = rc == ERRC_OK ? core_open(start, e) : rc;
    rc = rc == ERRC_OK ? voter_store_open(voter, &start->logs[start->base], voter->commit_index, e) : rc;
    if (rc == ERRC_OK) {
        uint64_t position = voter_store_position(voter->store);
        /* Perhaps in the middle of its entry, which is then applied from there. */
        voter->applied_index = position > voter->commit_index ? position - 1 : voter->commit_index;
    }
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        voter_mirror_executor(&voter->mirrors[i]);
    }
    return rc;
}

static struct start *start_create(struct voter *voter, struct cluster_id cluster)
{
    struct start *start = mem_zalloc(sizeof(*start));
    start->voter = voter;
    start->cluster = cluster;
    start->states = mem_zalloc(VOTER_DIRS_MAX * sizeof(*start->states));
    for (unsigned i = 0; i < VOTER_DIRS_MAX; i++) {
        start->state_rc[i] = ERRC_NOT_FOUND;
    }
    return start;
}

void voter_mirror_init(struct voter_mirror *mirror, struct cluster_id cluster, struct disk_id disk, const char *path)
{
    (void)snprintf(mirror->path, sizeof(mirror->path), "%s", path);
    mirror_init(&mirror->mirror, mirror->voter->env, cluster, disk, mirror->path);
    mirror->mirror.segment_bytes = mirror->voter->log_segment_bytes;
}

void voter_mirror_executor(struct voter_mirror *mirror)
{
    struct env *env = mirror->voter->env;
    if (mirror->executor == NULL && mirror->state != MIRROR_FAILED) {
        mirror->executor = env->vt->executor_create(env, "meta-log", 1);
    }
}

/* ---- the door ---- */

static void options_default(struct kv_options *options)
{
    options->cache_bytes = options->cache_bytes > 0 ? options->cache_bytes : KV_CACHE_BYTES;
    options->memtable_bytes = options->memtable_bytes > 0 ? options->memtable_bytes : KV_MEMTABLE_BYTES;
    options->blob_min_bytes = options->blob_min_bytes > 0 ? options->blob_min_bytes : KV_BLOB_BYTES_MIN;
    options->background_threads = options->background_threads > 0 ? options->background_threads : 2;
}

static struct voter *voter_create(const struct voter_config *config)
{
    struct voter *voter = mem_zalloc(sizeof(*voter));
    voter_channel_init(voter);
    voter_timers_init(voter);
    voter->env = config->env;
    voter->kv_factory = config->kv_factory;
    voter->kv_options = config->kv;
    options_default(&voter->kv_options);
    voter->executor = config->executor;
    voter->query_pool = config->query_pool;
    voter->copier = config->env->vt->executor_create(config->env, "meta-copy", 1);
    voter->on_event = config->on_event;
    voter->event_data = config->data;
    voter->checkpoint_log_bytes = config->checkpoint_log_bytes > 0 ? config->checkpoint_log_bytes : CHECKPOINT_LOG_BYTES;
    voter->log_segment_bytes = config->log_segment_bytes > 0 ? config->log_segment_bytes : LOG_SEGMENT_BYTES;
    ASSERT(voter->log_segment_bytes <= LOG_SEGMENT_BYTES);
    voter->joining = -1;
    voter->peers = config->peers;
    voter->peers_data = config->peers_data;
    voter->election_ms = config->election_ms > 0 ? config->election_ms : ELECTION_MS;
    (void)snprintf(voter->node, sizeof(voter->node), "%s", config->node != NULL ? config->node : "");
    voter->mirror_count = config->dir_count;
    for (unsigned i = 0; i < config->dir_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        *mirror = (struct voter_mirror){ .voter = voter, .state = MIRROR_OUT };
        voter_mirror_init(mirror, config->cluster, config->dirs[i].disk, config->dirs[i].path);
    }
    return voter;
}

static void raft_begin(struct voter *voter)
{
    voter_raft_begin(voter);
    voter_core_take(voter, &voter->first_update, NULL, slice_of(NULL, 0));
}

/* Replay ran on the caller's thread; from here on the voter belongs to its executor. */
static void on_started(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, start_task);
    if (voter->peers != NULL) {
        raft_begin(voter);
    }
    voter_advance(voter);
}

enum errc voter_open(const struct voter_config *config, struct voter **ret_voter, struct error *e)
{
    ASSERT(config->dir_count > 0 && config->dir_count <= VOTER_DIRS_MAX);
    struct voter *voter = voter_create(config);
    struct start *start = start_create(voter, config->cluster);
    start->mirrors_wanted = config->mirrors_wanted;
    start->start_without_count = config->start_without_count;
    start->start_without = config->start_without;
    start->node = config->node;
    enum errc rc = config->bootstrap ? bootstrap(start, e) : ERRC_OK;
    rc = rc == ERRC_OK ? states_read(start, e) : rc;
    rc = rc == ERRC_OK ? majority_check(start, e) : rc;
    rc = rc == ERRC_OK ? start_finish(start, e) : rc;
    start_free(start);
    if (rc != ERRC_OK) {
        voter_free(voter);
        return rc;
    }
    if (voter->peers == NULL) { /* leads from here on; needs no clock */
        raft_begin(voter);
    }
    voter_status_publish(voter);
    voter->start_task.run = on_started;
    executor_post(voter->executor, &voter->start_task);
    *ret_voter = voter;
    return ERRC_OK;
}

/* ---- alone from now on ---- */

/* The term is durable before the log has an entry of it. It is far above all that the others may have come to, so that no
 * two entries have the same index and term. A crash between leaves the quorum as it was. */
static enum errc recover_commit(struct start *start, uint64_t term, struct error *e)
{
    struct voter *voter = start->voter;
    const struct log_contents *log = &start->logs[start->base];
    struct raft_core_members members = { .count = 1, .list[0] = { .id = voter->state.raft_id, .votes = true } };
    struct enc data = ENC_INIT;
    struct enc record = ENC_INIT;
    uint64_t index = log_last(log) + 1;
    (void)snprintf(members.list[0].node, RAFT_NODE_TEXT_BYTES, "%s", voter->node);
    voter->state.term = term;
    voter->state.vote = 0;
    enum errc rc = generation_publish(start, e);
    rc = rc == ERRC_OK ? raft_core_change(&members, &data, e) : rc;
    if (rc == ERRC_OK) {
        (void)log_record_encode(&record, start->cluster, index, term, RAFT_CORE_CHANGE, index, log->chain, enc_slice(&data));
    }
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            rc = mirror_append(&voter->mirrors[i].mirror, enc_slice(&record), index, log->chain, e);
        }
    }
    enc_free(&record);
    enc_free(&data);
    return rc;
}

enum errc voter_recover(const struct voter_config *config, bool commit, struct voter_recovery *ret, struct error *e)
{
    ASSERT(!config->bootstrap && config->peers != NULL);
    struct voter *voter = voter_create(config);
    struct start *start = start_create(voter, config->cluster);
    start->mirrors_wanted = config->mirrors_wanted;
    start->node = config->node;
    enum errc rc = states_read(start, e);
    rc = rc == ERRC_OK ? majority_check(start, e) : rc;
    if (rc == ERRC_OK && start->states[start->best].install_index != 0) {
        rc = error_set(e, ERRC_CONFLICT, "a checkpoint was being installed here: this voter's state is not whole");
    }
    rc = rc == ERRC_OK ? logs_load(start, e) : rc;
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        mirror_settle(start, i);
    }
    if (rc == ERRC_OK) {
        state_compose(start);
        const struct log_contents *log = &start->logs[start->base];
        uint64_t term = log->entries[log->count - 1].term;
        *ret = (struct voter_recovery){ term, log_last(log) };
        uint64_t newest = voter->state.term > term ? voter->state.term : term;
        rc = commit ? recover_commit(start, newest + TERM_STEP_RECOVERED, e) : ERRC_OK;
    }
    start_free(start);
    voter_free(voter);
    return rc;
}

/* ---- coming back ---- */

static void mirrors_forget(struct voter *voter)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        if (mirror->mirror.segment != NULL) {
            voter->env->vt->close(voter->env, mirror->mirror.segment);
            mirror->mirror.segment = NULL;
        }
        mirror->state = mirror->replaced ? MIRROR_FAILED : MIRROR_OUT;
        mirror->condemned = false;
    }
}

/* Starts again in place, by the same rules. Nothing is under way. */
static void restart(struct voter *voter, struct start *start)
{
    struct error e = ERROR_INIT;
    raft_core_close(voter->core);
    voter->core = NULL;
    voter->fence_wanted = false;
    voter->log_bytes = 0;
    voter->cut_wanted = 0;
    voter->dead = start_finish(start, &e) != ERRC_OK;
    voter_event(voter, voter->dead ? "metadata_still_unavailable" : "metadata_available", "", e.text);
    if (!voter->dead) {
        raft_begin(voter);
    }
}

/* The voter died: it starts again once enough DIRs are readable. */
void voter_revive(struct voter *voter)
{
    struct error e = ERROR_INIT;
    struct start *start = start_create(voter, voter->state.cluster);
    void (*on_event)(void *, const char *, const char *, const char *) = voter->on_event;
    voter->on_event = NULL; /* every two seconds the same */
    mirrors_forget(voter);
    bool enough = states_read(start, &e) == ERRC_OK && majority_check(start, &e) == ERRC_OK;
    voter->on_event = on_event;
    if (enough && voter_store_drop(voter)) {
        restart(voter, start);
    }
    start_free(start);
}

/* The state says that the checkpoint is to be installed, then the voter starts again. */
static enum errc install_record(struct voter *voter, struct error *e)
{
    struct start *start = start_create(voter, voter->state.cluster);
    voter->state.install_index = voter->install_wanted;
    voter->state.members = voter->fetched_members;
    voter->state.term = voter->hard_term;
    voter->state.vote = voter->hard_vote;
    enum errc rc = generation_publish(start, e);
    start_free(start);
    return rc;
}

void voter_install(struct voter *voter)
{
    struct error e = ERROR_INIT;
    if (!voter_store_drop(voter)) {
        return; /* a query reads; looked at again with the next message */
    }
    voter_raft_end(voter);
    enum errc rc = voter->dead ? ERRC_OK : install_record(voter, &e);
    voter->install_wanted = 0;
    voter->dead = true;
    if (rc != ERRC_OK) {
        voter_event(voter, "metadata_checkpoint_not_installed", "", e.text);
    }
    voter_revive(voter);
    if (voter->dead) {
        timer_start(voter->executor, &voter->revive_timer, 2000);
    }
}
