/*
 * Uploads in progress: listed, one by its id, its parts.
 */
#include "common/base/assert.h"
#include "metadata/read.h"

struct uploads_walk {
    struct reader *r;
    struct meta_uploads_reply reply;
    uint32_t limit;
    struct kv_iterator *it;
    bool full; /* the arena is: the page ends early and says so */
};

static void start(const struct uploads_walk *w, struct key *key)
{
    static const uint8_t none[16];
    const struct meta_query *query = w->r->query;
    if (query->marker.len == 0) {
        key_table_u64(key, TABLE_UPLOAD, w->reply.bucket.id);
    } else if (query->marker_inclusive) {
        key_object(key, TABLE_UPLOAD, w->reply.bucket.id, query->marker);
    } else if (memcmp(query->upload_id, none, sizeof(none)) != 0) {
        key_upload(key, w->reply.bucket.id, query->marker, query->upload_id);
        key_u8(key, 0); /* behind that upload */
    } else {
        key_object_after(key, TABLE_UPLOAD, w->reply.bucket.id, query->marker);
    }
}

static bool prefix_shown(const struct meta_query *query, struct slice prefix)
{
    if (query->marker.len == 0) {
        return false;
    }
    int order = slice_compare(prefix, query->marker);
    return order < 0 || (order == 0 && !query->marker_inclusive);
}

static bool room(struct uploads_walk *w)
{
    if (w->full || w->reply.count + w->reply.prefix_count == w->limit) {
        w->reply.truncated = true;
        return false;
    }
    return true;
}

static bool prefix_emit(struct uploads_walk *w, struct slice prefix)
{
    struct key key;
    key_table_u64(&key, TABLE_UPLOAD, w->reply.bucket.id);
    key_escaped(&key, prefix);
    key_successor(&key);
    if (!prefix_shown(w->r->query, prefix)) {
        if (!room(w)) {
            return false;
        }
        struct slice copy = arena_copy(w->r->arena, prefix);
        if (copy.data == NULL) {
            w->full = true;
            return room(w);
        }
        w->reply.prefixes[w->reply.prefix_count++] = copy;
    }
    w->r->kv->vt->iterator_seek(w->it, key_slice(&key));
    return true;
}

static bool upload_emit(struct uploads_walk *w, const struct meta_upload *upload)
{
    struct meta_upload *copy = &w->reply.uploads[w->reply.count];
    if (!room(w)) {
        return false;
    }
    *copy = *upload;
    copy->key = arena_copy(w->r->arena, upload->key);
    copy->headers = SLICE_EMPTY; /* a page of uploads shows neither */
    copy->user_metadata = SLICE_EMPTY;
    copy->row.etag = SLICE_EMPTY;
    copy->row.storage_class = arena_copy(w->r->arena, upload->row.storage_class);
    copy->row.owner = arena_copy(w->r->arena, upload->row.owner);
    if (copy->key.data == NULL || copy->row.storage_class.data == NULL || copy->row.owner.data == NULL) {
        w->full = true;
        return room(w);
    }
    w->reply.count++;
    w->r->kv->vt->iterator_next(w->it);
    return true;
}

static enum errc uploads_step(struct uploads_walk *w, bool *ret_go)
{
    struct meta_upload upload;
    const struct meta_query *query = w->r->query;
    enum errc rc = record_upload_decode(w->r->kv->vt->iterator_value(w->it), &upload);
    if (rc != ERRC_OK) {
        return record_error(w->r->e, rc, "an upload");
    }
    const uint8_t *at = NULL;
    if (query->delimiter.len > 0 && upload.key.len > query->prefix.len) {
        at = memmem(upload.key.data + query->prefix.len, upload.key.len - query->prefix.len, query->delimiter.data,
                    query->delimiter.len);
    }
    if (at == NULL) {
        *ret_go = upload_emit(w, &upload);
    } else {
        size_t len = (size_t)(at - upload.key.data) + query->delimiter.len;
        *ret_go = prefix_emit(w, slice_of(upload.key.data, len));
    }
    return ERRC_OK;
}

static enum errc uploads_walk(struct uploads_walk *w)
{
    struct reader *r = w->r;
    struct key first, end, at;
    bool go = w->limit > 0;
    key_table_u64(&first, TABLE_UPLOAD, w->reply.bucket.id);
    key_escaped(&first, r->query->prefix);
    end = first;
    key_successor(&end);
    start(w, &at);
    bool within = slice_compare(key_slice(&at), key_slice(&first)) > 0;
    enum errc rc = read_walk(r, within ? &at : &first, &end, &w->it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && go && r->kv->vt->iterator_valid(w->it)) {
        rc = uploads_step(w, &go);
    }
    return read_walk_end(r, w->it, rc);
}

enum errc read_uploads_query(struct reader *r)
{
    struct uploads_walk w = { .r = r };
    enum errc rc = read_bucket(r, &w.reply.bucket);
    if (rc == ERRC_NOT_FOUND) {
        w.reply.outcome = META_NO_BUCKET;
    } else if (rc != ERRC_OK) {
        return rc;
    } else {
        w.limit = r->query->limit < LIST_ROWS_MAX ? r->query->limit : LIST_ROWS_MAX;
        w.reply.uploads = arena_zalloc(r->arena, (w.limit + 1) * sizeof(*w.reply.uploads));
        w.reply.prefixes = arena_zalloc(r->arena, (w.limit + 1) * sizeof(*w.reply.prefixes));
        ASSERT(w.reply.uploads != NULL);
        ASSERT(w.reply.prefixes != NULL);
        rc = uploads_walk(&w);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    meta_uploads_reply_encode(r->reply, &w.reply);
    return ERRC_OK;
}

/* The record of the query's upload, borrowing r->row; NOT_FOUND. */
static enum errc upload_get(struct reader *r, uint64_t bucket, struct meta_upload *ret_upload)
{
    struct key key;
    key_upload(&key, bucket, r->query->key, r->query->upload_id);
    enum errc rc = read_get(r, &key, &r->row);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_upload_decode(enc_slice(&r->row), ret_upload);
    return rc == ERRC_OK ? ERRC_OK : record_error(r->e, rc, "an upload");
}

enum errc read_upload_query(struct reader *r)
{
    struct meta_upload upload;
    struct meta_uploads_reply reply = { .uploads = &upload };
    enum errc rc = read_bucket(r, &reply.bucket);
    if (rc == ERRC_NOT_FOUND) {
        reply.outcome = META_NO_BUCKET;
    } else if (rc == ERRC_OK) {
        rc = upload_get(r, reply.bucket.id, &upload);
        reply.outcome = rc == ERRC_NOT_FOUND ? META_NO_UPLOAD : META_OK;
        reply.count = rc == ERRC_OK ? 1 : 0;
    }
    if (rc == ERRC_OK || rc == ERRC_NOT_FOUND) {
        meta_uploads_reply_encode(r->reply, &reply);
        rc = ERRC_OK;
    }
    return rc;
}

static enum errc parts_take(struct reader *r, struct kv_iterator *it, uint32_t limit, struct meta_parts_reply *reply)
{
    struct part_record part;
    while (r->kv->vt->iterator_valid(it)) {
        if (reply->count == limit) {
            reply->truncated = limit > 0;
            return ERRC_OK;
        }
        enum errc rc = record_part_decode(r->kv->vt->iterator_value(it), &part);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "a part");
        }
        struct meta_part *copy = &reply->parts[reply->count++];
        *copy = part.part;
        copy->etag_md5 = arena_copy(r->arena, part.part.etag_md5);
        copy->checksum.value = arena_copy(r->arena, part.part.checksum.value);
        if (copy->etag_md5.data == NULL || copy->checksum.value.data == NULL) {
            return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
        }
        r->kv->vt->iterator_next(it);
    }
    return ERRC_OK;
}

/* The walk is opened before the record is read: parts live only while their upload does, so if the record
 * is still there the walk saw the upload's parts. */
static enum errc parts_read(struct reader *r, uint64_t bucket, struct meta_parts_reply *reply)
{
    struct key first, end;
    struct kv_iterator *it;
    uint32_t limit = r->query->limit < LIST_ROWS_MAX ? r->query->limit : LIST_ROWS_MAX;
    reply->parts = arena_zalloc(r->arena, (limit + 1) * sizeof(*reply->parts));
    ASSERT(reply->parts != NULL);
    key_of_upload(&first, TABLE_PART, bucket, r->query->upload_id);
    end = first;
    key_successor(&end);
    key_u16(&first, r->query->part_number);
    key_u8(&first, 0); /* behind the marker */
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = upload_get(r, bucket, &reply->upload);
    if (rc == ERRC_NOT_FOUND) {
        reply->outcome = META_NO_UPLOAD;
        rc = ERRC_OK;
    } else if (rc == ERRC_OK) {
        rc = parts_take(r, it, limit, reply);
    }
    return read_walk_end(r, it, rc);
}

enum errc read_parts_query(struct reader *r)
{
    struct meta_bucket bucket;
    struct meta_parts_reply reply = { 0 };
    enum errc rc = read_bucket(r, &bucket);
    if (rc == ERRC_NOT_FOUND) {
        reply.outcome = META_NO_BUCKET;
    } else if (rc != ERRC_OK) {
        return rc;
    } else {
        rc = parts_read(r, bucket.id, &reply);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    meta_parts_reply_encode(r->reply, &reply);
    return ERRC_OK;
}
