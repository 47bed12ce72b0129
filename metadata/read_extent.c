/*
 * Extents, the queues over them, sessions and the cluster map.
 */
#include "common/base/bytes.h"
#include "metadata/read.h"

static enum errc extent_get(struct reader *r, const uint8_t id[ID_BYTES], struct extent *ret_extent)
{
    struct key key;
    key_table_raw(&key, TABLE_EXTENT, id, ID_BYTES);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc != ERRC_OK) {
        return rc;
    }
    rc = record_extent_decode(enc_slice(&r->value), ret_extent);
    return rc == ERRC_OK ? ERRC_OK : record_error(r->e, rc, "an extent");
}

enum errc read_extent_query(struct reader *r)
{
    struct meta_extent_reply reply = { 0 };
    enum errc rc = extent_get(r, r->query->extent.bytes, &reply.extent);
    if (rc == ERRC_NOT_FOUND) {
        reply.outcome = META_NO_KEY;
    } else if (rc != ERRC_OK) {
        return rc;
    }
    meta_extent_reply_encode(r->reply, &reply);
    return ERRC_OK;
}

/* The index first, then the queue: an extent moves from the one to the other. */
static enum errc id_known(struct reader *r, const uint8_t *id)
{
    struct key key;
    key_table_raw(&key, TABLE_EXTENT, id, ID_BYTES);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc == ERRC_NOT_FOUND) {
        key_table_raw(&key, TABLE_GC_EXTENT, id, ID_BYTES);
        rc = read_get(r, &key, &r->value);
    }
    return rc;
}

enum errc read_exist_query(struct reader *r)
{
    size_t count = r->query->ids.len / ID_BYTES;
    uint8_t *bits = arena_zalloc(r->arena, count / 8 + 1);
    if (bits == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    for (size_t i = 0; i < count; i++) {
        enum errc rc = id_known(r, r->query->ids.data + i * ID_BYTES);
        if (rc == ERRC_OK) {
            bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
        } else if (rc != ERRC_NOT_FOUND) {
            return rc;
        }
    }
    struct meta_exist_reply reply = { slice_of(bits, (count + 7) / 8) };
    meta_exist_reply_encode(r->reply, &reply);
    return ERRC_OK;
}

static enum errc gc_take(struct reader *r, struct kv_iterator *it, struct meta_gc_item *ret_item)
{
    struct gc_record record;
    struct slice key = r->kv->vt->iterator_key(it);
    enum errc rc = record_gc_decode(r->kv->vt->iterator_value(it), &record);
    if (rc != ERRC_OK || key.len != 9) {
        return record_error(r->e, rc != ERRC_OK ? rc : ERRC_CORRUPT, "a gc item");
    }
    *ret_item = (struct meta_gc_item){
        .seq = load_be64(key.data + 1),
        .index = record.index,
        .kind = record.kind == GC_EXTENT ? 1 : 2,
        .extent = record.extent,
    };
    memcpy(ret_item->part_id, record.id, sizeof(ret_item->part_id));
    return ERRC_OK;
}

enum errc read_gc_query(struct reader *r)
{
    struct key first, end;
    struct kv_iterator *it;
    struct meta_gc_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_ROWS_MAX);
    reply.items = arena_zalloc(r->arena, limit * sizeof(*reply.items));
    if (reply.items == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    key_table_u64(&first, TABLE_GC, r->query->from);
    key_begin(&end, TABLE_GC + 1);
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < limit && r->kv->vt->iterator_valid(it)) {
        rc = gc_take(r, it, &reply.items[reply.count]);
        reply.count++;
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_gc_reply_encode(r->reply, &reply);
    }
    return rc;
}

/* Whether a row of the repair queue is still the extent's: the walk sees an older state than the record. The next page begins
 * behind the rank of the last extent, which must be that of its row. */
static bool still_there(struct slice key, const struct extent *extent)
{
    return key.data[0] != TABLE_REPAIR || (extent_in_repair(extent) && key.data[1] == meta_repair_rank(extent));
}

/* Joins the extents that an index names in the last 16 bytes of its keys. */
static enum errc index_walk(struct reader *r, const struct key *first, const struct key *end)
{
    struct kv_iterator *it;
    struct meta_repair_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_ROWS_MAX);
    reply.extents = arena_zalloc(r->arena, limit * sizeof(*reply.extents));
    if (reply.extents == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    enum errc rc = read_walk(r, first, end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < limit && r->kv->vt->iterator_valid(it)) {
        struct slice key = r->kv->vt->iterator_key(it);
        if (key.len <= ID_BYTES) {
            rc = record_error(r->e, ERRC_CORRUPT, "an extent: its key in an index");
            break;
        }
        struct extent *extent = &reply.extents[reply.count];
        rc = extent_get(r, key.data + key.len - ID_BYTES, extent);
        if (rc == ERRC_OK) {
            reply.count += still_there(key, extent) ? 1 : 0;
        } else if (rc == ERRC_NOT_FOUND) {
            rc = ERRC_OK; /* deleted since the walk began */
        }
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_repair_reply_encode(r->reply, &reply);
    }
    return rc;
}

enum errc read_repair_query(struct reader *r)
{
    struct key first, end;
    key_begin(&first, TABLE_REPAIR);
    key_begin(&end, TABLE_REPAIR + 1);
    if (!extent_id_is_zero(r->query->extent)) {
        key_u8(&first, (uint8_t)r->query->from);
        key_raw(&first, r->query->extent.bytes, ID_BYTES);
        key_u8(&first, 0);
    }
    return index_walk(r, &first, &end);
}

enum errc read_group_extents_query(struct reader *r)
{
    struct key first, end;
    key_begin(&first, TABLE_EXTENT_GROUP);
    key_u32(&first, (uint32_t)r->query->from);
    end = first;
    key_successor(&end);
    if (!extent_id_is_zero(r->query->extent)) {
        key_raw(&first, r->query->extent.bytes, ID_BYTES);
        key_u8(&first, 0);
    }
    return index_walk(r, &first, &end);
}

enum errc read_extent_rows_query(struct reader *r)
{
    struct key first, end;
    key_begin(&first, TABLE_EXTENT);
    key_begin(&end, TABLE_EXTENT + 1);
    if (!extent_id_is_zero(r->query->extent)) {
        key_raw(&first, r->query->extent.bytes, ID_BYTES);
        key_u8(&first, 0);
    }
    return index_walk(r, &first, &end);
}

enum errc read_sessions_query(struct reader *r)
{
    struct key first, end;
    struct kv_iterator *it;
    struct meta_sessions_reply reply = { 0 };
    uint32_t limit = read_limit(r, READ_ROWS_MAX);
    reply.sessions = arena_zalloc(r->arena, limit * sizeof(*reply.sessions));
    if (reply.sessions == NULL) {
        return error_set(r->e, ERRC_LIMIT, "metadata query: too large");
    }
    key_table_u64(&first, TABLE_SESSION, r->query->from);
    key_begin(&end, TABLE_SESSION + 1);
    enum errc rc = read_walk(r, &first, &end, &it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && reply.count < limit && r->kv->vt->iterator_valid(it)) {
        struct session_record session;
        rc = record_session_decode(r->kv->vt->iterator_value(it), &session);
        if (rc != ERRC_OK) {
            rc = record_error(r->e, rc, "a session");
            break;
        }
        reply.sessions[reply.count++] = (struct meta_session){
            load_be64(r->kv->vt->iterator_key(it).data + 1), session.node, session.open, session.next_counter
        };
        r->kv->vt->iterator_next(it);
    }
    rc = read_walk_end(r, it, rc);
    if (rc == ERRC_OK) {
        meta_sessions_reply_encode(r->reply, &reply);
    }
    return rc;
}

/* ---- cluster map ---- */

struct map_walk {
    struct reader *r;
    struct kv_iterator *it;
    struct enc disks, groups, sweeps, nodes; /* arrays of the reply's structs, grown as bytes */
};

static enum errc map_take(struct map_walk *w)
{
    struct reader *r = w->r;
    struct slice key = r->kv->vt->iterator_key(w->it);
    struct slice value = arena_copy(r->arena, r->kv->vt->iterator_value(w->it));
    if (value.data == NULL) {
        return error_set(r->e, ERRC_LIMIT, "the cluster map does not fit");
    }
    enum errc rc;
    if (key.data[0] == TABLE_DISK) {
        struct meta_disk disk;
        rc = record_disk_decode(value, &disk);
        enc_raw(&w->disks, &disk, sizeof(disk));
    } else if (key.data[0] == TABLE_GROUP) {
        struct group_record group;
        rc = record_group_decode(value, &group);
        enc_raw(&w->groups, &group.group, sizeof(group.group));
    } else if (key.data[0] == TABLE_NODE) {
        struct meta_node node;
        rc = record_node_decode(value, &node);
        enc_raw(&w->nodes, &node, sizeof(node));
    } else {
        struct slice cursor;
        struct meta_sweep sweep = { 0 };
        rc = record_bytes_decode(value, &cursor);
        if (rc == ERRC_OK && (key.len != 6 || cursor.len != ID_BYTES)) {
            rc = ERRC_CORRUPT;
        }
        if (rc == ERRC_OK) {
            sweep = (struct meta_sweep){ .group = load_be32(key.data + 1), .position = key.data[5] };
            memcpy(sweep.from.bytes, cursor.data, ID_BYTES);
            enc_raw(&w->sweeps, &sweep, sizeof(sweep));
        }
    }
    return rc == ERRC_OK ? ERRC_OK : record_error(r->e, rc, "the cluster map");
}

static enum errc revision_read(struct reader *r, uint64_t *ret_revision)
{
    struct key key;
    struct position_record position;
    struct machine_counters counters;
    *ret_revision = 0;
    key_begin(&key, TABLE_STATE);
    enum errc rc = read_get(r, &key, &r->value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    if (rc == ERRC_OK) {
        rc = record_state_decode(enc_slice(&r->value), &position, &counters);
        if (rc != ERRC_OK) {
            return record_error(r->e, rc, "the counters");
        }
        *ret_revision = counters.revision;
    }
    return rc;
}

static enum errc map_walk(struct map_walk *w, enum key_table from, enum key_table to)
{
    struct key first, end;
    key_begin(&first, from);
    key_begin(&end, to);
    enum errc rc = read_walk(w->r, &first, &end, &w->it);
    if (rc != ERRC_OK) {
        return rc;
    }
    while (rc == ERRC_OK && w->r->kv->vt->iterator_valid(w->it)) {
        rc = map_take(w);
        w->r->kv->vt->iterator_next(w->it);
    }
    return read_walk_end(w->r, w->it, rc);
}

/* The revision first: a map newer than its revision only costs its user a STALE. */
enum errc read_cluster_query(struct reader *r)
{
    struct map_walk w = { .r = r };
    struct meta_cluster_reply reply = { 0 };
    enum errc rc = revision_read(r, &reply.revision);
    rc = rc == ERRC_OK ? map_walk(&w, TABLE_DISK, TABLE_SWEEP + 1) : rc;
    rc = rc == ERRC_OK ? map_walk(&w, TABLE_NODE, TABLE_NODE + 1) : rc;
    if (rc == ERRC_OK) {
        reply.disk_count = (uint32_t)(w.disks.len / sizeof(struct meta_disk));
        reply.disks = (struct meta_disk *)(void *)w.disks.data;
        reply.group_count = (uint32_t)(w.groups.len / sizeof(struct meta_group));
        reply.groups = (struct meta_group *)(void *)w.groups.data;
        reply.sweep_count = (uint32_t)(w.sweeps.len / sizeof(struct meta_sweep));
        reply.sweeps = (struct meta_sweep *)(void *)w.sweeps.data;
        reply.node_count = (uint32_t)(w.nodes.len / sizeof(struct meta_node));
        reply.nodes = (struct meta_node *)(void *)w.nodes.data;
        meta_cluster_reply_encode(r->reply, &reply);
    }
    enc_free(&w.disks);
    enc_free(&w.groups);
    enc_free(&w.sweeps);
    enc_free(&w.nodes);
    return rc;
}
