/* Shards that a live extent's record named before it was written in another code, and does not name any more. */
#include "common/base/bytes.h"
#include "metadata/read.h"

/* The bits of the set's shards that the record of now does not name. */
static enum errc unnamed_shards(struct reader *r, const struct extent *set, uint32_t *ret_shards)
{
    struct key key;
    struct extent now = { .group = 0 };
    key_table_raw(&key, TABLE_EXTENT, set->id.bytes, ID_BYTES);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc == ERRC_OK) {
        rc = record_extent_decode(enc_slice(&r->value), &now);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "an extent");
        }
    } else if (rc != ERRC_NOT_FOUND) { /* deleted: its gc item names those of now */
        return rc;
    }
    unsigned named_count = (unsigned)now.code.k + now.code.m; /* 0: no record */
    *ret_shards = 0;
    for (unsigned i = 0; i < (unsigned)set->code.k + set->code.m; i++) {
        bool named = i < named_count && now.group == set->group && now.position[i] == set->position[i];
        *ret_shards |= (uint32_t)!named << i;
    }
    return ERRC_OK;
}

static enum errc retired_take(struct reader *r, struct kv_iterator *it, struct meta_gc_item *ret_item)
{
    struct gc_record record;
    struct slice key = r->kv->vt->iterator_key(it);
    enum errc rc = record_gc_decode(r->kv->vt->iterator_value(it), &record);
    if (rc != ERRC_OK || key.len != 9 || record.kind != GC_EXTENT) {
        return record_error(r->e, rc != ERRC_OK ? rc : ERRC_CORRUPT, "a retired set of shards");
    }
    *ret_item = (struct meta_gc_item){ .seq = load_be64(key.data + 1), .index = record.index, .kind = 1,
                                       .extent = record.extent };
    return unnamed_shards(r, &record.extent, &ret_item->extent.missing);
}

enum errc read_retired_query(struct reader *r)
{
    struct key first, end;
    struct kv_iterator *it;
    struct meta_gc_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_ROWS_MAX);
    reply.items = arena_zalloc(r->arena, limit * sizeof(*reply.items));
    if (reply.items == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    key_table_u64(&first, TABLE_RETIRED, r->query->from);
    key_begin(&end, TABLE_RETIRED + 1);
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < limit && r->kv->vt->iterator_valid(it)) {
        rc = retired_take(r, it, &reply.items[reply.count]);
        reply.count++;
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_gc_reply_encode(r->reply, &reply);
    }
    return rc;
}
