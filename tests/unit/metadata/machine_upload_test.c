/* Multipart: compare-and-set of parts, complete and abort races, what is dropped, reading by range and part. */
#include "common/base/bytes.h"
#include "metadata/key.h"
#include "tests/lib/kv_memory.h"
#include "tests/lib/machine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PART_BYTES 1000u

struct upload {
    uint64_t bucket;
    const char *key;
    uint8_t id[16];
    unsigned part_ids;
};

static struct upload create(struct fixture *f, uint64_t bucket, const char *key)
{
    struct upload upload = { .bucket = bucket, .key = key };
    struct meta_command cmd = { .type = META_CMD_UPLOAD_CREATE };
    cmd.upload_create = (struct meta_upload_create){ .bucket_id = bucket, .key = slice_str(key),
                                                     .user_metadata = slice_str("user") };
    struct meta_result result = fixture_apply(f, &cmd);
    assert_int_equal(result.outcome, META_OK);
    memcpy(upload.id, result.upload_id, sizeof(upload.id));
    return upload;
}

/* A part of extents (count > 0) or of inline bytes; its "MD5" is 16 times `md5`. */
static struct meta_result part_put(struct fixture *f, struct upload *upload, uint16_t number, char md5,
                                   uint32_t extents)
{
    static uint8_t inline_bytes[PART_BYTES];
    uint8_t digest[16];
    memset(digest, md5, sizeof(digest));
    memset(inline_bytes, md5, sizeof(inline_bytes));
    struct meta_command cmd = { .type = META_CMD_UPLOAD_PART };
    struct extent *list = arena_zalloc(&f->arena, (extents + 1) * sizeof(*list));
    struct extent_ref *refs = arena_zalloc(&f->arena, (extents + 1) * sizeof(*refs));
    for (uint32_t i = 0; i < extents; i++) {
        list[i] = fixture_extent(f, PART_BYTES);
        refs[i] = (struct extent_ref){ list[i].id, 0, PART_BYTES };
    }
    cmd.upload_part = (struct meta_upload_part){
        .bucket_id = upload->bucket, .key = slice_str(upload->key), .session = f->session, .number = number,
        .size = extents > 0 ? extents * (uint64_t)PART_BYTES : PART_BYTES, .etag_md5 = slice_of(digest, 16),
        .ref_count = extents, .refs = refs, .extent_count = extents, .extents = list,
    };
    if (extents == 0) {
        cmd.upload_part.inline_bytes = slice_of(inline_bytes, PART_BYTES);
    }
    memcpy(cmd.upload_part.upload_id, upload->id, 16);
    store_be64(cmd.upload_part.part_id, load_be64(upload->id));
    store_be64(cmd.upload_part.part_id + 8, ++upload->part_ids);
    return fixture_apply(f, &cmd);
}

/* Completes with the parts `numbers`, whose MD5 are the letters of md5s. */
static struct meta_result complete(struct fixture *f, const struct upload *upload, const uint16_t *numbers,
                                   const char *md5s, uint64_t size)
{
    struct meta_complete_part parts[8];
    uint8_t digests[8][16];
    uint32_t count = (uint32_t)strlen(md5s);
    for (uint32_t i = 0; i < count; i++) {
        memset(digests[i], md5s[i], 16);
        parts[i] = (struct meta_complete_part){ .number = numbers[i], .etag_md5 = slice_of(digests[i], 16) };
    }
    struct meta_command cmd = { .type = META_CMD_UPLOAD_COMPLETE };
    cmd.upload_complete = (struct meta_upload_complete){
        .bucket_id = upload->bucket, .key = slice_str(upload->key), .nonce = 77, .mtime_ms = ++f->clock_ms,
        .etag = slice_str("etag-2"), .size = size, .part_count = count, .parts = parts,
    };
    memcpy(cmd.upload_complete.upload_id, upload->id, 16);
    return fixture_apply(f, &cmd);
}

static struct meta_result abort_(struct fixture *f, const struct upload *upload)
{
    struct meta_command cmd = { .type = META_CMD_UPLOAD_ABORT };
    cmd.upload_abort = (struct meta_upload_abort){ .bucket_id = upload->bucket, .key = slice_str(upload->key) };
    memcpy(cmd.upload_abort.upload_id, upload->id, 16);
    return fixture_apply(f, &cmd);
}

/* Works off all items of kind 2; returns the steps that it took. */
static unsigned expand_all(struct fixture *f)
{
    unsigned steps = 0;
    for (;;) {
        struct meta_gc_reply gc = fixture_gc(f);
        uint32_t i = 0;
        while (i < gc.count && gc.items[i].kind != 2) {
            i++;
        }
        if (i == gc.count) {
            return steps;
        }
        struct meta_command cmd = { .type = META_CMD_GC_EXPAND };
        cmd.gc_expand.seq = gc.items[i].seq;
        assert_int_equal(fixture_apply(f, &cmd).outcome, META_OK);
        assert_true(kv_memory_last_batch_bytes(f->kv) < 512u << 10);
        steps++;
    }
}

static size_t table_count(struct fixture *f, enum key_table table)
{
    uint8_t byte = (uint8_t)table;
    return kv_memory_count_prefix(f->kv, slice_of(&byte, 1));
}

static void assert_no_parts(struct fixture *f)
{
    assert_int_equal(table_count(f, TABLE_PART), 0);
    assert_int_equal(table_count(f, TABLE_MANIFEST), 0);
    assert_int_equal(table_count(f, TABLE_PART_LIST), 0);
    assert_int_equal(table_count(f, TABLE_EXTENT), 0);
    assert_int_equal(table_count(f, TABLE_UPLOAD), 0);
    assert_int_equal(fixture_status(f).uploads, 0);
    assert_int_equal(fixture_status(f).extents, 0);
}

static void complete_moves_listed_parts(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload u = create(&f, b, "k");
    assert_int_equal(part_put(&f, &u, 1, 'a', 2).outcome, META_OK);
    assert_int_equal(part_put(&f, &u, 3, 'b', 1).outcome, META_OK);
    assert_int_equal(part_put(&f, &u, 2, 'x', 1).outcome, META_OK); /* will not be listed */
    assert_int_equal(part_put(&f, &u, 3, 'c', 2).outcome, META_OK); /* replaced */
    assert_int_equal(part_put(&f, &u, 7, 'd', 0).outcome, META_OK);
    assert_int_equal(fixture_head(&f, b, "k").outcome, META_NO_KEY);
    assert_int_equal(fixture_gc(&f).count, 1); /* of the replaced part */
    static const uint16_t numbers[] = { 1, 3, 7 };
    assert_int_equal(complete(&f, &u, numbers, "abd", 5000).outcome, META_NO_PART); /* b was replaced */
    assert_int_equal(complete(&f, &u, numbers, "abd", 5000).detail, 3);
    assert_int_equal(complete(&f, &u, numbers, "acd", 4999).outcome, META_INVALID);
    struct meta_result first = complete(&f, &u, numbers, "acd", 5000);
    assert_int_equal(first.outcome, META_OK);
    assert_true(slice_equal_str(first.etag, "etag-2"));
    size_t entries = kv_memory_count(f.kv);
    struct meta_result again = complete(&f, &u, numbers, "acd", 5000); /* answer lost: asked again */
    assert_int_equal(again.outcome, META_OK);
    assert_int_equal(again.seq, first.seq);
    assert_true(slice_equal_str(again.etag, "etag-2"));
    assert_int_equal(kv_memory_count(f.kv), entries);
    assert_int_equal(complete(&f, &u, numbers, "ac", 4000).outcome, META_NO_UPLOAD); /* another list */
    assert_int_equal(abort_(&f, &u).outcome, META_NO_UPLOAD);
    assert_int_equal(part_put(&f, &u, 1, 'z', 0).outcome, META_NO_UPLOAD);
    struct meta_object_reply head = fixture_head(&f, b, "k");
    assert_int_equal(head.row.size, 5000);
    assert_int_equal(head.parts_count, 3);
    assert_true(slice_equal_str(head.body.user_metadata, "user"));
    expand_all(&f); /* part 2 */
    assert_int_equal(table_count(&f, TABLE_PART), 0);
    assert_int_equal(table_count(&f, TABLE_MANIFEST), 3);
    assert_int_equal(fixture_status(&f).extents, 4);
    fixture_delete(&f, b, "k");
    assert_int_equal(fixture_status(&f).extents, 4);
    expand_all(&f);
    assert_no_parts(&f);
    fixture_close(&f);
}

static void read_by_range_and_part(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload u = create(&f, b, "k");
    part_put(&f, &u, 1, 'a', 2);
    part_put(&f, &u, 3, 'c', 2);
    part_put(&f, &u, 7, 'd', 0);
    static const uint16_t numbers[] = { 1, 3, 7 };
    assert_int_equal(complete(&f, &u, numbers, "acd", 5000).outcome, META_OK);
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = b, .key = slice_str("k"), .want_data = true,
                                .range_first = 1500, .range_length = 3000 };
    struct meta_object_reply reply = fixture_get(&f, &query);
    assert_int_equal(reply.extent_count, 3);
    assert_int_equal(reply.extents[0].offset, 500);
    assert_int_equal(reply.extents[0].object_offset, 1500);
    assert_int_equal(reply.extents[1].object_offset, 2000);
    assert_int_equal(reply.extents[2].length, 1000);
    assert_int_equal(reply.extents_until, 4000); /* the rest is inline: asked for by itself */
    query.range_first = 4000;
    query.range_length = 500;
    reply = fixture_get(&f, &query);
    assert_int_equal(reply.inline_bytes.len, 500);
    assert_int_equal(reply.inline_bytes.data[0], 'd');
    assert_int_equal(reply.extents_until, 4500);
    query.part_number = 3;
    query.range_first = 0;
    query.range_length = UINT64_MAX;
    reply = fixture_get(&f, &query);
    assert_int_equal(reply.part_offset, 2000);
    assert_int_equal(reply.part_size, 2000);
    assert_int_equal(reply.extent_count, 2);
    assert_int_equal(reply.extents[0].object_offset, 2000);
    query.part_number = 2;
    assert_int_equal(fixture_get(&f, &query).outcome, META_NO_PART);
    fixture_close(&f);
}

static void abort_and_complete_race(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    static const uint16_t numbers[] = { 1 };
    struct upload u = create(&f, b, "k");
    part_put(&f, &u, 1, 'a', 1);
    assert_int_equal(abort_(&f, &u).outcome, META_OK);
    assert_int_equal(complete(&f, &u, numbers, "a", 1000).outcome, META_NO_UPLOAD);
    assert_int_equal(abort_(&f, &u).outcome, META_NO_UPLOAD);
    assert_int_equal(part_put(&f, &u, 2, 'a', 1).outcome, META_NO_UPLOAD);
    assert_int_equal(fixture_head(&f, b, "k").outcome, META_NO_KEY);
    expand_all(&f);
    assert_no_parts(&f);
    struct upload wrong = create(&f, b, "k");
    wrong.key = "other";
    assert_int_equal(part_put(&f, &wrong, 1, 'a', 0).outcome, META_NO_UPLOAD);
    wrong.key = "k";
    assert_int_equal(part_put(&f, &wrong, 0, 'a', 0).outcome, META_INVALID);
    assert_int_equal(part_put(&f, &wrong, 1, 'a', 0).outcome, META_OK);
    wrong.part_ids--;
    assert_int_equal(part_put(&f, &wrong, 2, 'a', 0).outcome, META_STALE); /* part id used before */
    fixture_close(&f);
}

static void conditions_keep_the_upload(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload u = create(&f, b, "k");
    part_put(&f, &u, 1, 'a', 1);
    fixture_put(&f, b, "k", "there");
    uint8_t digest[16];
    memset(digest, 'a', sizeof(digest));
    struct meta_complete_part part = { .number = 1, .etag_md5 = slice_of(digest, 16) };
    struct meta_command cmd = { .type = META_CMD_UPLOAD_COMPLETE };
    cmd.upload_complete = (struct meta_upload_complete){
        .bucket_id = b, .key = slice_str("k"), .etag = slice_str("e-1"), .size = 1000, .part_count = 1,
        .parts = &part, .conditions = { .if_none_match = slice_str("*") },
    };
    memcpy(cmd.upload_complete.upload_id, u.id, 16);
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_PRECONDITION);
    cmd.upload_complete.conditions = (struct meta_conditions){ .if_match = slice_str("there") };
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(fixture_head(&f, b, "k").row.size, 1000);
    fixture_close(&f);
}

static void deleted_bucket_drops_uploads(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    for (int i = 0; i < 3; i++) {
        struct upload u = create(&f, b, i == 2 ? "other" : "k");
        for (uint16_t n = 1; n <= 30; n++) {
            assert_int_equal(part_put(&f, &u, n, 'a', 1).outcome, META_OK);
        }
    }
    (void)create(&f, b, "no parts");
    struct meta_command cmd = { .type = META_CMD_BUCKET_DELETE };
    cmd.bucket_delete.name = slice_str("bucket");
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    assert_int_equal(fixture_status(&f).uploads, 0);
    assert_true(expand_all(&f) >= 2);
    assert_no_parts(&f);
    fixture_close(&f);
}

#define MANY 3000u

static struct meta_result complete_many(struct fixture *f, const struct upload *u, uint64_t size)
{
    static uint8_t digest[16];
    struct meta_complete_part *parts = arena_zalloc(&f->arena, MANY * sizeof(*parts));
    memset(digest, 'a', sizeof(digest));
    for (uint32_t i = 0; i < MANY; i++) {
        parts[i] = (struct meta_complete_part){ .number = (uint16_t)(i + 1), .etag_md5 = slice_of(digest, 16) };
    }
    struct meta_command cmd = { .type = META_CMD_UPLOAD_COMPLETE };
    cmd.upload_complete = (struct meta_upload_complete){
        .bucket_id = u->bucket, .key = slice_str(u->key), .etag = slice_str("e"), .size = size, .part_count = MANY,
        .parts = parts,
    };
    memcpy(cmd.upload_complete.upload_id, u->id, 16);
    return fixture_apply(f, &cmd);
}

static void large_lists_go_in_steps(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload u = create(&f, b, "k");
    for (uint16_t n = 1; n <= MANY; n++) {
        assert_int_equal(part_put(&f, &u, n, 'a', 1).outcome, META_OK);
    }
    assert_int_equal(complete_many(&f, &u, MANY * (uint64_t)PART_BYTES).outcome, META_OK);
    assert_true(kv_memory_last_batch_bytes(f.kv) < 512u << 10);
    for (uint64_t n = 0; n < MANY; n += 97) {
        struct meta_query query = { .type = META_QRY_OBJECT, .bucket_id = b, .key = slice_str("k"),
                                    .want_data = true, .range_first = n * PART_BYTES + 10, .range_length = 1 };
        struct meta_object_reply reply = fixture_get(&f, &query);
        assert_int_equal(reply.extent_count, 1);
        assert_int_equal(reply.extents[0].offset, 10);
        assert_int_equal(load_be64(reply.extents[0].extent.id.bytes + 8), n + 1);
        query.range_length = 0;
        query.part_number = (uint16_t)(n + 1);
        assert_int_equal(fixture_get(&f, &query).part_offset, n * PART_BYTES);
    }
    fixture_delete(&f, b, "k");
    assert_true(kv_memory_last_batch_bytes(f.kv) < 4096);
    assert_int_equal(expand_all(&f), 1 + (MANY + 63) / 64); /* the body first */
    assert_no_parts(&f);
    fixture_close(&f);
}

#define STREAMED 70u

static struct meta_result complete_streamed(struct fixture *f, const struct upload *u)
{
    struct meta_complete_part parts[STREAMED];
    uint8_t digest[16];
    memset(digest, 'a', sizeof(digest));
    for (uint32_t i = 0; i < STREAMED; i++) {
        parts[i] = (struct meta_complete_part){ .number = (uint16_t)(i + 1), .etag_md5 = slice_of(digest, 16) };
    }
    struct meta_command cmd = { .type = META_CMD_UPLOAD_COMPLETE };
    cmd.upload_complete = (struct meta_upload_complete){
        .bucket_id = u->bucket, .key = slice_str(u->key), .etag = slice_str("e"),
        .size = (uint64_t)STREAMED * PART_BYTES, .part_count = STREAMED, .parts = parts,
    };
    memcpy(cmd.upload_complete.upload_id, u->id, 16);
    return fixture_apply(f, &cmd);
}

/* One version of many extents, in one body. */
static struct meta_result put_streamed(struct fixture *f, uint64_t bucket, const char *key)
{
    struct extent list[STREAMED];
    struct extent_ref refs[STREAMED];
    for (uint32_t i = 0; i < STREAMED; i++) {
        list[i] = fixture_extent(f, PART_BYTES);
        refs[i] = (struct extent_ref){ list[i].id, 0, PART_BYTES };
    }
    struct meta_command cmd = fixture_put_inline(f, bucket, slice_str(key), SLICE_EMPTY);
    cmd.object_put.row.size = (uint64_t)STREAMED * PART_BYTES;
    cmd.object_put.body = (struct meta_body){ .data_kind = META_DATA_EXTENTS, .ref_count = STREAMED, .refs = refs };
    cmd.object_put.session = f->session;
    cmd.object_put.extent_count = STREAMED;
    cmd.object_put.extents = list;
    return fixture_apply(f, &cmd);
}

/* Asks on and on, as one who reads the version does; whether all of it was found. */
static bool streamed(struct fixture *f, uint64_t bucket, const char *key, struct meta_result version, uint64_t first)
{
    uint64_t end = (uint64_t)STREAMED * PART_BYTES;
    while (first < end) {
        struct meta_query query = {
            .type = META_QRY_EXTENTS, .bucket_id = bucket, .key = slice_str(key), .has_version = true, .want_data = true,
            .version = { .seq = version.seq, .nonce = version.nonce }, .range_first = first, .range_length = end - first,
        };
        struct meta_object_reply reply = fixture_get(f, &query);
        if (reply.outcome != META_OK) {
            assert_int_equal(reply.outcome, META_NO_VERSION);
            return false;
        }
        assert_int_equal(reply.extent_count, end - first < 32 * PART_BYTES ? (end - first) / PART_BYTES : 32);
        for (uint32_t i = 0; i < reply.extent_count; i++) {
            assert_int_equal(reply.extents[i].object_offset, first + i * PART_BYTES);
            assert_int_equal(reply.extents[i].length, PART_BYTES);
        }
        assert_int_equal(reply.extents_until, first + reply.extent_count * (uint64_t)PART_BYTES);
        first = reply.extents_until;
    }
    return true;
}

/* Whoever reads a version finds all of it until the gc queue gets to it, whatever became of key and bucket. */
static void a_version_that_is_gone_is_read_to_its_end(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload u = create(&f, b, "parts");
    for (uint16_t n = 1; n <= STREAMED; n++) {
        assert_int_equal(part_put(&f, &u, n, 'a', 1).outcome, META_OK);
    }
    struct meta_result parts = complete_streamed(&f, &u);
    assert_int_equal(parts.outcome, META_OK);
    struct meta_result refs = put_streamed(&f, b, "refs");
    assert_int_equal(refs.outcome, META_OK);
    fixture_put(&f, b, "parts", "another");
    fixture_put(&f, b, "refs", "another");
    assert_int_equal(fixture_status(&f).gc_items, 2);
    fixture_audit(&f);
    assert_true(streamed(&f, b, "parts", parts, 0));
    assert_true(streamed(&f, b, "refs", refs, 33 * PART_BYTES));
    fixture_delete(&f, b, "parts");
    fixture_delete(&f, b, "refs");
    struct meta_command cmd = { .type = META_CMD_BUCKET_DELETE };
    cmd.bucket_delete.name = slice_str("bucket");
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    fixture_audit(&f);
    fixture_reopen(&f);
    assert_true(streamed(&f, b, "parts", parts, 0));
    assert_true(streamed(&f, b, "refs", refs, 0));
    assert_true(expand_all(&f) >= 5);
    assert_false(streamed(&f, b, "parts", parts, 32 * PART_BYTES));
    assert_false(streamed(&f, b, "refs", refs, 32 * PART_BYTES));
    assert_no_parts(&f);
    assert_int_equal(table_count(&f, TABLE_BODY), 0);
    assert_int_equal(table_count(&f, TABLE_GC), 2 * STREAMED);
    fixture_close(&f);
}

static void listed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    struct upload first = create(&f, b, "a/1");
    struct upload second = create(&f, b, "a/1");
    (void)create(&f, b, "b");
    (void)create(&f, b, "c/2");
    struct meta_uploads_reply reply;
    struct meta_query query = { .type = META_QRY_LIST_UPLOADS, .bucket_id = b, .limit = 1 };
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 1);
    assert_true(reply.truncated);
    assert_memory_equal(reply.uploads[0].upload_id, first.id, 16);
    query.marker = slice_str("a/1");
    memcpy(query.upload_id, first.id, 16);
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_memory_equal(reply.uploads[0].upload_id, second.id, 16);
    memset(query.upload_id, 0, 16);
    query.limit = 10;
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 2);
    assert_false(reply.truncated);
    query.marker = SLICE_EMPTY;
    query.delimiter = slice_str("/");
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.prefix_count, 2);
    assert_true(slice_equal_str(reply.prefixes[1], "c/"));
    for (uint16_t n = 1; n <= 5; n++) {
        part_put(&f, &first, n, 'a', 0);
    }
    struct meta_parts_reply parts;
    query = (struct meta_query){ .type = META_QRY_LIST_PARTS, .bucket_id = b, .key = slice_str("a/1"),
                                 .part_number = 2, .limit = 2 };
    memcpy(query.upload_id, first.id, 16);
    assert_int_equal(meta_parts_reply_decode(fixture_query(&f, &query), &f.arena, &parts), ERRC_OK);
    assert_int_equal(parts.count, 2);
    assert_int_equal(parts.parts[0].number, 3);
    assert_true(parts.truncated);
    query.part_number = 3;
    assert_int_equal(meta_parts_reply_decode(fixture_query(&f, &query), &f.arena, &parts), ERRC_OK);
    assert_int_equal(parts.count, 2);
    assert_false(parts.truncated);
    query.type = META_QRY_UPLOAD;
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &reply), ERRC_OK);
    assert_true(slice_equal_str(reply.uploads[0].user_metadata, "user"));
    fixture_close(&f);
}

static const struct kv_vt *stepped_vt;
static unsigned seeks_into_deleted;

static void seek_watched(struct kv_iterator *it, struct slice key)
{
    bool queue = key.len > 0 && (key.data[0] == TABLE_UPLOAD || key.data[0] == TABLE_PART);
    stepped_vt->iterator_seek(it, key);
    if (queue && stepped_vt->iterator_valid(it) && slice_compare(key, stepped_vt->iterator_key(it)) != 0) {
        seeks_into_deleted++; /* it began at a key that is not there: all that was deleted since is walked over */
    }
}

/* A deleted bucket's uploads: each step begins where the last one ended. */
static void a_step_begins_where_the_last_ended(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    for (unsigned i = 0; i < 300; i++) {
        char key[8] = { 'k', (char)('a' + i / 100), (char)('a' + i / 10 % 10), (char)('a' + i % 10), '\0' };
        struct upload u = create(&f, b, key);
        for (uint16_t n = 1; i == 150 && n <= 200; n++) {
            assert_int_equal(part_put(&f, &u, n, 'a', 1).outcome, META_OK);
        }
    }
    struct meta_command cmd = { .type = META_CMD_BUCKET_DELETE };
    cmd.bucket_delete.name = slice_str("bucket");
    assert_int_equal(fixture_apply(&f, &cmd).outcome, META_OK);
    stepped_vt = f.kv->vt;
    struct kv_vt watching = *stepped_vt;
    watching.iterator_seek = seek_watched;
    f.kv->vt = &watching;
    seeks_into_deleted = 0;
    assert_true(expand_all(&f) >= 7);
    assert_true(seeks_into_deleted <= 2); /* the first upload of all, the first part */
    f.kv->vt = stepped_vt;
    assert_no_parts(&f);
    fixture_close(&f);
}

static const struct kv_vt *counted_vt;
static unsigned seeks;

static void seek_counted(struct kv_iterator *it, struct slice key)
{
    seeks++;
    counted_vt->iterator_seek(it, key);
}

/* A seek may have to walk over all that was deleted before the page: the page pays for that once. */
static void a_page_seeks_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint64_t b = fixture_bucket(&f, "bucket", META_VERSIONING_UNSET);
    (void)fixture_bucket(&f, "second", META_VERSIONING_UNSET);
    (void)create(&f, b, "a");
    (void)create(&f, b, "b");
    counted_vt = f.kv->vt;
    struct kv_vt counting = *counted_vt;
    counting.iterator_seek = seek_counted;
    f.kv->vt = &counting;
    struct meta_uploads_reply uploads;
    struct meta_query query = { .type = META_QRY_LIST_UPLOADS, .bucket_id = b, .limit = 5, .marker = slice_str("a") };
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &uploads), ERRC_OK);
    assert_int_equal(uploads.count, 1);
    assert_true(slice_equal_str(uploads.uploads[0].key, "b"));
    assert_int_equal(seeks, 1);
    query.prefix = slice_str("a"); /* the marker is behind all of these */
    query.marker = slice_str("b");
    assert_int_equal(meta_uploads_reply_decode(fixture_query(&f, &query), &f.arena, &uploads), ERRC_OK);
    assert_int_equal(uploads.count, 0);
    assert_int_equal(seeks, 2);
    struct meta_buckets_reply buckets;
    query = (struct meta_query){ .type = META_QRY_BUCKETS, .limit = 5, .marker = slice_str("bucket") };
    assert_int_equal(meta_buckets_reply_decode(fixture_query(&f, &query), &f.arena, &buckets), ERRC_OK);
    assert_int_equal(buckets.count, 1);
    assert_int_equal(seeks, 3);
    f.kv->vt = counted_vt;
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_moves_listed_parts),
        cmocka_unit_test(read_by_range_and_part),
        cmocka_unit_test(abort_and_complete_race),
        cmocka_unit_test(conditions_keep_the_upload),
        cmocka_unit_test(deleted_bucket_drops_uploads),
        cmocka_unit_test(large_lists_go_in_steps),
        cmocka_unit_test(a_version_that_is_gone_is_read_to_its_end),
        cmocka_unit_test(listed),
        cmocka_unit_test(a_page_seeks_once),
        cmocka_unit_test(a_step_begins_where_the_last_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
