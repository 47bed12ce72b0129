/*
 * The applying half of the machine: opens the state, decides one command, writes one batch.
 *
 *   decode -> done before? -> dispatch to apply_*.c -> outcome OK: extents, counters, result by name join the batch
 *                                   -> any other: the batch is emptied, memory goes back
 *          -> chain hash, position and counters join -> one kv write -> result
 */
#include "metadata/machine.h"

#include "common/base/assert.h"
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "metadata/machine_state.h"

#include <sched.h>

void machine_view_lock(struct machine *m)
{
    while (atomic_flag_test_and_set_explicit(&m->view, memory_order_acquire)) {
        (void)sched_yield(); /* held for one write to memory, or while two iterators are made */
    }
}

void machine_view_unlock(struct machine *m)
{
    atomic_flag_clear_explicit(&m->view, memory_order_release);
}

struct enc *machine_scratch(struct machine *m)
{
    ASSERT(m->scratch_used < SCRATCH_MAX);
    struct enc *enc = &m->scratch[m->scratch_used++];
    enc_reset(enc);
    return enc;
}

struct enc *machine_record(struct machine *m)
{
    enc_reset(&m->record);
    return &m->record;
}

void apply_put(struct apply *a, const struct key *key, const struct enc *value)
{
    a->m->kv->vt->batch_put(a->m->batch, key_slice(key), enc_slice(value));
}

void apply_delete(struct apply *a, const struct key *key)
{
    a->m->kv->vt->batch_delete(a->m->batch, key_slice(key));
}

enum errc apply_get(struct apply *a, const struct key *key, struct enc *value)
{
    enc_reset(value);
    return a->m->kv->vt->get(a->m->kv, key_slice(key), false, value, a->e);
}

enum errc record_error(struct error *e, enum errc rc, const char *what)
{
    return error_set(e, rc, "metadata record of %s: %s", what, errc_text(rc));
}

static enum errc state_load(struct machine *m, struct error *e)
{
    struct key key;
    struct enc *value = machine_scratch(m);
    key_begin(&key, TABLE_STATE);
    enum errc rc = m->kv->vt->get(m->kv, key_slice(&key), false, value, e);
    if (rc == ERRC_NOT_FOUND) {
        m->counters = (struct machine_counters){
            .next_bucket = 1, .next_session = 1, .next_gc = 1, .next_completed = 1, .revision = 1
        };
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_state_decode(enc_slice(value), &m->position, &m->counters);
    return rc == ERRC_OK ? ERRC_OK : record_error(e, rc, "the state");
}

enum errc machine_open(struct kv *kv, struct machine **ret_machine, struct error *e)
{
    struct machine *m = mem_zalloc(sizeof(*m));
    m->kv = kv;
    m->batch = kv->vt->batch_create(kv);
    atomic_flag_clear(&m->view);
    read_cache_init(&m->cache);
    arena_init(&m->arena, MACHINE_ARENA_BYTES);
    digest_init(&m->digest, DIGEST_SHA256);
    enum errc rc = state_load(m, e);
    if (rc == ERRC_OK) {
        rc = machine_groups_load(m, e);
    }
    if (rc == ERRC_OK) {
        rc = machine_sessions_load(m, e);
    }
    if (rc == ERRC_OK) {
        rc = machine_clients_load(m, e);
    }
    if (rc != ERRC_OK) {
        machine_close(m);
        return rc;
    }
    m->scratch_used = 0;
    atomic_store(&m->applied_index, m->position.index);
    *ret_machine = m;
    return ERRC_OK;
}

void machine_close(struct machine *m)
{
    if (m == NULL) {
        return;
    }
    m->kv->vt->batch_destroy(m->batch);
    digest_done(&m->digest);
    arena_done(&m->arena);
    for (unsigned i = 0; i < SCRATCH_MAX; i++) {
        enc_free(&m->scratch[i]);
    }
    for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
        enc_free(&m->buckets[i].text);
    }
    enc_free(&m->record);
    enc_free(&m->extents.value);
    mem_free(m->extents.changes);
    mem_free(m->groups);
    mem_free(m->open_sessions);
    mem_free(m);
}

void machine_position(const struct machine *m, uint64_t *ret_index, uint32_t *ret_sub)
{
    *ret_index = m->position.index;
    *ret_sub = m->position.sub;
}

void machine_chain(const struct machine *m, uint8_t ret_chain[MACHINE_CHAIN_BYTES])
{
    memcpy(ret_chain, m->position.chain, MACHINE_CHAIN_BYTES);
}

enum errc machine_check(struct slice command, struct error *e)
{
    struct arena arena;
    struct meta_command cmd;
    arena_init(&arena, MACHINE_ARENA_BYTES);
    enum errc rc = meta_command_decode(command, &arena, &cmd);
    arena_done(&arena);
    return rc == ERRC_OK ? rc : error_set(e, rc, "metadata command: %s", errc_text(rc));
}

static enum errc dispatch_objects(struct apply *a, const struct meta_command *cmd)
{
    switch (cmd->type) {
    case META_CMD_BUCKET_CREATE:
        return apply_bucket_create(a, &cmd->bucket_create);
    case META_CMD_BUCKET_DELETE:
        return apply_bucket_delete(a, &cmd->bucket_delete);
    case META_CMD_BUCKET_VERSIONING:
        return apply_bucket_versioning(a, &cmd->bucket_versioning);
    case META_CMD_BUCKET_CLASS:
        return apply_bucket_class(a, &cmd->bucket_class);
    case META_CMD_OBJECT_PUT:
        return apply_object_put(a, &cmd->object_put);
    case META_CMD_OBJECT_ADOPT:
        return apply_object_adopt(a, &cmd->object_put);
    case META_CMD_OBJECT_DELETE:
        return apply_object_delete(a, &cmd->object_delete);
    case META_CMD_UPLOAD_CREATE:
        return apply_upload_create(a, &cmd->upload_create);
    case META_CMD_UPLOAD_PART:
        return apply_upload_part(a, &cmd->upload_part);
    case META_CMD_UPLOAD_COMPLETE:
        return apply_upload_complete(a, &cmd->upload_complete);
    case META_CMD_UPLOAD_ABORT:
        return apply_upload_abort(a, &cmd->upload_abort);
    default:
        return error_set(a->e, ERRC_FORMAT, "metadata command of unknown type %u", cmd->type);
    }
}

static enum errc dispatch(struct apply *a, const struct meta_command *cmd)
{
    switch (cmd->type) {
    case META_CMD_SESSION_OPEN:
        return apply_session_open(a, &cmd->session_open);
    case META_CMD_SESSION_RESERVE:
        return apply_session_reserve(a, &cmd->session_reserve);
    case META_CMD_SESSION_CLOSE:
        return apply_session_close(a, &cmd->session_close);
    case META_CMD_SESSION_SETTLE:
        return apply_session_settle(a, &cmd->session_close);
    case META_CMD_GC_DONE:
        return apply_gc_done(a, &cmd->gc_done);
    case META_CMD_GC_EXPAND:
        return apply_gc_expand(a, &cmd->gc_expand);
    case META_CMD_EXTENT_REPAIRED:
        return apply_extent_repaired(a, &cmd->extent_repaired);
    case META_CMD_EXTENT_MISSING:
        return apply_extent_missing(a, &cmd->extent_missing);
    case META_CMD_GROUP_SWEEP:
        return apply_group_sweep(a, &cmd->group_sweep);
    case META_CMD_DISK_PUT:
        return apply_disk_put(a, &cmd->disk_put);
    case META_CMD_GROUP_PUT:
        return apply_group_put(a, &cmd->group_put);
    case META_CMD_IDENTITY_PUT:
        return apply_identity_put(a, &cmd->identity_put);
    case META_CMD_SETTING_PUT:
        return apply_setting_put(a, &cmd->setting_put);
    case META_CMD_NODE_PUT:
        return apply_node_put(a, &cmd->node_put);
    case META_CMD_TOKEN_PUT:
        return apply_token_put(a, &cmd->token_put);
    case META_CMD_TOKEN_USE:
        return apply_token_use(a, &cmd->token_use);
    default:
        return dispatch_objects(a, cmd);
    }
}

/* Nothing of a command that was refused may stay, in the batch or in memory. */
static void roll_back(struct apply *a)
{
    struct machine *m = a->m;
    m->kv->vt->batch_clear(m->batch);
    m->counters = a->counters_before;
    if (a->bucket != NULL) {
        a->bucket->counts = a->counts_before;
    }
}

static enum errc finish_effects(struct apply *a)
{
    enum errc rc = extent_set_flush(a);
    if (rc == ERRC_OK) {
        apply_bucket_flush(a);
    }
    return rc;
}

static void chain_advance(struct machine *m, uint64_t index, uint32_t sub, struct slice batch)
{
    uint8_t at[12];
    uint8_t hash[SHA256_BYTES];
    store_le64(at, index);
    store_le32(at + 8, sub);
    digest_update(&m->digest, m->position.chain, sizeof(m->position.chain));
    digest_update(&m->digest, at, sizeof(at));
    digest_update(&m->digest, batch.data, batch.len);
    struct enc *counters = machine_record(m);
    record_counters_append(counters, &m->counters);
    digest_update(&m->digest, counters->data, counters->len);
    digest_final(&m->digest, hash);
    memcpy(m->position.chain, hash, sizeof(m->position.chain));
}

/* Adds position and counters to the batch and writes it: the command has happened. */
static enum errc commit(struct machine *m, uint64_t index, uint32_t sub, struct error *e)
{
    struct key key;
    struct enc *value = machine_scratch(m);
    chain_advance(m, index, sub, m->kv->vt->batch_bytes(m->batch));
    m->position.index = index;
    m->position.sub = sub;
    key_begin(&key, TABLE_STATE);
    record_state_encode(value, &m->position, &m->counters);
    m->kv->vt->batch_put(m->batch, key_slice(&key), enc_slice(value));
    if (m->buckets_changed) {
        read_cache_clear(&m->cache);
    }
    machine_view_lock(m);
    atomic_fetch_add(&m->writes, 1);
    enum errc rc = m->kv->vt->write(m->kv, m->batch, e);
    if (m->buckets_changed) { /* what was read before the write: gone before any query can be told the new index */
        read_cache_clear(&m->cache);
    }
    atomic_store(&m->applied_index, index);
    atomic_fetch_add(&m->writes, 1);
    machine_view_unlock(m);
    return rc;
}

static enum errc apply_command(struct machine *m, uint64_t index, uint32_t sub, struct slice command,
                               struct enc *ret_result, struct error *e)
{
    struct meta_command cmd;
    enum errc rc = meta_command_decode(command, &m->arena, &cmd);
    if (rc != ERRC_OK) {
        return error_set(e, rc, "metadata command at %llu.%u: %s", (unsigned long long)index, sub, errc_text(rc));
    }
    struct apply a = { .m = m, .e = e, .index = index, .counters_before = m->counters };
    struct slice done = { NULL, 0 };
    rc = cmd.request.number > 0 ? request_find(&a, &cmd.request, &done) : ERRC_OK;
    if (rc == ERRC_OK && done.len == 0 && apply_ok(&a)) {
        rc = dispatch(&a, &cmd);
    }
    a.result.index = index;
    if (rc == ERRC_OK && done.len == 0 && apply_ok(&a)) {
        rc = finish_effects(&a);
        if (rc == ERRC_OK && cmd.request.number > 0) {
            request_keep(&a, &cmd.request);
        }
    } else {
        roll_back(&a);
    }
    if (rc == ERRC_OK) {
        rc = commit(m, index, sub, e);
    }
    if (rc == ERRC_OK && done.len > 0) {
        enc_raw(ret_result, done.data, done.len);
    } else if (rc == ERRC_OK) {
        meta_result_encode(ret_result, &a.result);
    }
    return rc;
}

static void command_begin(struct machine *m)
{
    m->scratch_used = 0;
    m->buckets_changed = false;
    extent_set_clear(&m->extents);
    m->kv->vt->batch_clear(m->batch);
    arena_done(&m->arena);
}

static bool behind(const struct machine *m, uint64_t index, uint32_t sub)
{
    return index < m->position.index || (index == m->position.index && sub <= m->position.sub);
}

enum errc machine_apply(struct machine *m, uint64_t index, uint32_t sub, struct slice command,
                        struct enc *ret_result, struct error *e)
{
    if (m->broken) {
        return error_set(e, ERRC_INTERNAL, "the state machine stopped at an earlier error");
    }
    if (m->position.index > 0 && behind(m, index, sub)) {
        return ERRC_OK;
    }
    ASSERT(index > 0);
    command_begin(m);
    enum errc rc = apply_command(m, index, sub, command, ret_result, e);
    m->broken = rc != ERRC_OK;
    return rc;
}

enum errc machine_skip_to(struct machine *m, uint64_t index, uint32_t sub, struct error *e)
{
    if (m->broken) {
        return error_set(e, ERRC_INTERNAL, "the state machine stopped at an earlier error");
    }
    if (m->position.index > 0 && behind(m, index, sub)) {
        return ERRC_OK;
    }
    ASSERT(index > 0);
    command_begin(m);
    enum errc rc = commit(m, index, sub, e);
    m->broken = rc != ERRC_OK;
    return rc;
}

enum errc machine_rebuilt(struct machine *m, uint64_t index, struct error *e)
{
    if (m->broken) {
        return error_set(e, ERRC_INTERNAL, "the state machine stopped at an earlier error");
    }
    ASSERT(index > m->position.index);
    struct apply a = { .m = m, .e = e, .index = index, .counters_before = m->counters };
    command_begin(m);
    apply_rebuilt(&a);
    enum errc rc = commit(m, index, 0, e);
    m->broken = rc != ERRC_OK;
    return rc;
}
