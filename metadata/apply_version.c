/*
 * The versions of one key: the current one in CURRENT, the older ones in NONCURRENT, newest first.
 *
 *                     unset              Enabled               Suspended
 *   push (put,        current (null)     current -> older      null version dropped wherever it stands;
 *   delete marker)    dropped                                  another current -> older; new one is null
 *   remove current    row gone           newest older one becomes current
 *   remove older      -                  row gone; current record forgets the null version if it was that
 *
 * A key has rows in NONCURRENT only while it has one in CURRENT, whose seq is the greatest.
 */
#include "common/base/assert.h"
#include "common/base/plant.h"
#include "metadata/machine_state.h"

enum errc stack_load(struct apply *a, struct slice key, struct stack *ret_stack)
{
    struct key at;
    struct enc *value = machine_scratch(a->m);
    *ret_stack = (struct stack){ .key = key };
    key_object(&at, TABLE_CURRENT, a->bucket->bucket.id, key);
    enum errc rc = apply_get(a, &at, value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_current_decode(enc_slice(value), &ret_stack->current);
    ret_stack->exists = rc == ERRC_OK;
    return rc == ERRC_OK ? ERRC_OK : record_error(a->e, rc, "a current version");
}

static void count_version(struct apply *a, const struct meta_row *row, bool add)
{
    struct bucket_counts *counts = &a->bucket->counts;
    struct meta_status *status = &a->m->counters.status;
    if (add) {
        counts->versions++;
        counts->bytes += row->size;
        status->versions++;
        status->bytes += row->size;
    } else {
        counts->versions--;
        counts->bytes -= row->size;
        status->versions--;
        status->bytes -= row->size;
    }
}

/* A row comes to or leaves CURRENT. */
static void count_object(struct apply *a, const struct meta_row *row, bool add)
{
    if (row->delete_marker) {
        return;
    }
    a->bucket->counts.objects += add ? 1 : UINT64_MAX;
    a->m->counters.status.objects += add ? 1 : UINT64_MAX;
}

/* Drops what a version holds besides its row. */
static enum errc version_drop(struct apply *a, struct slice object_key, const struct meta_row *row)
{
    count_version(a, row, false);
    if (row->delete_marker) {
        return ERRC_OK;
    }
    struct key key;
    struct enc *value = machine_scratch(a->m);
    struct body_record body;
    key_version(&key, TABLE_BODY, a->bucket->bucket.id, object_key, row->seq);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a version: no body");
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_body_decode(enc_slice(value), &body);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a version's body");
    }
    if (gc_body_outlives(&body)) {
        gc_leave_body(a, object_key, row->seq);
        return ERRC_OK;
    }
    apply_delete(a, &key);
    if (body.data_kind == META_DATA_INLINE) {
        key_version(&key, TABLE_INLINE, a->bucket->bucket.id, object_key, row->seq);
        apply_delete(a, &key);
        return ERRC_OK;
    }
    struct dec refs = dec_of(body.refs);
    return extent_drop(a, &refs, body.ref_count);
}

static enum errc noncurrent_get(struct apply *a, struct slice object_key, uint64_t seq, struct meta_row *ret_row)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_version(&key, TABLE_NONCURRENT, a->bucket->bucket.id, object_key, seq);
    enum errc rc = apply_get(a, &key, value);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_row_decode(enc_slice(value), ret_row);
    return rc == ERRC_OK ? ERRC_OK : record_error(a->e, rc, "an older version");
}

static enum errc noncurrent_remove(struct apply *a, struct slice object_key, const struct meta_row *row)
{
    struct key key;
    key_version(&key, TABLE_NONCURRENT, a->bucket->bucket.id, object_key, row->seq);
    apply_delete(a, &key);
    return version_drop(a, object_key, row);
}

static void current_put(struct apply *a, struct slice object_key, const struct current_record *current)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_object(&key, TABLE_CURRENT, a->bucket->bucket.id, object_key);
    record_current_encode(value, current);
    apply_put(a, &key, value);
}

/* Takes the current version out of CURRENT: to NONCURRENT, or away if a null version comes in its place. */
static enum errc current_displace(struct apply *a, struct stack *stack, bool null_comes, uint64_t *ret_null_seq)
{
    const struct meta_row *row = &stack->current.row;
    count_object(a, row, false);
    if (null_comes && row->null_version) {
        *ret_null_seq = stack->current.null_seq;
        return version_drop(a, stack->key, row);
    }
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_version(&key, TABLE_NONCURRENT, a->bucket->bucket.id, stack->key, row->seq);
    record_row_encode(value, row);
    apply_put(a, &key, value);
    *ret_null_seq = row->null_version ? row->seq : stack->current.null_seq;
    return ERRC_OK;
}

static enum errc null_drop(struct apply *a, struct stack *stack, uint64_t null_seq)
{
    struct meta_row old;
    enum errc rc = noncurrent_get(a, stack->key, null_seq, &old);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a null version");
    }
    return rc == ERRC_OK ? noncurrent_remove(a, stack->key, &old) : rc;
}

enum errc stack_push(struct apply *a, struct stack *stack, struct meta_row *row)
{
    uint64_t null_seq = 0;
    row->null_version = a->bucket->bucket.versioning != META_VERSIONING_ENABLED;
    row->seq = a->bucket->counts.next_seq++;
    if (stack->exists) {
        if (row->mtime_ms < stack->current.row.mtime_ms) {
            row->mtime_ms = stack->current.row.mtime_ms;
        }
        enum errc rc = current_displace(a, stack, row->null_version, &null_seq);
        if (rc == ERRC_OK && row->null_version && null_seq != 0) {
            rc = null_drop(a, stack, null_seq);
            null_seq = 0;
        }
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    struct current_record current = { *row, null_seq };
    current_put(a, stack->key, &current);
    count_version(a, row, true);
    count_object(a, row, true);
    return ERRC_OK;
}

/* The newest older version becomes current, or the key ends. */
static enum errc promote(struct apply *a, struct stack *stack)
{
    struct kv *kv = a->m->kv;
    struct key first, end;
    key_object(&first, TABLE_NONCURRENT, a->bucket->bucket.id, stack->key);
    key_object_after(&end, TABLE_NONCURRENT, a->bucket->bucket.id, stack->key);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    kv->vt->iterator_seek(it, key_slice(&first));
    enum errc rc;
    if (kv->vt->iterator_valid(it)) {
        struct current_record current = { .null_seq = stack->current.null_seq };
        rc = record_row_decode(kv->vt->iterator_value(it), &current.row);
        if (rc == ERRC_OK) {
            struct slice key = kv->vt->iterator_key(it);
            kv->vt->batch_delete(a->m->batch, key);
            if (current.row.null_version) {
                current.null_seq = 0;
            }
            current_put(a, stack->key, &current);
            count_object(a, &current.row, true);
        } else {
            rc = record_error(a->e, rc, "an older version");
        }
    } else {
        rc = kv->vt->iterator_error(it, a->e);
        if (rc == ERRC_OK) {
            key_object(&first, TABLE_CURRENT, a->bucket->bucket.id, stack->key);
            apply_delete(a, &first);
        }
    }
    kv->vt->iterator_destroy(it);
    return rc;
}

enum errc stack_remove_current(struct apply *a, struct stack *stack)
{
    ASSERT(stack->exists);
    count_object(a, &stack->current.row, false);
    enum errc rc = version_drop(a, stack->key, &stack->current.row);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (a->bucket->bucket.versioning != META_VERSIONING_UNSET) {
        return promote(a, stack);
    }
    struct key key;
    key_object(&key, TABLE_CURRENT, a->bucket->bucket.id, stack->key);
    apply_delete(a, &key);
    return ERRC_OK;
}

static bool row_is(const struct meta_row *row, const struct meta_version_ref *ref)
{
    if (ref->null_version) {
        return row->null_version;
    }
    return row->seq == ref->seq && row->nonce == ref->nonce;
}

enum errc stack_remove_version(struct apply *a, struct stack *stack, const struct meta_version_ref *ref,
                               bool *ret_found, struct meta_row *ret_row)
{
    *ret_found = false;
    if (!stack->exists) {
        return ERRC_OK;
    }
    if (row_is(&stack->current.row, ref)) {
        *ret_found = true;
        *ret_row = stack->current.row;
        return stack_remove_current(a, stack);
    }
    uint64_t seq = ref->null_version ? stack->current.null_seq : ref->seq;
    if (seq == 0) {
        return ERRC_OK;
    }
    enum errc rc = noncurrent_get(a, stack->key, seq, ret_row);
    if (rc == ERRC_NOT_FOUND || (rc == ERRC_OK && !row_is(ret_row, ref))) {
        return ERRC_OK;
    }
    if (rc == ERRC_OK) {
        *ret_found = true;
        rc = noncurrent_remove(a, stack->key, ret_row);
    }
    if (rc == ERRC_OK && seq == stack->current.null_seq) {
        stack->current.null_seq = 0;
        current_put(a, stack->key, &stack->current);
    }
    return rc;
}

static bool match(const struct meta_conditions *conditions, const struct meta_row *row)
{
    struct slice etag = conditions->if_match;
    if (etag.len > 0 && !slice_equal_str(etag, "*") && !slice_equal(etag, row->etag)) {
        return false;
    }
    if (conditions->has_size && conditions->size != row->size) {
        return false;
    }
    return !conditions->has_mtime || conditions->mtime_s == row->mtime_ms / 1000;
}

void stack_check(struct apply *a, const struct stack *stack, const struct meta_conditions *conditions)
{
    const struct meta_row *row = &stack->current.row;
    bool object = stack->exists && !row->delete_marker && !PLANT(PLANT_CONDITION_IGNORED);
    if (conditions->if_match.len > 0 || conditions->has_size || conditions->has_mtime) {
        if (!object) {
            apply_outcome(a, META_NO_KEY);
            if (stack->exists) {
                apply_version_result(a, row);
                a->result.delete_marker = true;
            }
            return;
        }
        if (!match(conditions, row)) {
            apply_outcome(a, META_PRECONDITION);
            return;
        }
    }
    if (conditions->if_none_match.len > 0 && object &&
        (slice_equal_str(conditions->if_none_match, "*") || slice_equal(conditions->if_none_match, row->etag))) {
        apply_outcome(a, META_PRECONDITION);
    }
}
