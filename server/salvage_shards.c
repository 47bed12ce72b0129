/* The first half of salvage: which shards nobody knows, and what their headers and footers say. */
#include "server/salvage_parts.h"

#include "common/base/mem.h"
#include "common/rpc/rpc_schema.h"
#include "server/admin_strength.h"
#include "server/server.h"
#include "server/wait.h"

#include <stdlib.h>
#include <string.h>

#define CALL_NS UINT64_C(60000000000)
#define LIST_NAMES 10000
#define EXIST_IDS 1000
#define NAME_BYTES (ID_BYTES + 1)

/* ---- what is known ---- */

static enum errc map_take(struct salvage_walk *walk)
{
    const struct meta_query query = { .type = META_QRY_CLUSTER };
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, SALVAGE_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    if (rc == ERRC_OK) { /* its slices must outlive the op */
        meta_cluster_reply_encode(&walk->map_bytes, &op.cluster);
        rc = meta_cluster_reply_decode(enc_slice(&walk->map_bytes), &walk->arena, &walk->map);
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static void disks_take(struct salvage_walk *walk)
{
    walk->disks = mem_zalloc((walk->map.disk_count + 1) * sizeof(*walk->disks));
    for (uint32_t i = 0; i < walk->map.disk_count; i++) {
        struct salvage_disk disk = { .id = walk->map.disks[i].id };
        if (walk->map.disks[i].state == META_DISK_REMOVED) {
            continue;
        }
        if (strength_disk_up(walk->server, disk.id) && cluster_map_channel(walk->server->map, disk.id, &disk.channel) == ERRC_OK &&
            disk.channel != NULL) {
            walk->disks[walk->disk_count++] = disk;
        } else {
            atomic_fetch_add(&walk->salvage->counts.disks_away, 1);
        }
    }
}

static enum errc sessions_page(struct salvage_walk *walk, uint64_t from, bool *ret_more)
{
    const struct meta_query query = { .type = META_QRY_SESSIONS, .from = from, .limit = LIST_ROWS_MAX };
    struct arena arena;
    struct meta_op op;
    arena_init(&arena, SALVAGE_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    uint32_t count = rc == ERRC_OK ? op.sessions.count : 0;
    walk->sessions = mem_realloc(walk->sessions, (walk->session_count + count + 1) * sizeof(*walk->sessions));
    for (uint32_t i = 0; i < count; i++) {
        walk->sessions[walk->session_count++] = op.sessions.sessions[i].id;
    }
    *ret_more = count > 0;
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc sessions_take(struct salvage_walk *walk)
{
    enum errc rc = ERRC_OK;
    for (bool more = true; more && rc == ERRC_OK;) {
        rc = sessions_page(walk, walk->session_count > 0 ? walk->sessions[walk->session_count - 1] + 1 : 0, &more);
    }
    return rc;
}

static int number_compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return *left < *right ? -1 : *left > *right;
}

/* Higher than all that are known: opened since. */
static bool is_forgotten(const struct salvage_walk *walk, uint64_t session)
{
    return walk->session_count > 0 && session < walk->sessions[walk->session_count - 1] &&
           bsearch(&session, walk->sessions, walk->session_count, sizeof(session), number_compare) == NULL;
}

/* ---- lists ---- */

static enum errc names_take(struct salvage_walk *walk, unsigned disk, const uint8_t *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *name = names + (size_t)i * NAME_BYTES;
        if (!is_forgotten(walk, load_be64(name)) || name[ID_BYTES] >= CODE_SHARDS_MAX) {
            continue;
        }
        if (walk->shard_count == SALVAGE_SHARDS_MAX) {
            return error_set(walk->e, ERRC_LIMIT, "there are more than %u shards of forgotten sessions", SALVAGE_SHARDS_MAX);
        }
        if (walk->shard_count == walk->shard_capacity) {
            walk->shard_capacity = walk->shard_capacity > 0 ? 2 * walk->shard_capacity : 1024;
            walk->shards = mem_realloc(walk->shards, walk->shard_capacity * sizeof(*walk->shards));
        }
        struct salvage_shard *shard = &walk->shards[walk->shard_count++];
        *shard = (struct salvage_shard){ .disk = (uint16_t)disk, .index = name[ID_BYTES] };
        memcpy(shard->extent.bytes, name, ID_BYTES);
    }
    return ERRC_OK;
}

static struct extent_id id_after(struct extent_id id)
{
    for (unsigned i = ID_BYTES; i-- > 0 && ++id.bytes[i] == 0;) {
    }
    return id;
}

/* One answer; *from is where to go on. A name may come twice: shards_sort() drops the second. UNAVAILABLE: the disk. */
static enum errc list_once(struct salvage_walk *walk, unsigned disk, struct extent_id *from, bool *ret_more)
{
    const struct node_shard_list message = { .disk = walk->disks[disk].id, .first = *from, .limit = LIST_NAMES };
    struct node_shard_list_reply reply = { .count = 0 };
    struct enc head = ENC_INIT;
    node_shard_list_encode(&head, &message);
    struct rpc_call call = { .method = RPC_NODE_SHARD_LIST, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(walk->server->env) + CALL_NS };
    enum errc rc = wait_call(walk->disks[disk].channel, walk->server->completions, &call);
    rc = rc == ERRC_OK ? node_shard_list_reply_decode(enc_slice(&call.reply), &reply) : rc;
    bool good = rc == ERRC_OK && reply.names.len == (size_t)reply.count * NAME_BYTES;
    *ret_more = good && reply.count > 0 && reply.more;
    if (good && reply.count > 0) {
        struct extent_id last;
        memcpy(last.bytes, reply.names.data + (size_t)(reply.count - 1) * NAME_BYTES, ID_BYTES);
        *from = extent_id_equal(last, *from) ? id_after(last) : last; /* shards of the last one may go on behind it */
        rc = names_take(walk, disk, reply.names.data, reply.count);
    } else if (!good) {
        rc = ERRC_UNAVAILABLE;
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

static enum errc lists_take(struct salvage_walk *walk)
{
    enum errc rc = ERRC_OK;
    for (unsigned disk = 0; disk < walk->disk_count && rc == ERRC_OK; disk++) {
        struct extent_id from = { { 0 } };
        for (bool more = true; more && rc == ERRC_OK;) {
            rc = salvage_stopped(walk) ? error_set(walk->e, ERRC_CANCELED, "the server ends") : list_once(walk, disk, &from, &more);
        }
        if (rc == ERRC_UNAVAILABLE) {
            atomic_fetch_add(&walk->salvage->counts.disks_away, 1);
            rc = ERRC_OK;
        }
    }
    return rc;
}

static int shard_compare(const void *a, const void *b)
{
    const struct salvage_shard *left = a;
    const struct salvage_shard *right = b;
    int order = memcmp(left->extent.bytes, right->extent.bytes, ID_BYTES);
    order = order != 0 ? order : (int)left->index - (int)right->index;
    return order != 0 ? order : (int)left->disk - (int)right->disk;
}

static void shards_sort(struct salvage_walk *walk)
{
    size_t kept = 0;
    if (walk->shard_count > 0) {
        qsort(walk->shards, walk->shard_count, sizeof(*walk->shards), shard_compare);
    }
    for (size_t i = 0; i < walk->shard_count; i++) {
        if (kept == 0 || shard_compare(&walk->shards[kept - 1], &walk->shards[i]) != 0) {
            walk->shards[kept++] = walk->shards[i];
        }
    }
    walk->shard_count = kept;
}

/* ---- extents ---- */

static void extents_group(struct salvage_walk *walk)
{
    walk->extents = mem_zalloc((walk->shard_count + 1) * sizeof(*walk->extents));
    for (size_t i = 0; i < walk->shard_count; i++) {
        struct salvage_extent *last = walk->extent_count > 0 ? &walk->extents[walk->extent_count - 1] : NULL;
        if (last == NULL || !extent_id_equal(last->extent.id, walk->shards[i].extent)) {
            last = &walk->extents[walk->extent_count++];
            last->extent.id = walk->shards[i].extent;
            last->first = (uint32_t)i;
        }
        last->count++;
    }
}

/* Those that a record knows, or that are in the gc queue, go: a rebuild forgets sessions whose earlier writes are recorded. */
static enum errc known_drop(struct salvage_walk *walk, size_t first, size_t count, size_t *kept)
{
    struct enc ids = ENC_INIT;
    struct arena arena;
    struct meta_op op;
    for (size_t i = first; i < first + count; i++) {
        enc_raw(&ids, walk->extents[i].extent.id.bytes, ID_BYTES);
    }
    const struct meta_query query = { .type = META_QRY_EXTENTS_EXIST, .ids = enc_slice(&ids) };
    arena_init(&arena, SALVAGE_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    for (size_t i = 0; rc == ERRC_OK && i < count; i++) {
        bool known = i / 8 >= op.exist.bitmap.len || (op.exist.bitmap.data[i / 8] >> i % 8 & 1) != 0;
        if (!known) {
            walk->extents[(*kept)++] = walk->extents[first + i];
        }
    }
    meta_op_release(&op);
    arena_done(&arena);
    enc_free(&ids);
    return rc;
}

static enum errc extents_filter(struct salvage_walk *walk)
{
    size_t kept = 0;
    enum errc rc = ERRC_OK;
    for (size_t i = 0; i < walk->extent_count && rc == ERRC_OK; i += EXIST_IDS) {
        rc = known_drop(walk, i, walk->extent_count - i < EXIST_IDS ? walk->extent_count - i : EXIST_IDS, &kept);
    }
    walk->extent_count = kept;
    return rc;
}

static bool header_take(struct salvage_walk *walk, struct salvage_extent *found, const struct node_shard_stat_reply *reply)
{
    static const uint8_t no_upload[16];
    const struct shard_header *header = &reply->header;
    const struct extent_owner *owner = &header->owner;
    found->extent.code = header->code;
    found->extent.transform = header->transform;
    found->extent.logical_bytes = header->logical_bytes;
    found->extent.stored_bytes = header->stored_bytes;
    found->bucket = owner->bucket_id;
    found->session = owner->session;
    found->offset = owner->object_offset;
    found->wall_ms = owner->proposer_wall_ms;
    found->part = memcmp(owner->upload_id, no_upload, sizeof(no_upload)) != 0;
    found->key = arena_copy(&walk->texts, owner->key);
    found->footer = arena_copy(&walk->texts, reply->footer);
    return (owner->key.len == 0 || found->key.data != NULL) && (reply->footer.len == 0 || found->footer.data != NULL);
}

static enum errc shard_ask(struct salvage_walk *walk, struct salvage_extent *found, const struct salvage_shard *shard)
{
    const struct salvage_disk *disk = &walk->disks[shard->disk];
    const struct node_shard_name name = { disk->id, shard->extent, shard->index };
    struct node_shard_stat_reply reply;
    struct enc head = ENC_INIT;
    node_shard_name_encode(&head, &name);
    struct rpc_call call = { .method = RPC_NODE_SHARD_STAT, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(walk->server->env) + CALL_NS };
    enum errc rc = wait_call(disk->channel, walk->server->completions, &call);
    rc = rc == ERRC_OK ? node_shard_stat_reply_decode(enc_slice(&call.reply), &reply) : rc;
    if (rc == ERRC_OK && !extent_id_equal(reply.header.extent, shard->extent)) {
        rc = ERRC_CORRUPT;
    }
    if (rc == ERRC_OK && !header_take(walk, found, &reply)) {
        rc = error_set(walk->e, ERRC_LIMIT, "the records of the lost objects need too much memory");
    }
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

/* All shards of an extent say the same; one that answers will do. One of which none does stays without a code. */
static enum errc extents_ask(struct salvage_walk *walk)
{
    for (size_t i = 0; i < walk->extent_count; i++) {
        struct salvage_extent *found = &walk->extents[i];
        enum errc rc = ERRC_UNAVAILABLE;
        bool away = false;
        for (uint32_t s = 0; s < found->count && rc != ERRC_OK && rc != ERRC_LIMIT; s++) {
            rc = shard_ask(walk, found, &walk->shards[found->first + s]);
            away = away || (rc != ERRC_CORRUPT && rc != ERRC_NOT_FOUND);
        }
        if (rc == ERRC_LIMIT || salvage_stopped(walk)) {
            return rc == ERRC_LIMIT ? rc : error_set(walk->e, ERRC_CANCELED, "the server ends");
        }
        if (rc != ERRC_OK && away) { /* shards that are damaged or gone will not answer later either */
            atomic_fetch_add(&walk->salvage->counts.disks_away, 1); /* as if: nothing is to be discarded */
        }
        atomic_fetch_add(&walk->salvage->counts.shards, found->count);
        atomic_fetch_add(&walk->salvage->counts.extents, 1);
    }
    return ERRC_OK;
}

enum errc salvage_shards(struct salvage_walk *walk)
{
    enum errc rc = map_take(walk);
    if (rc == ERRC_OK) {
        disks_take(walk);
        rc = sessions_take(walk);
    }
    rc = rc == ERRC_OK ? lists_take(walk) : rc;
    if (rc == ERRC_OK) {
        shards_sort(walk);
        extents_group(walk);
        rc = extents_filter(walk);
    }
    return rc == ERRC_OK ? extents_ask(walk) : rc;
}
