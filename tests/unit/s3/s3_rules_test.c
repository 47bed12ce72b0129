/*
 * Goal: names, dates, ranges, conditions, headers and metadata follow S3-SURFACE 1 and 4.
 * Method: tables.
 */
#include "gateway/s3/s3_condition.h"
#include "gateway/s3/s3_headers.h"
#include "gateway/s3/s3_multipart.h"
#include "gateway/s3/s3_name.h"
#include "gateway/s3/s3_range.h"
#include "gateway/s3/s3_time.h"
#include "gateway/s3/s3_uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void bucket_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool valid;
    } rows[] = {
        { "abc", true }, { "ab", false }, { "a.b-c.1", true }, { "a..b", false }, { "-abc", false }, { "abc-", false },
        { "Abc", false }, { "a_b", false }, { "192.168.1.1", false }, { "1.2.3.4.5", true }, { "999.1.1.1", false },
        { "1234.1.1.1", true }, { "xn--abc", false }, { "abc-s3alias", false }, { "abc--ol-s3", false },
        { "abc--x-s3", false }, { "abc.mrap", false }, { "sthree-a", false }, { "amzn-s3-demo-a", false },
        { "a.-b", true }, { "\xc3\xa4" "bc", false }, { "", false },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(s3_bucket_name_valid(slice_str(rows[i].name)), rows[i].valid);
    }
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        enum s3_range_outcome outcome;
        uint64_t offset, len;
    } rows[] = {
        { "bytes=0-9", 100, S3_RANGE_PART, 0, 10 },
        { "bytes=90-200", 100, S3_RANGE_PART, 90, 10 },
        { "bytes=99-", 100, S3_RANGE_PART, 99, 1 },
        { "bytes=-1", 100, S3_RANGE_PART, 99, 1 },
        { "bytes=-500", 100, S3_RANGE_PART, 0, 100 },
        { "BYTES=0-0", 100, S3_RANGE_PART, 0, 1 },
        { "bytes=0-99999999999999999999999", 100, S3_RANGE_PART, 0, 100 },
        { "bytes=100-", 100, S3_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=-0", 100, S3_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=0-0", 0, S3_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=-5", 0, S3_RANGE_UNSATISFIABLE, 0, 0 },
        { "bytes=99999999999999999999999-", 100, S3_RANGE_UNSATISFIABLE, 0, 0 },
        { "", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes=5-2", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes=0-1,3-4", 100, S3_RANGE_WHOLE, 0, 100 },
        { "items=0-1", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes=-", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes=a-b", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes=1 -2", 100, S3_RANGE_WHOLE, 0, 100 },
        { "bytes", 100, S3_RANGE_WHOLE, 0, 100 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct s3_range range = { 0, 0 };
        assert_int_equal(s3_range_resolve(slice_str(rows[i].text), rows[i].size, &range), rows[i].outcome);
        assert_int_equal(range.offset, rows[i].offset);
        assert_int_equal(range.len, rows[i].len);
    }
    struct s3_range copy;
    char text[S3_CONTENT_RANGE_BYTES];
    assert_true(s3_range_parse_copy(slice_str("bytes=5-9"), &copy));
    assert_int_equal(s3_range_format(&copy, 10, text), strlen("bytes 5-9/10"));
    assert_string_equal(text, "bytes 5-9/10");
    assert_false(s3_range_parse_copy(slice_str("bytes=5-"), &copy));
    assert_false(s3_range_parse_copy(slice_str("bytes=-5"), &copy));
    assert_false(s3_range_parse_copy(slice_str("bytes=0-18446744073709551615"), &copy));
}

static void times(void **state)
{
    (void)state;
    uint64_t ms = 0;
    char text[64];
    static const char *const same[] = { "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994" };
    for (size_t i = 0; i < 3; i++) {
        assert_true(s3_time_parse_http(slice_str(same[i]), &ms));
        assert_true(ms == 784111777000ull);
    }
    s3_time_http(784111777999ull, text);
    assert_string_equal(text, same[0]);
    s3_time_iso(784111777012ull, text);
    assert_string_equal(text, "1994-11-06T08:49:37.012Z");
    assert_true(s3_time_parse_iso(slice_str("1994-11-06T09:49:37.012345+01:00"), &ms));
    assert_true(ms == 784111777012ull);
    assert_true(s3_time_parse_basic(slice_str("20000229T235959Z"), &ms));
    s3_time_basic(ms, text);
    assert_string_equal(text, "20000229T235959Z");
    assert_true(s3_time_parse_http(slice_str("Sat, 31 Dec 2016 23:59:60 GMT"), &ms)); /* a leap second */
    assert_true(ms == 1483228800000ull);
    assert_false(s3_time_parse_http(slice_str("Sat, 31 Dec 2016 23:59:61 GMT"), &ms));
    assert_true(s3_time_parse_basic(slice_str("20161231T235960Z"), &ms));
    assert_true(ms == 1483228800000ull);
    assert_false(s3_time_parse_basic(slice_str("20161231T235961Z"), &ms));
    static const char *const bad[] = { "", "Sun", "Sun,", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
                                       "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ", "19941106" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(s3_time_parse_http(slice_str(bad[i]), &ms));
    }
    assert_false(s3_time_parse_basic(slice_str("20010229T000000Z"), &ms));
    for (uint64_t day = 0; day < 60000; day++) { /* every day of 164 years there and back */
        s3_time_basic(day * 86400000ull, text);
        assert_true(s3_time_parse_basic(slice_str(text), &ms));
        assert_true(ms == day * 86400000ull);
    }
}

#define NOW_MS 1000000000000ull
#define ETAG "d41d8cd98f00b204e9800998ecf8427e"

static void read_conditions_follow_the_table(void **state)
{
    (void)state;
    /* 'm' matches, 'x' does not, '-' absent; dates: 't' condition true, 'f' false */
    static const struct {
        char match, unmodified, none_match, modified;
        enum s3_condition_outcome outcome;
    } rows[] = {
        { '-', '-', '-', '-', S3_CONDITION_PASS },         { 'm', 'f', '-', '-', S3_CONDITION_PASS },
        { 'x', '-', '-', '-', S3_CONDITION_FAILED },       { 'x', 't', '-', '-', S3_CONDITION_FAILED },
        { '-', 'f', '-', '-', S3_CONDITION_FAILED },       { '-', 't', '-', '-', S3_CONDITION_PASS },
        { '-', '-', 'm', '-', S3_CONDITION_NOT_MODIFIED }, { '-', '-', 'm', 't', S3_CONDITION_NOT_MODIFIED },
        { '-', '-', 'x', 'f', S3_CONDITION_PASS },         { '-', '-', '-', 'f', S3_CONDITION_NOT_MODIFIED },
        { '-', '-', '-', 't', S3_CONDITION_PASS },         { 'x', '-', 'm', '-', S3_CONDITION_FAILED },
        { 'm', '-', 'm', '-', S3_CONDITION_NOT_MODIFIED },
    };
    const uint64_t modified = NOW_MS - 100500;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *failed = NULL;
        struct s3_conditions c = {
            .has_if_match = rows[i].match != '-',
            .if_match = slice_str(rows[i].match == 'm' ? "\"x\", \"" ETAG "\"" : "\"x\""),
            .has_if_none_match = rows[i].none_match != '-',
            .if_none_match = slice_str(rows[i].none_match == 'm' ? ETAG : "\"y\""),
            .has_unmodified_since = rows[i].unmodified != '-',
            .unmodified_since_ms = rows[i].unmodified == 't' ? modified / 1000 * 1000 : modified - 1000,
            .has_modified_since = rows[i].modified != '-',
            .modified_since_ms = rows[i].modified == 't' ? modified - 1000 : modified / 1000 * 1000,
        };
        enum s3_condition_outcome outcome = s3_condition_read(&c, slice_str(ETAG), modified, NOW_MS, &failed);
        assert_int_equal(outcome, rows[i].outcome);
        assert_int_equal(failed != NULL, outcome != S3_CONDITION_PASS);
        outcome = s3_condition_copy_source(&c, slice_str(ETAG), modified, NOW_MS, &failed);
        assert_int_equal(outcome, rows[i].outcome == S3_CONDITION_PASS ? S3_CONDITION_PASS : S3_CONDITION_FAILED);
    }
    assert_true(s3_etag_matches(slice_str("*"), slice_str(ETAG)));
    assert_true(s3_etag_matches(slice_str("W/\"" ETAG "\""), slice_str(ETAG)));
    assert_false(s3_etag_matches(slice_str("\"\""), slice_str(ETAG)));
}

struct shot {
    struct arena arena;
    struct s3_request request;
    struct s3_header headers[8];
};

static void shot_init(struct shot *shot, const char *const (*pairs)[2], size_t count)
{
    memset(shot, 0, sizeof(*shot));
    arena_init(&shot->arena, 1u << 18);
    for (size_t i = 0; i < count; i++) {
        shot->headers[i] = (struct s3_header){ slice_str(pairs[i][0]), slice_str(pairs[i][1]) };
    }
    shot->request = (struct s3_request){ .arena = &shot->arena, .headers = shot->headers, .header_count = count,
                                         .operation = S3_OPERATION_PUT_OBJECT };
}

static void object_headers(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "Content-Encoding", "gzip, aws-chunked" }, { "X-Amz-Meta-B", " 2 " }, { "x-amz-meta-a", "1" },
        { "x-amz-meta-b", "3" }, { "x-amz-meta-n", "=?UTF-8?B?w6Q=?= =?utf-8?q?_=C3=B6?=" }, { "Content-Type", "text/plain" },
    };
    struct shot shot;
    struct s3_object_headers h;
    shot_init(&shot, pairs, 6);
    assert_int_equal(s3_object_headers_read(&shot.request, &h, NULL), S3_ERROR_NONE);
    assert_true(slice_equal_str(h.content_encoding, "gzip"));
    assert_true(slice_equal_str(h.storage_class, "STANDARD"));
    assert_int_equal(h.meta_count, 3);
    assert_true(slice_equal_str(h.meta[0].name, "a"));
    assert_true(slice_equal_str(h.meta[1].value, "2,3"));
    assert_true(slice_equal_str(h.meta[2].value, "\xc3\xa4 \xc3\xb6"));
    struct slice text;
    assert_true(s3_meta_header_value(&shot.arena, h.meta[2].value, &text));
    assert_true(slice_equal_str(text, "=?UTF-8?B?w6Qgw7Y=?="));
    assert_false(s3_meta_header_value(&shot.arena, slice_str("a\rb"), &text));
    arena_done(&shot.arena);
}

static void metadata_survives_the_way_out_and_in(void **state)
{
    (void)state;
    char value[1200];
    for (size_t len = 3; len < 1200; len += 151) {
        struct shot shot;
        struct slice text;
        for (size_t i = 0; i + 3 <= len; i += 3) {
            memcpy(value + i, "\xe2\x98\x83", 3);
        }
        size_t used = len / 3 * 3;
        shot_init(&shot, NULL, 0);
        assert_true(s3_meta_header_value(&shot.arena, slice_of(value, used), &text));
        shot.headers[0] = (struct s3_header){ slice_str("x-amz-meta-v"), text };
        shot.request.header_count = 1;
        struct s3_object_headers h;
        assert_int_equal(s3_object_headers_read(&shot.request, &h, NULL), S3_ERROR_NONE);
        assert_true(slice_equal(h.meta[0].value, slice_of(value, used)));
        arena_done(&shot.arena);
    }
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    static char long_value[2100];
    memset(long_value, 'v', sizeof(long_value) - 1);
    static const struct {
        const char *pair[1][2];
        enum s3_error code;
    } rows[] = {
        { { { "x-amz-storage-class", "FAST" } }, S3_ERROR_NONE }, /* maybe the operator's: write_class.h knows */
        { { { "x-amz-storage-class", "" } }, S3_ERROR_INVALID_STORAGE_CLASS },
        { { { "x-amz-storage-class", "GLACIER" } }, S3_ERROR_INVALID_STORAGE_CLASS },
        { { { "x-amz-storage-class", "STANDARD_IA" } }, S3_ERROR_NONE },
        { { { "x-amz-meta-a", long_value } }, S3_ERROR_METADATA_TOO_LARGE },
        { { { "x-amz-meta-a", "\xff" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-meta-", "a" } }, S3_ERROR_INVALID_ARGUMENT },
        /* names that only a parameter of a presigned request can carry: they could not leave as headers */
        { { { "x-amz-meta-a\r\nevil", "a" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-meta-a b", "a" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-meta-a:b", "a" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-meta-\xc3\xa9", "a" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-meta-a.b_c-d", "a" } }, S3_ERROR_NONE },
        { { { "Content-Type", "a\x7f" "b" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "x-amz-website-redirect-location", "ftp://x" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "Content-Type", "a\nb" } }, S3_ERROR_INVALID_ARGUMENT },
        { { { "Cache-Control", long_value } }, S3_ERROR_METADATA_TOO_LARGE },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shot shot;
        struct s3_object_headers h;
        shot_init(&shot, rows[i].pair, 1);
        assert_int_equal(s3_object_headers_read(&shot.request, &h, NULL), rows[i].code);
        arena_done(&shot.arena);
    }
}

static void unsupported_headers_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *pair[1][2];
        bool refused;
    } rows[] = {
        { { { "x-amz-server-side-encryption", "AES256" } }, true },
        { { { "X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256" } }, true },
        { { { "x-amz-tagging", "a=b" } }, true }, { { { "x-amz-tagging", "" } }, false },
        { { { "x-amz-tagging-directive", "COPY" } }, false }, { { { "x-amz-tagging-directive", "REPLACE" } }, true },
        { { { "x-amz-object-lock-mode", "GOVERNANCE" } }, true }, { { { "x-amz-acl", "private" } }, false },
        { { { "x-amz-acl", "" } }, false }, { { { "x-amz-acl", " " } }, false }, { { { "x-amz-grant-read", "" } }, true },
        { { { "x-amz-acl", "public-read" } }, true }, { { { "x-amz-grant-read", "id=1" } }, true },
        { { { "x-amz-bucket-object-lock-enabled", "true" } }, true }, { { { "x-amz-meta-a", "b" } }, false },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shot shot;
        shot_init(&shot, rows[i].pair, 1);
        assert_int_equal(s3_headers_unsupported(&shot.request, NULL),
                         rows[i].refused ? S3_ERROR_NOT_IMPLEMENTED : S3_ERROR_NONE);
        arena_done(&shot.arena);
    }
}

static void copy_sources(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bucket, *key, *version;
        enum s3_error code;
    } rows[] = {
        { "/bucket/a%20b", "bucket", "a b", "", S3_ERROR_NONE },
        { "bucket/a+b%3Fc", "bucket", "a+b?c", "", S3_ERROR_NONE },
        { "bucket%2Fkey?versionId=v%2B1", "bucket", "key", "v+1", S3_ERROR_NONE },
        { "bucket/../other/key", "bucket", "../other/key", "", S3_ERROR_NONE },
        { "", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "bucket", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "bucket/", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "/bucket/k?versionId=", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "/bucket/k?x=1", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "/bucket/%zz", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "/bucket/%00", "", "", "", S3_ERROR_INVALID_ARGUMENT },
        { "/../k", "", "", "", S3_ERROR_INVALID_BUCKET_NAME },
        { "arn:aws:s3:us-east-1:1:accesspoint/a/object/k", "", "", "", S3_ERROR_INVALID_REQUEST },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *const pairs[][2] = { { "x-amz-copy-source", rows[i].text } };
        struct shot shot;
        struct s3_copy_source source;
        shot_init(&shot, pairs, 1);
        assert_int_equal(s3_copy_source_read(&shot.request, &source, NULL), rows[i].code);
        if (rows[i].code == S3_ERROR_NONE) {
            assert_true(slice_equal_str(source.bucket, rows[i].bucket));
            assert_true(slice_equal_str(source.key, rows[i].key));
            assert_true(slice_equal_str(source.version_id, rows[i].version));
        }
        arena_done(&shot.arena);
    }
}

static void checksum_requests(void **state)
{
    (void)state;
    static const struct {
        const char *pairs[2][2];
        enum s3_error code;
    } rows[] = {
        { { { "x-amz-checksum-crc32", "y/Q5Jg==" }, { "a", "" } }, S3_ERROR_NONE },
        { { { "x-amz-checksum-crc32", "y/Q5Jg==" }, { "x-amz-checksum-crc32c", "4waSgw==" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-checksum-crc32", "y/Q5Jg=" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-checksum-xxhash64", "jLhB20DmroM=" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-sdk-checksum-algorithm", "CRC32" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-sdk-checksum-algorithm", "CRC32" }, { "x-amz-checksum-crc32", "y/Q5Jg==" } }, S3_ERROR_NONE },
        { { { "x-amz-sdk-checksum-algorithm", "CRC32" }, { "x-amz-trailer", "x-amz-checksum-crc32" } }, S3_ERROR_NONE },
        { { { "x-amz-sdk-checksum-algorithm", "SHA1" }, { "x-amz-checksum-crc32", "y/Q5Jg==" } }, S3_ERROR_BAD_DIGEST },
        { { { "x-amz-sdk-checksum-algorithm", "ROT13" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-checksum-crc32", "y/Q5Jg==" }, { "x-amz-trailer", "x-amz-checksum-crc32" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-checksum-type", "HALF" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
        { { { "x-amz-checksum-crc32", "y/Q5Jg==-2" }, { "a", "" } }, S3_ERROR_INVALID_REQUEST },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct shot shot;
        struct s3_checksum_request wanted;
        shot_init(&shot, rows[i].pairs, 2);
        assert_int_equal(s3_checksum_request_read(&shot.request, &wanted, NULL), rows[i].code);
        arena_done(&shot.arena);
    }
}

/* AWS signs them and looks no further; SDKs that presign without the body put its checksum there as if it were empty. */
static void checksums_in_a_presigned_query_do_not_count(void **state)
{
    (void)state;
    static const char *const ignored[] = { "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-rot13",
                                           "x-amz-sdk-checksum-algorithm", "X-Amz-Checksum-Crc32", "x-amz-trailer" };
    struct shot shot;
    struct s3_checksum_request wanted;
    static const char *const headers[][2] = { { "x-amz-checksum-crc32c", "4waSgw==" } };
    for (unsigned header_count = 0; header_count <= 1; header_count++) {
        for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
            shot_init(&shot, headers, header_count);
            struct s3_param param = { .name = slice_str(ignored[i]), .value = slice_str("AAAAAA==") };
            shot.request.is_presigned = true;
            shot.request.params = &param;
            shot.request.param_count = 1;
            assert_int_equal(s3_checksum_request_read(&shot.request, &wanted, NULL), S3_ERROR_NONE);
            assert_int_equal(wanted.value.kind, header_count == 0 ? CHECKSUM_NONE : CHECKSUM_CRC32C);
            assert_int_equal(wanted.wanted_kind, CHECKSUM_NONE);
            assert_int_equal(s3_has_integrity(&shot.request), header_count == 1);
            arena_done(&shot.arena);
        }
    }
    shot_init(&shot, headers, 0);
    struct s3_param algorithm = { .name = slice_str("x-amz-checksum-algorithm"), .value = slice_str("SHA256") };
    shot.request.is_presigned = true;
    shot.request.operation = S3_OPERATION_CREATE_MULTIPART_UPLOAD;
    shot.request.params = &algorithm;
    shot.request.param_count = 1;
    assert_int_equal(s3_checksum_request_read(&shot.request, &wanted, NULL), S3_ERROR_NONE);
    assert_int_equal(wanted.wanted_kind, CHECKSUM_SHA256); /* this one says what an upload is to be */
    arena_done(&shot.arena);
}

static void multipart_rules(void **state)
{
    (void)state;
    static const struct {
        enum checksum_kind kind;
        enum checksum_type type, result;
        bool valid;
    } rows[] = {
        { CHECKSUM_NONE, CHECKSUM_TYPE_NONE, CHECKSUM_FULL_OBJECT, true },
        { CHECKSUM_NONE, CHECKSUM_FULL_OBJECT, CHECKSUM_TYPE_NONE, false },
        { CHECKSUM_CRC32, CHECKSUM_TYPE_NONE, CHECKSUM_COMPOSITE, true },
        { CHECKSUM_CRC32C, CHECKSUM_FULL_OBJECT, CHECKSUM_FULL_OBJECT, true },
        { CHECKSUM_CRC64NVME, CHECKSUM_TYPE_NONE, CHECKSUM_FULL_OBJECT, true },
        { CHECKSUM_CRC64NVME, CHECKSUM_COMPOSITE, CHECKSUM_TYPE_NONE, false },
        { CHECKSUM_SHA256, CHECKSUM_TYPE_NONE, CHECKSUM_COMPOSITE, true },
        { CHECKSUM_SHA256, CHECKSUM_FULL_OBJECT, CHECKSUM_TYPE_NONE, false },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct s3_checksum_request wanted = { .wanted_kind = rows[i].kind, .type = rows[i].type };
        struct s3_multipart_rules rules;
        enum s3_error code = s3_multipart_rules_make(&wanted, &rules, NULL);
        assert_int_equal(code, rows[i].valid ? S3_ERROR_NONE : S3_ERROR_INVALID_REQUEST);
        if (rows[i].valid) {
            assert_int_equal(rules.checksum_type, rows[i].result);
        }
    }
}

#define MIB (1ull << 20)

static void complete_lists_are_checked(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1u << 16);
    static uint8_t part_bytes[5u << 20];
    memset(part_bytes, 'a', sizeof(part_bytes));
    struct s3_stored_part stored[3] = { { .number = 1, .bytes = 5 * MIB }, { .number = 2, .bytes = 3 }, { .number = 9, .bytes = 7 } };
    struct s3_complete_part listed[3] = { { .number = 1 }, { .number = 2 }, { .number = 9 } };
    char etags[3][S3_ETAG_BYTES];
    digest_once(DIGEST_MD5, part_bytes, sizeof(part_bytes), stored[0].md5);
    digest_once(DIGEST_MD5, "bbb", 3, stored[1].md5);
    stored[0].checksum.kind = stored[1].checksum.kind = CHECKSUM_CRC64NVME;
    checksum_once(CHECKSUM_CRC64NVME, part_bytes, sizeof(part_bytes), stored[0].checksum.bytes);
    checksum_once(CHECKSUM_CRC64NVME, "bbb", 3, stored[1].checksum.bytes);
    for (size_t i = 0; i < 3; i++) {
        s3_etag_single(stored[i].md5, etags[i]);
        listed[i].etag = slice_str(etags[i]);
    }
    struct s3_multipart_rules rules = { CHECKSUM_CRC64NVME, CHECKSUM_FULL_OBJECT, true, slice_str("u") };
    struct s3_complete_request request = { listed, 2 };
    struct s3_completed done;
    uint32_t indexes[3];
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_NONE);
    assert_string_equal(done.etag, "06a6ca67e53064f3f30a42ee29a62f5d-2");
    assert_int_equal(done.bytes, 5 * MIB + 3);
    char text[CHECKSUM_TEXT_BYTES];
    (void)checksum_format(&done.checksum, text);
    assert_string_equal(text, "CxcEn00EQkg=");
    request.part_count = 3; /* part 2 has three bytes and is not the last */
    struct s3_error_info err = S3_ERROR_INFO_INIT;
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, &err), S3_ERROR_ENTITY_TOO_SMALL);
    assert_int_equal(err.extra_count, 4);
    request.part_count = 2;
    listed[1].number = 3;
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_INVALID_PART);
    listed[1].number = 1;
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_INVALID_PART_ORDER);
    listed[1].number = 2;
    listed[1].etag = slice_str("bad");
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_INVALID_PART);
    listed[1].etag = slice_str(etags[1]);
    listed[1].checksum = stored[0].checksum;
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_INVALID_PART);
    listed[1].checksum.kind = CHECKSUM_NONE;
    rules = (struct s3_multipart_rules){ CHECKSUM_SHA256, CHECKSUM_COMPOSITE, false, slice_str("u") };
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_INVALID_REQUEST);
    request.part_count = 0;
    assert_int_equal(s3_complete_check(&request, stored, 3, &rules, &arena, indexes, &done, NULL), S3_ERROR_MALFORMED_XML);
    arena_done(&arena);
}

static void part_numbers(void **state)
{
    (void)state;
    uint32_t number;
    assert_true(s3_part_number_parse(slice_str("1"), &number));
    assert_true(s3_part_number_parse(slice_str("10000"), &number));
    static const char *const bad[] = { "", "0", "10001", "-1", "+1", "1 ", "a", "100000", "99999999999" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(s3_part_number_parse(slice_str(bad[i]), &number));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_names),
        cmocka_unit_test(ranges),
        cmocka_unit_test(times),
        cmocka_unit_test(read_conditions_follow_the_table),
        cmocka_unit_test(object_headers),
        cmocka_unit_test(metadata_survives_the_way_out_and_in),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(unsupported_headers_are_named),
        cmocka_unit_test(copy_sources),
        cmocka_unit_test(checksum_requests),
        cmocka_unit_test(checksums_in_a_presigned_query_do_not_count),
        cmocka_unit_test(multipart_rules),
        cmocka_unit_test(complete_lists_are_checked),
        cmocka_unit_test(part_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
