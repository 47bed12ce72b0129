/*
 * Buckets with their counters, settings, identities, and the counts of the whole state.
 */
#include "metadata/read.h"

static enum errc counters_read(struct reader *r, struct meta_bucket *bucket)
{
    struct key key;
    struct bucket_counts counts;
    key_table_u64(&key, TABLE_BUCKET_COUNTS, bucket->id);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_counts_decode(enc_slice(&r->value), &counts);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "bucket counters");
    }
    bucket->objects = counts.objects;
    bucket->bytes = counts.bytes;
    return ERRC_OK;
}

enum errc read_bucket_query(struct reader *r)
{
    struct meta_bucket bucket;
    struct meta_buckets_reply reply = { .buckets = &bucket };
    enum errc rc = read_bucket(r, &bucket);
    if (rc == ERRC_OK) {
        rc = counters_read(r, &bucket);
        if (rc == ERRC_NOT_FOUND) {
            return ERRC_CONFLICT; /* deleted in between */
        }
        reply.count = 1;
    }
    if (rc != ERRC_OK && rc != ERRC_NOT_FOUND) {
        return rc;
    }
    meta_buckets_reply_encode(r->reply, &reply);
    return ERRC_OK;
}

static enum errc bucket_take(struct reader *r, struct slice value, struct meta_buckets_reply *reply)
{
    struct meta_bucket *bucket = &reply->buckets[reply->count];
    struct slice copy = arena_copy(r->arena, value);
    if (copy.data == NULL) {
        reply->truncated = true;
        return ERRC_OK;
    }
    enum errc rc = record_bucket_decode(copy, bucket);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "a bucket");
    }
    reply->count++;
    rc = counters_read(r, bucket);
    return rc == ERRC_NOT_FOUND ? ERRC_OK : rc; /* deleted since the walk began: counts of 0 */
}

enum errc read_buckets_query(struct reader *r)
{
    struct key first, end, at;
    struct kv_iterator *it;
    struct meta_buckets_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_BUCKETS_MAX);
    reply.buckets = arena_zalloc(r->arena, limit * sizeof(*reply.buckets));
    if (reply.buckets == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    key_table_raw(&first, TABLE_BUCKET, r->query->prefix.data, r->query->prefix.len);
    end = first;
    key_successor(&end);
    key_table_raw(&at, TABLE_BUCKET, r->query->marker.data, r->query->marker.len);
    if (r->query->marker.len > 0 && !r->query->marker_inclusive) {
        key_u8(&at, 0);
    }
    bool within = slice_compare(key_slice(&at), key_slice(&first)) > 0;
    enum errc rc = read_walk(r, within ? &at : &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && !reply.truncated && r->kv->vt->iterator_valid(it)) {
        if (reply.count == limit) {
            reply.truncated = true;
            break;
        }
        rc = bucket_take(r, r->kv->vt->iterator_value(it), &reply);
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_buckets_reply_encode(r->reply, &reply);
    }
    return rc;
}

enum errc read_setting_query(struct reader *r)
{
    struct key key;
    struct meta_setting_reply reply = { 0 };
    key_table_raw(&key, TABLE_SETTING, r->query->name.data, r->query->name.len);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc == ERRC_NOT_FOUND) {
        reply.outcome = META_NO_KEY;
    } else if (rc != ERRC_OK) {
        return rc;
    } else {
        rc = record_bytes_decode(enc_slice(&r->value), &reply.value);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "a setting");
        }
    }
    meta_setting_reply_encode(r->reply, &reply);
    return ERRC_OK;
}

static enum errc identity_take(struct reader *r, struct kv_iterator *it, struct meta_identities_reply *reply)
{
    struct meta_identity *identity = &reply->identities[reply->count++];
    identity->access_key = arena_copy(r->arena, slice_skip(r->kv->vt->iterator_key(it), 1));
    enum errc rc = record_bytes_decode(r->kv->vt->iterator_value(it), &identity->record);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "an identity");
    }
    identity->record = arena_copy(r->arena, identity->record);
    return identity->access_key.data == NULL || identity->record.data == NULL
               ? error_set(r->e, ERRC_LIMIT, "metadata query: too large") : ERRC_OK;
}

enum errc read_identities_query(struct reader *r)
{
    struct key first, end;
    struct kv_iterator *it;
    struct meta_identities_reply reply = { 0 };
    reply.identities = arena_zalloc(r->arena, READ_ROWS_MAX * sizeof(*reply.identities));
    if (reply.identities == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    /* `name`: after this access key */
    key_table_raw(&first, TABLE_IDENTITY, r->query->name.data, r->query->name.len);
    if (r->query->name.len > 0) {
        key_u8(&first, 0);
    }
    key_begin(&end, TABLE_IDENTITY + 1);
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < READ_ROWS_MAX && r->kv->vt->iterator_valid(it)) {
        rc = identity_take(r, it, &reply);
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_identities_reply_encode(r->reply, &reply);
    }
    return rc;
}

enum errc read_status_query(struct reader *r)
{
    struct key key;
    struct position_record position;
    struct machine_counters counters = { 0 };
    key_begin(&key, TABLE_STATE);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc == ERRC_OK) {
        rc = record_state_decode(enc_slice(&r->value), &position, &counters);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "the counters");
        }
    } else if (rc != ERRC_NOT_FOUND) { /* nothing applied yet: all zero */
        return rc;
    }
    counters.status.index = r->index;
    meta_status_encode(r->reply, &counters.status);
    return ERRC_OK;
}
