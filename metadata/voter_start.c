/*
 * Which DIRs count, whether there are enough of them, and which log is the newest (BLUEPRINT 6, metadata/README.md).
 */
#include "common/base/assert.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "metadata/voter_state.h"

#include <stdio.h>
#include <string.h>

#define KV_CACHE_BYTES (128u << 20)
#define KV_MEMTABLE_BYTES (32u << 20)
#define KV_BLOB_BYTES_MIN 1024
#define NS_PER_MS 1000000u

STATIC_ASSERT(MIRROR_PATH_BYTES == VOTER_PATH_BYTES, "paths are copied whole");

/* What start-up learns of the DIRs; freed at its end. */
struct start {
    const struct voter_config *config;
    struct voter *voter;
    struct mirror_state *states;                 /* by DIR of the config */
    enum errc state_rc[VOTER_DIRS_MAX];
    struct log_contents logs[VOTER_DIRS_MAX];
    bool loaded[VOTER_DIRS_MAX];
    int best;                                    /* DIR whose state has the highest generation */
    int base;                                    /* DIR whose log counts */
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
}

/* ---- which generation counts ---- */

static enum errc states_read(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    start->best = -1;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct error why = ERROR_INIT;
        start->state_rc[i] = mirror_state_read(&voter->mirrors[i].mirror, &start->states[i], &why);
        if (start->state_rc[i] == ERRC_FORMAT) {
            return error_set(e, ERRC_FORMAT, "%s", why.text);
        }
        if (start->state_rc[i] == ERRC_OK && !cluster_id_equal(start->states[i].cluster, start->config->cluster)) {
            start->state_rc[i] = ERRC_CONFLICT;
            (void)error_set(&why, ERRC_CONFLICT, "metadata of another cluster");
        }
        if (start->state_rc[i] != ERRC_OK && start->state_rc[i] != ERRC_NOT_FOUND) {
            voter_event(voter, "metadata_state_unusable", voter->mirrors[i].path, why.text);
        }
        if (start->state_rc[i] == ERRC_OK &&
            (start->best < 0 || start->states[i].generation > start->states[start->best].generation)) {
            start->best = (int)i;
        }
    }
    return ERRC_OK;
}

static int dir_of_disk(const struct voter *voter, struct disk_id disk)
{
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        if (disk_id_equal(voter->mirrors[i].mirror.disk, disk)) {
            return (int)i;
        }
    }
    return -1;
}

static bool given_up(const struct voter_config *config, const struct mirror_dir *dir)
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

/* More than half of the DIRs that the newest state knows must be here: then no newer generation can be elsewhere. */
static enum errc majority_check(const struct start *start, struct error *e)
{
    const struct mirror_state *state = &start->states[start->best];
    unsigned present = 0;
    unsigned unexcused = 0;
    char missing[160] = "";
    for (uint32_t i = 0; i < state->dir_count; i++) {
        if (dir_of_disk(start->voter, state->dirs[i].disk) >= 0) {
            present++;
        } else if (!given_up(start->config, &state->dirs[i])) {
            size_t used = strlen(missing);
            unexcused++;
            (void)snprintf(missing + used, sizeof(missing) - used, "%s%s", used > 0 ? ", " : "", state->dirs[i].path);
        }
    }
    if (2 * present > state->dir_count || unexcused == 0) {
        return ERRC_OK;
    }
    return error_set(e, ERRC_UNAVAILABLE,
                     "only %u of %u known directories are there; missing: %s. Bring them back, or give each up with "
                     "--start-without", present, state->dir_count, missing);
}

/* ---- which log counts ---- */

static bool is_current(const struct start *start, unsigned i)
{
    const struct mirror_state *best = &start->states[start->best];
    if (start->state_rc[i] != ERRC_OK || start->states[i].generation != best->generation) {
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

/* Brings a current mirror whose log is shorter up to the base; a corrupt one joins later, from nothing. */
static void mirror_settle(struct start *start, unsigned i)
{
    struct voter *voter = start->voter;
    struct voter_mirror *mirror = &voter->mirrors[i];
    const struct log_contents *base = &start->logs[start->base];
    const struct log_contents *own = &start->logs[i];
    struct error why = ERROR_INIT;
    if (!start->loaded[i]) {
        return;
    }
    if (log_last(own) != log_last(base) || own->chain != base->chain) {
        if (mirror_log_copy(&mirror->mirror, &voter->mirrors[start->base].mirror, &why) != ERRC_OK) {
            voter_event(voter, "metadata_mirror_lost", mirror->path, why.text);
            mirror->state = MIRROR_FAILED;
            return;
        }
        voter_event(voter, "metadata_mirror_caught_up", mirror->path, "");
    }
    mirror->state = MIRROR_LIVE;
}

/* ---- bootstrap ---- */

static enum errc bootstrap(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    const struct voter_config *config = start->config;
    struct mirror_state *state = &start->states[0];
    struct enc data = ENC_INIT;
    struct enc record = ENC_INIT;
    unsigned wanted = config->mirrors_wanted < voter->mirror_count ? config->mirrors_wanted : voter->mirror_count;
    *state = (struct mirror_state){ .cluster = config->cluster, .generation = 1, .term = 1, .wanted = wanted,
                                    .dir_count = voter->mirror_count };
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        state->dirs[i].disk = voter->mirrors[i].mirror.disk;
        state->dirs[i].is_mirror = i < wanted;
        (void)snprintf(state->dirs[i].path, MIRROR_PATH_BYTES, "%s", voter->mirrors[i].path);
    }
    enum errc rc = raft_core_bootstrap(&data, e);
    if (rc == ERRC_OK) {
        (void)log_record_encode(&record, 1, 1, RAFT_CORE_CHANGE, 1, 0, enc_slice(&data));
    }
    for (unsigned i = 0; i < wanted && rc == ERRC_OK; i++) {
        struct mirror *mirror = &voter->mirrors[i].mirror;
        rc = mirror_create(mirror, e);
        rc = rc == ERRC_OK ? mirror_append(mirror, enc_slice(&record), 1, 0, e) : rc;
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

/* The known DIRs of the last generation, those given now under their new paths, and who is a mirror. */
static void state_compose(struct start *start)
{
    struct voter *voter = start->voter;
    struct mirror_state *state = &voter->state;
    *state = start->states[start->best];
    state->generation++;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        const struct voter_mirror *mirror = &voter->mirrors[i];
        uint32_t place = 0;
        while (place < state->dir_count && !disk_id_equal(state->dirs[place].disk, mirror->mirror.disk)) {
            place++;
        }
        if (place == MIRROR_DIRS_MAX) {
            continue;
        }
        state->dir_count += place == state->dir_count ? 1 : 0;
        state->dirs[place].disk = mirror->mirror.disk;
        memcpy(state->dirs[place].path, mirror->path, MIRROR_PATH_BYTES);
    }
    uint32_t wanted = start->config->mirrors_wanted > 0 ? start->config->mirrors_wanted : state->wanted;
    state->wanted = wanted < state->dir_count ? wanted : state->dir_count;
    for (uint32_t d = 0; d < state->dir_count; d++) {
        int dir = dir_of_disk(voter, state->dirs[d].disk);
        state->dirs[d].is_mirror = dir >= 0 && voter->mirrors[dir].state == MIRROR_LIVE;
    }
}

/* Durable on every live mirror before anything is answered. One that fails leaves, which needs another generation. */
static enum errc generation_publish(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    for (;;) {
        bool lost = false;
        if (voter_live_count(voter) == 0) {
            return error_set(e, ERRC_IO, "no metadata mirror can be written: %s", start->last.text);
        }
        for (unsigned i = 0; i < voter->mirror_count; i++) {
            struct error why = ERROR_INIT;
            if (voter->mirrors[i].state == MIRROR_LIVE &&
                mirror_state_write(&voter->mirrors[i].mirror, &voter->state, &why) != ERRC_OK) {
                voter_mirror_drop(voter, i, why.text);
                start->last = why;
                lost = true;
            }
        }
        if (!lost) {
            voter->fence_wanted = false;
            return ERRC_OK;
        }
        start->states[start->best] = voter->state;
        state_compose(start);
    }
}

/* ---- raft ---- */

static enum errc core_open(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    const struct log_contents *log = &start->logs[start->base];
    struct error why = ERROR_INIT;
    enum errc rc = checkpoint_newest(voter->env, voter->mirrors[start->base].mirror.dir, log_last(log),
                                     &voter->checkpoint, &why);
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return error_set(e, rc, "%s", why.text);
    }
    size_t skip = 0;
    while (skip < log->count && log->entries[skip].index <= voter->checkpoint.index) {
        skip++;
    }
    struct raft_core_entry *entries = mem_alloc((log->count - skip + 1) * sizeof(*entries));
    for (size_t i = skip; i < log->count; i++) {
        const struct log_entry *entry = &log->entries[i];
        entries[i - skip] = (struct raft_core_entry){ entry->term, entry->type, entry->data };
    }
    const struct raft_core_start core = {
        .now_ms = env_now_ns(voter->env) / NS_PER_MS, .term = voter->state.term, .vote = voter->state.vote,
        .snapshot_index = voter->checkpoint.index, .snapshot_term = voter->checkpoint.term,
        .first_index = voter->checkpoint.index + 1, .count = log->count - skip, .entries = entries,
    };
    struct raft_core_update update = { .commit_index = 0 };
    rc = raft_core_open(&core, &voter->core, &update, e);
    mem_free(entries);
    if (rc != ERRC_OK) {
        return rc;
    }
    /* One voter leads at once, in its old term, and all that its log holds is committed. */
    if (!update.leader || update.hard_state || update.append_index != 0 || update.commit_index != log_last(log)) {
        return error_set(e, ERRC_INTERNAL, "raft did not take the lead of a single voter");
    }
    voter->term = update.term;
    voter->commit_index = update.commit_index;
    voter->last_index = log_last(log);
    voter->chain = log->chain;
    voter->log_bytes = log->byte_count;
    return ERRC_OK;
}

/* ---- all of it ---- */

static enum errc start_run(struct start *start, struct error *e)
{
    struct voter *voter = start->voter;
    enum errc rc = start->config->bootstrap ? bootstrap(start, e) : ERRC_OK;
    rc = rc == ERRC_OK ? states_read(start, e) : rc;
    if (rc == ERRC_OK && start->best < 0) {
        rc = error_set(e, ERRC_NOT_FOUND, "none of the directories holds metadata");
    }
    rc = rc == ERRC_OK ? majority_check(start, e) : rc;
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
    voter->applied_index = voter->commit_index;
    for (unsigned i = 0; i < voter->mirror_count && rc == ERRC_OK; i++) {
        if (voter->mirrors[i].state == MIRROR_LIVE) {
            voter->mirrors[i].executor = voter->env->vt->executor_create(voter->env, "meta-log", 1);
        }
    }
    return rc;
}

static void options_default(struct kv_options *options)
{
    options->cache_bytes = options->cache_bytes > 0 ? options->cache_bytes : KV_CACHE_BYTES;
    options->memtable_bytes = options->memtable_bytes > 0 ? options->memtable_bytes : KV_MEMTABLE_BYTES;
    options->blob_min_bytes = options->blob_min_bytes > 0 ? options->blob_min_bytes : KV_BLOB_BYTES_MIN;
    options->background_threads = options->background_threads > 0 ? options->background_threads : 2;
}

static void voter_free(struct voter *voter)
{
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
}

/* Replay ran on the caller's thread; from here on the voter belongs to its executor. */
static void on_started(struct task *task)
{
    struct voter *voter = container_of(task, struct voter, start_task);
    voter_advance(voter);
}

enum errc voter_open(const struct voter_config *config, struct voter **ret_voter, struct error *e)
{
    ASSERT(config->dir_count > 0 && config->dir_count <= VOTER_DIRS_MAX);
    struct voter *voter = mem_zalloc(sizeof(*voter));
    struct start *start = mem_zalloc(sizeof(*start));
    voter_channel_init(voter);
    voter->env = config->env;
    voter->kv_factory = config->kv_factory;
    voter->kv_options = config->kv;
    options_default(&voter->kv_options);
    voter->executor = config->executor;
    voter->query_pool = config->query_pool;
    voter->copier = config->env->vt->executor_create(config->env, "meta-copy", 1);
    voter->on_event = config->on_event;
    voter->event_data = config->data;
    voter->checkpoint_log_bytes = config->checkpoint_log_bytes;
    voter->joining = -1;
    voter->mirror_count = config->dir_count;
    for (unsigned i = 0; i < config->dir_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        *mirror = (struct voter_mirror){ .voter = voter, .state = MIRROR_OUT };
        (void)snprintf(mirror->path, sizeof(mirror->path), "%s", config->dirs[i].path);
        mirror_init(&mirror->mirror, config->env, config->cluster, config->dirs[i].disk, mirror->path);
    }
    *start = (struct start){ .config = config, .voter = voter, .states = mem_zalloc(VOTER_DIRS_MAX * sizeof(struct mirror_state)) };
    enum errc rc = start_run(start, e);
    start_free(start);
    mem_free(start);
    if (rc != ERRC_OK) {
        voter_free(voter);
        return rc;
    }
    voter_status_publish(voter);
    voter->start_task.run = on_started;
    executor_post(voter->executor, &voter->start_task);
    *ret_voter = voter;
    return ERRC_OK;
}
