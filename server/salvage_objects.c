/* The second half of salvage: extents that make whole objects, committed again; sessions whose rest may go. */
#include "server/salvage_parts.h"

#include "common/base/mem.h"
#include "gateway/data/object_writer.h"
#include "server/server.h"
#include "server/wait.h"

#include <stdlib.h>
#include <string.h>

#define COMMAND_ARENA_BYTES (1u << 20)

/* Extents of one object: neighbours in walk->extents once these are sorted. */
struct salvage_object {
    size_t first, count;
    size_t record;    /* the extent that has the footer */
    uint64_t mtime_ms;
};

static int number_order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* By object: bucket, key, session, time of the request; then by place in it. */
static int object_order(const struct salvage_extent *a, const struct salvage_extent *b)
{
    size_t len = a->key.len < b->key.len ? a->key.len : b->key.len;
    int order = number_order(a->bucket, b->bucket);
    order = order != 0 || len == 0 ? order : memcmp(a->key.data, b->key.data, len);
    order = order != 0 ? order : number_order(a->key.len, b->key.len);
    order = order != 0 ? order : number_order(a->session, b->session);
    return order != 0 ? order : number_order(a->wall_ms, b->wall_ms);
}

static int extent_order(const void *a, const void *b)
{
    const struct salvage_extent *left = a;
    const struct salvage_extent *right = b;
    int order = object_order(left, right);
    return order != 0 ? order : number_order(left->offset, right->offset);
}

static int time_order(const void *a, const void *b)
{
    const struct salvage_object *left = a;
    const struct salvage_object *right = b;
    int order = number_order(left->mtime_ms, right->mtime_ms);
    return order != 0 ? order : number_order(left->first, right->first);
}

/* ---- places ---- */

/* The shards that stand on disks of this group: *ret_extent gets their positions, the others are missing. */
static unsigned group_try(const struct salvage_walk *walk, const struct salvage_extent *found, const struct meta_group *group,
                          struct extent *ret_extent)
{
    unsigned shards = (unsigned)found->extent.code.k + found->extent.code.m;
    uint64_t taken = 0;
    *ret_extent = found->extent;
    ret_extent->group = group->id;
    ret_extent->missing = (uint32_t)((UINT64_C(1) << shards) - 1);
    for (uint32_t s = 0; s < found->count; s++) {
        const struct salvage_shard *shard = &walk->shards[found->first + s];
        for (unsigned p = 0; p < group->disk_count && shard->index < shards; p++) {
            if (disk_id_equal(group->disks[p], walk->disks[shard->disk].id) && (taken >> p & 1) == 0 &&
                (ret_extent->missing >> shard->index & 1) != 0) {
                ret_extent->position[shard->index] = (uint8_t)p;
                ret_extent->missing &= ~(UINT32_C(1) << shard->index);
                taken |= UINT64_C(1) << p;
            }
        }
    }
    unsigned free_place = 0;
    for (unsigned i = 0; i < shards; i++) { /* where repair will put what is missing */
        while ((ret_extent->missing >> i & 1) != 0 && free_place < group->disk_count && (taken >> free_place & 1) != 0) {
            free_place++;
        }
        if ((ret_extent->missing >> i & 1) != 0) {
            if (free_place == group->disk_count) {
                return 0;
            }
            ret_extent->position[i] = (uint8_t)free_place++;
        }
    }
    return shards - (unsigned)__builtin_popcount(ret_extent->missing);
}

/* The class of the group, or of the bucket where the group has none. Small ones are whole copies. */
static void class_take(const struct salvage_walk *walk, const struct meta_group *group, const struct meta_bucket *bucket,
                       struct extent *extent)
{
    bool classed = group->class_k > 0;
    extent->class_m = classed ? group->class_m : bucket->class_m;
    extent->class_k = object_writer_k(&walk->server->store, extent->logical_bytes, classed ? group->class_k : bucket->class_k,
                                      extent->class_m);
}

/* Into the group that has most of its shards, of several one whose class is the extent's code. False: no group has k of them. */
static bool place_find(const struct salvage_walk *walk, struct salvage_extent *found, const struct meta_bucket *bucket)
{
    const struct extent_code *code = &found->extent.code;
    struct extent best = found->extent;
    unsigned best_rank = 0;
    unsigned most = 0;
    for (uint32_t i = 0; i < walk->map.group_count; i++) {
        const struct meta_group *group = &walk->map.groups[i];
        struct extent placed;
        bool fits = group->class_k == 0 || (code->k <= group->class_k && code->m <= group->class_m);
        unsigned here = fits ? group_try(walk, found, group, &placed) : 0;
        if (here > 0) {
            class_take(walk, group, bucket, &placed);
            unsigned rank = 2 * here + (placed.class_k == code->k && placed.class_m == code->m ? 1 : 0);
            if (rank > best_rank) {
                best_rank = rank;
                most = here;
                best = placed;
            }
        }
    }
    found->extent = best;
    found->extent.epoch = 1;
    return code->k > 0 && most >= code->k;
}

/* ---- objects ---- */

static bool record_read(const struct salvage_extent *found, struct arena *arena, struct meta_command *ret)
{
    return found->footer.len > 0 && meta_command_decode(found->footer, arena, ret) == ERRC_OK && ret->type == META_CMD_OBJECT_PUT &&
           ret->object_put.bucket_id == found->bucket && slice_equal(ret->object_put.key, found->key);
}

/* One record, and extents that follow one another up to its size. */
static bool object_whole(const struct salvage_walk *walk, struct salvage_object *object)
{
    struct meta_command command;
    struct arena arena;
    uint64_t end = 0;
    unsigned records = 0;
    bool whole = object->count <= EXTENT_REFS_MAX;
    for (size_t i = object->first; i < object->first + object->count; i++) {
        whole = whole && walk->extents[i].offset == end && !walk->extents[i].part;
        end += walk->extents[i].extent.logical_bytes;
        if (walk->extents[i].footer.len > 0) {
            object->record = i;
            records++;
        }
    }
    if (!whole || records != 1) {
        return false;
    }
    arena_init(&arena, COMMAND_ARENA_BYTES);
    whole = record_read(&walk->extents[object->record], &arena, &command) && command.object_put.row.size == end;
    object->mtime_ms = whole ? command.object_put.row.mtime_ms : 0;
    arena_done(&arena);
    return whole;
}

static void object_lone(struct salvage_walk *walk, const struct salvage_object *object)
{
    struct salvage_counts *counts = &walk->salvage->counts;
    atomic_fetch_add(walk->extents[object->first].part ? &counts->part_extents : &counts->lone_extents, object->count);
}

static size_t objects_find(struct salvage_walk *walk, struct salvage_object *objects)
{
    size_t count = 0;
    for (size_t i = 0; i < walk->extent_count;) {
        struct salvage_object object = { .first = i };
        while (i < walk->extent_count && object_order(&walk->extents[object.first], &walk->extents[i]) == 0) {
            i++;
        }
        object.count = i - object.first;
        if (object_whole(walk, &object)) {
            objects[count++] = object;
        } else {
            object_lone(walk, &object);
        }
    }
    return count;
}

/* NOT_FOUND: there is no such bucket. Its text is not kept. */
static enum errc bucket_class(struct salvage_walk *walk, uint64_t id, struct meta_bucket *ret)
{
    const struct meta_query query = { .type = META_QRY_BUCKET, .bucket_id = id };
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, SALVAGE_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    if (rc == ERRC_OK && op.buckets.count == 1) {
        *ret = op.buckets.buckets[0];
    } else if (rc == ERRC_OK) {
        rc = ERRC_NOT_FOUND;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc object_commit(struct salvage_walk *walk, const struct salvage_object *object, struct meta_command *command)
{
    struct salvage_counts *counts = &walk->salvage->counts;
    struct extent *extents = mem_zalloc(object->count * sizeof(*extents));
    struct extent_ref *refs = mem_zalloc(object->count * sizeof(*refs));
    struct meta_op op;
    for (size_t i = 0; i < object->count; i++) {
        extents[i] = walk->extents[object->first + i].extent;
        refs[i] = (struct extent_ref){ extents[i].id, 0, extents[i].logical_bytes };
    }
    struct meta_object_put *put = &command->object_put;
    command->type = META_CMD_OBJECT_ADOPT;
    put->session = walk->extents[object->first].session;
    put->map_revision = 0;
    put->body.data_kind = META_DATA_EXTENTS;
    put->body.ref_count = (uint32_t)object->count;
    put->body.refs = refs;
    put->extent_count = (uint32_t)object->count;
    put->extents = extents;
    enum errc rc = wait_propose(&walk->server->meta, walk->server->completions, &op, command, walk->e);
    if (rc == ERRC_OK && op.result.outcome == META_OK) {
        atomic_fetch_add(&counts->objects, 1);
        atomic_fetch_add(&counts->bytes, put->row.size);
    } else if (rc == ERRC_OK) {
        atomic_fetch_add(&counts->refused, 1);
    }
    meta_op_release(&op);
    mem_free(refs);
    mem_free(extents);
    return rc;
}

static enum errc object_adopt(struct salvage_walk *walk, const struct salvage_object *object)
{
    struct meta_bucket bucket;
    struct meta_command command;
    struct arena arena;
    enum errc rc = bucket_class(walk, walk->extents[object->first].bucket, &bucket);
    if (rc == ERRC_NOT_FOUND) {
        atomic_fetch_add(&walk->salvage->counts.refused, 1);
        return ERRC_OK;
    }
    bool placed = rc == ERRC_OK;
    for (size_t i = object->first; placed && i < object->first + object->count; i++) {
        placed = place_find(walk, &walk->extents[i], &bucket);
    }
    if (!placed) {
        object_lone(walk, object);
        return rc;
    }
    arena_init(&arena, COMMAND_ARENA_BYTES);
    rc = record_read(&walk->extents[object->record], &arena, &command) ? object_commit(walk, object, &command) : ERRC_CORRUPT;
    arena_done(&arena);
    return rc;
}

enum errc salvage_objects(struct salvage_walk *walk)
{
    struct salvage_object *objects = mem_zalloc((walk->extent_count + 1) * sizeof(*objects));
    enum errc rc = ERRC_OK;
    if (walk->extent_count > 0) {
        qsort(walk->extents, walk->extent_count, sizeof(*walk->extents), extent_order);
    }
    size_t count = objects_find(walk, objects);
    if (count > 0) {
        qsort(objects, count, sizeof(*objects), time_order);
    }
    for (size_t i = 0; i < count && rc == ERRC_OK; i++) {
        rc = salvage_stopped(walk) ? error_set(walk->e, ERRC_CANCELED, "the server ends") : object_adopt(walk, &objects[i]);
    }
    mem_free(objects);
    return rc;
}

/* ---- the rest ---- */

static enum errc session_settle(struct salvage_walk *walk, uint64_t session)
{
    struct meta_command command = { .type = META_CMD_SESSION_SETTLE, .session_close = { session } };
    struct meta_op op;
    enum errc rc = wait_propose(&walk->server->meta, walk->server->completions, &op, &command, walk->e);
    if (rc == ERRC_OK && op.result.outcome == META_OK) {
        atomic_fetch_add(&walk->salvage->counts.discarded, 1);
    }
    meta_op_release(&op);
    return rc;
}

/* Shards are in the order of extents, and an extent's id begins with its session. */
enum errc salvage_discard(struct salvage_walk *walk)
{
    uint64_t last = 0;
    enum errc rc = ERRC_OK;
    for (size_t i = 0; i < walk->shard_count && rc == ERRC_OK; i++) {
        uint64_t session = load_be64(walk->shards[i].extent.bytes);
        rc = session != last ? session_settle(walk, session) : ERRC_OK;
        last = session;
    }
    return rc;
}
