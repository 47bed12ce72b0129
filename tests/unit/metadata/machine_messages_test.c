/* Every message survives encode and decode, and no cut or grown input decodes. */
#include "common/base/mem.h"
#include "common/rpc/metadata_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct arena arena;

static const struct meta_checksum checksum = { 3, 2, 7, { (const uint8_t *)"digest", 6 } };

static struct slice text(const char *s)
{
    return slice_str(s);
}

static struct meta_row row(void)
{
    return (struct meta_row){ 5, UINT64_MAX, 1234567, 1ull << 40, false, true, 2, 1, text("etag"), text("CLASS"),
                              text("owner") };
}

static struct meta_bucket bucket(void)
{
    return (struct meta_bucket){ 9, text("bucket"), text("owner"), text("region"), 77, 1, 8, 4, 10, 20, 3 };
}

static struct extent extent(uint8_t n)
{
    struct extent e = { .code = { MATRIX_CAUCHY, 4, 2, 65536 }, .logical_bytes = 1000, .stored_bytes = 1000, .group = n,
                        .epoch = 3, .position = { 5, 4, 3, 2, 1, 0 }, .missing = 2, .class_k = 8, .class_m = 4,
                        .references = 6 };
    e.id.bytes[3] = n;
    return e;
}

#define X(message)                                                                               \
    static void message##_check(const struct message *in)                                        \
    {                                                                                            \
        struct enc a = ENC_INIT, b = ENC_INIT;                                                   \
        struct message out;                                                                      \
        message##_encode(&a, in);                                                                \
        assert_int_equal(message##_decode(enc_slice(&a), &arena, &out), ERRC_OK);                \
        message##_encode(&b, &out);                                                              \
        assert_true(slice_equal(enc_slice(&a), enc_slice(&b)));                                  \
        for (size_t len = 0; len < a.len; len++) {                                               \
            uint8_t *cut = mem_alloc(len + 1); /* of its own, so that a read beyond is caught */ \
            memcpy(cut, a.data, len);                                                            \
            assert_int_not_equal(message##_decode(slice_of(cut, len), &arena, &out), ERRC_OK);   \
            mem_free(cut);                                                                       \
        }                                                                                        \
        enc_u8(&a, 0);                                                                           \
        assert_int_equal(message##_decode(enc_slice(&a), &arena, &out), ERRC_CORRUPT);           \
        enc_free(&a);                                                                            \
        enc_free(&b);                                                                            \
    }
META_MESSAGES(X)
#undef X

static struct extent extents[2];
static struct extent_ref refs[2];
static struct meta_part_ref part_refs[2];

static struct meta_body body_of(uint8_t kind)
{
    return (struct meta_body){ .headers = text("headers"), .user_metadata = text("user"), .checksum = checksum,
                               .data_kind = kind, .inline_bytes = text("bytes"), .ref_count = 2, .refs = refs,
                               .part_count = 2, .parts = part_refs };
}

static void command_check(const struct meta_command *cmd)
{
    meta_command_check(cmd);
}

static void object_commands(void)
{
    struct meta_command cmd = { .type = META_CMD_OBJECT_PUT };
    for (uint8_t kind = META_DATA_NONE; kind <= META_DATA_PARTS; kind++) {
        cmd.object_put = (struct meta_object_put){
            .bucket_id = 300, .key = text("key"), .session = 4, .row = row(), .body = body_of(kind),
            .conditions = { text("a"), text("*"), true, true, 5, 6 }, .extent_count = 2, .extents = extents,
            .map_revision = 8,
        };
        command_check(&cmd);
    }
    cmd.type = META_CMD_OBJECT_ADOPT;
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_OBJECT_DELETE };
    cmd.object_delete = (struct meta_object_delete){ .bucket_id = 1, .key = text("k"), .has_version = true,
                                                     .version = { 3, 4, true }, .nonce = 5, .mtime_ms = 6 };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_UPLOAD_CREATE };
    cmd.upload_create = (struct meta_upload_create){ .bucket_id = 1, .key = text("k"), .nonce = { 1, 2 }, .row = row(),
                                                     .headers = text("h"), .user_metadata = text("u") };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_UPLOAD_PART };
    cmd.upload_part = (struct meta_upload_part){
        .bucket_id = 1, .key = text("k"), .number = 10000, .size = 5, .etag_md5 = text("0123456789abcdef"),
        .checksum = checksum, .ref_count = 2, .refs = refs, .extent_count = 2, .extents = extents,
    };
    command_check(&cmd);
    static const struct meta_complete_part parts[] = { { 1, { (const uint8_t *)"m", 1 }, { NULL, 0 } },
                                                       { 9, { (const uint8_t *)"n", 1 }, { NULL, 0 } } };
    cmd = (struct meta_command){ .type = META_CMD_UPLOAD_COMPLETE };
    cmd.upload_complete = (struct meta_upload_complete){ .bucket_id = 1, .key = text("k"), .etag = text("e-2"),
                                                         .checksum = checksum, .part_count = 2, .parts = parts };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_UPLOAD_ABORT };
    cmd.upload_abort = (struct meta_upload_abort){ 1, text("k"), { 7 } };
    command_check(&cmd);
}

static void cluster_commands(void)
{
    static const uint64_t seqs[] = { 1, 200, 70000 };
    struct meta_command cmd = { .type = META_CMD_BUCKET_CREATE, .bucket_create = { bucket() } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_BUCKET_DELETE, .bucket_delete = { text("b") } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_BUCKET_VERSIONING, .bucket_versioning = { text("b"), 2 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_BUCKET_CLASS, .bucket_class = { text("b"), 16, 6 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_SESSION_OPEN, .session_open = { { { 1 } }, 5 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_SESSION_RESERVE, .session_reserve = { 5 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_SESSION_CLOSE, .session_close = { 500 } };
    command_check(&cmd);
    cmd.type = META_CMD_SESSION_SETTLE;
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_GC_DONE, .gc_done = { 3, seqs } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_GC_EXPAND, .gc_expand = { 1000 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_EXTENT_REPAIRED,
                                 .extent_repaired = { { { 1 } }, 3, extents[0], 4 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_EXTENT_MISSING, .extent_missing = { { { 1 } }, 5 } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_DISK_PUT };
    cmd.disk_put.disk = (struct meta_disk){ .state = META_DISK_OUT, .path = text("/p"), .zone = text("z") };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_GROUP_PUT };
    cmd.group_put.group = (struct meta_group){ .id = 3, .epoch = 4, .disk_count = 2, .writable = true };
    command_check(&cmd);
    cmd.group_put.group.class_k = 1;
    cmd.group_put.group.class_m = 1;
    cmd.group_put.group.primary = 3;
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_IDENTITY_PUT, .identity_put = { text("a"), text("r"), true } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_SETTING_PUT, .setting_put = { text("n"), text("v") } };
    command_check(&cmd);
    const struct meta_node node = { .id = { { 7 } }, .role = 2, .state = META_NODE_MAINTENANCE, .key_hash = { 5 },
                                    .address = text("h:1,g:2"), .name = text("n") };
    cmd = (struct meta_command){ .type = META_CMD_NODE_PUT, .node_put = { node } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_TOKEN_PUT, .token_put = { { { 1 }, 2, { 3 }, 4 } } };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_TOKEN_USE, .token_use = { { 1 }, { 2 }, 3, node } };
    command_check(&cmd);
    cmd.request = (struct meta_request){ { 1 }, 1025 };
    command_check(&cmd);
    cmd = (struct meta_command){ .type = META_CMD_GROUP_SWEEP, .group_sweep = { 1, 2, { { 3 } }, 4 } };
    command_check(&cmd);
}

/* What is in logs and maps of before groups had classes is what is still written for groups without one. */
static void groups_without_a_class_are_as_before(void **state)
{
    (void)state;
    static const uint8_t before[] = { 3, 4, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1 };
    struct meta_group group = { .id = 3, .epoch = 4, .disk_count = 1, .writable = true };
    struct meta_group decoded;
    struct enc enc = ENC_INIT;
    memset(group.disks[0].bytes, 9, ID_BYTES);
    meta_group_encode(&enc, &group);
    assert_int_equal(enc.len, sizeof(before));
    assert_memory_equal(enc.data, before, sizeof(before));
    struct dec dec = dec_of(slice_of(before, sizeof(before)));
    meta_group_decode(&dec, &decoded);
    assert_true(dec_done(&dec));
    assert_int_equal(decoded.class_k, 0);
    assert_true(decoded.writable);
    enc_free(&enc);
}

static void commands(void **state)
{
    (void)state;
    object_commands();
    cluster_commands();
    struct meta_result result = { .outcome = META_NO_PART, .index = 8, .seq = 9, .nonce = 10, .versioned = true,
                                  .made_marker = true, .value = 11, .detail = 12, .etag = text("e"),
                                  .checksum = checksum, .bucket = bucket() };
    meta_result_check(&result);
    result.bucket = (struct meta_bucket){ 0 };
    meta_result_check(&result);
}

static void object_replies(void **state)
{
    (void)state;
    struct meta_query query = { .type = META_QRY_OBJECT, .bucket = text("b"), .key = text("k"), .has_version = true,
                                .version = { 1, 2, true }, .want_body = true, .want_data = true, .range_first = 3,
                                .range_length = UINT64_MAX, .prefix = text("p"), .delimiter = text("/"),
                                .marker = text("m"), .marker_inclusive = true, .marker_seq = 9, .limit = 10,
                                .ids = text("0123456789abcdef"), .from = 5, .name = text("n") };
    meta_query_check(&query);
    struct meta_data_extent data[2] = { { extents[0], 1, 2, 3 }, { extents[1], 4, 5, 6 } };
    struct meta_object_reply object = { .index = 3, .bucket = bucket(), .row = row(), .parts_count = 3,
                                        .body = body_of(META_DATA_NONE), .part_checksum = checksum,
                                        .inline_bytes = text("bytes"), .extent_count = 2, .extents = data,
                                        .extents_until = 99 };
    meta_object_reply_check(&object);
    struct meta_list_entry entries[2] = { { .is_prefix = true, .key = text("a/") },
                                          { .key = text("b"), .row = row(), .latest = true } };
    struct meta_list_reply list = { .bucket = bucket(), .count = 2, .entries = entries, .truncated = true };
    meta_list_reply_check(&list);
    struct meta_upload upload = { text("k"), { 1 }, 5, row(), text("h"), text("u") };
    struct slice prefixes[1] = { text("p/") };
    struct meta_uploads_reply uploads = { .bucket = bucket(), .count = 1, .uploads = &upload, .prefix_count = 1,
                                          .prefixes = prefixes };
    meta_uploads_reply_check(&uploads);
    struct meta_part part = { 3, 4, 5, text("0123456789abcdef"), checksum };
    struct meta_parts_reply parts = { .upload = upload, .count = 1, .parts = &part, .truncated = true };
    meta_parts_reply_check(&parts);
    struct meta_bucket buckets[1] = { bucket() };
    struct meta_buckets_reply buckets_reply = { 1, buckets, true };
    meta_buckets_reply_check(&buckets_reply);
}

static void cluster_replies(void **state)
{
    (void)state;
    struct meta_extent_reply one = { META_OK, extents[0] };
    meta_extent_reply_check(&one);
    struct meta_exist_reply exist = { text("bits") };
    meta_exist_reply_check(&exist);
    struct meta_gc_item items[2] = { { 1, 2, 1, extents[0], { 0 } }, { .seq = 3, .kind = 2, .part_id = { 9 } } };
    struct meta_gc_reply gc = { 2, items };
    meta_gc_reply_check(&gc);
    struct meta_repair_reply repair = { 2, extents };
    meta_repair_reply_check(&repair);
    struct meta_session session = { 3, { { 4 } }, true, 4096 };
    struct meta_sessions_reply sessions = { 1, &session };
    meta_sessions_reply_check(&sessions);
    struct meta_disk disk = { .state = META_DISK_IN, .bytes = 5, .path = text("/d"), .rack = text("r") };
    struct meta_group group = { .id = 1, .epoch = 2, .disk_count = 3 };
    struct meta_sweep sweep = { 1, 2, { { 3 } } };
    struct meta_node node = { .id = { { 7 } }, .role = 2, .state = META_NODE_IN, .key_hash = { 5 }, .address = text("h:1"),
                              .name = text("n"), .zone = text("z"), .rack = text("r") };
    struct meta_cluster_reply cluster = { 4, 1, &disk, 1, &group, 1, &sweep, 1, &node };
    meta_cluster_reply_check(&cluster);
    struct meta_identity identity = { text("a"), text("r") };
    struct meta_identities_reply identities = { 1, &identity };
    meta_identities_reply_check(&identities);
    struct meta_setting_reply setting = { META_OK, text("v") };
    meta_setting_reply_check(&setting);
    struct meta_leader leader = { { { 4 } }, 9, text("h:2") };
    meta_leader_check(&leader);
    struct meta_token_use_state token = { { { 1 }, 2, { 3 }, 4 }, true, { 5 } };
    struct meta_tokens_reply tokens = { 1, &token };
    meta_tokens_reply_check(&tokens);
    struct meta_status status = { .index = 1, .extents_missing = { 1, 2, 3 }, .sessions_open = 300 };
    meta_status_check(&status);
}

static void pairs_walk(void **state)
{
    (void)state;
    struct enc enc = ENC_INIT;
    struct meta_pair pair;
    size_t at = 0;
    meta_pairs_append(&enc, text("name"), text("value"));
    meta_pairs_append(&enc, text("n"), text(""));
    assert_true(meta_pairs_next(enc_slice(&enc), &at, &pair));
    assert_true(slice_equal_str(pair.value, "value"));
    assert_true(meta_pairs_next(enc_slice(&enc), &at, &pair));
    assert_true(slice_equal_str(pair.name, "n"));
    assert_false(meta_pairs_next(enc_slice(&enc), &at, &pair));
    at = 0;
    assert_false(meta_pairs_next(slice_of(enc.data, 7), &at, &pair));
    enc_free(&enc);
}

static void arrays_are_bounded(void **state)
{
    (void)state;
    struct arena small;
    struct meta_repair_reply reply;
    struct enc enc = ENC_INIT;
    struct meta_repair_reply in = { 2, extents };
    arena_init(&small, 100);
    meta_repair_reply_encode(&enc, &in);
    assert_int_equal(meta_repair_reply_decode(enc_slice(&enc), &small, &reply), ERRC_LIMIT);
    enc_reset(&enc);
    enc_uint(&enc, 99999); /* a count that the input can't hold allocates nothing */
    assert_int_equal(meta_repair_reply_decode(enc_slice(&enc), &small, &reply), ERRC_CORRUPT);
    enc_free(&enc);
    arena_done(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_without_a_class_are_as_before),
        cmocka_unit_test(commands),
        cmocka_unit_test(object_replies),
        cmocka_unit_test(cluster_replies),
        cmocka_unit_test(pairs_walk),
        cmocka_unit_test(arrays_are_bounded),
    };
    arena_init(&arena, 1u << 30);
    for (uint8_t i = 0; i < 2; i++) {
        extents[i] = extent((uint8_t)(i + 1));
        refs[i] = (struct extent_ref){ extents[i].id, 10, 20 };
        part_refs[i] = (struct meta_part_ref){ (uint16_t)(i + 1), { 7 }, 1000, text("0123456789abcdef"), text("sum") };
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
