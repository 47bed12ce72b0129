/*
 * Listings of current versions and of all versions: one seek, then the cost of the page.
 *
 * With a delimiter, a key that holds it after the prefix becomes a common prefix, and the walk seeks
 * behind everything that begins with it. Common prefixes not greater than the marker are left out.
 * The rows of delete markers are walked over in a listing of current versions.
 */
#include "common/base/assert.h"
#include "metadata/read.h"

struct list_walk {
    struct reader *r;
    struct meta_list_reply reply;
    uint32_t limit;
    struct enc entries;
    struct kv_iterator *current;
    struct kv_iterator *older;  /* versions only */
    uint8_t key_bytes[KEY_BYTES_MAX];
    struct slice key;           /* of the entry that `current` stands at */
};

/* The part of a key that becomes a common prefix; empty: it is listed itself. */
static struct slice common_prefix(const struct meta_query *query, struct slice key)
{
    if (query->delimiter.len == 0 || key.len <= query->prefix.len) {
        return SLICE_EMPTY;
    }
    const uint8_t *at = memmem(key.data + query->prefix.len, key.len - query->prefix.len, query->delimiter.data,
                               query->delimiter.len);
    return at == NULL ? SLICE_EMPTY : slice_of(key.data, (size_t)(at - key.data) + query->delimiter.len);
}

static bool behind_marker(const struct meta_query *query, struct slice prefix)
{
    if (query->marker.len == 0) {
        return false;
    }
    int order = slice_compare(prefix, query->marker);
    return order < 0 || (order == 0 && !query->marker_inclusive);
}

static void bounds(const struct list_walk *w, enum key_table table, struct key *first, struct key *end)
{
    key_table_u64(first, table, w->reply.bucket.id);
    key_escaped(first, w->r->query->prefix);
    *end = *first;
    key_successor(end);
}

/* Where the page begins, within the bounds. */
static void start(const struct list_walk *w, enum key_table table, struct key *key)
{
    const struct meta_query *query = w->r->query;
    uint64_t bucket = w->reply.bucket.id;
    if (query->marker.len == 0) {
        key_table_u64(key, table, bucket);
    } else if (table == TABLE_NONCURRENT && query->marker_seq != 0) {
        key_version(key, table, bucket, query->marker, query->marker_seq);
    } else if (query->marker_inclusive || (w->older != NULL && query->marker_seq != 0)) {
        key_object(key, table, bucket, query->marker);
    } else {
        key_object_after(key, table, bucket, query->marker);
    }
}

static struct kv_iterator *open_walk(struct list_walk *w, enum key_table table)
{
    struct key first, end;
    bounds(w, table, &first, &end);
    return w->r->kv->vt->iterate(w->r->kv, key_slice(&first), key_slice(&end));
}

static void seek_start(struct list_walk *w, struct kv_iterator *it, enum key_table table)
{
    struct key first, end, at;
    bounds(w, table, &first, &end);
    start(w, table, &at);
    bool within = slice_compare(key_slice(&at), key_slice(&first)) > 0;
    w->r->kv->vt->iterator_seek(it, key_slice(within ? &at : &first));
}

static void seek_behind(struct list_walk *w, struct kv_iterator *it, enum key_table table, struct slice prefix)
{
    struct key key;
    key_table_u64(&key, table, w->reply.bucket.id);
    key_escaped(&key, prefix);
    key_successor(&key);
    w->r->kv->vt->iterator_seek(it, key_slice(&key));
}

static void prefix_skip(struct list_walk *w, struct slice prefix)
{
    seek_behind(w, w->current, TABLE_CURRENT, prefix);
    if (w->older != NULL) {
        seek_behind(w, w->older, TABLE_NONCURRENT, prefix);
    }
}

/* False when the page is full: then there is more. */
static bool emit(struct list_walk *w, const struct meta_list_entry *entry)
{
    if (w->reply.count == w->limit) {
        w->reply.truncated = true;
        return false;
    }
    meta_list_entry_encode(&w->entries, entry);
    w->reply.count++;
    return true;
}

static enum errc key_read(struct list_walk *w)
{
    size_t len;
    struct slice raw = w->r->kv->vt->iterator_key(w->current);
    if (key_unescape(raw, KEY_OBJECT_AT, w->key_bytes, &len) == 0) {
        return record_error(w->r->e, ERRC_CORRUPT, "a current version: its key");
    }
    w->key = slice_of(w->key_bytes, len);
    return ERRC_OK;
}

/* One entry of CURRENT; *ret_go is false at the end of the page. */
static enum errc list_step(struct list_walk *w, bool *ret_go)
{
    struct current_record current;
    struct slice prefix = common_prefix(w->r->query, w->key);
    *ret_go = true;
    if (prefix.len > 0 && behind_marker(w->r->query, prefix)) {
        prefix_skip(w, prefix);
        return ERRC_OK;
    }
    enum errc rc = record_current_decode(w->r->kv->vt->iterator_value(w->current), &current);
    if (rc != ERRC_OK) {
        return record_error(w->r->e, rc, "a current version");
    }
    if (current.row.delete_marker) {
        w->r->kv->vt->iterator_next(w->current);
        return ERRC_OK;
    }
    struct meta_list_entry entry = { .is_prefix = prefix.len > 0, .key = prefix.len > 0 ? prefix : w->key,
                                     .row = current.row, .latest = prefix.len == 0 };
    *ret_go = emit(w, &entry);
    if (prefix.len > 0) {
        prefix_skip(w, prefix);
    } else {
        w->r->kv->vt->iterator_next(w->current);
    }
    return ERRC_OK;
}

/* Versions of the marker's key that the pages before this one have shown. */
static bool version_shown(const struct list_walk *w, uint64_t seq)
{
    const struct meta_query *query = w->r->query;
    if (query->marker_seq == 0 || !slice_equal(w->key, query->marker)) {
        return false;
    }
    return query->marker_inclusive ? seq > query->marker_seq : seq >= query->marker_seq;
}

static bool version_emit(struct list_walk *w, const struct meta_row *row, bool latest)
{
    struct meta_list_entry entry = { .key = w->key, .row = *row, .latest = latest };
    return version_shown(w, row->seq) || emit(w, &entry);
}

/* Whether `older` stands at a version of the key. */
static bool older_here(struct list_walk *w)
{
    struct kv *kv = w->r->kv;
    if (!kv->vt->iterator_valid(w->older)) {
        return false;
    }
    struct slice at = kv->vt->iterator_key(w->current);
    struct slice older = kv->vt->iterator_key(w->older);
    return older.len == at.len + 8 && memcmp(older.data + 1, at.data + 1, at.len - 1) == 0;
}

/* All versions of one key, newest first. */
static enum errc versions_emit(struct list_walk *w, bool *ret_go)
{
    struct kv *kv = w->r->kv;
    struct current_record current;
    enum errc rc = record_current_decode(kv->vt->iterator_value(w->current), &current);
    if (rc != ERRC_OK) {
        return record_error(w->r->e, rc, "a current version");
    }
    *ret_go = version_emit(w, &current.row, true);
    while (*ret_go && older_here(w)) {
        struct meta_row row;
        rc = record_row_decode(kv->vt->iterator_value(w->older), &row);
        if (rc != ERRC_OK) {
            return record_error(w->r->e, rc, "an older version");
        }
        *ret_go = version_emit(w, &row, false);
        kv->vt->iterator_next(w->older);
    }
    if (!kv->vt->iterator_valid(w->older)) { /* at its end, or broken: a later seek would forget which */
        rc = kv->vt->iterator_error(w->older, w->r->e);
    }
    kv->vt->iterator_next(w->current);
    return rc;
}

static enum errc versions_step(struct list_walk *w, bool *ret_go)
{
    struct slice prefix = common_prefix(w->r->query, w->key);
    if (prefix.len == 0) {
        return versions_emit(w, ret_go);
    }
    struct meta_list_entry entry = { .is_prefix = true, .key = prefix };
    *ret_go = behind_marker(w->r->query, prefix) || emit(w, &entry);
    prefix_skip(w, prefix);
    return ERRC_OK;
}

static enum errc walk(struct list_walk *w)
{
    struct kv *kv = w->r->kv;
    enum errc rc = ERRC_OK;
    bool go = w->limit > 0;
    while (rc == ERRC_OK && go && kv->vt->iterator_valid(w->current)) {
        rc = key_read(w);
        if (rc == ERRC_OK) {
            rc = w->older != NULL ? versions_step(w, &go) : list_step(w, &go);
        }
    }
    if (rc == ERRC_OK && w->older != NULL && !kv->vt->iterator_valid(w->older)) {
        rc = kv->vt->iterator_error(w->older, w->r->e);
    }
    return rc;
}

/* Both views at one state: no batch may be written between them. */
static void open_iterators(struct list_walk *w, bool versions)
{
    if (!versions) {
        w->current = open_walk(w, TABLE_CURRENT);
        seek_start(w, w->current, TABLE_CURRENT);
        return;
    }
    if (!w->r->locked) {
        machine_view_lock(w->r->m);
    }
    w->current = open_walk(w, TABLE_CURRENT);
    w->older = open_walk(w, TABLE_NONCURRENT);
    if (!w->r->locked) {
        machine_view_unlock(w->r->m);
    }
    seek_start(w, w->current, TABLE_CURRENT);
    seek_start(w, w->older, TABLE_NONCURRENT);
}

static enum errc list(struct reader *r, bool versions)
{
    struct list_walk w = { .r = r };
    enum errc rc = read_bucket(r, &w.reply.bucket);
    if (rc == ERRC_NOT_FOUND) {
        w.reply.outcome = META_NO_BUCKET;
        meta_list_reply_frame(r->reply, &w.reply, SLICE_EMPTY);
        return ERRC_OK;
    }
    if (rc == ERRC_OK && r->cached_only) {
        rc = ERRC_WOULD_BLOCK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    w.limit = r->query->limit < LIST_ROWS_MAX ? r->query->limit : LIST_ROWS_MAX;
    open_iterators(&w, versions);
    rc = walk(&w);
    if (w.older != NULL) {
        r->kv->vt->iterator_destroy(w.older);
    }
    rc = read_walk_end(r, w.current, rc);
    if (rc == ERRC_OK) {
        meta_list_reply_frame(r->reply, &w.reply, enc_slice(&w.entries));
    }
    enc_free(&w.entries);
    return rc;
}

enum errc read_list_query(struct reader *r)
{
    return list(r, false);
}

enum errc read_versions_query(struct reader *r)
{
    return list(r, true);
}
