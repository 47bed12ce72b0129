/*
 * Buckets: create, delete, versioning, and the applying thread's cache of them.
 */
#include "common/base/assert.h"
#include "metadata/machine_state.h"

static struct bucket_slot *slot_of(struct machine *m, uint64_t id)
{
    return &m->buckets[id % BUCKET_SLOTS];
}

static enum errc slot_fill(struct apply *a, struct bucket_slot *slot, struct slice name)
{
    struct key key;
    key_table_raw(&key, TABLE_BUCKET, name.data, name.len);
    slot->bucket.id = 0;
    enum errc rc = apply_get(a, &key, &slot->text);
    if (rc != ERRC_OK) {
        return rc;
    }
    struct meta_bucket bucket;
    rc = record_bucket_decode(enc_slice(&slot->text), &bucket);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a bucket");
    }
    struct enc *value = machine_scratch(a->m);
    key_table_u64(&key, TABLE_BUCKET_COUNTS, bucket.id);
    rc = apply_get(a, &key, value);
    if (rc == ERRC_OK) {
        rc = record_counts_decode(enc_slice(value), &slot->counts);
    }
    if (rc != ERRC_OK) {
        return rc == ERRC_NOT_FOUND || a->e == NULL || a->e->code == ERRC_OK
                   ? record_error(a->e, ERRC_CORRUPT, "bucket counters") : rc;
    }
    slot->bucket = bucket;
    return ERRC_OK;
}

static void bucket_use(struct apply *a, struct bucket_slot *slot)
{
    a->bucket = slot;
    a->counts_before = slot->counts;
}

enum errc apply_bucket_load(struct apply *a, uint64_t id)
{
    struct bucket_slot *slot = slot_of(a->m, id);
    if (id != 0 && slot->bucket.id == id) {
        bucket_use(a, slot);
        return ERRC_OK;
    }
    struct key key;
    struct enc *value = machine_scratch(a->m);
    struct slice name;
    key_table_u64(&key, TABLE_BUCKET_NAME, id);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_NO_BUCKET);
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_bytes_decode(enc_slice(value), &name);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a bucket's name");
    }
    rc = slot_fill(a, slot, name);
    if (rc == ERRC_NOT_FOUND) {
        return record_error(a->e, ERRC_CORRUPT, "a bucket");
    }
    if (rc == ERRC_OK) {
        bucket_use(a, slot);
    }
    return rc;
}

/* Sets a->bucket by name, or the outcome NO_BUCKET. */
static enum errc bucket_by_name(struct apply *a, struct slice name)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_BUCKET, name.data, name.len);
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        apply_outcome(a, META_NO_BUCKET);
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    struct meta_bucket bucket;
    rc = record_bucket_decode(enc_slice(value), &bucket);
    return rc == ERRC_OK ? apply_bucket_load(a, bucket.id) : record_error(a->e, rc, "a bucket");
}

void apply_bucket_flush(struct apply *a)
{
    if (a->bucket == NULL || a->bucket->bucket.id == 0 ||
        memcmp(&a->bucket->counts, &a->counts_before, sizeof(a->counts_before)) == 0) {
        return;
    }
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_u64(&key, TABLE_BUCKET_COUNTS, a->bucket->bucket.id);
    record_counts_encode(value, &a->bucket->counts);
    apply_put(a, &key, value);
}

/* Writes the record; the slot is read again at its next use. */
static void bucket_put(struct apply *a, const struct meta_bucket *bucket)
{
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_raw(&key, TABLE_BUCKET, bucket->name.data, bucket->name.len);
    record_bucket_encode(value, bucket);
    apply_put(a, &key, value);
    a->m->buckets_changed = true;
    if (slot_of(a->m, bucket->id)->bucket.id == bucket->id) {
        slot_of(a->m, bucket->id)->bucket.id = 0;
    }
}

static enum errc existing_result(struct apply *a)
{
    apply_outcome(a, META_BUCKET_EXISTS);
    a->result.bucket = a->bucket->bucket;
    a->result.bucket.objects = a->bucket->counts.objects;
    a->result.bucket.bytes = a->bucket->counts.bytes;
    a->result.value = a->bucket->bucket.id;
    return ERRC_OK;
}

enum errc apply_bucket_create(struct apply *a, const struct meta_bucket_create *cmd)
{
    struct meta_bucket bucket = cmd->bucket;
    if (bucket.name.len == 0 || bucket.class_k == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = bucket_by_name(a, bucket.name);
    if (rc != ERRC_OK) {
        return rc;
    }
    if (apply_ok(a)) {
        return existing_result(a);
    }
    apply_outcome(a, META_OK);
    bucket.id = a->m->counters.next_bucket++;
    bucket.objects = 0;
    bucket.bytes = 0;
    bucket.revision = 1;
    bucket_put(a, &bucket);
    struct key key;
    struct enc *value = machine_scratch(a->m);
    key_table_u64(&key, TABLE_BUCKET_NAME, bucket.id);
    record_bytes_encode(value, bucket.name);
    apply_put(a, &key, value);
    struct bucket_counts counts = { .next_seq = 1 };
    key_table_u64(&key, TABLE_BUCKET_COUNTS, bucket.id);
    record_counts_encode(value, &counts);
    apply_put(a, &key, value);
    a->m->counters.status.buckets++;
    a->result.value = bucket.id;
    a->result.bucket = bucket;
    a->result.versioned = bucket.versioning != META_VERSIONING_UNSET;
    return ERRC_OK;
}

enum errc apply_bucket_delete(struct apply *a, const struct meta_bucket_delete *cmd)
{
    enum errc rc = bucket_by_name(a, cmd->name);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    uint64_t id = a->bucket->bucket.id;
    uint64_t uploads = a->bucket->counts.uploads;
    if (a->bucket->counts.versions > 0) {
        apply_outcome(a, META_BUCKET_NOT_EMPTY);
        return ERRC_OK;
    }
    struct key key;
    key_table_raw(&key, TABLE_BUCKET, cmd->name.data, cmd->name.len);
    apply_delete(a, &key);
    key_table_u64(&key, TABLE_BUCKET_NAME, id);
    apply_delete(a, &key);
    key_table_u64(&key, TABLE_BUCKET_COUNTS, id);
    apply_delete(a, &key);
    if (uploads > 0) { /* they do not block the delete; their parts go step by step */
        struct gc_record item = { .kind = GC_BUCKET, .bucket = id };
        gc_add(a, &item);
        a->m->counters.status.uploads -= uploads;
    }
    a->m->counters.status.buckets--;
    a->m->buckets_changed = true;
    a->result.value = id;
    a->bucket->bucket.id = 0;
    a->bucket = NULL;
    return ERRC_OK;
}

enum errc apply_bucket_versioning(struct apply *a, const struct meta_bucket_versioning *cmd)
{
    enum errc rc = bucket_by_name(a, cmd->name);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    if (cmd->versioning == META_VERSIONING_UNSET) { /* never back */
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    struct meta_bucket bucket = a->bucket->bucket;
    bucket.versioning = cmd->versioning;
    bucket.revision++;
    a->result.value = bucket.id;
    a->result.versioned = true;
    bucket_put(a, &bucket);
    return ERRC_OK;
}

enum errc apply_bucket_class(struct apply *a, const struct meta_bucket_class *cmd)
{
    if (cmd->class_k == 0) {
        apply_outcome(a, META_INVALID);
        return ERRC_OK;
    }
    enum errc rc = bucket_by_name(a, cmd->name);
    if (rc != ERRC_OK || !apply_ok(a)) {
        return rc;
    }
    struct meta_bucket bucket = a->bucket->bucket;
    bucket.class_k = cmd->class_k;
    bucket.class_m = cmd->class_m;
    bucket.revision++;
    a->result.value = bucket.id;
    bucket_put(a, &bucket);
    return ERRC_OK;
}
