/*
 * The reading half of the machine: dispatch, repeated reads, and what all reads share.
 */
#include "common/base/assert.h"
#include "metadata/read.h"

enum errc read_get(struct reader *r, const struct key *key, struct enc *value)
{
    enc_reset(value);
    return r->kv->vt->get(r->kv, key_slice(key), r->cached_only, value, r->e);
}

enum errc read_must(struct reader *r, const struct key *key, struct enc *value)
{
    enum errc rc = read_get(r, key, value);
    return rc == ERRC_NOT_FOUND ? ERRC_CONFLICT : rc;
}

enum errc read_walk(struct reader *r, const struct key *first, const struct key *end, struct kv_iterator **ret_it)
{
    if (r->cached_only) {
        return ERRC_WOULD_BLOCK;
    }
    *ret_it = r->kv->vt->iterate(r->kv, key_slice(first), key_slice(end));
    r->kv->vt->iterator_seek(*ret_it, key_slice(first));
    return ERRC_OK;
}

enum errc read_walk_end(struct reader *r, struct kv_iterator *it, enum errc rc)
{
    if (rc == ERRC_OK && !r->kv->vt->iterator_valid(it)) {
        rc = r->kv->vt->iterator_error(it, r->e);
    }
    r->kv->vt->iterator_destroy(it);
    return rc;
}

uint32_t read_limit(const struct reader *r, uint32_t max)
{
    return r->query->limit == 0 || r->query->limit > max ? max : r->query->limit;
}

static enum errc bucket_name(struct reader *r, struct slice *ret_name)
{
    struct key key;
    if (r->query->bucket.len > 0) {
        *ret_name = r->query->bucket;
        return ERRC_OK;
    }
    key_table_u64(&key, TABLE_BUCKET_NAME, r->query->bucket_id);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_bytes_decode(enc_slice(&r->value), ret_name);
    return rc == ERRC_OK ? ERRC_OK : record_error(r->e, rc, "a bucket's name");
}

static enum errc bucket_read(struct reader *r, struct meta_bucket *ret_bucket)
{
    struct key key;
    struct slice name;
    enum errc rc = bucket_name(r, &name);
    if (rc != ERRC_OK) {
        return rc;
    }
    key_table_raw(&key, TABLE_BUCKET, name.data, name.len);
    rc = r->query->bucket.len > 0 ? read_get(r, &key, &r->name) : read_must(r, &key, &r->name);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_bucket_decode(enc_slice(&r->name), ret_bucket);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "a bucket");
    }
    /* deleted and made again between the two gets */
    return r->query->bucket.len == 0 && ret_bucket->id != r->query->bucket_id ? ERRC_CONFLICT : ERRC_OK;
}

/* The cached record is the one that the query asks for. */
static bool bucket_is(const struct reader *r, const struct meta_bucket *bucket)
{
    return r->query->bucket.len > 0 ? slice_equal(bucket->name, r->query->bucket) : bucket->id == r->query->bucket_id;
}

enum errc read_bucket(struct reader *r, struct meta_bucket *ret_bucket)
{
    uint64_t generation;
    uint64_t tag = read_cache_tag(r->query->bucket, r->query->bucket_id);
    enc_reset(&r->name);
    if (read_cache_get(&r->m->cache, tag, &r->name, &generation) &&
        record_bucket_decode(enc_slice(&r->name), ret_bucket) == ERRC_OK && bucket_is(r, ret_bucket)) {
        return ERRC_OK;
    }
    enum errc rc = bucket_read(r, ret_bucket);
    if (rc == ERRC_OK) {
        read_cache_put(&r->m->cache, tag, generation, enc_slice(&r->name));
    }
    return rc;
}

typedef enum errc (*read_fn)(struct reader *r);

static read_fn read_of(uint8_t type)
{
    static const read_fn reads[] = {
        [META_QRY_BUCKET] = read_bucket_query,
        [META_QRY_BUCKETS] = read_buckets_query,
        [META_QRY_OBJECT] = read_object_query,
        [META_QRY_EXTENTS] = read_object_query,
        [META_QRY_LIST] = read_list_query,
        [META_QRY_LIST_VERSIONS] = read_versions_query,
        [META_QRY_LIST_UPLOADS] = read_uploads_query,
        [META_QRY_UPLOAD] = read_upload_query,
        [META_QRY_LIST_PARTS] = read_parts_query,
        [META_QRY_EXTENT] = read_extent_query,
        [META_QRY_EXTENTS_EXIST] = read_exist_query,
        [META_QRY_GC] = read_gc_query,
        [META_QRY_REPAIR] = read_repair_query,
        [META_QRY_SESSIONS] = read_sessions_query,
        [META_QRY_TOKENS] = read_tokens_query,
        [META_QRY_CLUSTER] = read_cluster_query,
        [META_QRY_IDENTITIES] = read_identities_query,
        [META_QRY_SETTING] = read_setting_query,
        [META_QRY_STATUS] = read_status_query,
        [META_QRY_GROUP_EXTENTS] = read_group_extents_query,
        [META_QRY_EXTENT_ROWS] = read_extent_rows_query,
        [META_QRY_RETIRED] = read_retired_query,
    };
    return type < sizeof(reads) / sizeof(reads[0]) ? reads[type] : NULL;
}

static enum errc attempt(struct reader *r, read_fn read, size_t reply_at, bool *ret_moved)
{
    uint64_t writes = atomic_load(&r->m->writes);
    r->index = atomic_load(&r->m->applied_index);
    r->absent = false;
    r->reply->len = reply_at;
    enum errc rc = read(r);
    bool unsure = rc == ERRC_CONFLICT || (rc == ERRC_OK && r->absent);
    *ret_moved = unsure && ((writes & 1) != 0 || atomic_load(&r->m->writes) != writes);
    return rc;
}

static enum errc run(struct reader *r, read_fn read)
{
    size_t reply_at = r->reply->len;
    bool moved = true;
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; moved && i < READ_ATTEMPTS; i++) {
        rc = attempt(r, read, reply_at, &moved);
    }
    if (moved) {
        machine_view_lock(r->m);
        r->locked = true;
        rc = attempt(r, read, reply_at, &moved);
        machine_view_unlock(r->m);
    }
    if (rc != ERRC_OK) {
        r->reply->len = reply_at;
    }
    return rc == ERRC_CONFLICT ? record_error(r->e, ERRC_CORRUPT, "a version or part: something it names") : rc;
}

enum errc machine_query(struct machine *m, struct slice query, bool cached_only, struct enc *ret_reply,
                        struct error *e)
{
    struct arena arena;
    struct meta_query decoded;
    arena_init(&arena, MACHINE_ARENA_BYTES);
    enum errc rc = meta_query_decode(query, &arena, &decoded);
    if (rc != ERRC_OK) { /* the caller's fault: CORRUPT would say that the store is damaged */
        arena_done(&arena);
        rc = rc == ERRC_CORRUPT ? ERRC_INVALID : rc;
        return error_set(e, rc, "malformed metadata query: %s", errc_text(rc));
    }
    read_fn read = read_of(decoded.type);
    if (read == NULL) {
        return error_set(e, ERRC_FORMAT, "metadata query of unknown type %u", decoded.type);
    }
    struct reader r = { .m = m, .kv = m->kv, .cached_only = cached_only, .e = e, .arena = &arena,
                        .query = &decoded, .reply = ret_reply };
    rc = run(&r, read);
    enc_free(&r.row);
    enc_free(&r.body);
    enc_free(&r.data);
    enc_free(&r.name);
    enc_free(&r.value);
    arena_done(&arena);
    return rc;
}
