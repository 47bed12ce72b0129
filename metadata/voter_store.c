/* The state store of the voter: found or restored at the start, moved when its DIR dies. */
#include "metadata/voter_state.h"

#include "common/base/assert.h"
#include "common/base/mem.h"

#include <stdio.h>

#define MOVE_LOOKS 4

static void lock(atomic_flag *flag)
{
    while (atomic_flag_test_and_set_explicit(flag, memory_order_acquire)) {
        /* held for a few instructions only */
    }
}

static void unlock(atomic_flag *flag)
{
    atomic_flag_clear_explicit(flag, memory_order_release);
}

struct voter_store *voter_store_acquire(struct voter *voter)
{
    lock(&voter->store_lock);
    struct voter_store *store = voter->store;
    if (store != NULL) {
        atomic_fetch_add(&store->references, 1);
    }
    unlock(&voter->store_lock);
    return store;
}

void voter_store_release(struct voter_store *store)
{
    if (store != NULL && atomic_fetch_sub(&store->references, 1) == 1) {
        machine_close(store->machine);
        store->kv->vt->close(store->kv);
        mem_free(store);
    }
}

static void store_switch(struct voter *voter, struct voter_store *store)
{
    lock(&voter->store_lock);
    struct voter_store *old = voter->store;
    voter->store = store;
    unlock(&voter->store_lock);
    voter_store_release(old);
}

bool voter_store_drop(struct voter *voter)
{
    lock(&voter->store_lock);
    voter->store_retired = voter->store != NULL ? voter->store : voter->store_retired;
    voter->store = NULL;
    unlock(&voter->store_lock);
    if (voter->store_retired != NULL && atomic_load(&voter->store_retired->references) > 1) {
        return false;
    }
    voter_store_release(voter->store_retired);
    voter->store_retired = NULL;
    return true;
}

static char *store_path(const struct voter_mirror *mirror)
{
    return mem_format("%s/store", mirror->mirror.dir);
}

static enum errc store_try(struct voter *voter, unsigned index, bool create, struct voter_store **ret_store,
                           struct error *e)
{
    struct kv_options options = voter->kv_options;
    struct voter_store *store = mem_zalloc(sizeof(*store));
    char *path = store_path(&voter->mirrors[index]);
    options.create = create;
    store->mirror = index;
    atomic_store(&store->references, 1);
    enum errc rc = voter->kv_factory->open(voter->kv_factory, path, &options, &store->kv, e);
    if (rc == ERRC_OK) {
        rc = machine_open(store->kv, &store->machine, e);
        if (rc != ERRC_OK) {
            store->kv->vt->close(store->kv);
        }
    }
    mem_free(path);
    if (rc != ERRC_OK) {
        mem_free(store);
        return rc;
    }
    *ret_store = store;
    return ERRC_OK;
}

/* ---- replay ---- */

uint64_t voter_store_position(const struct voter_store *store)
{
    uint64_t position = 0;
    uint32_t sub = 0;
    machine_position(store->machine, &position, &sub);
    return position;
}

/* An entry: u32 count, then u32 length and command, count times. Results go to `results`, their ends to result_ends. */
enum errc voter_entry_apply(struct voter_store *store, uint64_t index, uint8_t type, struct slice data,
                            struct enc *results, size_t *result_ends, size_t limit, struct error *e)
{
    if (type != RAFT_CORE_COMMAND) {
        return machine_skip_to(store->machine, index, 0, e);
    }
    struct dec dec = dec_of(data);
    uint32_t count = dec_u32(&dec);
    for (uint32_t i = 0; i < count; i++) {
        struct slice command = dec_raw(&dec, dec_u32(&dec));
        if (dec.failed || (result_ends != NULL && i >= limit)) {
            return error_set(e, ERRC_CORRUPT, "log entry %llu is malformed", (unsigned long long)index);
        }
        enum errc rc = machine_apply(store->machine, index, i, command, results, e);
        if (rc != ERRC_OK) {
            return rc;
        }
        if (result_ends != NULL) {
            result_ends[i] = results->len;
        } else {
            enc_reset(results);
        }
    }
    return dec_done(&dec) ? ERRC_OK
                          : error_set(e, ERRC_CORRUPT, "log entry %llu is malformed", (unsigned long long)index);
}

static enum errc store_replay(struct voter_store *store, const struct log_contents *log, uint64_t until,
                              struct error *e)
{
    struct enc results = ENC_INIT;
    uint64_t position = voter_store_position(store);
    enum errc rc = ERRC_OK;
    for (size_t i = 0; i < log->count && rc == ERRC_OK; i++) {
        const struct log_entry *entry = &log->entries[i];
        if (entry->index >= position && entry->index <= until) {
            rc = voter_entry_apply(store, entry->index, entry->type, entry->data, &results, NULL, 0, e);
        }
    }
    enc_free(&results);
    return rc;
}

/* Can the log bring this state forward? Position (0, 0) is the empty state, before index 1. */
static bool store_fits(const struct voter_store *store, const struct log_contents *log)
{
    uint64_t position = voter_store_position(store);
    /* A position inside an entry needs that entry; one at its end can't be told from it, so the entry is wanted unless
     * the log begins right behind it. */
    return position + 1 >= log->first_index && position < log->first_index + log->count;
}

/* ---- opening ---- */

static enum errc store_existing(struct voter *voter, unsigned index, const struct log_contents *log, uint64_t until,
                                struct voter_store **ret_store, struct error *e)
{
    struct env_stat stat;
    char *path = store_path(&voter->mirrors[index]);
    bool there = voter->env->vt->stat_path(voter->env, path, &stat, NULL) == ERRC_OK;
    mem_free(path);
    if (!there) {
        return error_set(e, ERRC_NOT_FOUND, "no state store in '%s'", voter->mirrors[index].path);
    }
    enum errc rc = store_try(voter, index, false, ret_store, e);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = store_fits(*ret_store, log) ? store_replay(*ret_store, log, until, e)
                                            : error_set(e, ERRC_CONFLICT, "the state store does not fit the log");
    if (rc != ERRC_OK) {
        voter_store_release(*ret_store);
    }
    return rc;
}

static enum errc store_restored(struct voter *voter, unsigned index, const struct log_contents *log, uint64_t until,
                                struct voter_store **ret_store, struct error *e)
{
    struct voter_mirror *mirror = &voter->mirrors[index];
    struct checkpoint_info info = { 0, 0 };
    struct error why = ERROR_INIT;
    char *path = store_path(mirror);
    enum errc rc = checkpoint_newest(voter->env, mirror->mirror.dir, until, &info, &why);
    if (rc == ERRC_OK) {
        rc = checkpoint_restore(voter->env, mirror->mirror.dir, info.index, path, e);
    } else if (rc == ERRC_NOT_FOUND && log->first_index == 1) {
        rc = checkpoint_folder_remove(voter->env, path, e); /* from nothing: the log begins at the beginning */
    } else {
        rc = error_set(e, rc, "%s", why.text);
    }
    mem_free(path);
    if (rc == ERRC_OK) {
        rc = store_try(voter, index, true, ret_store, e);
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = store_fits(*ret_store, log) ? store_replay(*ret_store, log, until, e)
                                            : error_set(e, ERRC_CORRUPT, "the checkpoint does not reach the log");
    if (rc != ERRC_OK) {
        voter_store_release(*ret_store);
    }
    return rc;
}

enum errc voter_store_open(struct voter *voter, const struct log_contents *log, uint64_t until, struct error *e)
{
    struct error last = ERROR_INIT;
    for (unsigned pass = 0; pass < 2; pass++) { /* first what is there, then checkpoints */
        for (unsigned i = 0; i < voter->mirror_count; i++) {
            struct voter_store *store = NULL;
            struct error why = ERROR_INIT;
            if (voter->mirrors[i].state != MIRROR_LIVE) {
                continue;
            }
            enum errc rc = pass == 0 ? store_existing(voter, i, log, until, &store, &why)
                                     : store_restored(voter, i, log, until, &store, &why);
            if (rc == ERRC_OK) {
                store_switch(voter, store);
                return ERRC_OK;
            }
            if (rc != ERRC_NOT_FOUND) {
                voter_event(voter, "metadata_store_unusable", voter->mirrors[i].path, why.text);
            }
            last = why;
        }
    }
    return error_set(e, last.code != ERRC_OK ? last.code : ERRC_CORRUPT, "no state of the metadata can be opened: %s",
                     last.code != ERRC_OK ? last.text : "no mirror");
}

static enum errc store_move_once(struct voter *voter, uint64_t until, struct error *e)
{
    struct error last = ERROR_INIT;
    for (unsigned i = 0; i < voter->mirror_count; i++) {
        struct voter_mirror *mirror = &voter->mirrors[i];
        struct voter_store *store = NULL;
        struct log_contents log;
        struct error why = ERROR_INIT;
        if (mirror->state != MIRROR_LIVE) {
            continue;
        }
        struct mirror reader;
        mirror_init(&reader, voter->env, mirror->mirror.cluster, mirror->mirror.disk, mirror->path);
        enum errc rc = mirror_log_read(&reader, until, &log, &why);
        if (rc == ERRC_OK) {
            rc = store_restored(voter, i, &log, until, &store, &why);
            log_contents_free(&log);
        }
        mirror_done(&reader);
        if (rc == ERRC_OK) {
            store_switch(voter, store);
            voter_event(voter, "metadata_store_moved", mirror->path, "");
            return ERRC_OK;
        }
        last = why;
    }
    return error_set(e, last.code != ERRC_OK ? last.code : ERRC_UNAVAILABLE, "the metadata state cannot be moved: %s",
                     last.code != ERRC_OK ? last.text : "no mirror is left");
}

/* While a checkpoint is being made its copier removes the one before and cuts the log: what one look began to read may
 * go, and the next look finds what stands in its place. */
enum errc voter_store_move(struct voter *voter, uint64_t until, struct error *e)
{
    enum errc rc = ERRC_UNAVAILABLE;
    for (unsigned look = 0; look < MOVE_LOOKS && rc != ERRC_OK; look++) {
        struct error why = ERROR_INIT;
        rc = store_move_once(voter, until, &why);
        if (rc != ERRC_OK && (look + 1 == MOVE_LOOKS || !voter->checkpointing)) {
            return error_set(e, rc, "%s", why.text);
        }
    }
    return rc;
}

void voter_store_follow(struct voter *voter)
{
    struct error e = ERROR_INIT;
    if (voter->store == NULL || voter->checkpointing || voter->rests ||
        voter->mirrors[voter->store->mirror].state == MIRROR_LIVE) {
        return;
    }
    if (voter_store_move(voter, voter->applied_index, &e) != ERRC_OK) {
        voter_event(voter, "metadata_store_not_moved", voter->mirrors[voter->store->mirror].path, e.text);
        voter_rest(voter);
    }
}
