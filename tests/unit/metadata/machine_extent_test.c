/* Extents: references, copies, gc queue, repair queue, disk replacement, sessions. */
#include "common/base/bytes.h"
#include "metadata/key.h"
#include "tests/lib/kv_memory.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define BYTES 1000000u

static struct meta_command put_extents(struct fixture *f, uint64_t bucket, const char *key, uint32_t new_count,
                                       const struct extent *extents, uint32_t ref_count,
                                       const struct extent_ref *refs)
{
    struct meta_command cmd = { .type = META_CMD_OBJECT_PUT };
    uint64_t size = 0;
    for (uint32_t i = 0; i < ref_count; i++) {
        size += refs[i].length;
    }
    f->clock_ms++;
    cmd.object_put = (struct meta_object_put){
        .bucket_id = bucket,
        .key = slice_str(key),
        .session = f->session,
        .row = { .nonce = f->clock_ms, .mtime_ms = f->clock_ms, .size = size, .etag = slice_str("e") },
        .body = { .data_kind = META_DATA_EXTENTS, .ref_count = ref_count, .refs = refs },
        .extent_count = new_count,
        .extents = extents,
    };
    return cmd;
}

static struct extent_ref whole(const struct extent *extent)
{
    return (struct extent_ref){ extent->id, 0, extent->logical_bytes };
}

static struct meta_extent_reply extent_get(struct fixture *f, struct extent_id id)
{
    struct meta_extent_reply reply;
    struct meta_query query = { .type = META_QRY_EXTENT, .extent = id };
    assert_int_equal(meta_extent_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply;
}

static size_t table_count(struct fixture *f, enum key_table table)
{
    uint8_t byte = (uint8_t)table;
    return kv_memory_count_prefix(f->kv, slice_of(&byte, 1));
}

static struct meta_repair_reply repair(struct fixture *f)
{
    struct meta_repair_reply reply;
    struct meta_query query = { .type = META_QRY_REPAIR };
    assert_int_equal(meta_repair_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply;
}

static bool known(struct fixture *f, struct extent_id id)
{
    struct meta_exist_reply reply;
    struct meta_query query = { .type = META_QRY_EXTENTS_EXIST, .ids = slice_of(id.bytes, ID_BYTES) };
    assert_int_equal(meta_exist_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply.bitmap.data[0] == 1;
}

static void overwrite_and_gc(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent first = fixture_extent(&f, BYTES);
    struct extent_ref ref = whole(&first);
    struct meta_command cmd = put_extents(&f, b, "k", 1, &first, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(extent_get(&f, first.id).extent.references, 1);
    assert_int_equal(fixture_status(&f).extents_full, 1);
    assert_int_equal(fixture_status(&f).stripes, 2);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE); /* sent twice */
    struct extent second = fixture_extent(&f, BYTES);
    ref = whole(&second);
    cmd = put_extents(&f, b, "k", 1, &second, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(extent_get(&f, first.id).outcome, META_NO_KEY);
    assert_true(known(&f, first.id));
    struct meta_gc_reply gc = fixture_gc(&f);
    assert_int_equal(gc.count, 1);
    assert_int_equal(gc.items[0].kind, 1);
    assert_int_equal(gc.items[0].index, f.index);
    assert_true(extent_id_equal(gc.items[0].extent.id, first.id));
    struct extent_ref old = whole(&first);
    struct meta_command again = put_extents(&f, b, "other", 1, &first, 1, &old);
    assert_int_equal(fixture_apply(&f, &again).outcome, META_STALE); /* on its way out */
    struct meta_command done = { .type = META_CMD_GC_DONE };
    done.gc_done = (struct meta_gc_done){ 1, &gc.items[0].seq };
    assert_int_equal(fixture_apply(&f, &done).value, 1);
    assert_int_equal(fixture_apply(&f, &done).value, 0);
    assert_false(known(&f, first.id));
    fixture_delete(&f, b, "k");
    assert_int_equal(fixture_gc(&f).count, 1);
    struct meta_status status = fixture_status(&f);
    assert_int_equal(status.extents, 0);
    assert_int_equal(status.stripes, 0);
    assert_int_equal(status.gc_items, 1);
    assert_int_equal(table_count(&f, TABLE_EXTENT_GROUP), 0);
    fixture_close(&f);
}

static void copies_share(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent extent = fixture_extent(&f, BYTES);
    struct extent_ref ref = whole(&extent);
    struct meta_command cmd = put_extents(&f, b, "a", 1, &extent, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    struct extent_ref range = { extent.id, 500, 100 };
    cmd = put_extents(&f, b, "b", 0, NULL, 1, &range);
    cmd.object_put.session = 0;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(extent_get(&f, extent.id).extent.references, 2);
    cmd = put_extents(&f, b, "a", 0, NULL, 1, &ref); /* onto itself */
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(extent_get(&f, extent.id).extent.references, 2);
    fixture_delete(&f, b, "a");
    assert_int_equal(extent_get(&f, extent.id).extent.references, 1);
    cmd = put_extents(&f, b, "b", 0, NULL, 1, &range); /* the last reference replaced by itself */
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(fixture_gc(&f).count, 0);
    fixture_delete(&f, b, "b");
    assert_int_equal(fixture_gc(&f).count, 1);
    cmd = put_extents(&f, b, "c", 0, NULL, 1, &range);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE);
    fixture_close(&f);
}

static void refused_puts_leave_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    size_t before = kv_memory_count(f.kv);
    struct extent extent = fixture_extent(&f, BYTES);
    struct extent_ref ref = whole(&extent);
    struct meta_command good = put_extents(&f, b, "k", 1, &extent, 1, &ref);
    struct meta_command cmd = good;
    cmd.object_put.row.size++;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    cmd = good;
    cmd.object_put.session = f.session + 1;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE);
    struct extent_ref beyond = { extent.id, 1, BYTES };
    cmd = put_extents(&f, b, "k", 1, &extent, 1, &beyond);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    struct extent two[2] = { extent, fixture_extent(&f, BYTES) };
    cmd = put_extents(&f, b, "k", 2, two, 1, &ref); /* an extent that nothing uses */
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    struct extent lost = extent;
    lost.missing = 7;
    cmd = put_extents(&f, b, "k", 1, &lost, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    struct extent twice = extent;
    twice.position[1] = 0;
    cmd = put_extents(&f, b, "k", 1, &twice, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    assert_int_equal(kv_memory_count(f.kv), before);
    assert_int_equal(fixture_bucket_get(&f, b).objects, 0);
    struct meta_command close_ = { .type = META_CMD_SESSION_CLOSE };
    close_.session_close.session = f.session;
    assert_int_equal(fixture_apply(&f, &close_).outcome, META_OK);
    assert_int_equal(fixture_apply(&f, &close_).outcome, META_STALE);
    assert_int_equal(fixture_apply(&f, &good).outcome, META_STALE);
    fixture_reopen(&f); /* not only by the cache */
    assert_int_equal(fixture_apply(&f, &good).outcome, META_STALE);
    assert_int_equal(fixture_status(&f).sessions_open, 0);
    fixture_close(&f);
}

static void sessions(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct meta_command cmd = { .type = META_CMD_SESSION_RESERVE };
    cmd.session_reserve.session = f.session;
    uint64_t first = fixture_apply(&f, &cmd).value;
    assert_int_equal(fixture_apply(&f, &cmd).value, first + SESSION_IDS_RESERVED);
    cmd.session_reserve.session = 99;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE);
    struct meta_sessions_reply reply;
    struct meta_query query = { .type = META_QRY_SESSIONS };
    assert_int_equal(meta_sessions_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 1);
    assert_true(reply.sessions[0].open);
    assert_int_equal(reply.sessions[0].next_counter, first + 2 * SESSION_IDS_RESERVED);
    fixture_close(&f);
}

/* The state goes on as a new history: ids of the lost one are never given again, and its sessions are nobody's. */
static void rebuilt(void **state)
{
    (void)state;
    struct fixture f;
    struct error e = ERROR_INIT;
    fixture_open(&f);
    uint64_t index = 0;
    uint32_t sub = 0;
    machine_position(f.machine, &index, &sub);
    assert_int_equal(machine_rebuilt(f.machine, index + 100, &e), ERRC_OK);
    fixture_reopen(&f); /* all of it is in the map */
    uint64_t now = 0;
    machine_position(f.machine, &now, &sub);
    assert_int_equal(now, index + 100);
    assert_int_equal(fixture_status(&f).sessions_open, 0);
    struct meta_sessions_reply reply;
    struct meta_query query = { .type = META_QRY_SESSIONS };
    assert_int_equal(meta_sessions_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 0);
    f.index = now;
    struct meta_command cmd = { .type = META_CMD_SESSION_RESERVE };
    cmd.session_reserve.session = f.session;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE);
    struct meta_command open = { .type = META_CMD_SESSION_OPEN };
    assert_true(fixture_apply(&f, &open).value > f.session + UINT32_MAX);
    fixture_close(&f);
}

/* What a lost history wrote comes back once, under its own ids, and never over what is newer. */
static void adopted(void **state)
{
    (void)state;
    struct fixture f;
    struct error e = ERROR_INIT;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent extent = fixture_extent(&f, BYTES);
    struct extent late = fixture_extent(&f, BYTES);
    struct extent_ref ref = whole(&extent);
    struct extent_ref late_ref = whole(&late);
    struct meta_command adopt = put_extents(&f, b, "k", 1, &extent, 1, &ref);
    adopt.type = META_CMD_OBJECT_ADOPT;
    assert_int_equal(fixture_apply(&f, &adopt).outcome, META_STALE); /* its session is open: nothing is lost */
    assert_int_equal(machine_rebuilt(f.machine, f.index + 100, &e), ERRC_OK);
    f.index += 100;
    struct meta_command older = adopt;
    struct extent_ref none = { late.id, 0, BYTES };
    older.object_put.row.mtime_ms--;
    older.object_put.extents = &late;
    older.object_put.body.refs = &none;
    struct meta_command put = adopt;
    put.type = META_CMD_OBJECT_PUT;
    assert_int_equal(fixture_apply(&f, &put).outcome, META_STALE); /* a gateway that does not know yet */
    assert_int_equal(fixture_apply(&f, &adopt).outcome, META_OK);
    assert_int_equal(fixture_bucket_get(&f, b).objects, 1);
    assert_int_equal(fixture_apply(&f, &adopt).outcome, META_STALE); /* once */
    assert_int_equal(fixture_apply(&f, &older).outcome, META_PRECONDITION);
    struct meta_command settle = { .type = META_CMD_SESSION_SETTLE, .session_close = { f.session } };
    assert_int_equal(fixture_apply(&f, &settle).outcome, META_OK);
    assert_int_equal(fixture_apply(&f, &settle).outcome, META_STALE);
    struct meta_command left = put_extents(&f, b, "late", 1, &late, 1, &late_ref);
    left.type = META_CMD_OBJECT_ADOPT;
    assert_int_equal(fixture_apply(&f, &left).outcome, META_STALE); /* it may be freed by now */
    left.object_put.session = f.session + 1000;
    assert_int_equal(fixture_apply(&f, &left).outcome, META_INVALID); /* the extent's id is of another session */
    settle.session_close.session = f.session + (UINT64_C(1) << 40);
    assert_int_equal(fixture_apply(&f, &settle).outcome, META_STALE); /* a number that was never given */
    fixture_reopen(&f);
    fixture_audit(&f);
    fixture_close(&f);
}

static void repair_order_and_cas(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent e[4];
    struct extent_ref refs[4];
    for (int i = 0; i < 4; i++) {
        e[i] = fixture_extent(&f, BYTES);
        refs[i] = whole(&e[i]);
    }
    e[1].missing = 1;         /* one more may go */
    e[2].code.k = 2;          /* smaller than its class */
    e[3].missing = 1u | 2u;   /* none may */
    struct meta_command cmd = put_extents(&f, b, "k", 4, e, 4, refs);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    struct meta_repair_reply queue = repair(&f);
    assert_int_equal(queue.count, 3);
    assert_true(extent_id_equal(queue.extents[0].id, e[3].id));
    assert_true(extent_id_equal(queue.extents[1].id, e[1].id));
    assert_true(extent_id_equal(queue.extents[2].id, e[2].id));
    struct meta_query next = { .type = META_QRY_REPAIR, .from = meta_repair_rank(&e[3]), .extent = e[3].id };
    assert_int_equal(meta_repair_reply_decode(fixture_query(&f, &next), &f.arena, &queue), ERRC_OK);
    assert_int_equal(queue.count, 2);
    struct meta_status status = fixture_status(&f);
    assert_int_equal(status.extents_full, 1);
    assert_int_equal(status.extents_smaller, 1);
    assert_int_equal(status.extents_missing[0], 1);
    assert_int_equal(status.extents_missing[1], 1);

    struct meta_command missing = { .type = META_CMD_EXTENT_MISSING };
    missing.extent_missing = (struct meta_extent_missing){ e[3].id, 4 };
    assert_int_equal(fixture_apply(&f, &missing).outcome, META_OK);
    struct extent now = extent_get(&f, e[3].id).extent;
    assert_int_equal(now.missing, 7);
    assert_int_equal(now.epoch, e[3].epoch + 1);
    assert_int_equal(fixture_status(&f).extents_unreadable, 1);
    queue = repair(&f);
    assert_true(extent_id_equal(queue.extents[queue.count - 1].id, e[3].id)); /* can't be repaired now */
    assert_int_equal(fixture_apply(&f, &missing).outcome, META_OK);            /* no news */
    assert_int_equal(extent_get(&f, e[3].id).extent.epoch, now.epoch);

    struct meta_command repaired = { .type = META_CMD_EXTENT_REPAIRED };
    repaired.extent_repaired = (struct meta_extent_repaired){ .id = e[1].id, .epoch = e[1].epoch, .after = e[1] };
    repaired.extent_repaired.after.missing = 0;
    repaired.extent_repaired.after.epoch = e[1].epoch + 1;
    repaired.extent_repaired.after.references = 77;
    repaired.extent_repaired.epoch = 9;
    assert_int_equal(fixture_apply(&f, &repaired).outcome, META_STALE);
    repaired.extent_repaired.epoch = e[1].epoch;
    assert_int_equal(fixture_apply(&f, &repaired).outcome, META_OK);
    assert_int_equal(fixture_apply(&f, &repaired).outcome, META_STALE);
    assert_int_equal(extent_get(&f, e[1].id).extent.references, 1);
    assert_int_equal(repair(&f).count, 2);
    assert_int_equal(fixture_status(&f).extents_full, 2);
    fixture_delete(&f, b, "k");
    status = fixture_status(&f);
    assert_int_equal(status.extents, 0);
    assert_int_equal(status.stripes_degraded, 0);
    assert_int_equal(status.extents_unreadable, 0);
    assert_int_equal(table_count(&f, TABLE_REPAIR), 0);
    fixture_close(&f);
}

static struct disk_id disk(unsigned n)
{
    struct disk_id id = { { 0 } };
    id.bytes[15] = (uint8_t)n;
    return id;
}

static struct meta_cluster_reply cluster(struct fixture *f)
{
    struct meta_cluster_reply reply;
    struct meta_query query = { .type = META_QRY_CLUSTER };
    assert_int_equal(meta_cluster_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply;
}

static void group_make(struct fixture *f)
{
    struct meta_command cmd = { .type = META_CMD_DISK_PUT };
    for (unsigned i = 1; i <= 6; i++) {
        cmd.disk_put.disk = (struct meta_disk){ .id = disk(i), .state = META_DISK_IN, .path = slice_str("/d") };
        assert_int_equal(fixture_apply(f, &cmd).outcome, META_OK);
    }
    cmd = (struct meta_command){ .type = META_CMD_GROUP_PUT };
    cmd.group_put.group = (struct meta_group){ .id = 1, .disk_count = 6, .writable = true };
    for (unsigned i = 0; i < 6; i++) {
        cmd.group_put.group.disks[i] = disk(i + 1);
    }
    assert_int_equal(fixture_apply(f, &cmd).outcome, META_OK);
    assert_int_equal(fixture_apply(f, &cmd).outcome, META_STALE); /* epoch is 1 now */
}

static struct meta_group classed(uint32_t id, uint32_t epoch)
{
    struct meta_group group = { .id = id, .epoch = epoch, .disk_count = 8, .writable = true, .class_k = 4, .class_m = 2,
                                .primary = 0x3f };
    for (unsigned i = 0; i < 8; i++) {
        group.disks[i] = disk(i + 1);
    }
    return group;
}

static unsigned group_outcome(struct fixture *f, struct meta_group group)
{
    const struct meta_command cmd = { .type = META_CMD_GROUP_PUT, .group_put.group = group };
    return fixture_apply(f, &cmd).outcome;
}

static void groups_with_a_class(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct meta_group group = classed(1, 0);
    group.primary = 0x1f; /* five of six */
    assert_int_equal(group_outcome(&f, group), META_INVALID);
    group.primary = 0x11f; /* a position that is not there */
    assert_int_equal(group_outcome(&f, group), META_INVALID);
    assert_int_equal(group_outcome(&f, classed(1, 0)), META_OK);
    fixture_reopen(&f);
    struct meta_group stored = cluster(&f).groups[0];
    assert_int_equal(stored.class_k, 4);
    assert_int_equal(stored.class_m, 2);
    assert_int_equal(stored.primary, 0x3f);
    group = classed(1, 1);
    group.primary = 0xfc; /* another choice of primaries is no sweep: the disks are where they were */
    assert_int_equal(group_outcome(&f, group), META_OK);
    assert_int_equal(cluster(&f).sweep_count, 0);
    group = classed(1, 2);
    group.class_k = 3;
    group.primary = 0x1f;
    assert_int_equal(group_outcome(&f, group), META_INVALID); /* what stands there is of the old class */

    struct extent extent = fixture_extent(&f, BYTES);
    struct extent_ref ref = whole(&extent);
    extent.class_m = 1;
    struct meta_command cmd = put_extents(&f, b, "a", 1, &extent, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    extent.class_m = 2;
    extent.class_k = 8;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    extent.class_k = 4;
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    fixture_close(&f);
}

static const struct kv_vt *plain_vt;
static struct fixture *meddled;
static struct extent_id meddled_with;

/* While the queue is walked, one extent loses another shard. */
static enum errc meddling_get(struct kv *kv, struct slice key, bool cached_only, struct enc *ret_value, struct error *e)
{
    struct fixture *f = meddled;
    if (f != NULL && key.len == 1 + ID_BYTES && key.data[0] == TABLE_EXTENT) {
        meddled = NULL;
        struct meta_command missing = { .type = META_CMD_EXTENT_MISSING };
        missing.extent_missing = (struct meta_extent_missing){ meddled_with, 2 };
        assert_int_equal(fixture_apply(f, &missing).outcome, META_OK);
    }
    return plain_vt->get(kv, key, cached_only, ret_value, e);
}

/* The next page begins behind the rank of the last extent shown: one whose rank moved meanwhile must not lead it astray. */
static void a_rank_that_moves_skips_nobody(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent e[4];
    struct extent_ref refs[4];
    for (unsigned i = 0; i < 4; i++) {
        e[i] = fixture_extent(&f, BYTES);
        e[i].missing = 1; /* all of one rank, in the order of their ids */
        refs[i] = whole(&e[i]);
    }
    struct meta_command cmd = put_extents(&f, b, "k", 4, e, 4, refs);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    plain_vt = f.kv->vt;
    struct kv_vt meddling = *plain_vt;
    meddling.get = meddling_get;
    f.kv->vt = &meddling;
    meddled = &f;
    meddled_with = e[1].id;
    struct meta_repair_reply queue;
    struct meta_query query = { .type = META_QRY_REPAIR, .limit = 2 };
    assert_int_equal(meta_repair_reply_decode(fixture_query(&f, &query), &f.arena, &queue), ERRC_OK);
    assert_null(meddled);
    assert_int_equal(queue.count, 2);
    const struct extent *last = &queue.extents[1];
    assert_true(extent_id_equal(last->id, e[2].id));
    query.from = meta_repair_rank(last);
    query.extent = last->id;
    assert_int_equal(meta_repair_reply_decode(fixture_query(&f, &query), &f.arena, &queue), ERRC_OK);
    assert_int_equal(queue.count, 1);
    assert_true(extent_id_equal(queue.extents[0].id, e[3].id));
    assert_true(extent_id_equal(repair(&f).extents[0].id, e[1].id)); /* the first of the next pass */
    f.kv->vt = plain_vt;
    fixture_close(&f);
}

static struct meta_gc_reply retired(struct fixture *f, uint64_t from)
{
    struct meta_gc_reply reply;
    struct meta_query query = { .type = META_QRY_RETIRED, .from = from };
    assert_int_equal(meta_gc_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply;
}

/* An extent brought to another code: its first set is known until it is said to be freed, whatever becomes of the extent. */
static void first_sets_are_remembered(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent e = fixture_extent(&f, BYTES);
    struct extent first = e;
    first.code.k = 1;
    first.missing = 1;
    struct extent_ref ref = whole(&first);
    struct meta_command cmd = put_extents(&f, b, "k", 1, &first, 1, &ref);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    struct meta_command repaired = { .type = META_CMD_EXTENT_REPAIRED };
    repaired.extent_repaired = (struct meta_extent_repaired){ .id = e.id, .epoch = first.epoch, .after = first };
    repaired.extent_repaired.after.missing = 0;
    repaired.extent_repaired.after.epoch++;
    assert_int_equal(fixture_apply(&f, &repaired).outcome, META_OK);
    assert_int_equal(retired(&f, 0).count, 0); /* the same code: nothing is left over */
    repaired.extent_repaired.epoch++;
    repaired.extent_repaired.after = e;
    repaired.extent_repaired.after.epoch = first.epoch + 2;
    for (unsigned i = 0; i < 6; i++) {
        repaired.extent_repaired.after.position[i] = (uint8_t)(i == 2 ? first.position[2] : 10 + i);
    }
    assert_int_equal(fixture_apply(&f, &repaired).outcome, META_OK);
    fixture_reopen(&f);
    struct meta_gc_reply items = retired(&f, 0);
    assert_int_equal(items.count, 1);
    assert_int_equal(items.items[0].index, f.index);
    assert_int_equal(items.items[0].extent.code.k, 1);
    assert_int_equal(items.items[0].extent.missing, 3); /* the third one is named by the record of now too */
    assert_int_equal(retired(&f, items.items[0].seq + 1).count, 0);
    assert_int_equal(fixture_gc(&f).count, 0);
    fixture_delete(&f, b, "k");
    assert_int_equal(fixture_gc(&f).count, 1);
    assert_int_equal(retired(&f, 0).items[0].extent.missing, 7);
    uint64_t seqs[] = { items.items[0].seq, fixture_gc(&f).items[0].seq };
    struct meta_command done = { .type = META_CMD_GC_DONE };
    done.gc_done = (struct meta_gc_done){ .count = 2, .seqs = seqs };
    assert_int_equal(fixture_apply(&f, &done).value, 2);
    assert_int_equal(retired(&f, 0).count, 0);
    assert_int_equal(fixture_gc(&f).count, 0);
    assert_int_equal(fixture_status(&f).gc_items, 0);
    assert_int_equal(table_count(&f, TABLE_RETIRED), 0);
    fixture_close(&f);
}

static void disk_replaced(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    group_make(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    uint64_t old_revision = cluster(&f).revision;
    for (int i = 0; i < 5; i++) {
        char key[2] = { (char)('a' + i), '\0' };
        struct extent extent = fixture_extent(&f, BYTES);
        struct extent_ref ref = whole(&extent);
        struct meta_command cmd = put_extents(&f, b, key, 1, &extent, 1, &ref);
        cmd.object_put.map_revision = old_revision;
        assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    }
    struct meta_command put = { .type = META_CMD_DISK_PUT };
    put.disk_put.disk = (struct meta_disk){ .id = disk(9), .state = META_DISK_IN, .replaces = disk(3) };
    assert_int_equal(fixture_apply(&f, &put).value, 1);
    struct meta_cluster_reply map = cluster(&f);
    assert_int_equal(map.groups[0].epoch, 2);
    assert_true(disk_id_equal(map.groups[0].disks[2], disk(9)));
    assert_int_equal(map.sweep_count, 1);
    assert_int_equal(map.sweeps[0].position, 2);
    assert_true(map.revision > old_revision);

    /* Written by the old map: the shard at the position that changed is missing; with another one missing too few are left. */
    for (unsigned i = 0; i < 2; i++) {
        struct extent late = fixture_extent(&f, BYTES);
        struct extent_ref ref = whole(&late);
        struct meta_command cmd = put_extents(&f, b, i == 0 ? "late" : "later", 1, &late, 1, &ref);
        cmd.object_put.map_revision = old_revision;
        assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
        assert_int_equal(fixture_status(&f).extents_missing[0], i + 1);
        assert_int_equal(repair(&f).extents[i].missing, 4);
        late = fixture_extent(&f, BYTES);
        late.missing = 1;
        ref = whole(&late);
        cmd = put_extents(&f, b, "none", 1, &late, 1, &ref);
        cmd.object_put.map_revision = old_revision;
        assert_int_equal(fixture_apply(&f, &cmd).outcome, META_STALE);
        cmd.object_put.map_revision = map.revision;
        assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
        fixture_delete(&f, b, "none");
        fixture_reopen(&f); /* the revisions of the positions are kept */
    }
    fixture_delete(&f, b, "late");
    fixture_delete(&f, b, "later");
    struct meta_command sweep = { .type = META_CMD_GROUP_SWEEP };
    unsigned steps = 0, marked = 0;
    for (struct meta_cluster_reply at = map; at.sweep_count > 0; at = cluster(&f)) {
        sweep.group_sweep = (struct meta_group_sweep){ 1, 2, at.sweeps[0].from, 2 };
        struct meta_result result = fixture_apply(&f, &sweep);
        assert_int_equal(result.outcome, META_OK);
        marked += (unsigned)result.value;
        steps++;
        if (result.detail == 1) {
            assert_int_equal(fixture_apply(&f, &sweep).outcome, META_STALE); /* the cursor has moved */
        }
    }
    assert_int_equal(steps, 3);
    assert_int_equal(marked, 5);
    assert_int_equal(fixture_apply(&f, &sweep).outcome, META_STALE);
    assert_int_equal(fixture_status(&f).extents_missing[0], 5);
    assert_int_equal(repair(&f).extents[0].missing, 4);
    put.disk_put.disk = (struct meta_disk){ .id = disk(9), .state = META_DISK_IN, .replaces = disk(4) };
    assert_int_equal(fixture_apply(&f, &put).outcome, META_INVALID); /* two places of one group */
    fixture_close(&f);
}

static void many_references_leave_in_steps(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent *extents = arena_zalloc(&f.arena, EXTENT_REFS_MAX * sizeof(*extents));
    struct extent_ref *refs = arena_zalloc(&f.arena, EXTENT_REFS_MAX * sizeof(*refs));
    for (unsigned i = 0; i < EXTENT_REFS_MAX; i++) {
        extents[i] = fixture_extent(&f, BYTES);
        refs[i] = whole(&extents[i]);
    }
    struct meta_command cmd = put_extents(&f, b, "k", EXTENT_REFS_MAX, extents, EXTENT_REFS_MAX, refs);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    fixture_delete(&f, b, "k");
    struct meta_gc_reply gc = fixture_gc(&f);
    assert_int_equal(gc.count, 1);
    assert_int_equal(gc.items[0].kind, 2);
    assert_int_equal(fixture_status(&f).extents, EXTENT_REFS_MAX);
    struct meta_command expand = { .type = META_CMD_GC_EXPAND };
    expand.gc_expand.seq = gc.items[0].seq;
    assert_int_equal(fixture_apply(&f, &expand).detail, 1);
    assert_int_equal(fixture_status(&f).extents, EXTENT_REFS_MAX); /* the body went, the item goes on */
    assert_int_equal(fixture_apply(&f, &expand).detail, 1);
    assert_int_equal(fixture_status(&f).extents, EXTENT_REFS_MAX / 2);
    assert_int_equal(fixture_apply(&f, &expand).detail, 0);
    assert_int_equal(fixture_apply(&f, &expand).outcome, META_STALE);
    assert_int_equal(fixture_status(&f).extents, 0);
    assert_int_equal(fixture_status(&f).gc_items, EXTENT_REFS_MAX);
    assert_int_equal(table_count(&f, TABLE_GC), EXTENT_REFS_MAX);
    fixture_close(&f);
}

static void ranges_join_extents(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct extent extents[40];
    struct extent_ref refs[40];
    for (unsigned i = 0; i < 40; i++) {
        extents[i] = fixture_extent(&f, 1000);
        refs[i] = (struct extent_ref){ extents[i].id, 100, 100 };
    }
    struct meta_command cmd = put_extents(&f, b, "k", 40, extents, 40, refs);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket = slice_str("bucket"), .key = slice_str("k"),
                                .want_data = true, .range_first = 150, .range_length = 100 };
    struct meta_object_reply reply = fixture_get(&f, &query);
    assert_int_equal(reply.extent_count, 2);
    assert_int_equal(reply.extents[0].offset, 150);
    assert_int_equal(reply.extents[0].length, 50);
    assert_int_equal(reply.extents[0].object_offset, 150);
    assert_true(extent_id_equal(reply.extents[0].extent.id, extents[1].id));
    assert_int_equal(reply.extents[1].offset, 100);
    assert_int_equal(reply.extents[1].length, 50);
    assert_int_equal(reply.extents_until, 250);
    query.range_first = 0;
    query.range_length = UINT64_MAX;
    reply = fixture_get(&f, &query);
    assert_int_equal(reply.extent_count, 32);
    assert_int_equal(reply.extents_until, 3200);
    query.type = META_QRY_EXTENTS;
    query.range_first = reply.extents_until;
    query.has_version = true;
    query.version = (struct meta_version_ref){ .seq = reply.row.seq, .nonce = reply.row.nonce };
    reply = fixture_get(&f, &query);
    assert_int_equal(reply.extent_count, 8);
    assert_int_equal(reply.extents_until, 4000);
    query.range_first = 4000;
    assert_int_equal(fixture_get(&f, &query).extent_count, 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_with_a_class),
        cmocka_unit_test(overwrite_and_gc),
        cmocka_unit_test(copies_share),
        cmocka_unit_test(refused_puts_leave_nothing),
        cmocka_unit_test(sessions),
        cmocka_unit_test(rebuilt),
        cmocka_unit_test(adopted),
        cmocka_unit_test(repair_order_and_cas),
        cmocka_unit_test(disk_replaced),
        cmocka_unit_test(first_sets_are_remembered),
        cmocka_unit_test(a_rank_that_moves_skips_nobody),
        cmocka_unit_test(many_references_leave_in_steps),
        cmocka_unit_test(ranges_join_extents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
