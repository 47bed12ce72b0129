/*
 * Doubts are looked at again until each is settled: record, disk, record, with the map before and after all of them.
 *
 *   orphan   its session was closed before the walk began and there is no record: no command can make one any more. So a
 *            shard that the disk still has after that answer is nobody's.
 *   absent   the record says that it is there before and after the disk said that it is not, in one epoch: nobody changed
 *            the record in between, so it was wrong at that moment.
 *   stray    likewise; but repair and rebalancing write a shard before they publish its new place, so it must stand as it
 *            is for STRAY_SECONDS.
 */
#include "server/fsck_parts.h"

#include "common/rpc/rpc_schema.h"
#include "server/server.h"
#include "server/server_background.h"

#include <stdio.h>

#define TRIES 5
#define STRAY_SECONDS 10
#define RECHECK_ARENA_BYTES (1u << 20)

enum verdict { VERDICT_FINE, VERDICT_STANDS, VERDICT_UNSURE, VERDICT_SILENT /* the disk does not answer */ };

static enum errc record_get(struct fsck_walk *walk, struct extent_id id, struct extent *ret_extent, bool *ret_there)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_EXTENT, .extent = id };
    arena_init(&arena, RECHECK_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    *ret_there = rc == ERRC_OK && op.extent.outcome == META_OK;
    if (*ret_there) {
        *ret_extent = op.extent.extent;
    }
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

static enum errc in_gc(struct fsck_walk *walk, struct extent_id id, bool *ret_known)
{
    struct arena arena;
    struct meta_op op;
    const struct meta_query query = { .type = META_QRY_EXTENTS_EXIST, .ids = slice_of(id.bytes, ID_BYTES) };
    arena_init(&arena, RECHECK_ARENA_BYTES);
    enum errc rc = wait_query(&walk->server->meta, walk->server->completions, &arena, &op, &query, walk->e);
    *ret_known = rc == ERRC_OK && op.exist.bitmap.len > 0 && (op.exist.bitmap.data[0] & 1) != 0;
    meta_op_release(&op);
    arena_done(&arena);
    return rc;
}

/* OK: the disk has it; NOT_FOUND: it is in service and has not; else it does not say. */
static enum errc shard_stat(struct fsck_walk *walk, const struct fsck_doubt *doubt)
{
    const struct fsck_disk *disk = &walk->disks[doubt->disk];
    const struct node_shard_name name = { disk->id, doubt->extent, doubt->index };
    struct enc head = ENC_INIT;
    node_shard_name_encode(&head, &name);
    struct rpc_call call = { .method = RPC_NODE_SHARD_STAT, .head = enc_slice(&head),
                             .deadline_ns = env_now_ns(walk->server->env) + FSCK_CALL_NS };
    enum errc rc = wait_call(disk->channel, walk->server->completions, &call);
    rpc_call_release(&call);
    enc_free(&head);
    return rc;
}

static enum errc orphan_judge(struct fsck_walk *walk, const struct fsck_doubt *doubt, enum verdict *ret_verdict)
{
    bool known;
    enum errc rc = in_gc(walk, doubt->extent, &known);
    enum errc on_disk = rc == ERRC_OK && !known ? shard_stat(walk, doubt) : ERRC_NOT_FOUND;
    *ret_verdict = on_disk == ERRC_OK          ? VERDICT_STANDS
                   : on_disk == ERRC_NOT_FOUND ? VERDICT_FINE
                                               : VERDICT_SILENT;
    return rc;
}

/* Of a record: is the doubt one by what it says? */
static bool record_agrees(const struct fsck_map *map, const struct fsck_walk *walk, const struct fsck_doubt *doubt,
                          const struct extent *extent)
{
    bool expected = fsck_expects(&map->reply, extent, doubt->index, walk->disks[doubt->disk].id);
    if (doubt->kind == DOUBT_ABSENT) {
        return expected;
    }
    struct extent whole = *extent; /* marked missing at this very place is no stray */
    whole.missing = 0;
    return !expected && !fsck_expects(&map->reply, &whole, doubt->index, walk->disks[doubt->disk].id);
}

static enum errc place_judge(struct fsck_walk *walk, const struct fsck_map *map, const struct fsck_doubt *doubt,
                             enum verdict *ret_verdict)
{
    struct extent before;
    struct extent after;
    bool there;
    *ret_verdict = VERDICT_FINE;
    enum errc rc = record_get(walk, doubt->extent, &before, &there);
    if (rc != ERRC_OK || !there || !record_agrees(map, walk, doubt, &before)) {
        return rc; /* deleted or mended meanwhile */
    }
    enum errc wanted = doubt->kind == DOUBT_ABSENT ? ERRC_NOT_FOUND : ERRC_OK;
    enum errc on_disk = shard_stat(walk, doubt);
    if (on_disk != wanted) {
        *ret_verdict = on_disk == ERRC_OK || on_disk == ERRC_NOT_FOUND ? VERDICT_FINE : VERDICT_SILENT;
        return ERRC_OK;
    }
    rc = record_get(walk, doubt->extent, &after, &there);
    if (rc == ERRC_OK && there) {
        *ret_verdict = before.epoch == after.epoch ? VERDICT_STANDS : VERDICT_UNSURE;
    }
    return rc;
}

void fsck_disk_silent(struct fsck_walk *walk, unsigned disk)
{
    if (walk->disks[disk].up) {
        walk->disks[disk].up = false;
        fsck_found(walk->fsck, "disk_unreachable", walk->disks[disk].name);
    }
}

static void report(struct fsck_walk *walk, const struct fsck_doubt *doubt)
{
    static const char *const kinds[] = { "shard_absent", "shard_stray", "shard_orphan", "shard_forgotten" };
    static const char *const says[] = { "is recorded on this disk, which does not have it",
                                        "lies on this disk and is recorded elsewhere", "lies on this disk and has no record",
                                        "lies on this disk and has no record, and nobody knows its session" };
    char id[ID_HEX_BYTES];
    char text[192];
    id_hex(doubt->extent.bytes, id);
    (void)snprintf(text, sizeof(text), "disk %s: shard %u of extent %s %s", walk->disks[doubt->disk].name, doubt->index, id,
                   says[doubt->kind]);
    fsck_found(walk->fsck, kinds[doubt->kind], text);
    struct server_background *background = atomic_load(&walk->server->background);
    if (doubt->kind == DOUBT_ABSENT && background != NULL) { /* as a read that misses it would: looked at again, then rebuilt */
        background_shard_corrupt(background, walk->disks[doubt->disk].id, doubt->extent, doubt->index);
    }
}

/* One pass over all doubts that are left: settled ones leave. The map is `map` unless its revision changes meanwhile. */
static enum errc pass(struct fsck_walk *walk, const struct fsck_map *map, enum verdict *verdicts)
{
    enum errc rc = ERRC_OK;
    for (unsigned i = 0; rc == ERRC_OK && i < walk->doubt_count; i++) {
        if (fsck_stopped(walk->fsck)) {
            return error_set(walk->e, ERRC_CANCELED, "the server ends");
        }
        rc = walk->doubts[i].kind >= DOUBT_ORPHAN ? orphan_judge(walk, &walk->doubts[i], &verdicts[i])
                                                  : place_judge(walk, map, &walk->doubts[i], &verdicts[i]);
    }
    return rc;
}

/* Keeps what is not settled. `same_map`: the verdicts hold; `may_stray`: strays have stood long enough. */
static void settle(struct fsck_walk *walk, const enum verdict *verdicts, bool same_map, bool may_stray)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < walk->doubt_count; i++) {
        struct fsck_doubt doubt = walk->doubts[i];
        doubt.silent = verdicts[i] == VERDICT_SILENT;
        bool holds = doubt.kind >= DOUBT_ORPHAN || same_map;
        bool waits = doubt.kind == DOUBT_STRAY && !may_stray;
        if (verdicts[i] == VERDICT_FINE) {
            continue;
        }
        if (verdicts[i] == VERDICT_STANDS && holds && !waits) {
            report(walk, &doubt);
        } else {
            walk->doubts[kept++] = doubt;
        }
    }
    walk->doubt_count = kept;
}

enum errc fsck_recheck(struct fsck_walk *walk)
{
    enum verdict verdicts[FSCK_DOUBTS_MAX]; /* 16 KiB of stack */
    enum errc rc = ERRC_OK;
    for (unsigned try = 0; rc == ERRC_OK && walk->doubt_count > 0 && try < TRIES; try++) {
        struct fsck_map before;
        struct fsck_map after;
        if (try > 0) {
            fsck_pause(walk->fsck, STRAY_SECONDS);
        }
        rc = fsck_map_get(walk, &before);
        if (rc != ERRC_OK) {
            return rc;
        }
        rc = pass(walk, &before, verdicts);
        if (rc == ERRC_OK && (rc = fsck_map_get(walk, &after)) == ERRC_OK) {
            settle(walk, verdicts, before.reply.revision == after.reply.revision, try > 0);
            fsck_map_free(&after);
        }
        fsck_map_free(&before);
    }
    for (unsigned i = 0; rc == ERRC_OK && i < walk->doubt_count; i++) {
        if (walk->doubts[i].silent) {
            fsck_disk_silent(walk, walk->doubts[i].disk);
        } else {
            report(walk, &walk->doubts[i]); /* it changes all the time, and is never as recorded */
        }
    }
    walk->doubt_count = rc == ERRC_OK ? 0 : walk->doubt_count;
    return rc;
}
