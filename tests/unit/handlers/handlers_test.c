/*
 * Goal: requests answered as S3-SURFACE says, through the real handlers, auth, data path and metadata machine.
 * Method: tests/unit/handlers/s3_world.h; each test is one conversation with a gateway on six disks, 4+2.
 */
#include "tests/unit/handlers/s3_world.h"
#include "common/base/storage_class.h"
#include "gateway/handlers/request_end.h"

static struct slice pattern(size_t len, unsigned seed)
{
    uint8_t *bytes = mem_alloc(len > 0 ? len : 1);
    uint32_t x = seed + 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return slice_of(bytes, len);
}

static void pattern_free(struct slice bytes)
{
    mem_free((void *)(uintptr_t)bytes.data);
}

static void put_bytes(const char *target, struct slice body)
{
    struct exchange x;
    call_bytes(&x, "PUT", target, NULL, body);
    assert_int_equal(x.status, 200);
    exchange_free(&x);
}

static void expect_bytes(const char *target, const char *headers, unsigned status, struct slice bytes)
{
    struct exchange x;
    call(&x, "GET", target, headers, NULL);
    assert_int_equal(x.status, status);
    assert_int_equal(x.out.len, bytes.len);
    assert_true(slice_equal(enc_slice(&x.out), bytes));
    exchange_free(&x);
}

/* ---- the front door ---- */

static void strangers_learn_nothing(void **state)
{
    (void)state;
    struct exchange x;
    exchange_init(&x, "GET", "/nobucket?acl", NULL, SLICE_EMPTY);
    exchange_header(&x, "Host", slice_str(WORLD_HOST));
    exchange_run(&x);
    assert_int_equal(x.status, 403);
    assert_true(enc_has(&x.out, "<Code>AccessDenied</Code>"));
    exchange_free(&x);
}

static void every_response_has_ids(void **state)
{
    (void)state;
    struct exchange x;
    char room[128];
    call(&x, "GET", "/", NULL, NULL);
    assert_int_equal(strlen(header_of(&x, "x-amz-request-id", room, sizeof(room))), 16);
    assert_true(strlen(header_of(&x, "x-amz-id-2", room, sizeof(room))) > 0);
    exchange_free(&x);
}

static void what_is_not_offered_is_501(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("GET", "/bucket?acl", NULL, NULL, 501, "<Code>NotImplemented</Code>");
    expect("PUT", "/bucket?versioning", NULL, "<x/>", 501, "<Code>NotImplemented</Code>");
    expect("PUT", "/bucket/k", "x-amz-server-side-encryption: AES256\n", "x", 501, "<Code>NotImplemented</Code>");
    expect("PUT", "/bucket/k", "x-amz-acl: public-read\n", "x", 501, "<Code>NotImplemented</Code>");
    expect("PUT", "/bucket/plain", "x-amz-acl: \n", "x", 200, NULL);
    expect("GET", "/bucket/k", NULL, NULL, 404, "<Code>NoSuchKey</Code>");
}

static void not_ready_is_503_with_a_reason(void **state)
{
    (void)state;
    gateway_set_ready(world.gateway, false, "Starting.");
    expect("GET", "/", NULL, NULL, 503, "Starting.");
    gateway_set_ready(world.gateway, true, NULL);
    expect("GET", "/", NULL, NULL, 200, "ListAllMyBucketsResult");
}

/* ---- buckets ---- */

static void buckets_come_and_go(void **state)
{
    (void)state;
    expect("HEAD", "/bucket", NULL, NULL, 404, NULL);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("HEAD", "/bucket", NULL, NULL, 200, NULL);
    expect("GET", "/bucket?location", NULL, NULL, 200, "LocationConstraint");
    expect("GET", "/bucket?versioning", NULL, NULL, 200, "VersioningConfiguration");
    expect("GET", "/", NULL, NULL, 200, "<Name>bucket</Name>");
    expect("GET", "/?max-buckets=0", NULL, NULL, 400, "InvalidArgument");
    expect("PUT", "/bucket/k", NULL, "x", 200, NULL);
    expect("DELETE", "/bucket", NULL, NULL, 409, "BucketNotEmpty");
    expect("DELETE", "/bucket/k", NULL, NULL, 204, NULL);
    expect("DELETE", "/bucket", NULL, NULL, 204, NULL);
    expect("DELETE", "/bucket", NULL, NULL, 404, "NoSuchBucket");
    expect("PUT", "/Bad_Name", NULL, NULL, 400, "InvalidBucketName");
    static const struct { const char *location, *code; } wrong[] = {
        { "eu-west-1", "IllegalLocationConstraintException" }, { "us-gov-west-1", "IllegalLocationConstraintException" },
        { "ap-southeast-12", "IllegalLocationConstraintException" }, { "EU", "IllegalLocationConstraintException" },
        { "mars", "InvalidLocationConstraint" }, { "mars-1", "InvalidLocationConstraint" },
        { "eu-west-", "InvalidLocationConstraint" }, { "eu--1", "InvalidLocationConstraint" },
        { "eu-west-1a", "InvalidLocationConstraint" }, { "eu-west-1-a", "InvalidLocationConstraint" },
        { "Eu-west-1", "InvalidLocationConstraint" }, { "-west-1", "InvalidLocationConstraint" },
        { "eu-west", "InvalidLocationConstraint" }, { "1-2-3", "InvalidLocationConstraint" },
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char body[200];
        (void)snprintf(body, sizeof(body), "<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint>"
                       "</CreateBucketConfiguration>", wrong[i].location);
        expect("PUT", "/other", NULL, body, 400, wrong[i].code);
    }
    expect("PUT", "/other", NULL, "<CreateBucketConfiguration>", 400, "MalformedXML");
}

static void the_expected_owner_is_checked(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", "x-amz-expected-bucket-owner: 000000000000\n", "x", 200, NULL);
    expect("GET", "/bucket/k", "x-amz-expected-bucket-owner: 111111111111\n", NULL, 403, "AccessDenied");
    expect("GET", "/bucket/k", "x-amz-expected-bucket-owner: me\n", NULL, 400, "InvalidBucketOwnerAWSAccountID");
}

/* ---- objects ---- */

static void objects_of_all_sizes_round_trip(void **state)
{
    (void)state;
    const size_t sizes[] = { 0, 1, 4096, 60000, 200000, 3000000 };
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct slice bytes = pattern(sizes[i], i);
        put_bytes("/bucket/dir//../k%20%2B", bytes);
        expect_bytes("/bucket/dir//../k%20+", NULL, 200, bytes);
        pattern_free(bytes);
    }
}

static void storage_classes_are_looked_up(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", "x-amz-storage-class: FAST\n", "hello", 400, "InvalidStorageClass");
    expect("PUT", "/bucket/k", "x-amz-storage-class: GLACIER\n", "hello", 400, "InvalidStorageClass");
    expect("POST", "/bucket/k?uploads", "x-amz-storage-class: FAST\n", NULL, 400, "InvalidStorageClass");
    expect("GET", "/bucket/k", NULL, NULL, 404, "NoSuchKey");
    expect("PUT", "/bucket/source", NULL, "hello", 200, NULL);
    expect("PUT", "/bucket/k", "x-amz-copy-source: /bucket/source\nx-amz-storage-class: FAST\n", NULL, 400, "InvalidStorageClass");

    struct storage_classes list = { .count = 0 };
    struct enc value = ENC_INIT;
    assert_int_equal(storage_classes_set(&list, slice_str("FAST"), 1, 1), ERRC_OK);
    storage_classes_encode(&value, &list);
    struct meta_command put = { .type = META_CMD_SETTING_PUT };
    put.setting_put = (struct meta_setting_put){ slice_str(STORAGE_CLASSES_SETTING), enc_slice(&value) };
    world_command(&put);
    enc_free(&value);
    expect("PUT", "/bucket/k", "x-amz-storage-class: FAST\n", "hello", 200, NULL);
    expect("PUT", "/bucket/k", "x-amz-storage-class: FASTER\n", "hello", 400, "InvalidStorageClass");
    put.setting_put.value = slice_str("\xff"); /* of a newer program */
    world_command(&put);
    expect("PUT", "/bucket/k", "x-amz-storage-class: FAST\n", "hello", 500, "InternalError");
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
}

static void headers_and_metadata_come_back(void **state)
{
    (void)state;
    struct exchange x;
    char room[256];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", "Content-Type: text/plain\nCache-Control: no-cache\nx-amz-meta-Color: blue\n"
           "Content-Encoding: gzip,aws-chunked\nx-amz-storage-class: STANDARD_IA\n", "hello", 200, NULL);
    call(&x, "HEAD", "/bucket/k", "x-amz-checksum-mode: ENABLED\n", NULL);
    assert_int_equal(x.status, 200);
    assert_int_equal(x.announced, 5);
    assert_int_equal(x.out.len, 0);
    assert_string_equal(header_of(&x, "ETag", room, sizeof(room)), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_string_equal(header_of(&x, "Content-Type", room, sizeof(room)), "text/plain");
    assert_string_equal(header_of(&x, "Cache-Control", room, sizeof(room)), "no-cache");
    assert_string_equal(header_of(&x, "Content-Encoding", room, sizeof(room)), "gzip");
    assert_string_equal(header_of(&x, "x-amz-meta-color", room, sizeof(room)), "blue");
    assert_string_equal(header_of(&x, "x-amz-storage-class", room, sizeof(room)), "STANDARD_IA");
    assert_true(strlen(header_of(&x, "x-amz-checksum-crc64nvme", room, sizeof(room))) > 0);
    assert_string_equal(header_of(&x, "x-amz-version-id", room, sizeof(room)), "");
    exchange_free(&x);
    call(&x, "GET", "/bucket/k?response-content-type=a%2Fb", NULL, NULL);
    assert_string_equal(header_of(&x, "Content-Type", room, sizeof(room)), "a/b");
    exchange_free(&x);
}

static void ranges_are_cut_right(void **state)
{
    (void)state;
    struct slice bytes = pattern(300000, 7);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/big", bytes);
    put_bytes("/bucket/small", slice_of(bytes.data, 1000));
    for (int i = 0; i < 2; i++) {
        const char *target = i == 0 ? "/bucket/big" : "/bucket/small";
        size_t len = i == 0 ? 300000 : 1000;
        expect_bytes(target, "Range: bytes=10-19\n", 206, slice_of(bytes.data + 10, 10));
        expect_bytes(target, "Range: bytes=-7\n", 206, slice_of(bytes.data + len - 7, 7));
        expect_bytes(target, "Range: bytes=900-\n", 206, slice_of(bytes.data + 900, len - 900));
        expect_bytes(target, "Range: bytes=-999999\n", 206, slice_of(bytes.data, len));
        expect_bytes(target, "Range: bytes=5-4\n", 200, slice_of(bytes.data, len));
        expect("GET", target, "Range: bytes=300000-\n", NULL, 416, "<Code>InvalidRange</Code>");
        expect_bytes(i == 0 ? "/bucket/big?partNumber=1" : "/bucket/small?partNumber=1", NULL, 206,
                     slice_of(bytes.data, len));
    }
    expect("GET", "/bucket/big?partNumber=2", NULL, NULL, 416, "InvalidPartNumber");
    expect("GET", "/bucket/big?partNumber=0", NULL, NULL, 400, "InvalidArgument");
    pattern_free(bytes);
}

static void preconditions_of_reads(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
    expect("GET", "/bucket/k", "If-Match: \"5d41402abc4b2a76b9719d911017c592\"\n", NULL, 200, "hello");
    expect("GET", "/bucket/k", "If-Match: \"x\"\n", NULL, 412, "<Condition>If-Match</Condition>");
    expect("GET", "/bucket/k", "If-None-Match: 5d41402abc4b2a76b9719d911017c592\n", NULL, 304, NULL);
    expect("HEAD", "/bucket/k", "If-None-Match: *\n", NULL, 304, NULL);
    expect("GET", "/bucket/k", "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\n", NULL, 412, NULL);
    expect("GET", "/bucket/none", "If-Match: \"x\"\n", NULL, 404, "NoSuchKey");
}

static void conditional_writes(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", "If-Match: \"5d41402abc4b2a76b9719d911017c592\"\n", "x", 404, "NoSuchKey");
    expect("PUT", "/bucket/k", "If-None-Match: *\n", "hello", 200, NULL);
    expect("PUT", "/bucket/k", "If-None-Match: *\n", "again", 412, "<Condition>If-None-Match</Condition>");
    expect("PUT", "/bucket/k", "If-Match: \"5d41402abc4b2a76b9719d911017c592\"\n", "new", 200, NULL);
    expect("GET", "/bucket/k", NULL, NULL, 200, "new");
    expect("DELETE", "/bucket/k", "If-Match: \"5d41402abc4b2a76b9719d911017c592\"\n", NULL, 412, NULL);
    expect("DELETE", "/bucket/k", "If-Match: *\n", NULL, 204, NULL);
    expect("DELETE", "/bucket/k", "If-Match: *\n", NULL, 404, "NoSuchKey");
    expect("DELETE", "/bucket/k", NULL, NULL, 204, NULL);
}

/* ---- bodies that are not what they claim ---- */

static void wrong_digests_leave_nothing(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\n", "x", 400, "<Code>BadDigest</Code>");
    expect("PUT", "/bucket/k", "Content-MD5: short\n", "x", 400, "<Code>InvalidDigest</Code>");
    expect("PUT", "/bucket/k", "x-amz-checksum-crc32: AAAAAA==\n", "x", 400, "<Code>BadDigest</Code>");
    expect("PUT", "/bucket/k", "x-amz-checksum-crc32: AAAA\n", "x", 400, "<Code>InvalidRequest</Code>");
    struct exchange x;
    exchange_init(&x, "PUT", "/bucket/k", NULL, slice_str("signed"));
    exchange_sign(&x);
    x.body = slice_str("forged");
    exchange_run(&x);
    assert_int_equal(x.status, 400);
    assert_true(enc_has(&x.out, "XAmzContentSHA256Mismatch"));
    exchange_free(&x);
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
    expect("PUT", "/bucket/k", "x-amz-checksum-crc32: y/Q5Jg==\n", "123456789", 200, NULL);
}

static void a_refused_body_is_not_read(void **state)
{
    (void)state;
    struct exchange x;
    call(&x, "PUT", "/nobucket/k", NULL, "body");
    assert_int_equal(x.status, 404);
    assert_int_equal(x.pieces_read, 0);
    exchange_free(&x);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
    call(&x, "PUT", "/bucket/k", "If-None-Match: *\n", "body");
    assert_int_equal(x.status, 412);
    assert_int_equal(x.pieces_read, 0);
    exchange_free(&x);
}

static void a_client_that_vanishes_leaves_nothing(void **state)
{
    (void)state;
    struct slice bytes = pattern(2000000, 3);
    struct exchange x;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    exchange_init(&x, "PUT", "/bucket/k", NULL, bytes);
    exchange_sign(&x);
    x.vanishes = true;
    exchange_run(&x);
    assert_int_equal(world.last_status, 0);
    exchange_free(&x);
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
    assert_true(turn_env_run(&world.env, NULL, NULL, 1000));
    assert_int_equal(fake_node_shards(&world.node), 0);
    assert_int_equal(fake_node_open_shards(&world.node), 0);
    pattern_free(bytes);
}

static void a_commit_that_is_not_done_frees_its_extents(void **state)
{
    (void)state;
    struct slice bytes = pattern(500000, 4);
    struct exchange x;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    world.meta_fail = ERRC_LIMIT;
    call_bytes(&x, "PUT", "/bucket/k", NULL, bytes);
    assert_int_equal(x.status, 503);
    assert_true(enc_has(&x.out, "<Code>SlowDown</Code>"));
    exchange_free(&x);
    assert_true(turn_env_run(&world.env, NULL, NULL, 1000));
    assert_int_equal(fake_node_shards(&world.node), 0);
    world.meta_fail = ERRC_TIMEOUT; /* unknown: they stay */
    call_bytes(&x, "PUT", "/bucket/k", NULL, bytes);
    assert_int_equal(x.status, 503);
    exchange_free(&x);
    world.meta_fail = ERRC_OK;
    assert_true(turn_env_run(&world.env, NULL, NULL, 1000));
    assert_int_equal(fake_node_shards(&world.node), 6);
    pattern_free(bytes);
}

/* One PUT of a small object, answered so by the metadata service. */
static void expect_failure(enum errc fail, enum meta_outcome outcome, unsigned status, bool has_cause)
{
    world.meta_fail = fail;
    world.meta_outcome = outcome;
    expect("PUT", "/bucket/k", NULL, "x", status, NULL);
    assert_int_equal(world.last_has_cause, has_cause);
    world.meta_fail = ERRC_OK;
    world.meta_outcome = META_OK;
}

static void what_fails_inside_is_logged_with_its_cause(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    for (int code = ERRC_OK + 1; code < ERRC_COUNT; code++) {
        expect_failure((enum errc)code, META_OK, (unsigned)s3_error_status(inner_errc_to_s3((enum errc)code)), true);
    }
    expect_failure(ERRC_DENIED, META_OK, 503, true); /* a certificate that has ended: clients try again */
    expect_failure(ERRC_OK, META_INVALID, 500, true);
    expect_failure(ERRC_OK, META_NODE_REMOVED, 500, true);
    expect_failure(ERRC_OK, META_STALE, 503, true);
    expect_failure(ERRC_OK, META_PRECONDITION, 412, false); /* nothing failed inside */
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
    assert_false(world.last_has_cause);
}

static void lost_disks_are_503_never_404(void **state)
{
    (void)state;
    struct slice bytes = pattern(500000, 5);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/k", bytes);
    for (unsigned i = 0; i < 2; i++) {
        world.node.disks[i].fail = ERRC_IO;
    }
    expect_bytes("/bucket/k", NULL, 200, bytes);
    world.node.disks[2].fail = ERRC_IO;
    expect("GET", "/bucket/k", NULL, NULL, 503, "<Code>ServiceUnavailable</Code>");
    for (unsigned i = 0; i < 3; i++) {
        world.node.disks[i].fail = ERRC_OK;
    }
    assert_true(turn_env_run(&world.env, NULL, NULL, 120000));
    expect_bytes("/bucket/k", NULL, 200, bytes);
    pattern_free(bytes);
}

static void a_stream_that_breaks_is_cut(void **state)
{
    (void)state;
    struct slice bytes = pattern(24u << 20, 10);
    struct exchange x;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/k", bytes);
    for (unsigned i = 0; i < 6; i++) {
        world.node.disks[i].fail = ERRC_IO;
        world.node.disks[i].fail_after = 3;
    }
    call(&x, "GET", "/bucket/k", NULL, NULL);
    assert_int_equal(x.status, 200);
    assert_true(x.aborted);
    assert_true(world.last_has_cause);
    assert_false(x.ended);
    assert_true(x.out.len > 0 && x.out.len < bytes.len);
    assert_memory_equal(x.out.data, bytes.data, x.out.len);
    exchange_free(&x);
    for (unsigned i = 0; i < 6; i++) {
        world.node.disks[i].fail = ERRC_OK;
    }
    assert_true(turn_env_run(&world.env, NULL, NULL, 120000));
    expect_bytes("/bucket/k", NULL, 200, bytes);
    exchange_init(&x, "GET", "/bucket/k", NULL, SLICE_EMPTY);
    exchange_sign(&x);
    x.leaves_reading = true;
    exchange_run(&x);
    assert_true(x.aborted);
    exchange_free(&x);
    pattern_free(bytes);
}

static void ignore_task(struct task *task)
{
    (void)task;
}

/* Held until the client is cut for it, or for ever. */
static void slow_download(uint64_t step, bool wanted, bool is_cut)
{
    struct exchange x;
    struct data_budget *budget = &world.store.read_budget;
    exchange_init(&x, "GET", "/bucket/k", NULL, SLICE_EMPTY);
    exchange_sign(&x);
    x.stops_reading = true;
    x.acked_step = step;
    world.handler.on_request(world.handler.data, &x.http);
    (void)turn_env_run(&world.env, exchange_over, &x, 900);
    assert_true(x.out.len > 0);
    uint64_t held = data_budget_used(budget);
    assert_true(held > 1u << 20);
    struct data_budget_wait wait = { .executor = &world.env.executor.executor, .task.run = ignore_task };
    if (wanted) {
        assert_false(data_budget_take(budget, budget->limit_bytes, &wait));
    }
    (void)turn_env_run(&world.env, exchange_over, &x, 4000);
    assert_false(x.released); /* not at once */
    (void)turn_env_run(&world.env, exchange_over, &x, 60000);
    assert_int_equal(x.released, is_cut);
    assert_int_equal(x.aborted, is_cut);
    if (wanted && is_cut) {
        assert_int_equal(data_budget_used(budget), budget->limit_bytes); /* the other one has got all of it */
        data_budget_give(budget, budget->limit_bytes);
    } else if (wanted) {
        assert_true(data_budget_cancel(budget, &wait));
    }
    if (!is_cut) { /* it goes on reading */
        assert_int_equal(data_budget_used(budget), held);
        x.stops_reading = false;
        executor_post(x.http.executor, &x.written_task);
        assert_true(turn_env_run(&world.env, exchange_over, &x, 60000));
        assert_true(x.ended);
        assert_int_equal(x.announced, x.out.len);
    }
    exchange_free(&x);
}

static void slow_downloads_give_way_to_others(void **state)
{
    (void)state;
    struct slice bytes = pattern(24u << 20, 10);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/k", bytes);
    slow_download(0, false, false);         /* nobody needs what it holds: HTTP's own deadline is another matter */
    slow_download(0, true, true);
    slow_download(10000, true, true);       /* a trickle */
    slow_download(100000, true, false);     /* slow, but it takes something */
    pattern_free(bytes);
}

/* ---- versions: switched on behind the gateway's back, since PutBucketVersioning is not offered ---- */

static void version_of(const char *method, const char *target, const char *body, unsigned status, char id[64],
                       bool marker)
{
    struct exchange x;
    char room[64];
    call(&x, method, target, NULL, body);
    assert_int_equal(x.status, status);
    (void)header_of(&x, "x-amz-version-id", id, 64);
    assert_string_equal(header_of(&x, "x-amz-delete-marker", room, sizeof(room)), marker ? "true" : "");
    exchange_free(&x);
}

static void text_between(const struct enc *enc, const char *open, char *room, size_t room_bytes)
{
    const uint8_t *at = memmem(enc->data, enc->len, open, strlen(open));
    assert_non_null(at);
    at += strlen(open);
    (void)snprintf(room, room_bytes, "%.*s", (int)(enc->len - (size_t)(at - enc->data)), (const char *)at);
    room[strcspn(room, "<&")] = '\0';
}

static void versions_stack_up(void **state)
{
    (void)state;
    char first[64], second[64], marker[64], room[64], target[256];
    struct meta_command on = { .type = META_CMD_BUCKET_VERSIONING };
    on.bucket_versioning = (struct meta_bucket_versioning){ slice_str("bucket"), META_VERSIONING_ENABLED };
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    version_of("PUT", "/bucket/k", "zero", 200, room, false);
    assert_string_equal(room, "");
    world_command(&on);
    expect("GET", "/bucket?versioning", NULL, NULL, 200, "<Status>Enabled</Status>");
    version_of("GET", "/bucket/k", NULL, 200, room, false);
    assert_string_equal(room, "null");
    version_of("PUT", "/bucket/k", "one", 200, first, false);
    version_of("PUT", "/bucket/k", "two", 200, second, false);
    assert_int_equal(strlen(first), 32);
    version_of("DELETE", "/bucket/k", NULL, 204, marker, true);
    version_of("GET", "/bucket/k", NULL, 404, room, true);
    assert_string_equal(room, marker);
    (void)snprintf(target, sizeof(target), "/bucket/k?versionId=%s", marker);
    version_of("GET", target, NULL, 405, room, true);
    expect("PUT", "/bucket/c", "x-amz-copy-source: /bucket/k\n", NULL, 404, "NoSuchKey");
    (void)snprintf(target, sizeof(target), "/bucket/k?versionId=%s", first);
    expect("GET", target, NULL, NULL, 200, "one");
    expect("GET", "/bucket/k?versionId=null", NULL, NULL, 200, "zero");
    expect("GET", "/bucket/k?versionId=0123", NULL, NULL, 400, "InvalidArgument");
    expect("GET", "/bucket/k?versionId=00112233445566778899aabbccddeeff", NULL, NULL, 404, "NoSuchVersion");
    expect("DELETE", target, "If-Match: *\n", NULL, 501, NULL);
    version_of("DELETE", target, NULL, 204, room, false);
    assert_string_equal(room, first);
    expect("GET", target, NULL, NULL, 404, "NoSuchVersion");
    expect("GET", "/bucket?versions", NULL, NULL, 200, "<DeleteMarker>");
    (void)snprintf(target, sizeof(target), "/bucket?versions&max-keys=1&key-marker=k&version-id-marker=%s", marker);
    expect("GET", target, NULL, NULL, 200, second);
    (void)snprintf(target, sizeof(target), "/bucket/k?versionId=%s", marker);
    version_of("DELETE", target, NULL, 204, room, true);
    expect("GET", "/bucket/k", NULL, NULL, 200, "two");
}

/* Pages of versions whose marker is a null version that is deleted between the pages: nothing is left out. */
static void pages_of_versions_go_on_where_null_was(void **state)
{
    (void)state;
    struct exchange x;
    char older[64], newer[64], place[64], room[64], target[256];
    struct meta_command on = { .type = META_CMD_BUCKET_VERSIONING };
    struct meta_command off = { .type = META_CMD_BUCKET_VERSIONING };
    on.bucket_versioning = (struct meta_bucket_versioning){ slice_str("bucket"), META_VERSIONING_ENABLED };
    off.bucket_versioning = (struct meta_bucket_versioning){ slice_str("bucket"), META_VERSIONING_SUSPENDED };
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    world_command(&on);
    version_of("PUT", "/bucket/k", "older", 200, older, false);
    world_command(&off);
    version_of("PUT", "/bucket/k", "null", 200, room, false);
    world_command(&on);
    version_of("PUT", "/bucket/k", "newer", 200, newer, false);
    call(&x, "GET", "/bucket?versions&max-keys=2", NULL, NULL);
    assert_true(enc_has(&x.out, "<VersionId>null</VersionId>"));
    assert_false(enc_has(&x.out, older));
    text_between(&x.out, "<NextVersionIdMarker>", place, sizeof(place));
    exchange_free(&x);
    expect("DELETE", "/bucket/k?versionId=null", NULL, NULL, 204, NULL);
    (void)snprintf(target, sizeof(target), "/bucket?versions&key-marker=k&version-id-marker=%s", place);
    call(&x, "GET", target, NULL, NULL);
    assert_true(enc_has(&x.out, older));
    text_between(&x.out, "<VersionId>", room, sizeof(room));
    assert_string_equal(room, older); /* and not the newer one again */
    exchange_free(&x);
    expect("GET", "/bucket?versions&key-marker=k&version-id-marker=null", NULL, NULL, 200, older);
}

static void requests_are_counted(void **state)
{
    (void)state;
    struct enc out = ENC_INIT;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
    expect("GET", "/bucket/k", NULL, NULL, 200, NULL);
    expect("GET", "/bucket/none", NULL, NULL, 404, NULL);
    gateway_metrics_write(world.gateway, &out);
    assert_true(enc_has(&out, "cairn_s3_requests_total{operation=\"PutObject\",status=\"2xx\"} 1\n"));
    assert_true(enc_has(&out, "cairn_s3_requests_total{operation=\"GetObject\",status=\"4xx\"} 1\n"));
    assert_true(enc_has(&out, "cairn_s3_request_seconds_count{operation=\"GetObject\"} 2\n"));
    assert_true(enc_has(&out, "cairn_s3_received_bytes_total 5\n"));
    assert_true(enc_has(&out, "cairn_s3_requests_active 0\n"));
    enc_free(&out);
}

/* ---- aws-chunked ---- */

#define CHUNKED_HEADERS                                                                  \
    "Content-Encoding: aws-chunked\nx-amz-decoded-content-length: 5\n"                   \
    "x-amz-trailer: x-amz-checksum-crc32\n"

static void chunked_put(const char *body, bool length_known, unsigned status, const char *code)
{
    struct exchange x;
    exchange_init(&x, "PUT", "/bucket/k", CHUNKED_HEADERS, slice_str(body));
    x.payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    x.piece_bytes = 3;
    if (!length_known) {
        x.http.content_length = -1;
        x.http.header_count--; /* Content-Length was the last */
    }
    exchange_sign(&x);
    exchange_run(&x);
    assert_int_equal(x.status, status);
    assert_true(code == NULL || enc_has(&x.out, code));
    if (status == 200) {
        assert_true(enc_has(&x.head, "x-amz-checksum-crc32: NhCmhg=="));
    }
    exchange_free(&x);
}

static void trailers_are_compared_before_the_commit(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    chunked_put("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", true, 400, "BadDigest");
    chunked_put("5\r\nhello\r\n0\r\n\r\n", true, 400, "MalformedTrailerError");
    chunked_put("5\r\nhello\r\n", true, 400, "IncompleteBody");
    chunked_put("4\r\nhell\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", true, 400, "IncompleteBody");
    chunked_put("6\r\nhello!\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", true, 400, "IncompleteBody");
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
    chunked_put("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", true, 200, NULL);
    chunked_put("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", false, 200, NULL);
    expect("GET", "/bucket/k", NULL, NULL, 200, "hello");
    struct exchange x;
    char room[64];
    call(&x, "HEAD", "/bucket/k", NULL, NULL);
    assert_string_equal(header_of(&x, "Content-Encoding", room, sizeof(room)), "");
    exchange_free(&x);
}

static void a_put_needs_a_length(void **state)
{
    (void)state;
    struct exchange x;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    exchange_init(&x, "PUT", "/bucket/k", NULL, slice_str("hello"));
    x.http.content_length = -1;
    x.http.header_count--;
    exchange_sign(&x);
    exchange_run(&x);
    assert_int_equal(x.status, 411);
    exchange_free(&x);
    exchange_init(&x, "PUT", "/bucket/k", NULL, slice_str("hello"));
    x.http.content_length = (5ll << 30) + 1;
    exchange_sign(&x);
    exchange_run(&x);
    assert_int_equal(x.status, 400);
    assert_true(enc_has(&x.out, "<Code>EntityTooLarge</Code>"));
    assert_int_equal(x.pieces_read, 0);
    exchange_free(&x);
}

/* ---- listings ---- */

static void listings_fold_page_and_continue(void **state)
{
    (void)state;
    char token[256];
    char target[512];
    struct exchange x;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    const char *keys[] = { "/bucket/a", "/bucket/d/1", "/bucket/d/2", "/bucket/e", "/bucket/f%26" };
    for (size_t i = 0; i < 5; i++) {
        expect("PUT", keys[i], NULL, "x", 200, NULL);
    }
    expect("GET", "/bucket?list-type=2", NULL, NULL, 200, "<KeyCount>5</KeyCount>");
    expect("GET", "/bucket?list-type=2&delimiter=%2F", NULL, NULL, 200, "<KeyCount>4</KeyCount>");
    expect("GET", "/bucket?list-type=2&prefix=d%2F", NULL, NULL, 200, "<KeyCount>2</KeyCount>");
    expect("GET", "/bucket", NULL, NULL, 200, "<Key>f&amp;</Key>");
    expect("GET", "/bucket?encoding-type=url", NULL, NULL, 200, "<Key>f%26</Key>");
    expect("GET", "/bucket?max-keys=2&delimiter=/", NULL, NULL, 200, "<NextMarker>d/</NextMarker>");
    expect("GET", "/bucket?max-keys=2&delimiter=/&marker=d/", NULL, NULL, 200, "<Key>e</Key>");
    expect("GET", "/bucket?max-keys=0", NULL, NULL, 200, "<IsTruncated>false</IsTruncated>");
    expect("GET", "/bucket?max-keys=x", NULL, NULL, 400, "InvalidArgument");
    expect("GET", "/bucket?list-type=2&continuation-token=bad", NULL, NULL, 400, "InvalidArgument");
    expect("GET", "/none?list-type=2", NULL, NULL, 404, "NoSuchBucket");
    expect("GET", "/none?max-keys=0", NULL, NULL, 404, "NoSuchBucket");
    call(&x, "GET", "/bucket?list-type=2&delimiter=%2F&max-keys=2", NULL, NULL);
    enc_u8(&x.out, 0);
    const char *at = strstr((const char *)x.out.data, "<NextContinuationToken>");
    assert_non_null(at);
    (void)snprintf(token, sizeof(token), "%.*s", (int)strcspn(at + 23, "<"), at + 23);
    x.out.len--;
    exchange_free(&x);
    (void)snprintf(target, sizeof(target), "/bucket?list-type=2&delimiter=%%2F&continuation-token=%s", token);
    expect("GET", target, NULL, NULL, 200, "<KeyCount>2</KeyCount>");
    expect("GET", "/bucket?versions", NULL, NULL, 200, "<VersionId>null</VersionId>");
    expect("GET", "/bucket?versions&max-keys=1&key-marker=d/1&version-id-marker=null", NULL, NULL, 200, "<Key>d/2</Key>");
}

static void many_are_deleted_at_once(void **state)
{
    (void)state;
    const char *wanted = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object>"
                         "<Object><Key>b</Key><VersionId>zz</VersionId></Object></Delete>";
    char md5[64];
    uint8_t raw[MD5_BYTES];
    char headers[128];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/a", NULL, "x", 200, NULL);
    expect("PUT", "/bucket/b", NULL, "x", 200, NULL);
    expect("POST", "/bucket?delete", NULL, wanted, 400, "InvalidRequest");
    digest_once(DIGEST_MD5, wanted, strlen(wanted), raw);
    (void)base64_encode(raw, sizeof(raw), md5);
    (void)snprintf(headers, sizeof(headers), "Content-MD5: %s\n", md5);
    world.meta_fail = ERRC_DENIED;
    expect("POST", "/bucket?delete", headers, wanted, 200, "<Code>ServiceUnavailable</Code>");
    assert_true(world.last_has_cause);
    world.meta_fail = ERRC_OK;
    world.meta_outcome = META_INVALID;
    expect("POST", "/bucket?delete", headers, wanted, 200, "<Code>InternalError</Code>");
    assert_true(world.last_has_cause);
    world.meta_outcome = META_OK;
    expect("POST", "/bucket?delete", headers, wanted, 200, "<Deleted><Key>none</Key></Deleted>");
    assert_false(world.last_has_cause);
    expect("GET", "/bucket/a", NULL, NULL, 404, NULL);
    expect("GET", "/bucket/b", NULL, NULL, 200, NULL);
}

/* ---- copies and uploads ---- */

static void copies_share_or_carry_bytes(void **state)
{
    (void)state;
    struct slice bytes = pattern(700000, 6);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/big", bytes);
    expect("PUT", "/bucket/small", "x-amz-meta-a: 1\nContent-Type: text/x\n", "hello", 200, NULL);
    unsigned shards = fake_node_shards(&world.node);
    expect("PUT", "/bucket/big2", "x-amz-copy-source: /bucket/big\n", NULL, 200, "CopyObjectResult");
    assert_int_equal(fake_node_shards(&world.node), shards);
    expect("DELETE", "/bucket/big", NULL, NULL, 204, NULL);
    expect_bytes("/bucket/big2", NULL, 200, bytes);
    expect("PUT", "/bucket/small2", "x-amz-copy-source: bucket/small\n", NULL, 200,
           "5d41402abc4b2a76b9719d911017c592");
    struct exchange x;
    char room[128];
    call(&x, "GET", "/bucket/small2", NULL, NULL);
    assert_string_equal(header_of(&x, "x-amz-meta-a", room, sizeof(room)), "1");
    assert_string_equal(header_of(&x, "Content-Type", room, sizeof(room)), "text/x");
    exchange_free(&x);
    expect("PUT", "/bucket/small", "x-amz-copy-source: /bucket/small\n", NULL, 400, "InvalidRequest");
    expect("PUT", "/bucket/small", "x-amz-copy-source: /bucket/small\nx-amz-metadata-directive: REPLACE\n", NULL, 200,
           NULL);
    expect("PUT", "/bucket/n", "x-amz-copy-source: /bucket/none\n", NULL, 404, "NoSuchKey");
    expect("PUT", "/bucket/n", "x-amz-copy-source: /none/none\n", NULL, 404, "NoSuchBucket");
    expect("PUT", "/bucket/n", "x-amz-copy-source: /bucket/small\nx-amz-copy-source-if-match: x\n", NULL, 412, NULL);
    pattern_free(bytes);
}

static void upload_begin(const char *key, const char *headers, char id[64])
{
    struct exchange x;
    char target[256];
    (void)snprintf(target, sizeof(target), "/bucket/%s?uploads", key);
    call(&x, "POST", target, headers, NULL);
    assert_int_equal(x.status, 200);
    text_between(&x.out, "<UploadId>", id, 64);
    exchange_free(&x);
}

static void part_put(const char *key, const char *id, unsigned number, const char *headers, struct slice bytes,
                     char etag[64])
{
    struct exchange x;
    char target[256];
    (void)snprintf(target, sizeof(target), "/bucket/%s?partNumber=%u&uploadId=%s", key, number, id);
    call_bytes(&x, "PUT", target, headers, bytes);
    assert_int_equal(x.status, 200);
    if (bytes.len > 0) {
        (void)header_of(&x, "ETag", etag, 64);
    } else {
        text_between(&x.out, "<ETag>&quot;", etag, 64);
    }
    exchange_free(&x);
}

static void uploads_become_objects(void **state)
{
    (void)state;
    struct slice bytes = pattern((5u << 20) + 3, 8);
    char id[64];
    char etag[3][64];
    char target[256];
    char document[1024];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/source", slice_of(bytes.data, 100));
    upload_begin("k", "x-amz-meta-a: 1\n", id);
    expect("GET", "/bucket?uploads", NULL, NULL, 200, id);
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
    part_put("k", id, 1, NULL, slice_of(bytes.data, 5u << 20), etag[0]);
    part_put("k", id, 7, NULL, slice_of(bytes.data + (5u << 20), 3), etag[1]);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    expect("GET", target, NULL, NULL, 200, "<PartNumber>7</PartNumber>");
    (void)snprintf(document, sizeof(document), "<CompleteMultipartUpload><Part><PartNumber>7</PartNumber><ETag>x</ETag>"
                   "</Part><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>");
    expect("POST", target, NULL, document, 400, "InvalidPartOrder");
    (void)snprintf(document, sizeof(document), "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag>"
                   "</Part><Part><PartNumber>7</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
                   etag[0], etag[1]);
    expect("POST", target, NULL, document, 200, "-2&quot;</ETag>");
    expect("POST", target, NULL, document, 200, "-2&quot;</ETag>");
    expect_bytes("/bucket/k", NULL, 200, bytes);
    expect_bytes("/bucket/k?partNumber=7", NULL, 206, slice_of(bytes.data + (5u << 20), 3));
    expect_bytes("/bucket/k", "Range: bytes=5242870-\n", 206, slice_of(bytes.data + 5242870, 13));
    expect("GET", target, NULL, NULL, 404, "NoSuchUpload");
    expect("PUT", "/bucket/k2", "x-amz-copy-source: /bucket/k\n", NULL, 200, "CopyObjectResult");
    expect_bytes("/bucket/k2", NULL, 200, bytes);
    pattern_free(bytes);
}

#define COMPLETE_TWO                                                                              \
    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag>%s</Part>"           \
    "<Part><PartNumber>2</PartNumber><ETag>%s</ETag>%s</Part></CompleteMultipartUpload>"

/* The vectors of S3-SURFACE 4.12: 5 MiB of a, then bbb. */
static void checksums_of_uploads_fold(void **state)
{
    (void)state;
    uint8_t *a = mem_alloc(5u << 20);
    char id[64], etag[2][64], target[256], document[1024], room[128];
    struct exchange x;
    memset(a, 'a', 5u << 20);
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    upload_begin("k", "x-amz-checksum-algorithm: CRC32\n", id);
    (void)snprintf(target, sizeof(target), "/bucket/k?partNumber=1&uploadId=%s", id);
    expect("PUT", target, NULL, "no checksum", 400, "InvalidRequest");
    part_put("k", id, 1, "x-amz-checksum-crc32: r/zBbw==\n", slice_of(a, 5u << 20), etag[0]);
    part_put("k", id, 2, "x-amz-checksum-crc32: QGXPDQ==\n", slice_str("bbb"), etag[1]);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    expect("GET", target, NULL, NULL, 200, "<ChecksumCRC32>QGXPDQ==</ChecksumCRC32>");
    (void)snprintf(document, sizeof(document), COMPLETE_TWO, etag[0], "", etag[1], "");
    expect("POST", target, NULL, document, 400, "InvalidRequest");
    (void)snprintf(document, sizeof(document), COMPLETE_TWO, etag[0], "<ChecksumCRC32>r/zBbw==</ChecksumCRC32>", etag[1],
                   "<ChecksumCRC32>QGXPDQ==</ChecksumCRC32>");
    expect("POST", target, "x-amz-mp-object-size: 1\n", document, 400, "InvalidRequest");
    expect("POST", target, "If-Match: \"x\"\n", document, 404, "NoSuchKey");
    expect("POST", target, NULL, document, 200, "<ChecksumCRC32>k5yxow==-2</ChecksumCRC32>");
    call(&x, "HEAD", "/bucket/k", "x-amz-checksum-mode: ENABLED\n", NULL);
    assert_string_equal(header_of(&x, "ETag", room, sizeof(room)), "\"06a6ca67e53064f3f30a42ee29a62f5d-2\"");
    assert_string_equal(header_of(&x, "x-amz-checksum-crc32", room, sizeof(room)), "k5yxow==-2");
    assert_string_equal(header_of(&x, "x-amz-checksum-type", room, sizeof(room)), "COMPOSITE");
    exchange_free(&x);
    call(&x, "GET", "/bucket/k?partNumber=2", "x-amz-checksum-mode: ENABLED\n", NULL);
    assert_string_equal(header_of(&x, "x-amz-checksum-crc32", room, sizeof(room)), "QGXPDQ==");
    assert_string_equal(header_of(&x, "x-amz-mp-parts-count", room, sizeof(room)), "2");
    assert_string_equal(header_of(&x, "Content-Range", room, sizeof(room)), "bytes 5242880-5242882/5242883");
    exchange_free(&x);
    upload_begin("k", NULL, id); /* nobody asks: CRC64NVME of the whole */
    part_put("k", id, 1, "x-amz-checksum-crc32: r/zBbw==\n", slice_of(a, 5u << 20), etag[0]);
    part_put("k", id, 2, NULL, slice_str("bbb"), etag[1]);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    (void)snprintf(document, sizeof(document), COMPLETE_TWO, etag[0], "", etag[1], "");
    expect("POST", target, "x-amz-checksum-crc64nvme: AAAAAAAAAAA=\n", document, 400, "BadDigest");
    expect("POST", target, NULL, document, 200, "<ChecksumCRC64NVME>CxcEn00EQkg=</ChecksumCRC64NVME>");
    expect("PUT", "/bucket/c", "x-amz-copy-source: /bucket/k\nx-amz-checksum-algorithm: CRC32C\n", NULL, 200,
           "<ChecksumCRC32C>C4opTQ==</ChecksumCRC32C>");
    mem_free(a);
}

static void small_parts_are_refused_at_complete(void **state)
{
    (void)state;
    char id[64], etag[2][64], target[256], document[1024];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    upload_begin("k", NULL, id);
    part_put("k", id, 1, NULL, slice_str("a"), etag[0]);
    part_put("k", id, 2, NULL, slice_str("b"), etag[1]);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    (void)snprintf(document, sizeof(document), "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag>"
                   "</Part><Part><PartNumber>2</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>",
                   etag[0], etag[1]);
    expect("POST", target, NULL, document, 400, "<Code>EntityTooSmall</Code>");
    expect("POST", target, NULL, "", 400, NULL);
    expect("POST", target, NULL, "<!DOCTYPE a><CompleteMultipartUpload/>", 400, "MalformedXML");
    (void)snprintf(target, sizeof(target), "/bucket/k?partNumber=1&uploadId=%s", id);
    expect("POST", "/bucket/other?uploadId=00000000000000000000000000000000", NULL, document, 404, "NoSuchUpload");
}

static void uploads_are_listed_in_order(void **state)
{
    (void)state;
    char id[3][64], target[256], markers[256];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    upload_begin("a", NULL, id[0]);
    upload_begin("a", NULL, id[1]);
    upload_begin("d/x", NULL, id[2]);
    expect("GET", "/bucket?uploads&delimiter=/", NULL, NULL, 200, "<Prefix>d/</Prefix>");
    (void)snprintf(markers, sizeof(markers), "<NextUploadIdMarker>%s</NextUploadIdMarker>", id[0]);
    expect("GET", "/bucket?uploads&max-uploads=1", NULL, NULL, 200, markers);
    (void)snprintf(target, sizeof(target), "/bucket?uploads&max-uploads=1&key-marker=a&upload-id-marker=%s", id[0]);
    expect("GET", target, NULL, NULL, 200, id[1]);
    expect("GET", "/bucket?uploads&max-uploads=1&key-marker=a", NULL, NULL, 200, id[2]);
    expect("GET", "/bucket?uploads&max-uploads=0", NULL, NULL, 200, "<IsTruncated>false</IsTruncated>");
    expect("GET", "/none?uploads", NULL, NULL, 404, "NoSuchBucket");
    expect("DELETE", "/bucket", NULL, NULL, 204, NULL);
}

static void parts_are_copied_and_uploads_aborted(void **state)
{
    (void)state;
    struct slice bytes = pattern(300000, 9);
    char id[64];
    char etag[64];
    char target[256];
    char document[512];
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/big", bytes);
    put_bytes("/bucket/small", slice_of(bytes.data, 100));
    upload_begin("k", NULL, id);
    part_put("k", id, 1, "x-amz-copy-source: /bucket/small\n", SLICE_EMPTY, etag);
    part_put("k", id, 1, "x-amz-copy-source: /bucket/big\nx-amz-copy-source-range: bytes=1000-200999\n", SLICE_EMPTY,
             etag);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    (void)snprintf(document, sizeof(document), "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s"
                   "</ETag></Part></CompleteMultipartUpload>", etag);
    expect("POST", target, NULL, document, 200, "-1&quot;</ETag>");
    expect_bytes("/bucket/k", NULL, 200, slice_of(bytes.data + 1000, 200000));
    upload_begin("k", NULL, id);
    (void)snprintf(target, sizeof(target), "/bucket/k?uploadId=%s", id);
    expect("DELETE", target, NULL, NULL, 204, NULL);
    expect("DELETE", target, NULL, NULL, 404, "NoSuchUpload");
    expect("PUT", "/bucket/k?partNumber=1&uploadId=nonsense", NULL, "x", 404, "NoSuchUpload");
    expect("PUT", "/bucket/k?partNumber=10001&uploadId=nonsense", NULL, "x", 400, "InvalidArgument");
    pattern_free(bytes);
}

#define STREAM_PARTS 40u
#define STREAM_PART_BYTES (5u << 20)

/* 40 parts of 5 MiB, each a copy of the first bytes of /bucket/source: they refer to the same extents. */
static void stream_make(void)
{
    char id[64], etag[64], target[256];
    struct enc document = ENC_INIT;
    upload_begin("long", NULL, id);
    enc_raw(&document, "<CompleteMultipartUpload>", 25);
    for (unsigned n = 1; n <= STREAM_PARTS; n++) {
        char text[128];
        part_put("long", id, n, "x-amz-copy-source: /bucket/source\n", SLICE_EMPTY, etag);
        int len = snprintf(text, sizeof(text), "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", n, etag);
        enc_raw(&document, text, (size_t)len);
    }
    enc_raw(&document, "</CompleteMultipartUpload>", 27); /* with its end */
    (void)snprintf(target, sizeof(target), "/bucket/long?uploadId=%s", id);
    expect("POST", target, NULL, (const char *)document.data, 200, "-40&quot;</ETag>");
    enc_free(&document);
}

static void on_gc_stopped(void *data)
{
    *(bool *)data = true;
}

static bool is_true(void *data)
{
    return *(bool *)data;
}

/* A GET delivers the version that it began with, though the key is put and deleted meanwhile and garbage is collected. */
static void a_download_outlives_its_version(void **state)
{
    (void)state;
    struct slice bytes = pattern(STREAM_PART_BYTES, 12);
    struct exchange x;
    struct gc_worker_config config = { .store = &world.store, .executor = &world.env.executor.executor, .idle_ms = 50 };
    bool stopped = false;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    put_bytes("/bucket/source", bytes);
    stream_make();
    struct gc_worker *gc = gc_worker_start(&config);
    exchange_init(&x, "GET", "/bucket/long", NULL, SLICE_EMPTY);
    exchange_sign(&x);
    x.stops_reading = true;
    world.handler.on_request(world.handler.data, &x.http);
    (void)turn_env_run(&world.env, exchange_over, &x, 900);
    assert_true(x.out.len > 0 && x.out.len < 8 * STREAM_PART_BYTES);
    expect("PUT", "/bucket/long", NULL, "another", 200, NULL);
    expect("DELETE", "/bucket/long", NULL, NULL, 204, NULL);
    expect("DELETE", "/bucket/source", NULL, NULL, 204, NULL);
    (void)turn_env_run(&world.env, exchange_over, &x, 10000);
    assert_int_equal(gc_worker_freed(gc), 0);
    x.stops_reading = false;
    executor_post(x.http.executor, &x.written_task);
    assert_true(turn_env_run(&world.env, exchange_over, &x, 60000));
    assert_false(x.aborted);
    assert_true(x.ended);
    assert_int_equal(x.out.len, (size_t)STREAM_PARTS * STREAM_PART_BYTES);
    for (unsigned n = 0; n < STREAM_PARTS; n++) {
        assert_memory_equal(x.out.data + (size_t)n * STREAM_PART_BYTES, bytes.data, STREAM_PART_BYTES);
    }
    exchange_free(&x);
    for (unsigned i = 0; i < 3; i++) { /* the next index after each step: then no read can be at the step's */
        put_bytes("/bucket/other", slice_str("x"));
        (void)turn_env_run(&world.env, NULL, NULL, 5000);
    }
    assert_true(gc_worker_freed(gc) > 0); /* nobody reads any more */
    gc_worker_stop(gc, on_gc_stopped, &stopped);
    assert_true(turn_env_run(&world.env, is_true, &stopped, 10000));
    pattern_free(bytes);
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

/* A document in one chunk, with this value in its trailer. */
static void chunked_document(const char *method, const char *target, const char *document, const char *crc32,
                             unsigned status, const char *code)
{
    struct exchange x;
    char headers[256];
    char body[512];
    (void)snprintf(headers, sizeof(headers), "x-amz-decoded-content-length: %zu\nx-amz-trailer: x-amz-checksum-crc32\n",
                   strlen(document));
    (void)snprintf(body, sizeof(body), "%zx\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", strlen(document), document,
                   crc32);
    exchange_init(&x, method, target, headers, slice_str(body));
    x.payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    exchange_sign(&x);
    exchange_run(&x);
    assert_int_equal(x.status, status);
    assert_true(code == NULL || enc_has(&x.out, code));
    exchange_free(&x);
}

static void trailers_of_documents_are_compared(void **state)
{
    (void)state;
    const char *complete = "/bucket/k?uploadId=00000000000000000000000000000000";
    const char *parts = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>00000000000000000000000000000000"
                        "</ETag></Part></CompleteMultipartUpload>";
    const char *keys = "<Delete><Object><Key>k</Key></Object></Delete>";
    const char *place = "<CreateBucketConfiguration></CreateBucketConfiguration>";
    chunked_document("PUT", "/bucket", place, "AAAAAA==", 400, "BadDigest");
    chunked_document("PUT", "/bucket", place, "Uj7mkA==", 200, NULL);
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
    chunked_document("POST", complete, parts, "AAAAAA==", 400, "BadDigest");
    chunked_document("POST", complete, parts, "PFkHqQ==", 404, "NoSuchUpload");
    chunked_document("POST", "/bucket?delete", keys, "AAAAAA==", 400, "BadDigest");
    expect("GET", "/bucket/k", NULL, NULL, 200, "hello");
    chunked_document("POST", "/bucket?delete", keys, "A8uZRQ==", 200, "<Deleted>");
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
}

/* In HTTP chunks, so that no length says at the head whether there is a body. */
static void bodyless(const char *body, const char *headers, const char *payload, bool length_known, unsigned status,
                     const char *code)
{
    struct exchange x;
    exchange_init(&x, "DELETE", "/bucket/k", headers, slice_str(body));
    x.payload = payload;
    if (!length_known) {
        x.http.content_length = -1;
        x.http.header_count--; /* Content-Length was the last */
    }
    exchange_sign(&x);
    exchange_run(&x);
    assert_int_equal(x.status, status);
    assert_true(code == NULL || enc_has(&x.out, code));
    assert_int_equal(x.pieces_read, length_known ? 0 : 1);
    exchange_free(&x);
}

static void a_body_that_has_no_use_is_refused(void **state)
{
    (void)state;
    expect("PUT", "/bucket", NULL, NULL, 200, NULL);
    expect("PUT", "/bucket/k", NULL, "hello", 200, NULL);
    bodyless("hello", NULL, "UNSIGNED-PAYLOAD", true, 400, "UnexpectedContent");
    bodyless("hello", NULL, "UNSIGNED-PAYLOAD", false, 400, "UnexpectedContent");
    bodyless("", "x-amz-decoded-content-length: 5\n", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", true, 400, "UnexpectedContent");
    expect("GET", "/bucket/k", NULL, NULL, 200, "hello");
    bodyless("", NULL, "UNSIGNED-PAYLOAD", false, 204, NULL); /* chunks, and nothing in them */
    expect("GET", "/bucket/k", NULL, NULL, 404, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(strangers_learn_nothing),
        WORLD_TEST(every_response_has_ids),
        WORLD_TEST(what_is_not_offered_is_501),
        WORLD_TEST(not_ready_is_503_with_a_reason),
        WORLD_TEST(buckets_come_and_go),
        WORLD_TEST(the_expected_owner_is_checked),
        WORLD_TEST(objects_of_all_sizes_round_trip),
        WORLD_TEST(storage_classes_are_looked_up),
        WORLD_TEST(headers_and_metadata_come_back),
        WORLD_TEST(ranges_are_cut_right),
        WORLD_TEST(preconditions_of_reads),
        WORLD_TEST(conditional_writes),
        WORLD_TEST(wrong_digests_leave_nothing),
        WORLD_TEST(a_refused_body_is_not_read),
        WORLD_TEST(a_client_that_vanishes_leaves_nothing),
        WORLD_TEST(a_commit_that_is_not_done_frees_its_extents),
        WORLD_TEST(what_fails_inside_is_logged_with_its_cause),
        WORLD_TEST(lost_disks_are_503_never_404),
        WORLD_TEST(a_stream_that_breaks_is_cut),
        WORLD_TEST(a_download_outlives_its_version),
        WORLD_TEST(slow_downloads_give_way_to_others),
        WORLD_TEST(versions_stack_up),
        WORLD_TEST(pages_of_versions_go_on_where_null_was),
        WORLD_TEST(requests_are_counted),
        WORLD_TEST(trailers_are_compared_before_the_commit),
        WORLD_TEST(trailers_of_documents_are_compared),
        WORLD_TEST(a_body_that_has_no_use_is_refused),
        WORLD_TEST(a_put_needs_a_length),
        WORLD_TEST(listings_fold_page_and_continue),
        WORLD_TEST(many_are_deleted_at_once),
        WORLD_TEST(copies_share_or_carry_bytes),
        WORLD_TEST(uploads_become_objects),
        WORLD_TEST(checksums_of_uploads_fold),
        WORLD_TEST(small_parts_are_refused_at_complete),
        WORLD_TEST(uploads_are_listed_in_order),
        WORLD_TEST(parts_are_copied_and_uploads_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
