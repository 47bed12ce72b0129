#include "metadata/audit_parts.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define PROGRESS_ROWS 1024

void audit_found(struct audit *a, const char *kind, const char *format, ...)
{
    char text[AUDIT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    a->config->found(a->config->data, kind, text);
}

void *audit_grow(void *array, size_t *capacity, size_t count, size_t element_bytes)
{
    if (count == *capacity) {
        *capacity = *capacity == 0 ? 64 : *capacity * 2;
        array = mem_realloc(array, *capacity * element_bytes);
    }
    memset((char *)array + count * element_bytes, 0, element_bytes);
    return array;
}

enum errc audit_walk_from(struct audit *a, const struct key *first, audit_row row, void *data)
{
    const struct kv_vt *vt = a->kv->vt;
    enum errc rc = ERRC_OK;
    vt->iterator_seek(a->it, key_slice(first));
    while (rc == ERRC_OK && vt->iterator_valid(a->it)) {
        struct slice key = vt->iterator_key(a->it);
        if (key.data[0] != first->bytes[0]) {
            return ERRC_OK;
        }
        if (++a->counts.rows % PROGRESS_ROWS == 0) {
            if (a->config->cancel != NULL && atomic_load(a->config->cancel)) {
                return error_set(a->e, ERRC_CANCELED, "the audit was stopped");
            }
            if (a->config->done_rows != NULL) {
                atomic_store(a->config->done_rows, a->counts.rows);
            }
        }
        rc = row(a, key, vt->iterator_value(a->it), data);
        vt->iterator_next(a->it);
    }
    return rc == ERRC_OK ? vt->iterator_error(a->it, a->e) : rc;
}

enum errc audit_walk(struct audit *a, enum key_table table, audit_row row, void *data)
{
    struct key first;
    key_begin(&first, table);
    return audit_walk_from(a, &first, row, data);
}

/* ---- buckets ---- */

static struct audit_bucket *bucket_find(struct audit *a, uint64_t id)
{
    size_t low = 0;
    for (size_t high = a->bucket_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (a->buckets[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < a->bucket_count && a->buckets[low].id == id ? &a->buckets[low] : NULL;
}

static uint64_t key_bucket(struct slice key)
{
    return key.len >= KEY_OBJECT_AT ? load_be64(key.data + 1) : 0;
}

static bool bucket_is_gone(const struct audit *a, uint64_t id)
{
    for (size_t i = 0; i < a->gone_count; i++) {
        if (a->gone_buckets[i] == id) {
            return true;
        }
    }
    return false;
}

static enum errc on_bucket_name(struct audit *a, struct slice key, struct slice value, void *data)
{
    (void)value;
    (void)data;
    a->buckets = audit_grow(a->buckets, &a->bucket_capacity, a->bucket_count, sizeof(*a->buckets));
    a->buckets[a->bucket_count++].id = key_bucket(key);
    return ERRC_OK;
}

static enum errc on_bucket(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct meta_bucket bucket;
    (void)key;
    (void)data;
    enum errc rc = record_bucket_decode(value, &bucket);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a bucket");
    }
    struct audit_bucket *known = bucket_find(a, bucket.id);
    a->counted.buckets++;
    if (known == NULL) {
        audit_found(a, "index_wrong", "bucket %.*s (%llu) is not in the index by id", (int)bucket.name.len,
                    (const char *)bucket.name.data, (unsigned long long)bucket.id);
    } else {
        known->named = true;
    }
    return ERRC_OK;
}

static enum errc on_bucket_counts(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct audit_bucket *bucket = bucket_find(a, key_bucket(key));
    (void)data;
    if (bucket == NULL) {
        audit_found(a, "row_orphan", "counters of bucket %llu, which is not there", (unsigned long long)key_bucket(key));
        return ERRC_OK;
    }
    bucket->has_counts = true;
    enum errc rc = record_counts_decode(value, &bucket->recorded);
    return rc == ERRC_OK ? rc : record_error(a->e, rc, "a bucket's counters");
}

/* ---- rows of buckets ---- */

static void row_count(struct audit *a, struct slice key, const struct meta_row *row, bool current)
{
    struct audit_bucket *bucket = bucket_find(a, key_bucket(key));
    bool object = current && !row->delete_marker;
    a->counted.versions++;
    a->counted.bytes += row->size;
    a->counted.objects += object ? 1 : 0;
    if (bucket == NULL) {
        audit_found(a, "row_orphan", "a version of bucket %llu, which is not there", (unsigned long long)key_bucket(key));
        return;
    }
    bucket->counted.versions++;
    bucket->counted.bytes += row->size;
    bucket->counted.objects += object ? 1 : 0;
    bucket->live += row->delete_marker ? 0 : 1;
}

static enum errc on_current(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct current_record current;
    (void)data;
    enum errc rc = record_current_decode(value, &current);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a current version");
    }
    row_count(a, key, &current.row, true);
    return ERRC_OK;
}

static enum errc on_noncurrent(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct meta_row row;
    (void)data;
    enum errc rc = record_row_decode(value, &row);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "an older version");
    }
    row_count(a, key, &row, false);
    return ERRC_OK;
}

static enum errc on_body(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct audit_bucket *bucket = bucket_find(a, key_bucket(key));
    (void)value;
    (void)data;
    if (bucket != NULL) {
        bucket->bodies++;
    } else {
        a->gone_bodies++;
    }
    return ERRC_OK;
}

static enum errc on_upload(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct audit_bucket *bucket = bucket_find(a, key_bucket(key));
    (void)value;
    (void)data;
    if (bucket != NULL) {
        bucket->counted.uploads++;
        a->counted.uploads++;
    } else if (!bucket_is_gone(a, key_bucket(key))) {
        audit_found(a, "row_orphan", "an upload of bucket %llu, which is not there", (unsigned long long)key_bucket(key));
    }
    return ERRC_OK;
}

/* ---- gc and sessions ---- */

static enum errc on_gc(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct gc_record item;
    (void)key;
    (void)data;
    enum errc rc = record_gc_decode(value, &item);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a gc item");
    }
    a->counted.gc_items++;
    a->gc_extents += item.kind == GC_EXTENT ? 1 : 0;
    if (item.kind == GC_BODY) {
        struct audit_bucket *bucket = bucket_find(a, item.bucket);
        *(bucket != NULL ? &bucket->leaving : &a->gone_leaving) += 1;
    } else if (item.kind == GC_BUCKET) {
        a->gone_buckets = audit_grow(a->gone_buckets, &a->gone_capacity, a->gone_count, sizeof(*a->gone_buckets));
        a->gone_buckets[a->gone_count++] = item.bucket;
    } else if (item.kind == GC_LIST && item.done % RECORD_PART_CHUNK != 0) {
        a->lists = audit_grow(a->lists, &a->list_capacity, a->list_count, sizeof(*a->lists));
        struct audit_list *list = &a->lists[a->list_count++];
        *list = (struct audit_list){ .bucket = item.bucket, .done = item.done };
        memcpy(list->upload_id, item.id, sizeof(list->upload_id));
    }
    return ERRC_OK;
}

static enum errc on_session(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct session_record session;
    (void)key;
    (void)data;
    enum errc rc = record_session_decode(value, &session);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "a session");
    }
    a->counted.sessions_open += session.open ? 1 : 0;
    return ERRC_OK;
}

/* ---- the whole ---- */

static enum errc on_state(struct audit *a, struct slice key, struct slice value, void *data)
{
    struct position_record position;
    (void)key;
    (void)data;
    enum errc rc = record_state_decode(value, &position, &a->recorded);
    if (rc != ERRC_OK) {
        return record_error(a->e, rc, "the state");
    }
    a->counts.index = position.index;
    const struct meta_status *status = &a->recorded.status;
    if (a->config->total_rows != NULL) {
        atomic_store(a->config->total_rows, 3 * status->versions + 3 * status->extents + 3 * status->gc_items + 1);
    }
    return ERRC_OK;
}

static enum errc rows_read(struct audit *a)
{
    static const struct { enum key_table table; audit_row row; } walks[] = {
        { TABLE_STATE, on_state },         { TABLE_BUCKET_NAME, on_bucket_name }, { TABLE_BUCKET, on_bucket },
        { TABLE_BUCKET_COUNTS, on_bucket_counts },                                { TABLE_GC, on_gc },
        { TABLE_CURRENT, on_current },     { TABLE_NONCURRENT, on_noncurrent },   { TABLE_BODY, on_body },
        { TABLE_UPLOAD, on_upload },       { TABLE_SESSION, on_session },
    };
    enum errc rc = ERRC_OK;
    for (size_t i = 0; rc == ERRC_OK && i < sizeof(walks) / sizeof(walks[0]); i++) {
        rc = audit_walk(a, walks[i].table, walks[i].row, NULL);
    }
    return rc;
}

static void number_check(struct audit *a, const char *whose, const char *what, uint64_t recorded, uint64_t counted)
{
    if (recorded != counted) {
        audit_found(a, "counter_wrong", "%s: %s is recorded as %llu, its rows say %llu", whose, what,
                    (unsigned long long)recorded, (unsigned long long)counted);
    }
}

static void bucket_check(struct audit *a, const struct audit_bucket *bucket)
{
    char whose[40];
    (void)snprintf(whose, sizeof(whose), "bucket %llu", (unsigned long long)bucket->id);
    if (!bucket->named || !bucket->has_counts) {
        audit_found(a, "index_wrong", "%s stands in the index by id and has no %s", whose,
                    bucket->named ? "counters" : "record");
        return;
    }
#define X(field) number_check(a, whose, #field, bucket->recorded.field, bucket->counted.field);
    X(objects) X(bytes) X(versions) X(uploads)
#undef X
    if (bucket->bodies != bucket->live + bucket->leaving) {
        audit_found(a, "version_wrong", "%s: %llu versions that are no delete markers and %llu gc items have %llu bodies",
                    whose, (unsigned long long)bucket->live, (unsigned long long)bucket->leaving,
                    (unsigned long long)bucket->bodies);
    }
}

static void state_check(struct audit *a)
{
    const struct meta_status *recorded = &a->recorded.status;
#define X(field) number_check(a, "the state", #field, recorded->field, a->counted.field);
    X(buckets) X(objects) X(versions) X(bytes) X(uploads) X(extents) X(extents_full) X(extents_smaller)
    X(extents_unreadable) X(stripes) X(stripes_degraded) X(gc_items) X(sessions_open)
#undef X
    for (unsigned i = 0; i <= CODE_M_MAX; i++) {
        char name[40];
        (void)snprintf(name, sizeof(name), "extents_missing[%u]", i);
        number_check(a, "the state", name, recorded->extents_missing[i], a->counted.extents_missing[i]);
    }
    for (size_t i = 0; i < a->bucket_count; i++) {
        bucket_check(a, &a->buckets[i]);
    }
    if (a->gone_bodies != a->gone_leaving) {
        audit_found(a, "row_orphan", "%llu bodies of versions in buckets that are not there, gc items know of %llu",
                    (unsigned long long)a->gone_bodies, (unsigned long long)a->gone_leaving);
    }
}

enum errc machine_audit(struct kv *kv, const struct machine_audit *config, struct audit_counts *ret_counts, struct error *e)
{
    struct audit a = { .config = config, .kv = kv, .e = e };
    a.it = kv->vt->iterate(kv, SLICE_EMPTY, SLICE_EMPTY);
    enum errc rc = rows_read(&a);
    rc = rc == ERRC_OK ? audit_extents(&a) : rc;
    rc = rc == ERRC_OK ? audit_manifests(&a) : rc;
    kv->vt->iterator_destroy(a.it);
    if (rc == ERRC_OK) {
        state_check(&a);
        a.counts.buckets = a.counted.buckets;
        a.counts.versions = a.counted.versions;
        a.counts.extents = a.counted.extents;
        a.counts.gc_items = a.counted.gc_items;
        *ret_counts = a.counts;
    }
    mem_free(a.buckets);
    mem_free(a.gone_buckets);
    mem_free(a.lists);
    return rc;
}
