/*
 * The second phase of fsck: the extent table page by page, in order of ids, and beside it the list of every disk over the
 * same range of ids. The last page has no upper bound: shards behind the last record are seen too.
 */
#include "server/fsck_parts.h"

#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/admin_strength.h"
#include "server/server.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE_ROWS 1000
#define LIST_NAMES 10000
#define LIST_TRIES 5 /* a second between: a node that was just started is connected to by then */
#define NAME_BYTES (ID_BYTES + 1)
#define FSCK_ARENA_BYTES (4u << 20)

struct page {
    const struct extent *extents;
    uint32_t count;
    struct extent_id after, last; /* ids in (after, last]; no records: all behind `after` */
    uint32_t found[PAGE_ROWS];    /* shard bits on one disk */
};

/* ---- the map ---- */

enum errc fsck_map_get(struct fsck_walk *walk, struct fsck_map *ret_map)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    arena_init(&arena, FSCK_ARENA_BYTES);
    arena_init(&ret_map->arena, FSCK_ARENA_BYTES);
    ret_map->bytes = (struct enc)ENC_INIT;
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    if (rc == ERRC_OK) { /* its slices must outlive the op */
        meta_cluster_reply_encode(&ret_map->bytes, &op.cluster);
        rc = meta_cluster_reply_decode(enc_slice(&ret_map->bytes), &ret_map->arena, &ret_map->reply);
    }
    meta_op_release(&op);
    arena_done(&arena);
    if (rc != ERRC_OK) {
        fsck_map_free(ret_map);
    }
    return rc;
}

void fsck_map_free(struct fsck_map *map)
{
    arena_done(&map->arena);
    enc_free(&map->bytes);
}

const struct meta_group *fsck_group(const struct meta_cluster_reply *map, uint32_t id)
{
    uint32_t low = 0;
    for (uint32_t high = map->group_count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (map->groups[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < map->group_count && map->groups[low].id == id ? &map->groups[low] : NULL;
}

/* Where the record says that the shard is, or would be if it were not missing; NULL: nowhere. */
static const struct disk_id *shard_place(const struct meta_cluster_reply *map, const struct extent *extent, unsigned index)
{
    const struct meta_group *group = fsck_group(map, extent->group);
    if (group == NULL || index >= (unsigned)extent->code.k + extent->code.m ||
        extent->position[index] >= group->disk_count) {
        return NULL;
    }
    return &group->disks[extent->position[index]];
}

bool fsck_expects(const struct meta_cluster_reply *map, const struct extent *extent, unsigned index, struct disk_id disk)
{
    const struct disk_id *place = shard_place(map, extent, index);
    return place != NULL && disk_id_equal(*place, disk) && (extent->missing >> index & 1) == 0 &&
           !strength_awaits_sweep(map, extent, index);
}

/* ---- what there is to compare with ---- */

static bool is_up(void *server, struct disk_id disk)
{
    return strength_disk_up(server, disk);
}

static void disks_take(struct fsck_walk *walk)
{
    const struct meta_cluster_reply *map = &walk->map.reply;
    walk->disks = mem_zalloc((map->disk_count + 1) * sizeof(*walk->disks));
    for (uint32_t i = 0; i < map->disk_count; i++) {
        if (map->disks[i].state == META_DISK_REMOVED) {
            continue;
        }
        struct fsck_disk *disk = &walk->disks[walk->disk_count++];
        disk->id = map->disks[i].id;
        id_hex(disk->id.bytes, disk->name);
        disk->up = strength_disk_up(walk->server, disk->id) &&
                   cluster_map_channel(walk->server->map, disk->id, &disk->channel) == ERRC_OK && disk->channel != NULL;
        if (!disk->up) {
            fsck_found(walk->fsck, "disk_unreachable", disk->name);
        }
    }
}

static void closed_add(struct fsck_walk *walk, uint64_t session)
{
    if (walk->closed_count == walk->closed_capacity) {
        walk->closed_capacity = walk->closed_capacity > 0 ? 2 * walk->closed_capacity : 64;
        walk->closed_sessions = mem_realloc(walk->closed_sessions, walk->closed_capacity * sizeof(*walk->closed_sessions));
    }
    walk->closed_sessions[walk->closed_count++] = session;
}

static enum errc sessions_take(struct fsck_walk *walk)
{
    struct meta_query query = { .type = META_QRY_SESSIONS, .limit = PAGE_ROWS };
    unsigned capacity = 0;
    enum errc rc = ERRC_OK;
    for (bool more = true; more && rc == ERRC_OK;) {
        struct arena arena;
        struct meta_op op;
        arena_init(&arena, FSCK_ARENA_BYTES);
        rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
        more = rc == ERRC_OK && op.sessions.count > 0;
        for (uint32_t i = 0; more && i < op.sessions.count; i++) {
            walk->session_max = op.sessions.sessions[i].id;
            if (op.sessions.sessions[i].open) {
                if (walk->open_count == capacity) {
                    capacity = capacity == 0 ? 64 : capacity * 2;
                    walk->open_sessions = mem_realloc(walk->open_sessions, capacity * sizeof(*walk->open_sessions));
                }
                walk->open_sessions[walk->open_count++] = op.sessions.sessions[i].id;
            } else {
                closed_add(walk, op.sessions.sessions[i].id);
            }
        }
        query.from = walk->session_max + 1;
        meta_op_release(&op);
        arena_done(&arena);
    }
    return rc;
}

/* May a session that is open own it? One that was opened since the walk began counts too. */
static bool may_be_open(const struct fsck_walk *walk, const uint8_t *id)
{
    uint64_t session = load_be64(id);
    for (unsigned i = 0; i < walk->open_count; i++) {
        if (walk->open_sessions[i] == session) {
            return true;
        }
    }
    return session > walk->session_max;
}

static int session_compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* Neither open nor closed: a rebuild has left it out. */
static bool is_forgotten(const struct fsck_walk *walk, const uint8_t *id)
{
    uint64_t session = load_be64(id);
    return walk->closed_count == 0 || bsearch(&session, walk->closed_sessions, walk->closed_count, sizeof(session),
                                              session_compare) == NULL;
}

static enum errc doubt(struct fsck_walk *walk, enum fsck_doubt_kind kind, unsigned disk, const uint8_t *extent, unsigned index)
{
    struct fsck_doubt *added = &walk->doubts[walk->doubt_count++];
    *added = (struct fsck_doubt){ .kind = (uint8_t)kind, .index = (uint8_t)index, .disk = (uint16_t)disk };
    memcpy(added->extent.bytes, extent, ID_BYTES);
    return walk->doubt_count == FSCK_DOUBTS_MAX ? fsck_recheck(walk) : ERRC_OK;
}

/* ---- one page, one disk ---- */

static int64_t page_find(const struct page *page, const uint8_t *id)
{
    uint32_t low = 0;
    for (uint32_t high = page->count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(page->extents[middle].id.bytes, id, ID_BYTES) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < page->count && memcmp(page->extents[low].id.bytes, id, ID_BYTES) == 0 ? (int64_t)low : -1;
}

/* Names without a record: in the gc queue, of a session that is open, or doubtful. */
static enum errc unknown_names(struct fsck_walk *walk, unsigned disk, const uint8_t *names, uint32_t count)
{
    struct arena arena;
    struct meta_op op;
    struct enc ids = ENC_INIT;
    for (uint32_t i = 0; i < count; i++) {
        enc_raw(&ids, names + (size_t)i * NAME_BYTES, ID_BYTES);
    }
    const struct meta_query query = { .type = META_QRY_EXTENTS_EXIST, .ids = enc_slice(&ids) };
    arena_init(&arena, FSCK_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    for (uint32_t i = 0; rc == ERRC_OK && i < count && i / 8 < op.exist.bitmap.len; i++) {
        const uint8_t *name = names + (size_t)i * NAME_BYTES;
        if ((op.exist.bitmap.data[i / 8] >> i % 8 & 1) != 0) {
            atomic_fetch_add(&walk->fsck->gc_shards, 1); /* or it was written since the page was read */
        } else if (may_be_open(walk, name)) {
            atomic_fetch_add(&walk->fsck->open_session_shards, 1);
        } else {
            rc = doubt(walk, is_forgotten(walk, name) ? DOUBT_FORGOTTEN : DOUBT_ORPHAN, disk, name, name[ID_BYTES]);
        }
    }
    meta_op_release(&op);
    arena_done(&arena);
    enc_free(&ids);
    return rc;
}

static enum errc names_take(struct fsck_walk *walk, struct page *page, unsigned disk, const uint8_t *names, uint32_t count)
{
    uint8_t unknown[PAGE_ROWS * NAME_BYTES];
    uint32_t unknown_count = 0;
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; rc == ERRC_OK && i < count; i++) {
        const uint8_t *name = names + (size_t)i * NAME_BYTES;
        int64_t at = page_find(page, name);
        if (at >= 0 && name[ID_BYTES] < CODE_SHARDS_MAX) {
            page->found[at] |= 1u << name[ID_BYTES];
            continue;
        }
        memcpy(unknown + (size_t)unknown_count++ * NAME_BYTES, name, NAME_BYTES);
        if (unknown_count == PAGE_ROWS) {
            rc = unknown_names(walk, disk, unknown, unknown_count);
            unknown_count = 0;
        }
    }
    return rc == ERRC_OK && unknown_count > 0 ? unknown_names(walk, disk, unknown, unknown_count) : rc;
}

static struct extent_id id_after(struct extent_id id)
{
    for (unsigned i = ID_BYTES; i-- > 0 && ++id.bytes[i] == 0;) {
    }
    return id;
}

/* One answer of the disk; *ret_more: another one is to be asked for, from *from on. UNAVAILABLE: the disk does not answer. */
static enum errc list_once(struct fsck_walk *walk, struct page *page, unsigned disk, struct extent_id *from, bool *ret_more)
{
    struct node_shard_list message = { .disk = walk->disks[disk].id, .first = *from, .limit = LIST_NAMES };
    struct node_shard_list_reply reply;
    struct enc head = ENC_INIT;
    message.end = page->count > 0 ? id_after(page->last) : message.end;
    node_shard_list_encode(&head, &message);
    struct rpc_call call = { .method = RPC_NODE_SHARD_LIST, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(walk->server->env) + FSCK_CALL_NS };
    enum errc rc = wait_call(walk->disks[disk].channel, walk->server->completions, &call);
    rc = rc == ERRC_OK ? node_shard_list_reply_decode(enc_slice(&call.reply), &reply) : rc;
    *ret_more = false;
    if (rc != ERRC_OK || reply.names.len != (size_t)reply.count * NAME_BYTES) {
        rc = ERRC_UNAVAILABLE;
    } else if (reply.count > 0) {
        uint32_t count = reply.count;
        const uint8_t *last = reply.names.data + (size_t)(count - 1) * NAME_BYTES;
        *ret_more = reply.more;
        memcpy(from->bytes, last, ID_BYTES);
        *from = id_after(*from);
        while (reply.more && count > 1 && memcmp(last, reply.names.data + (size_t)(count - 1) * NAME_BYTES, ID_BYTES) == 0) {
            count--; /* shards of the last extent may go on behind it: it is left to the next answer */
            memcpy(from->bytes, last, ID_BYTES);
        }
        atomic_fetch_add(&walk->fsck->shards, count);
        rc = names_take(walk, page, disk, reply.names.data, count);
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

static enum errc extent_compare(struct fsck_walk *walk, const struct page *page, unsigned disk, uint32_t at)
{
    const struct extent *extent = &page->extents[at];
    const struct meta_cluster_reply *map = &walk->map.reply;
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; rc == ERRC_OK && i < CODE_SHARDS_MAX; i++) {
        bool there = (page->found[at] >> i & 1) != 0;
        bool expected = fsck_expects(map, extent, i, walk->disks[disk].id);
        const struct disk_id *place = there ? shard_place(map, extent, i) : NULL;
        if (expected && !there) {
            rc = doubt(walk, DOUBT_ABSENT, disk, extent->id.bytes, i);
        } else if (there && (place == NULL || !disk_id_equal(*place, walk->disks[disk].id))) {
            rc = doubt(walk, DOUBT_STRAY, disk, extent->id.bytes, i);
        } /* there, at its place and marked missing: repair has written it and not published it yet, or will */
    }
    return rc;
}

static enum errc disk_compare(struct fsck_walk *walk, struct page *page, unsigned disk)
{
    struct extent_id from = extent_id_is_zero(page->after) ? page->after : id_after(page->after);
    enum errc rc = ERRC_OK;
    unsigned tries = 0;
    memset(page->found, 0, sizeof(page->found));
    for (bool more = true; more && rc == ERRC_OK && !fsck_stopped(walk->fsck);) {
        rc = list_once(walk, page, disk, &from, &more);
        if (rc == ERRC_UNAVAILABLE && walk->e->code == ERRC_OK && ++tries < LIST_TRIES) { /* the disk, not metadata */
            fsck_pause(walk->fsck, 1);
            rc = ERRC_OK;
            more = true;
        }
    }
    if (rc == ERRC_UNAVAILABLE && walk->e->code == ERRC_OK) {
        fsck_disk_silent(walk, disk);
        return ERRC_OK;
    }
    for (uint32_t i = 0; rc == ERRC_OK && i < page->count; i++) {
        rc = extent_compare(walk, page, disk, i);
    }
    return rc;
}

static void placement_check(struct fsck_walk *walk, const struct extent *extent)
{
    const struct meta_group *group = fsck_group(&walk->map.reply, extent->group);
    char id[ID_HEX_BYTES];
    id_hex(extent->id.bytes, id);
    char text[96];
    if (group == NULL) {
        (void)snprintf(text, sizeof(text), "extent %s: placement group %u is not in the map", id, extent->group);
        fsck_found(walk->fsck, "extent_nowhere", text);
    } else if (placement_judge_extent(&walk->judge, group, extent) == PLACEMENT_CROWDED) {
        (void)snprintf(text, sizeof(text), "extent %s: more than %u shards in one failure domain", id, extent->code.m);
        fsck_found(walk->fsck, "placement_crowded", text);
    }
}

static enum errc page_compare(struct fsck_walk *walk, struct page *page)
{
    enum errc rc = ERRC_OK;
    for (uint32_t i = 0; i < page->count; i++) {
        placement_check(walk, &page->extents[i]);
    }
    for (unsigned d = 0; rc == ERRC_OK && d < walk->disk_count; d++) {
        rc = walk->disks[d].up ? disk_compare(walk, page, d) : ERRC_OK;
    }
    return rc;
}

static enum errc pages_walk(struct fsck_walk *walk)
{
    struct page *page = mem_zalloc(sizeof(*page));
    struct meta_query query = { .type = META_QRY_EXTENT_ROWS, .limit = PAGE_ROWS };
    enum errc rc = ERRC_OK;
    for (bool more = true; more && rc == ERRC_OK;) {
        struct arena arena;
        struct meta_op op;
        if (fsck_stopped(walk->fsck)) {
            rc = error_set(walk->e, ERRC_CANCELED, "the server ends");
            break;
        }
        arena_init(&arena, FSCK_ARENA_BYTES);
        rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
        if (rc == ERRC_OK) {
            more = op.repair.count > 0;
            page->extents = op.repair.extents;
            page->count = op.repair.count;
            page->after = query.extent;
            page->last = more ? op.repair.extents[op.repair.count - 1].id : query.extent;
            query.extent = page->last;
            rc = page_compare(walk, page);
            atomic_fetch_add(&walk->fsck->done, op.repair.count);
        }
        meta_op_release(&op);
        arena_done(&arena);
    }
    mem_free(page);
    return rc;
}

enum errc fsck_shards(struct fsck *fsck, struct error *e)
{
    struct fsck_walk *walk = mem_zalloc(sizeof(*walk));
    *walk = (struct fsck_walk){ .fsck = fsck, .server = fsck->server, .e = e };
    (void)pthread_mutex_lock(&fsck->lock);
    atomic_store(&fsck->total, (uint64_t)json_integer_value(json_object_get(fsck->checked, "extents")));
    (void)pthread_mutex_unlock(&fsck->lock);
    enum errc rc = sessions_take(walk);
    rc = rc == ERRC_OK ? fsck_map_get(walk, &walk->map) : rc;
    if (rc == ERRC_OK) {
        walk->doubts = mem_zalloc(FSCK_DOUBTS_MAX * sizeof(*walk->doubts));
        placement_judge_init(&walk->judge, &walk->map.reply, is_up, walk->server);
        disks_take(walk);
        rc = pages_walk(walk);
        rc = rc == ERRC_OK ? fsck_recheck(walk) : rc;
        placement_judge_done(&walk->judge);
        fsck_map_free(&walk->map);
    }
    mem_free(walk->doubts);
    mem_free(walk->disks);
    mem_free(walk->closed_sessions);
    mem_free(walk->open_sessions);
    mem_free(walk);
    return rc;
}
