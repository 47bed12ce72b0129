/*
 * One version: its row, its body, and where the bytes of a range are.
 *
 * A range of a multipart version decodes the PART_LIST records that it touches and no others.
 * META_QRY_EXTENTS finds a version that was deleted while it is read: its body outlives it (apply_gc.c).
 */
#include "common/base/assert.h"
#include "metadata/read.h"

struct object_read {
    struct reader *r;
    struct meta_object_reply reply;
    struct body_record body;
    uint64_t size;        /* UINT64_MAX: the row is not known, the references end where they end */
    uint64_t first, end;  /* wanted bytes of the object */
    struct meta_data_extent extents[READ_EXTENTS_MAX];
};

static bool row_is(const struct meta_row *row, const struct meta_version_ref *ref)
{
    return ref->null_version ? row->null_version : row->seq == ref->seq && row->nonce == ref->nonce;
}

static enum errc noncurrent_read(struct object_read *o, uint64_t seq)
{
    struct key key;
    struct reader *r = o->r;
    o->reply.outcome = META_NO_VERSION;
    if (seq == 0) {
        r->absent = true;
        return ERRC_OK;
    }
    key_version(&key, TABLE_NONCURRENT, o->reply.bucket.id, r->query->key, seq);
    enum errc rc = read_get(r, &key, &r->row);
    if (rc == ERRC_NOT_FOUND) {
        r->absent = true;
        return ERRC_OK;
    }
    struct meta_row row;
    if (rc == ERRC_OK) {
        rc = record_row_decode(enc_slice(&r->row), &row);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "an older version");
        }
        if (row_is(&row, &r->query->version)) {
            o->reply.row = row;
            o->reply.outcome = META_OK;
        }
    }
    return rc;
}

static enum errc version_read(struct object_read *o)
{
    struct key key;
    struct current_record current;
    struct reader *r = o->r;
    const struct meta_version_ref *ref = &r->query->version;
    bool by_version = r->query->has_version && (ref->null_version || ref->seq != 0);
    o->reply.outcome = by_version ? META_NO_VERSION : META_NO_KEY;
    key_object(&key, TABLE_CURRENT, o->reply.bucket.id, r->query->key);
    enum errc rc = read_get(r, &key, &r->row);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_current_decode(enc_slice(&r->row), &current);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "a current version");
    }
    if (by_version && !row_is(&current.row, ref)) {
        return noncurrent_read(o, ref->null_version ? current.null_seq : ref->seq);
    }
    o->reply.row = current.row;
    o->reply.outcome = !by_version && current.row.delete_marker ? META_NO_KEY : META_OK;
    return ERRC_OK;
}

static enum errc body_read(struct object_read *o)
{
    struct key key;
    struct reader *r = o->r;
    key_version(&key, TABLE_BODY, o->reply.bucket.id, r->query->key, o->reply.row.seq);
    enum errc rc = o->size == UINT64_MAX ? read_get(r, &key, &r->body) : read_must(r, &key, &r->body);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_body_decode(enc_slice(&r->body), &o->body);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "a version's body");
    }
    o->reply.body.data_kind = o->body.data_kind;
    o->reply.parts_count = (uint16_t)o->body.part_count;
    if (r->query->want_body) {
        o->reply.body.headers = o->body.headers;
        o->reply.body.user_metadata = o->body.user_metadata;
        o->reply.body.checksum = o->body.checksum;
    }
    return ERRC_OK;
}

/* Adds the references of a stretch of the object that begins at `base`; stops when the reply is full. */
static enum errc refs_read(struct object_read *o, struct slice refs, uint64_t base)
{
    struct dec dec = dec_of(refs);
    while (dec_left(&dec) > 0 && base < o->end && o->reply.extent_count < READ_EXTENTS_MAX) {
        struct extent_ref ref;
        extent_ref_decode(&dec, &ref);
        if (dec.failed) {
            return record_error(o->r->e, ERRC_CORRUPT, "references");
        }
        uint64_t after = base + ref.length;
        if (after > o->first) {
            struct key key;
            struct meta_data_extent *data = &o->extents[o->reply.extent_count];
            uint64_t skip = o->first > base ? o->first - base : 0;
            uint64_t until = after < o->end ? after : o->end;
            key_table_raw(&key, TABLE_EXTENT, ref.extent.bytes, ID_BYTES);
            enum errc rc = read_must(o->r, &key, &o->r->value);
            if (rc != ERRC_OK) {
                return rc;
            }
            rc = record_extent_decode(enc_slice(&o->r->value), &data->extent);
            if (rc != ERRC_OK) {
                return record_error(o->r->e, rc, "an extent");
            }
            data->offset = ref.offset + skip;
            data->object_offset = base + skip;
            data->length = until - data->object_offset;
            o->reply.extent_count++;
            o->reply.extents_until = until;
        }
        base = after;
    }
    return ERRC_OK;
}

/* The wanted bytes of inline data that stands at `base`. */
static void inline_read(struct object_read *o, struct slice bytes, uint64_t base)
{
    uint64_t skip = o->first > base ? o->first - base : 0;
    uint64_t until = base + bytes.len < o->end ? base + bytes.len : o->end;
    if (until > base + skip) {
        o->reply.inline_bytes = slice_of(bytes.data + skip, (size_t)(until - base - skip));
        o->reply.extents_until = until;
    }
}

/* One part of the range; *ret_more says whether the next may join the same reply. */
static enum errc part_read(struct object_read *o, const struct meta_part_ref *part, uint64_t base, bool *ret_more)
{
    struct key key;
    struct manifest_record manifest;
    struct reader *r = o->r;
    *ret_more = true;
    if (part->size == 0) {
        return ERRC_OK;
    }
    key_table_raw(&key, TABLE_MANIFEST, part->part_id, sizeof(part->part_id));
    enum errc rc = read_must(r, &key, &r->data);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_manifest_decode(enc_slice(&r->data), &manifest);
    if (rc != ERRC_OK) {
        return record_error(r->e, rc, "a manifest");
    }
    if (manifest.ref_count == 0) {
        *ret_more = false;
        if (o->reply.extent_count == 0) {
            inline_read(o, manifest.inline_bytes, base);
        }
        return ERRC_OK;
    }
    rc = refs_read(o, manifest.refs, base);
    *ret_more = o->reply.extent_count < READ_EXTENTS_MAX;
    return rc;
}

static enum errc chunk_get(struct object_read *o, uint32_t chunk, struct enc *value, struct dec *ret_dec)
{
    struct key key;
    key_of_upload(&key, TABLE_PART_LIST, o->reply.bucket.id, o->body.upload_id);
    key_u32(&key, chunk);
    enum errc rc = read_must(o->r, &key, value);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_walk(enc_slice(value), ret_dec);
    return rc == ERRC_OK ? ERRC_OK : record_error(o->r->e, rc, "a part list");
}

/* The last chunk that begins at or before a part number (by_number) or an offset, and where it begins. */
static uint32_t chunk_find(const struct object_read *o, bool by_number, uint64_t wanted, uint64_t *ret_base)
{
    struct dec dec = dec_of(o->body.chunks);
    uint32_t found = 0;
    *ret_base = 0;
    for (uint32_t i = 0; dec_left(&dec) > 0; i++) {
        uint64_t number = dec_uint(&dec);
        uint64_t base = dec_uint(&dec);
        if (dec.failed || (by_number ? number : base) > wanted) {
            break;
        }
        found = i;
        *ret_base = base;
    }
    return found;
}

static enum errc parts_read(struct object_read *o)
{
    uint64_t base;
    uint32_t chunks = (o->body.part_count + RECORD_PART_CHUNK - 1) / RECORD_PART_CHUNK;
    uint32_t chunk = chunk_find(o, false, o->first, &base);
    bool more = true;
    struct enc list = ENC_INIT;
    enum errc rc = ERRC_OK;
    for (; rc == ERRC_OK && more && chunk < chunks && base < o->end; chunk++) {
        struct dec dec;
        rc = chunk_get(o, chunk, &list, &dec);
        while (rc == ERRC_OK && more && dec_left(&dec) > 0 && base < o->end) {
            struct meta_part_ref part;
            meta_part_ref_decode(&dec, &part);
            if (dec.failed) {
                rc = record_error(o->r->e, ERRC_CORRUPT, "a part list");
            } else if (base + part.size > o->first) {
                rc = part_read(o, &part, base, &more);
            }
            base += part.size;
        }
    }
    enc_free(&list);
    return rc;
}

/* Finds the part and cuts the range to it. */
static enum errc part_find(struct object_read *o, uint16_t number)
{
    uint64_t base;
    struct dec dec;
    uint32_t chunk = chunk_find(o, true, number, &base);
    enum errc rc = chunk_get(o, chunk, &o->r->value, &dec);
    o->reply.outcome = META_NO_PART;
    while (rc == ERRC_OK && dec_left(&dec) > 0) {
        struct meta_part_ref part;
        meta_part_ref_decode(&dec, &part);
        if (dec.failed) {
            return record_error(o->r->e, ERRC_CORRUPT, "a part list");
        }
        if (part.number == number) {
            o->reply.outcome = META_OK;
            o->reply.part_offset = base;
            o->reply.part_size = part.size;
            if (part.checksum.len > 0) {
                struct slice value = arena_copy(o->r->arena, part.checksum);
                if (value.data == NULL) {
                    return error_set(o->r->e, ERRC_LIMIT, "metadata query: too large");
                }
                o->reply.part_checksum = (struct meta_checksum){ .algorithm = o->body.checksum.algorithm,
                                                                 .value = value };
            }
            return ERRC_OK;
        }
        base += part.size;
    }
    return rc;
}

static enum errc part_select(struct object_read *o)
{
    uint16_t number = o->r->query->part_number;
    if (number == 0) {
        return ERRC_OK;
    }
    if (o->body.data_kind == META_DATA_PARTS) {
        enum errc rc = part_find(o, number);
        if (rc != ERRC_OK || o->reply.outcome != META_OK) {
            return rc;
        }
    } else if (number != 1) {
        o->reply.outcome = META_NO_PART;
        return ERRC_OK;
    } else {
        o->reply.part_size = o->reply.row.size;
    }
    uint64_t part_end = o->reply.part_offset + o->reply.part_size;
    o->first = o->first > o->reply.part_offset ? o->first : o->reply.part_offset;
    o->end = o->end < part_end ? o->end : part_end;
    return ERRC_OK;
}

static enum errc data_read(struct object_read *o)
{
    struct key key;
    struct slice bytes;
    enum errc rc;
    o->reply.extents_until = o->first;
    if (o->first >= o->end) {
        return ERRC_OK;
    }
    switch (o->body.data_kind) {
    case META_DATA_INLINE:
        key_version(&key, TABLE_INLINE, o->reply.bucket.id, o->r->query->key, o->reply.row.seq);
        rc = read_must(o->r, &key, &o->r->data);
        if (rc != ERRC_OK) {
            return rc;
        }
        rc = record_bytes_decode(enc_slice(&o->r->data), &bytes);
        if (rc != ERRC_OK) {
            return record_error(o->r->e, rc, "inline bytes");
        }
        inline_read(o, bytes, 0);
        return ERRC_OK;
    case META_DATA_EXTENTS:
        return refs_read(o, o->body.refs, 0);
    case META_DATA_PARTS:
        return parts_read(o);
    default:
        return ERRC_OK;
    }
}

static enum errc content_read(struct object_read *o)
{
    const struct meta_query *query = o->r->query;
    bool data = query->want_data || query->type == META_QRY_EXTENTS;
    if (o->reply.row.delete_marker || (!data && !query->want_body && query->part_number == 0)) {
        return ERRC_OK;
    }
    uint64_t size = o->size;
    o->first = query->range_first;
    o->end = query->range_length < size - (o->first < size ? o->first : size) ? o->first + query->range_length : size;
    enum errc rc = body_read(o);
    if (rc == ERRC_OK) {
        rc = part_select(o);
    }
    if (rc == ERRC_OK && o->reply.outcome == META_OK && data) {
        rc = data_read(o);
    }
    return rc;
}

/* By bucket and sequence, which are never used again: whatever became of the row and the bucket since. */
static bool is_of_body(const struct meta_query *query)
{
    return query->type == META_QRY_EXTENTS && query->bucket.len == 0 && query->part_number == 0 && query->has_version &&
           !query->version.null_version && query->version.seq != 0;
}

static enum errc body_query(struct object_read *o)
{
    const struct meta_query *query = o->r->query;
    o->size = UINT64_MAX;
    o->reply.bucket.id = query->bucket_id;
    o->reply.row.seq = query->version.seq;
    o->reply.row.nonce = query->version.nonce;
    enum errc rc = content_read(o);
    if (rc == ERRC_NOT_FOUND) {
        o->reply.outcome = META_NO_VERSION;
        rc = ERRC_OK;
    }
    return rc;
}

enum errc read_object_query(struct reader *r)
{
    struct object_read o;
    o.r = r;
    o.reply = (struct meta_object_reply){ .index = r->index, .extents = o.extents };
    if (is_of_body(r->query)) {
        enum errc rc = body_query(&o);
        if (rc == ERRC_OK) {
            meta_object_reply_encode(r->reply, &o.reply);
        }
        return rc;
    }
    enum errc rc = read_bucket(r, &o.reply.bucket);
    if (rc == ERRC_NOT_FOUND) {
        o.reply.outcome = META_NO_BUCKET;
    } else if (rc != ERRC_OK) {
        return rc;
    } else {
        rc = version_read(&o);
        o.size = o.reply.row.size;
        if (rc == ERRC_OK && o.reply.outcome == META_OK) {
            rc = content_read(&o);
        }
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    meta_object_reply_encode(r->reply, &o.reply);
    return ERRC_OK;
}
