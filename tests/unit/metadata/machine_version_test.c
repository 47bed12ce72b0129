/* Version rules in every state of versioning (S3-SURFACE 4.8), conditions (4.11), buckets. */
#include "tests/lib/kv_memory.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

static void versioning_set(struct fixture *f, const char *bucket, enum meta_versioning versioning)
{
    struct meta_command cmd = { .type = META_CMD_BUCKET_VERSIONING };
    cmd.bucket_versioning.name = slice_str(bucket);
    cmd.bucket_versioning.versioning = (uint8_t)versioning;
    assert_int_equal(fixture_apply(f, &cmd).outcome, META_OK);
}

static struct meta_list_reply versions(struct fixture *f, uint64_t bucket)
{
    struct meta_list_reply reply;
    struct meta_query query = { .type = META_QRY_LIST_VERSIONS, .bucket_id = bucket, .limit = 1000 };
    assert_int_equal(meta_list_reply_decode(fixture_query(f, &query), &f->arena, &reply), ERRC_OK);
    return reply;
}

/* Versions of the bucket as text: "key:etag" with n = null, m = marker, * = latest. */
static void assert_versions(struct fixture *f, uint64_t bucket, const char *expected)
{
    char text[512];
    size_t len = 0;
    struct meta_list_reply reply = versions(f, bucket);
    for (uint32_t i = 0; i < reply.count; i++) {
        const struct meta_list_entry *entry = &reply.entries[i];
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%.*s:%.*s%s%s%s", i > 0 ? " " : "",
                                (int)entry->key.len, (const char *)entry->key.data, (int)entry->row.etag.len,
                                (const char *)entry->row.etag.data, entry->row.delete_marker ? "m" : "",
                                entry->row.null_version ? "n" : "", entry->latest ? "*" : "");
    }
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static struct meta_version_ref ref_of(struct meta_result result)
{
    return (struct meta_version_ref){ .seq = result.seq, .nonce = result.nonce };
}

static const struct meta_version_ref null_ref = { .null_version = true };

static void unset_replaces(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct meta_result put = fixture_put(&f, b, "k", "A");
    assert_int_equal(put.outcome, META_OK);
    assert_true(put.null_version);
    assert_false(put.versioned);
    fixture_put(&f, b, "k", "BB");
    assert_versions(&f, b, "k:BBn*");
    struct meta_bucket bucket = fixture_bucket_get(&f, b);
    assert_int_equal(bucket.objects, 1);
    assert_int_equal(bucket.bytes, 2);
    struct meta_result gone = fixture_delete(&f, b, "k");
    assert_false(gone.made_marker);
    assert_false(gone.delete_marker);
    assert_versions(&f, b, "");
    assert_int_equal(fixture_delete(&f, b, "k").outcome, META_OK);
    fixture_put(&f, b, "k", "C");
    fixture_delete_version(&f, b, "k", null_ref);
    assert_versions(&f, b, "");
    assert_int_equal(fixture_status(&f).versions, 0);
    fixture_close(&f);
}

static void enabled_stacks(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    fixture_put(&f, b, "k", "A");
    versioning_set(&f, "bucket", META_VERSIONING_ENABLED);
    struct meta_result second = fixture_put(&f, b, "k", "B");
    assert_false(second.null_version);
    assert_true(second.versioned);
    struct meta_result third = fixture_put(&f, b, "k", "C");
    assert_versions(&f, b, "k:C* k:B k:An");
    struct meta_result marker = fixture_delete(&f, b, "k");
    assert_true(marker.made_marker);
    assert_true(marker.delete_marker);
    assert_versions(&f, b, "k:m* k:C k:B k:An");
    assert_int_equal(fixture_bucket_get(&f, b).objects, 0);
    assert_int_equal(fixture_bucket_get(&f, b).bytes, 3);
    struct meta_object_reply head = fixture_head(&f, b, "k");
    assert_int_equal(head.outcome, META_NO_KEY);
    assert_true(head.row.delete_marker);
    assert_int_equal(head.row.seq, marker.seq);
    struct meta_result removed = fixture_delete_version(&f, b, "k", ref_of(marker));
    assert_true(removed.delete_marker);
    assert_false(removed.made_marker);
    assert_versions(&f, b, "k:C* k:B k:An");
    assert_int_equal(fixture_bucket_get(&f, b).objects, 1);
    assert_true(ref_of(third).seq > ref_of(second).seq);
    fixture_delete_version(&f, b, "k", ref_of(second));
    assert_versions(&f, b, "k:C* k:An");
    fixture_delete_version(&f, b, "k", null_ref);
    assert_versions(&f, b, "k:C*");
    fixture_delete_version(&f, b, "k", ref_of(third));
    assert_versions(&f, b, "");
    fixture_delete(&f, b, "never");
    assert_versions(&f, b, "never:m*");
    fixture_close(&f);
}

static void suspended_replaces_null(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    fixture_put(&f, b, "k", "A");
    versioning_set(&f, "bucket", META_VERSIONING_ENABLED);
    fixture_put(&f, b, "k", "B");
    fixture_put(&f, b, "k", "C");
    versioning_set(&f, "bucket", META_VERSIONING_SUSPENDED);
    struct meta_result put = fixture_put(&f, b, "k", "D"); /* the null version from the bottom goes */
    assert_true(put.null_version);
    assert_true(put.versioned);
    assert_versions(&f, b, "k:Dn* k:C k:B");
    fixture_put(&f, b, "k", "E");
    assert_versions(&f, b, "k:En* k:C k:B");
    struct meta_result marker = fixture_delete(&f, b, "k");
    assert_true(marker.made_marker);
    assert_true(marker.null_version);
    assert_versions(&f, b, "k:mn* k:C k:B");
    versioning_set(&f, "bucket", META_VERSIONING_ENABLED);
    fixture_put(&f, b, "k", "F");
    assert_versions(&f, b, "k:F* k:mn k:C k:B");
    versioning_set(&f, "bucket", META_VERSIONING_SUSPENDED);
    fixture_put(&f, b, "k", "G");
    assert_versions(&f, b, "k:Gn* k:F k:C k:B");
    fixture_delete_version(&f, b, "k", null_ref);
    assert_versions(&f, b, "k:F* k:C k:B");
    fixture_delete(&f, b, "k");
    fixture_delete_version(&f, b, "k", null_ref); /* the marker */
    assert_versions(&f, b, "k:F* k:C k:B");
    assert_int_equal(fixture_bucket_get(&f, b).bytes, 3);
    assert_int_equal(fixture_bucket_get(&f, b).objects, 1);
    fixture_close(&f);
}

static void null_promoted_and_found(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    fixture_put(&f, b, "k", "A");
    versioning_set(&f, "bucket", META_VERSIONING_ENABLED);
    struct meta_result second = fixture_put(&f, b, "k", "B");
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = b, .key = slice_str("k"), .has_version = true,
                                .version = null_ref, .want_data = true, .range_length = 10 };
    assert_true(slice_equal_str(fixture_get(&f, &query).inline_bytes, "A"));
    fixture_delete_version(&f, b, "k", ref_of(second));
    assert_versions(&f, b, "k:An*");
    assert_true(slice_equal_str(fixture_get(&f, &query).inline_bytes, "A"));
    struct meta_result third = fixture_put(&f, b, "k", "C");
    assert_versions(&f, b, "k:C* k:An");
    query.version = ref_of(third);
    assert_int_equal(fixture_get(&f, &query).outcome, META_OK);
    query.version.nonce++;
    assert_int_equal(fixture_get(&f, &query).outcome, META_NO_VERSION);
    fixture_close(&f);
}

static void unknown_version_is_no_error(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    struct meta_result put = fixture_put(&f, b, "k", "A");
    struct meta_version_ref wrong = { .seq = put.seq, .nonce = put.nonce + 1 };
    struct meta_result result = fixture_delete_version(&f, b, "k", wrong);
    assert_int_equal(result.outcome, META_OK);
    assert_int_equal(result.seq, 0);
    assert_int_equal(fixture_delete_version(&f, b, "k", null_ref).seq, 0);
    assert_versions(&f, b, "k:A*");
    fixture_close(&f);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct meta_result first = fixture_put(&f, b, "k", "A");
    struct meta_command cmd = fixture_put_inline(&f, b, slice_str("k"), slice_str("B"));
    cmd.object_put.row.mtime_ms = first.mtime_ms - 5000;
    assert_int_equal(fixture_apply(&f, &cmd).mtime_ms, first.mtime_ms);
    cmd.object_put.row.mtime_ms = first.mtime_ms + 1;
    assert_int_equal(fixture_apply(&f, &cmd).mtime_ms, first.mtime_ms + 1);
    fixture_close(&f);
}

struct condition_case {
    const char *current; /* NULL: none; "m": a delete marker */
    const char *if_match, *if_none_match;
    enum meta_outcome put, delete_;
};

static void conditions(void **state)
{
    (void)state;
    static const struct condition_case cases[] = {
        { NULL, "", "", META_OK, META_OK },
        { NULL, "A", "", META_NO_KEY, META_NO_KEY },
        { NULL, "*", "", META_NO_KEY, META_NO_KEY },
        { NULL, "", "*", META_OK, META_OK },
        { "m", "A", "", META_NO_KEY, META_NO_KEY },
        { "m", "*", "", META_NO_KEY, META_NO_KEY },
        { "m", "", "*", META_OK, META_OK },
        { "A", "A", "", META_OK, META_OK },
        { "A", "*", "", META_OK, META_OK },
        { "A", "B", "", META_PRECONDITION, META_PRECONDITION },
        { "A", "", "*", META_PRECONDITION, META_PRECONDITION },
        { "A", "A", "*", META_PRECONDITION, META_PRECONDITION },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int del = 0; del < 2; del++) {
            struct fixture f;
            fixture_open(&f);
            uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
            if (cases[i].current != NULL) {
                fixture_put(&f, b, "k", "A");
            }
            if (cases[i].current != NULL && cases[i].current[0] == 'm') {
                fixture_delete(&f, b, "k");
            }
            size_t before = versions(&f, b).count;
            struct meta_conditions conditions = { .if_match = slice_str(cases[i].if_match),
                                                  .if_none_match = slice_str(cases[i].if_none_match) };
            struct meta_command cmd = fixture_put_inline(&f, b, slice_str("k"), slice_str("N"));
            cmd.object_put.conditions = conditions;
            if (del == 1) {
                cmd = (struct meta_command){ .type = META_CMD_OBJECT_DELETE };
                cmd.object_delete = (struct meta_object_delete){ .bucket_id = b, .key = slice_str("k"),
                                                                 .conditions = conditions };
            }
            enum meta_outcome expected = del == 1 ? cases[i].delete_ : cases[i].put;
            assert_int_equal(fixture_apply(&f, &cmd).outcome, expected);
            assert_int_equal(versions(&f, b).count, before + (expected == META_OK ? 1 : 0));
            fixture_close(&f);
        }
    }
}

static void delete_conditions_on_size_and_time(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct meta_result put = fixture_put(&f, b, "k", "ABC");
    struct meta_command cmd = { .type = META_CMD_OBJECT_DELETE };
    cmd.object_delete = (struct meta_object_delete){ .bucket_id = b, .key = slice_str("k") };
    cmd.object_delete.conditions = (struct meta_conditions){ .has_size = true, .size = 2 };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_PRECONDITION);
    cmd.object_delete.conditions = (struct meta_conditions){ .has_mtime = true, .mtime_s = put.mtime_ms / 1000 + 1 };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_PRECONDITION);
    cmd.object_delete.conditions = (struct meta_conditions){ .has_size = true, .size = 3, .has_mtime = true,
                                                             .mtime_s = put.mtime_ms / 1000 };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_NO_KEY);
    fixture_close(&f);
}

static void bucket_life(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct meta_command cmd = { .type = META_CMD_BUCKET_CREATE };
    cmd.bucket_create.bucket = (struct meta_bucket){ .name = slice_str("bucket"), .class_k = 4, .class_m = 2 };
    struct meta_result again = fixture_apply(&f, &cmd);
    assert_int_equal(again.outcome, META_BUCKET_EXISTS);
    assert_int_equal(again.bucket.id, b);
    fixture_put(&f, b, "k", "A");
    struct meta_command delete_ = { .type = META_CMD_BUCKET_DELETE };
    delete_.bucket_delete.name = slice_str("bucket");
    assert_int_equal(fixture_apply(&f, &delete_).outcome, META_BUCKET_NOT_EMPTY);
    versioning_set(&f, "bucket", META_VERSIONING_ENABLED);
    fixture_delete(&f, b, "k");
    assert_int_equal(fixture_apply(&f, &delete_).outcome, META_BUCKET_NOT_EMPTY);
    struct meta_list_reply rows = versions(&f, b);
    for (uint32_t i = 0; i < rows.count; i++) {
        struct meta_version_ref ref = { .seq = rows.entries[i].row.seq, .nonce = rows.entries[i].row.nonce };
        fixture_delete_version(&f, b, "k", ref);
    }
    assert_int_equal(fixture_apply(&f, &delete_).outcome, META_OK);
    assert_int_equal(fixture_apply(&f, &delete_).outcome, META_NO_BUCKET);
    assert_int_equal(fixture_put(&f, b, "k", "A").outcome, META_NO_BUCKET);
    assert_int_not_equal(fixture_bucket(&f, "bucket", META_VERSIONING_UNSET), b);
    assert_int_equal(fixture_status(&f).buckets, 1);
    cmd.type = META_CMD_BUCKET_VERSIONING;
    cmd.bucket_versioning = (struct meta_bucket_versioning){ slice_str("bucket"), META_VERSIONING_UNSET };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    cmd = (struct meta_command){ .type = META_CMD_BUCKET_CLASS, .bucket_class = { slice_str("bucket"), 0, 2 } };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_INVALID);
    cmd.bucket_class = (struct meta_bucket_class){ slice_str("nowhere"), 8, 4 };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_NO_BUCKET);
    cmd.bucket_class = (struct meta_bucket_class){ slice_str("bucket"), 8, 4 };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    fixture_reopen(&f);
    struct meta_buckets_reply buckets;
    const struct meta_query query = { .type = META_QRY_BUCKET, .bucket = slice_str("bucket") };
    assert_int_equal(meta_buckets_reply_decode(fixture_query(&f, &query), &f.arena, &buckets), ERRC_OK);
    assert_int_equal(buckets.count, 1);
    assert_true(buckets.buckets[0].class_k == 8 && buckets.buckets[0].class_m == 4 && buckets.buckets[0].revision == 2);
    fixture_close(&f);
}

static void applied_positions_are_skipped(void **state)
{
    (void)state;
    struct fixture f;
    struct error e = ERROR_INIT;
    uint8_t before[MACHINE_CHAIN_BYTES], after[MACHINE_CHAIN_BYTES];
    uint64_t index;
    uint32_t sub;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    fixture_put(&f, b, "k", "A");
    fixture_reopen(&f);
    machine_chain(f.machine, before);
    enc_reset(&f.result);
    assert_int_equal(machine_apply(f.machine, f.index, 0, enc_slice(&f.command), &f.result, &e), ERRC_OK);
    assert_int_equal(machine_apply(f.machine, 1, 7, enc_slice(&f.command), &f.result, &e), ERRC_OK);
    assert_int_equal(f.result.len, 0);
    machine_chain(f.machine, after);
    assert_memory_equal(before, after, sizeof(before));
    assert_versions(&f, b, "k:A*");
    assert_int_equal(machine_apply(f.machine, f.index, 1, enc_slice(&f.command), &f.result, &e), ERRC_OK);
    machine_position(f.machine, &index, &sub);
    assert_int_equal(index, f.index);
    assert_int_equal(sub, 1);
    assert_int_equal(versions(&f, b).count, 2);
    assert_int_equal(machine_skip_to(f.machine, f.index + 5, 0, &e), ERRC_OK);
    fixture_reopen(&f);
    machine_position(f.machine, &index, &sub);
    assert_int_equal(index, f.index + 5);
    assert_int_equal(sub, 0);
    fixture_close(&f);
}

static void unknown_commands_stop(void **state)
{
    (void)state;
    struct fixture f;
    struct error e = ERROR_INIT;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    struct meta_command cmd = fixture_put_inline(&f, b, slice_str("k"), slice_str("N"));
    enc_reset(&f.command);
    meta_command_encode(&f.command, &cmd);
    f.command.data[0] = META_COMMAND_NAMED + 1;
    assert_int_equal(machine_check(enc_slice(&f.command), NULL), ERRC_FORMAT);
    assert_int_equal(machine_apply(f.machine, f.index + 1, 0, enc_slice(&f.command), &f.result, &e), ERRC_FORMAT);
    error_clear(&e);
    f.command.data[0] = META_COMMAND_VERSION;
    assert_int_equal(machine_check(enc_slice(&f.command), NULL), ERRC_OK);
    assert_int_equal(machine_apply(f.machine, f.index + 1, 0, enc_slice(&f.command), &f.result, &e), ERRC_INTERNAL);
    error_clear(&e);
    fixture_reopen(&f);
    kv_memory_fail_writes(f.kv, true);
    assert_int_equal(machine_apply(f.machine, f.index + 1, 0, enc_slice(&f.command), &f.result, &e), ERRC_IO);
    error_clear(&e);
    kv_memory_fail_writes(f.kv, false);
    assert_int_equal(machine_apply(f.machine, f.index + 1, 0, enc_slice(&f.command), &f.result, &e), ERRC_INTERNAL);
    fixture_reopen(&f);
    assert_versions(&f, b, "");
    f.command.data[1] = 0xee;
    error_clear(&e);
    assert_int_equal(machine_apply(f.machine, f.index + 1, 0, enc_slice(&f.command), &f.result, &e), ERRC_FORMAT);
    fixture_close(&f);
}

static void cold_reads_would_block(void **state)
{
    (void)state;
    struct fixture f;
    struct error e = ERROR_INIT;
    struct enc query = ENC_INIT;
    struct enc reply = ENC_INIT;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    fixture_put(&f, b, "k", "A");
    struct meta_query q = { .type = META_QRY_OBJECT, .bucket_id = b, .key = slice_str("k") };
    meta_query_encode(&query, &q);
    assert_int_equal(machine_query(f.machine, enc_slice(&query), true, &reply, &e), ERRC_OK);
    enc_reset(&reply);
    kv_memory_set_cold(f.kv, true);
    assert_int_equal(machine_query(f.machine, enc_slice(&query), true, &reply, &e), ERRC_WOULD_BLOCK);
    assert_int_equal(reply.len, 0);
    assert_int_equal(machine_query(f.machine, enc_slice(&query), false, &reply, &e), ERRC_OK);
    enc_free(&query);
    enc_free(&reply);
    fixture_close(&f);
}

/* ---- listings over a map that is watched ---- */

static const struct kv_vt *plain_vt;
static struct kv_vt watching_vt;
static struct kv_iterator *second; /* of the query: over the older versions */
static unsigned iterators, nexts;
static unsigned breaks_after;      /* moves of the second one; then it is not valid and says IO, until a seek. 0: never */
static bool broken;

static struct kv_iterator *watching_iterate(struct kv *kv, struct slice first, struct slice end)
{
    struct kv_iterator *it = plain_vt->iterate(kv, first, end);
    second = ++iterators == 2 ? it : second;
    return it;
}

static void watching_seek(struct kv_iterator *it, struct slice key)
{
    broken = it == second ? false : broken;
    plain_vt->iterator_seek(it, key);
}

static void watching_next(struct kv_iterator *it)
{
    nexts++;
    if (it == second && breaks_after > 0 && --breaks_after == 0) {
        broken = true;
    }
    plain_vt->iterator_next(it);
}

static bool watching_valid(struct kv_iterator *it)
{
    return !(it == second && broken) && plain_vt->iterator_valid(it);
}

static enum errc watching_error(struct kv_iterator *it, struct error *e)
{
    return it == second && broken ? error_set(e, ERRC_IO, "broken") : plain_vt->iterator_error(it, e);
}

static enum errc watched_versions(struct fixture *f, const struct meta_query *q, struct meta_list_reply *ret_reply)
{
    struct error e = ERROR_INIT;
    struct enc query = ENC_INIT;
    struct enc reply = ENC_INIT;
    plain_vt = f->kv->vt;
    watching_vt = *plain_vt;
    watching_vt.iterate = watching_iterate;
    watching_vt.iterator_seek = watching_seek;
    watching_vt.iterator_next = watching_next;
    watching_vt.iterator_valid = watching_valid;
    watching_vt.iterator_error = watching_error;
    iterators = nexts = 0;
    second = NULL;
    broken = false;
    f->kv->vt = &watching_vt;
    meta_query_encode(&query, q);
    enum errc rc = machine_query(f->machine, enc_slice(&query), false, &reply, &e);
    f->kv->vt = plain_vt;
    if (rc == ERRC_OK) {
        struct slice kept = arena_copy(&f->arena, enc_slice(&reply));
        assert_int_equal(meta_list_reply_decode(kept, &f->arena, ret_reply), ERRC_OK);
    }
    enc_free(&query);
    enc_free(&reply);
    return rc;
}

/* A page begins where the one before ended, however many newer versions of the key there are. */
static void a_deep_page_costs_what_it_shows(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_list_reply reply;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    for (unsigned i = 0; i < 500; i++) {
        fixture_put(&f, b, "k", "v");
    }
    struct meta_list_reply all = versions(&f, b);
    assert_int_equal(all.count, 500);
    struct meta_query query = { .type = META_QRY_LIST_VERSIONS, .bucket_id = b, .limit = 10, .marker = slice_str("k"),
                                .marker_seq = all.entries[399].row.seq };
    assert_int_equal(watched_versions(&f, &query, &reply), ERRC_OK);
    assert_int_equal(reply.count, 10);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(reply.entries[i].row.seq, all.entries[400 + i].row.seq);
    }
    assert_true(nexts < 20);
    query.marker_inclusive = true;
    assert_int_equal(watched_versions(&f, &query, &reply), ERRC_OK);
    assert_int_equal(reply.entries[0].row.seq, all.entries[399].row.seq);
    query.marker_seq = all.entries[0].row.seq; /* the current one */
    query.marker_inclusive = false;
    assert_int_equal(watched_versions(&f, &query, &reply), ERRC_OK);
    assert_int_equal(reply.entries[0].row.seq, all.entries[1].row.seq);
    fixture_close(&f);
}

/* A walk over older versions that breaks is no end of them, though a seek of the same iterator follows. */
static void a_broken_walk_is_an_error(void **state)
{
    (void)state;
    struct fixture f;
    struct meta_list_reply reply;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_ENABLED);
    for (unsigned i = 0; i < 5; i++) {
        fixture_put(&f, b, "a", "v");
    }
    fixture_put(&f, b, "d/x", "v");
    fixture_put(&f, b, "e", "v");
    fixture_put(&f, b, "e", "v");
    struct meta_query query = { .type = META_QRY_LIST_VERSIONS, .bucket_id = b, .limit = 100,
                                .delimiter = slice_str("/") };
    assert_int_equal(watched_versions(&f, &query, &reply), ERRC_OK);
    assert_int_equal(reply.count, 8);
    breaks_after = 2;
    assert_int_equal(watched_versions(&f, &query, &reply), ERRC_IO);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deep_page_costs_what_it_shows),
        cmocka_unit_test(a_broken_walk_is_an_error),
        cmocka_unit_test(unset_replaces),
        cmocka_unit_test(enabled_stacks),
        cmocka_unit_test(suspended_replaces_null),
        cmocka_unit_test(null_promoted_and_found),
        cmocka_unit_test(unknown_version_is_no_error),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(conditions),
        cmocka_unit_test(delete_conditions_on_size_and_time),
        cmocka_unit_test(bucket_life),
        cmocka_unit_test(applied_positions_are_skipped),
        cmocka_unit_test(unknown_commands_stop),
        cmocka_unit_test(cold_reads_would_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
